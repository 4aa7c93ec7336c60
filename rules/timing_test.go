package rules

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// leafPool are conditions that read one or two filters, and some that break on some facts.
var leafPool = []string{
	`spf.result == "fail"`, `dmarc.result == "fail"`, `dmarc.policy == "reject"`, `dkim.result == "pass"`,
	`clamav.infected`, `clamav.error != ""`, `spf.error == ""`, `content.malformed`, `spf.domain == dmarc.domain`,
	`content.from[0].domain == dmarc.domain`, `len(content.from) > 0`, `score > 1`, `true`, `false`,
	`any(dkim.signatures, .domain == dmarc.domain)`, `content.error != "" or clamav.infected`, `rcpt.local == "a"`,
	`(spf.result == "fail" ? clamav.infected : content.gtube)`, `message.size > 5`, `client.trusted`,
}

func randomCondition(r *rand.Rand, depth int) string {
	switch k := r.IntN(5); {
	case depth == 0 || k == 0:
		return leafPool[r.IntN(len(leafPool))]
	case k == 1:
		return "not (" + randomCondition(r, depth-1) + ")"
	default:
		return "(" + randomCondition(r, depth-1) + []string{" and ", " or ", " && "}[k-2] + randomCondition(r, depth-1) + ")"
	}
}

func randomRules(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := range 1 + r.IntN(8) {
		when := randomCondition(r, 3)
		fmt.Fprintf(&b, "  - name: r%d\n    when: '%s'\n", i, when)
		guess := strings.Contains(when, ".error") // such rules may not refuse, and not score for one that does
		switch k := r.IntN(6); {
		case k == 0 && !guess:
			fmt.Fprintf(&b, "    score: %v\n", []float64{1.25, 2.5, -1.25}[r.IntN(3)])
		case k <= 1:
			b.WriteString("    effects: [add_header(\"X\", \"{{spf.result}} {{score}}\")]\n")
		default:
			do := Deliver + Disposition(r.IntN(5))
			if guess && do.final() {
				do = Quarantine
			}
			fmt.Fprintf(&b, "    do: %s\n", do)
		}
		if r.IntN(2) == 0 {
			b.WriteString("    because: '{{dkim.result}} of {{content.subject}} {{content.from[0].name}}'\n")
		}
		if r.IntN(4) == 0 {
			fmt.Fprintf(&b, "    unknown: %s\n", unknownWords[r.IntN(3)])
		}
		if r.IntN(4) == 0 {
			b.WriteString("    shadow: true\n")
		}
		if r.IntN(6) == 0 {
			b.WriteString("    from: 2020-01-01\n")
		}
	}
	return b.String()
}

func randomFacts(r *rand.Rand) factMap {
	results := []string{"pass", "fail", "none"}
	domains := []string{"a.example", "b.example"}
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	content := contentFacts{Subject: "hi", Malformed: r.IntN(3) == 0, Gtube: r.IntN(3) == 0}
	if r.IntN(2) == 0 {
		content.From = []mailboxFacts{{Name: "A", Domain: pick(domains)}}
	}
	f := factMap{
		"spf":     resultFacts{Result: pick(results), Domain: pick(domains)},
		"dmarc":   resultFacts{Result: pick(results), Domain: pick(domains), Policy: pick([]string{"reject", "none"})},
		"dkim":    dkimFacts{Result: pick(results), Signatures: []signature{{Domain: pick(domains)}}},
		"clamav":  clamavFacts{Infected: r.IntN(2) == 0},
		"content": content,
		"rcpt":    addressFacts{Local: pick([]string{"a", "b"})},
		"message": messageFacts{Size: int64(r.IntN(10))},
		"client":  clientFacts{Trusted: r.IntN(2) == 0},
	}.all()
	for _, name := range Vocabulary(f).names() { // in one order, so that a seed gives one run
		if r.IntN(5) == 0 {
			f[name] = errTest
		}
	}
	return f
}

// outcome is a verdict without its trace, which may tell more when more is known.
func outcome(v Verdict) string {
	return fmt.Sprintf("%v %q %q %q %v %v %v", v.Do, v.Rule, v.Class, v.Because, v.Score, v.Effects, v.Reply)
}

// TestTimingNeverChangesAVerdict: whatever the order in which facts come, failures among
// them, and whenever one asks, the verdict is the one with everything known.
func TestTimingNeverChangesAVerdict(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	early, kinds := 0, make(map[Disposition]int)
	for round := range 1000 {
		text := randomRules(r)
		p := compile(t, text, func(o *Options) {
			if r.IntN(3) == 0 {
				o.Off = []string{"dkim"}
			}
		})
		full := randomFacts(r)
		want := decide(t, p, full)
		kinds[want.Do]++
		known := factMap{}
		order := slices.Sorted(maps.Keys(full))
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for {
			v, waiting := p.Decide(known)
			if waiting == nil {
				if outcome(v) != outcome(want) {
					t.Fatalf("round %d: with %v known\n%s\nwith all\n%s\nrules\n%s", round, slices.Sorted(maps.Keys(known)), outcome(v), outcome(want), text)
				}
				if len(known) == len(full) {
					break
				}
				early++
			} else if !reflect.DeepEqual(v, Verdict{}) {
				t.Fatal("a verdict while waiting")
			}
			for _, name := range waiting {
				if known[name] != nil || !slices.Contains(p.Needs(), name) {
					t.Fatalf("waits for %s, which is known or not needed:\n%s", name, text)
				}
			}
			next := order[0]
			if len(waiting) > 0 && r.IntN(2) == 0 {
				next = waiting[r.IntN(len(waiting))]
			}
			order = slices.DeleteFunc(order, func(s string) bool { return s == next })
			known[next] = full[next]
		}
	}
	if early < 300 || min(kinds[Defer], kinds[Quarantine], kinds[Deliver]) < 30 {
		t.Errorf("the test is too weak: %d early decisions, %v", early, kinds)
	}
}

// TestShadowRulesNeverAct: without its shadow rules a policy gives the same verdicts, needs
// the same filters and waits for the same.
func TestShadowRulesNeverAct(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	for range 200 {
		text := randomRules(r)
		var without strings.Builder
		for _, rule := range strings.SplitAfter(text, "\n  - ") {
			if !strings.Contains(rule, "shadow: true") {
				without.WriteString(rule)
			} else if !strings.HasSuffix(rule, "\n  - ") {
				s := strings.TrimSuffix(without.String(), "\n  - ")
				without.Reset()
				without.WriteString(s)
			}
		}
		plain := without.String()
		if strings.TrimSpace(plain) == "rules:" {
			plain = "rules: []"
		}
		p, q := compile(t, text), compile(t, plain)
		if !slices.Equal(p.Needs(), q.Needs()) {
			t.Fatalf("needs %v and %v\n%s", p.Needs(), q.Needs(), text)
		}
		full := randomFacts(r)
		known := factMap{}
		for _, name := range slices.Sorted(maps.Keys(full)) {
			v, w := p.Decide(known)
			v2, w2 := q.Decide(known)
			if outcome(v) != outcome(v2) || !slices.Equal(w, w2) {
				t.Fatalf("%s %v\n%s %v\n%s", outcome(v), w, outcome(v2), w2, text)
			}
			known[name] = full[name]
		}
	}
}

// TestDecideIsPure: many goroutines with one policy get one answer each.
func TestDecideIsPure(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	p := compile(t, randomRules(r)+"  - {name: last, when: 'true', do: quarantine, because: '{{spf.result}}'}\n")
	done := make(chan string)
	for g := range 8 {
		go func() {
			r := rand.New(rand.NewPCG(uint64(g), 9))
			for range 500 {
				f := randomFacts(r)
				a, _ := p.Decide(f)
				b, _ := p.Decide(f)
				if outcome(a) != outcome(b) || !reflect.DeepEqual(a.Steps, b.Steps) {
					done <- outcome(a) + " and " + outcome(b)
					return
				}
			}
			done <- ""
		}()
	}
	for range 8 {
		if s := <-done; s != "" {
			t.Error(s)
		}
	}
}

// sharing is the facts of one message for one of its recipients.
type sharing struct {
	factMap
	memory *Memory
}

func (s sharing) Memory() *Memory      { return s.memory }
func (s sharing) Own(name string) bool { return name == "rcpt" }

// TestS51_RecipientsShareWhatIsTheSame: with a memory for all recipients of a message each has
// the verdict and the trace that it has alone, and what is the same for all is looked at once.
func TestS51_RecipientsShareWhatIsTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 13))
	for round := range 1000 {
		text := randomRules(r)
		p := compile(t, text)
		full := randomFacts(r)
		known, memory := factMap{}, &Memory{}
		names := slices.Sorted(maps.Keys(full))
		for {
			for _, local := range []string{"a", "b", "c"} {
				if known["rcpt"] != nil {
					known["rcpt"] = addressFacts{Local: local}
				}
				want, w := p.Decide(known)
				got, w2 := p.Decide(sharing{known, memory})
				if outcome(got) != outcome(want) || !slices.Equal(w, w2) || !reflect.DeepEqual(got.Steps, want.Steps) {
					t.Fatalf("round %d, %s with %v known: together\n%s %v %+v\nalone\n%s %v %+v\nrules\n%s", round, local, slices.Sorted(maps.Keys(known)),
						outcome(got), w2, got.Steps, outcome(want), w, want.Steps, text)
				}
			}
			if len(names) == 0 {
				break
			}
			next := names[r.IntN(len(names))]
			names = slices.DeleteFunc(names, func(s string) bool { return s == next })
			if known[next] = full[next]; next == "rcpt" {
				known[next] = addressFacts{}
			}
		}
	}
}
