package rules

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestUnknownOfARule: what a rule makes of it that a filter gave no answer.
func TestUnknownOfARule(t *testing.T) {
	for _, c := range []struct {
		unknown, when string
		failed        string
		do            Disposition
		because       string
	}{
		{"", `dmarc.result == "fail"`, "dmarc", Deliver, noObjection},
		{"", `clamav.infected`, "clamav", Defer, "clamav gave no answer"}, // by the filter
		{"skip", `dmarc.result == "fail"`, "dmarc", Deliver, noObjection},
		{"skip", `clamav.infected`, "clamav", Deliver, noObjection},
		{"defer", `dmarc.result == "fail"`, "dmarc", Defer, "dmarc gave no answer"},
		{"defer", `not (dmarc.result == "pass")`, "dmarc", Defer, "dmarc gave no answer"},
		{"defer", `clamav.infected`, "clamav", Defer, "clamav gave no answer"},
		{"quarantine", `dmarc.result == "fail"`, "dmarc", Quarantine, "dmarc gave no answer"},
		{"quarantine", `clamav.infected`, "clamav", Quarantine, "clamav gave no answer"},
		{"quarantine", `dmarc.result == "fail" and clamav.infected`, "dmarc clamav", Quarantine, "dmarc gave no answer"},
		{"quarantine", `dmarc.result == "fail" and client.trusted`, "dmarc", Deliver, noObjection}, // false in any case
		{"quarantine", `dmarc.result == "fail" or not client.trusted`, "dmarc", Deliver, "rule a matched"},
		{"quarantine", `dkim.result == "fail"`, "", Deliver, noObjection}, // off is not without an answer
		{"defer", `dkim.result == "fail" or spf.result == "fail"`, "spf", Defer, "spf gave no answer"},
		{"quarantine", `spf.error != ""`, "spf", Deliver, "rule a matched"}, // the error is an answer
		{"defer", `content.from[0].domain == "x" or spf.result == "x"`, "spf", Quarantine, "rule a could not be evaluated for this message"},
	} {
		text := "name: a\n    when: '" + c.when + "'\n    do: deliver\n    class: spam\n"
		if c.unknown != "" {
			text += "    unknown: " + c.unknown + "\n"
		}
		p := compile(t, rulesOf(text), func(o *Options) { o.Off = []string{"dkim"} })
		facts := factMap{}.all()
		for _, name := range strings.Fields(c.failed) {
			facts[name] = errTest
		}
		if v := decide(t, p, facts); v.Do != c.do || v.Because != c.because || p.Rules()[0].Unknown != c.unknown {
			t.Errorf("unknown %q, %s, %s failed: %v, %q", c.unknown, c.when, c.failed, v.Do, v.Because)
		}
	}
	p := compile(t, rulesOf(`{name: a, when: 'spf.result == "x"', score: 2, unknown: quarantine}`))
	if v := decide(t, p, factMap{"spf": errTest}.all()); v.Do != Quarantine || v.Rule != "a" || v.Steps[0].Why != "spf failed" {
		t.Errorf("%+v", v)
	}
}

// TestARefusalIsCertain: where a filter without an answer might have spared a message, it is
// not refused.
func TestARefusalIsCertain(t *testing.T) {
	for _, c := range []struct {
		name, rules, failed string
		do                  Disposition
		why                 string
	}{
		{"nothing before it", `{name: r, when: client.trusted, do: reject}`, "spf", Reject, ""},
		{"an exception that cannot be decided", `{name: e, when: 'spf.result == "pass"', do: deliver}, {name: r, when: client.trusted, do: reject}`, "spf", Defer, "rule e could decide otherwise: spf failed"},
		{"decided without it", `{name: e, when: 'spf.result == "pass" and content.gtube', do: deliver}, {name: r, when: client.trusted, do: reject}`, "spf", Reject, ""},
		{"another filter", `{name: e, when: 'spf.result == "pass"', do: deliver}, {name: r, when: client.trusted, do: reject}`, "dmarc", Reject, ""},
		{"both refuse", `{name: e, when: 'spf.result == "fail"', do: reject}, {name: r, when: client.trusted, do: reject}`, "spf", Reject, ""},
		{"an exception that asks for the error", `{name: e, when: 'spf.error == "" and client.trusted', do: deliver}, {name: r, when: client.trusted, do: reject}`, "spf", Defer, "rule e could decide otherwise: spf failed"},
		{"held when it is unknown", `{name: e, when: 'spf.result == "pass"', do: deliver}, {name: r, when: client.trusted, do: discard, unknown: quarantine}`, "spf", Quarantine, "rule e could decide otherwise: spf failed"},
		{"skipped when it is unknown", `{name: e, when: 'spf.result == "pass"', do: deliver}, {name: r, when: client.trusted, do: reject, unknown: skip}`, "spf", Deliver, "rule e could decide otherwise: spf failed"},
		{"a shadow has no say", `{name: e, when: 'spf.result == "pass"', do: deliver, shadow: true}, {name: r, when: client.trusted, do: reject}`, "spf", Reject, ""},
		{"a score that could be less", `{name: a, when: client.trusted, score: 5}, {name: b, when: 'spf.result == "pass"', score: -2}, {name: r, when: score >= 4, do: reject}`, "spf", Defer, "rule r could decide otherwise: "},
		{"a score that is enough", `{name: a, when: client.trusted, score: 7}, {name: b, when: 'spf.result == "pass"', score: -2}, {name: r, when: score >= 4, do: reject}`, "spf", Reject, ""},
		{"a score that could be more", `{name: a, when: client.trusted, score: 5}, {name: b, when: 'spf.result == "fail"', score: 2}, {name: r, when: score >= 4, do: reject}`, "spf", Reject, ""},
		{"a hold is no refusal", `{name: e, when: 'spf.result == "pass"', do: deliver}, {name: r, when: client.trusted, do: quarantine}`, "spf", Quarantine, ""},
	} {
		p := compile(t, "rules: ["+c.rules+"]")
		v := decide(t, p, factMap{"client": clientFacts{Trusted: true}, c.failed: errTest}.all())
		why := v.Steps[len(v.Steps)-1].Why
		if v.Do != c.do || why != c.why {
			t.Errorf("%s: %v, why %q: %s", c.name, v.Do, why, v.Because)
		}
		if v.Do == Defer && v.Reply.Code != 451 {
			t.Errorf("%s: %v", c.name, v.Reply)
		}
	}
}

// TestNoRefusalRestsOnTheUnknown: whatever the filters without an answer would have said, what
// is refused or dropped would have been.
func TestNoRefusalRestsOnTheUnknown(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 2))
	refused, spared := 0, 0
	for range 1500 {
		text := randomRules(r)
		p := compile(t, text)
		facts := randomFacts(r)
		v := decide(t, p, facts)
		if v.Do == Defer && strings.Contains(v.Because, "decide otherwise") {
			spared++
		}
		if !v.Do.final() {
			continue
		}
		for range 20 {
			answered := factMap{}
			for name, f := range facts {
				for answered[name] = f; answered[name] == errTest; refused++ {
					answered[name] = randomFacts(r)[name]
				}
			}
			if w := decide(t, p, answered); w.Do != v.Do {
				t.Fatalf("%v without\n%v\n%v (%s) with\n%v\n%s", v.Do, facts, w.Do, w.Because, answered, text)
			}
		}
	}
	if refused < 500 || spared < 4 {
		t.Errorf("the test is too weak: %d answers tried, %d refusals withheld", refused, spared)
	}
}

// truths evaluates a tree in Kleene's logic with one value for each leaf: -1 false, 0 unknown,
// 1 true.
func truths(n *node, of func(*node) int) int {
	switch n.op {
	case opNot:
		return -truths(n.kids[0], of)
	case opAnd:
		out := 1
		for _, k := range n.kids {
			out = min(out, truths(k, of))
		}
		return out
	case opOr:
		out := -1
		for _, k := range n.kids {
			out = max(out, truths(k, of))
		}
		return out
	}
	return of(n)
}

// reach reports whether a condition can become true when the leaves that are open get any
// value.
func reach(n *node, open []*node, of map[*node]int) bool {
	if len(open) == 0 {
		return truths(n, func(l *node) int { return of[l] }) == 1
	}
	for _, v := range []int{-1, 1} {
		of[open[0]] = v
		if reach(n, open[1:], of) {
			return true
		}
	}
	return false
}

// meant is what the documentation says of a rule: it holds, is passed over, put off, held for
// what is unknown, or held for it broke.
func meant(e *evaluator, r *rule) string {
	of := map[*node]int{}
	var silent, fragile []*node
	r.when.leaves(func(n *node) {
		e.leaf(n)
		switch e.leaves[n.number] {
		case saysTrue:
			of[n] = 1
		case saysFalse:
			of[n] = -1
		case failed:
			silent = append(silent, n)
		case deferred:
			silent = append(silent, n)
		case broken:
			fragile = append(fragile, n)
		}
	})
	asks := r.unknown
	var open []*node
	for _, n := range silent {
		if of[n] = 0; asks > skip || asks == byFilter && e.leaves[n.number] == deferred {
			open = append(open, n)
		}
	}
	switch {
	case allTrue(r.when, fragile, of):
		return "holds"
	case reach(r.when, fragile, of):
		return "breaks"
	case reach(r.when, append(open, fragile...), of) && asks == quarantine:
		return "quarantine"
	case reach(r.when, append(open, fragile...), of):
		return "defer"
	}
	return "passed over"
}

func allTrue(n *node, open []*node, of map[*node]int) bool {
	if len(open) == 0 {
		return truths(n, func(l *node) int { return of[l] }) == 1
	}
	for _, v := range []int{-1, 1} {
		of[open[0]] = v
		if !allTrue(n, open[1:], of) {
			return false
		}
	}
	return true
}

// TestFailuresMeanWhatIsSaid: failures change a verdict only by the stated meaning of unknown.
// The statement is put here in a plain way: try every value of what is open.
func TestFailuresMeanWhatIsSaid(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	seen := map[string]int{}
	for round := range 2000 {
		text := randomRules(r)
		p := compile(t, text)
		facts := randomFacts(r)
		got := decide(t, p, facts)
		e := newEvaluator(p)
		e.facts = facts
		want, by, final := Deliver, "", false
		for _, rule := range p.rules {
			if rule.shadow {
				continue
			}
			says := meant(e, rule)
			seen[says]++
			if says == "holds" && rule.do == None {
				e.score += rule.score
				continue
			}
			if says == "passed over" {
				continue
			}
			by = rule.name
			switch says {
			case "holds":
				want, final = rule.do, rule.do.final()
			case "breaks", "quarantine":
				want = Quarantine
			case "defer":
				want = Defer
			}
			break
		}
		if final && e.doubtful(facts) {
			continue // TestNoRefusalRestsOnTheUnknown
		}
		if got.Do != want || got.Rule != by {
			t.Fatalf("round %d: %v by %s, want %v by %s\n%v\n%s", round, got.Do, got.Rule, want, by, facts, text)
		}
	}
	for _, says := range []string{"holds", "breaks", "quarantine", "defer", "passed over"} {
		if seen[says] < 20 {
			t.Errorf("the test is too weak: %v", seen)
		}
	}
}

// doubtful reports whether any filter gave no answer.
func (e *evaluator) doubtful(facts factMap) bool {
	for _, f := range facts {
		if f == errTest {
			return true
		}
	}
	return false
}

// TestExplainSumsUp: the scores of the trace add up to the score of the verdict.
func TestExplainSumsUp(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 1))
	scored := 0
	for range 1000 {
		text := randomRules(r)
		v := decide(t, compile(t, text), randomFacts(r))
		sum := 0.0
		for _, s := range v.Steps {
			if !s.Shadow {
				sum += s.Score
			}
		}
		if math.Abs(sum-v.Score) > 1e-9 {
			t.Fatalf("the steps add up to %v, the score is %v\n%+v\n%s", sum, v.Score, v.Steps, text)
		}
		if v.Score != 0 {
			scored++
		}
	}
	if scored < 50 {
		t.Errorf("only %d had a score", scored)
	}
}

// TestTraceTellsApart: not needed, failed, timed out, off, not gathered and broken are
// different words.
func TestTraceTellsApart(t *testing.T) {
	p := compile(t, "rules: ["+
		`{name: a, when: 'client.trusted and spf.result == "x"', do: deliver},`+
		`{name: b, when: 'spf.result == "x" or dmarc.result == "x" or dkim.result == "x"', do: deliver},`+
		`{name: c, when: 'content.malformed', do: deliver, shadow: true},`+
		`{name: d, when: 'clamav.infected and client.trusted', do: deliver},`+
		`{name: e, when: 'int(client.helo) > 1', do: deliver}]`,
		func(o *Options) { o.Off = []string{"dkim"} })
	f := factMap{"spf": errTest, "dmarc": fmt.Errorf("waited: %w", context.DeadlineExceeded)}.all()
	delete(f, "content")
	delete(f, "clamav")
	v := decide(t, p, f)
	var got []string
	for _, s := range v.Steps {
		got = append(got, s.Rule+": "+s.Why)
		for _, l := range s.Leaves {
			got = append(got, fmt.Sprintf("%s %v %s", strings.Fields(l.Text)[0], l.Result, l.Why))
		}
	}
	want := strings.Join([]string{"a: ", "client.trusted false ", "spf.result unknown not needed",
		"b: spf failed, dmarc timed out, dkim is off", "spf.result unknown spf failed", "dmarc.result unknown dmarc timed out", "dkim.result unknown dkim is off",
		"c: content was not gathered", "content.malformed unknown content was not gathered",
		"d: ", "clamav.infected unknown not needed", "client.trusted false ",
		"e: int(client.helo) > 1 could not be evaluated", "int(client.helo) unknown int(client.helo) > 1 could not be evaluated"}, "\n")
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
}
