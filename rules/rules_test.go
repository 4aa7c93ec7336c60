package rules

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestUnknownIsNotFalse(t *testing.T) {
	timeout := fmt.Errorf("timed out: %w", context.DeadlineExceeded)
	for _, c := range []struct {
		when  string
		facts factMap
		do    Disposition
		why   string
	}{
		{`spf.result != "pass"`, factMap{"spf": errTest}, Deliver, "spf failed"},
		{`spf.result != "pass"`, factMap{"spf": timeout}, Deliver, "spf timed out"},
		{`not (spf.result == "pass")`, factMap{"spf": errTest}, Deliver, "spf failed"},
		{`spf.error != ""`, factMap{"spf": errTest}, Quarantine, ""},
		{`spf.error contains "broke"`, factMap{"spf": errTest}, Quarantine, ""},
		{`spf.error + spf.result != ""`, factMap{"spf": errTest}, Deliver, "spf failed"},
		{`clamav.infected`, factMap{"clamav": errTest}, Defer, "clamav failed"},
		{`clamav.error != ""`, factMap{"clamav": errTest}, Quarantine, ""},
		{`content.gtube or clamav.infected`, factMap{"clamav": errTest, "content": contentFacts{Gtube: true}}, Quarantine, ""},
		{`clamav.infected and content.gtube`, factMap{"clamav": errTest}, Deliver, ""},
		{`clamav.infected and spf.result == "x"`, factMap{"clamav": errTest, "spf": errTest}, Deliver, "clamav failed, spf failed"},
		{`clamav.infected or spf.result == "x"`, factMap{"clamav": errTest, "spf": errTest}, Defer, "clamav failed, spf failed"},
		{`clamav.signature == spf.result`, factMap{"clamav": errTest, "spf": errTest}, Deliver, "clamav failed, spf failed"},
		{`dkim.result == "x" or clamav.infected`, factMap{}, Deliver, "dkim is off"},
		{`dkim.error == ""`, factMap{}, Quarantine, ""}, // what was never tried has not failed
		{`dkim.error + dkim.result == ""`, factMap{}, Deliver, "dkim is off"},
		{`content.from[0].domain == "x"`, factMap{}, Quarantine, "content.from[0].domain == \"x\" could not be evaluated"},
		{`len(content.from) > 0 and content.from[0].domain == "x"`, factMap{}, Deliver, ""},
		{`content.from[0].domain == "x" and false`, factMap{}, Deliver, ""},
		{`content.from[0].domain == "x" or true`, factMap{}, Quarantine, ""},
		{`content.from[0].domain == "x" and spf.result == ""`, factMap{"spf": errTest}, Deliver, "could not be evaluated, spf failed"},
		{`content.from[0].domain == "x" or clamav.infected`, factMap{"clamav": errTest}, Quarantine, "could not be evaluated, clamav failed"},
		{`content.from[0].domain == "x" and clamav.infected`, factMap{"clamav": errTest}, Defer, "could not be evaluated, clamav failed"},
	} {
		p := compile(t, rulesOf("name: a\n    when: '"+c.when+"'\n    do: quarantine\n    class: spam"), func(o *Options) { o.Off = []string{"dkim"} })
		v := decide(t, p, c.facts.all())
		if v.Do != c.do || !strings.HasSuffix(v.Steps[0].Why, c.why) || (c.why == "") != (v.Steps[0].Why == "") {
			t.Errorf("%s with %v: %v, why %q; want %v, %q", c.when, c.facts, v.Do, v.Steps[0].Why, c.do, c.why)
		}
		switch v.Do {
		case Defer:
			if v.Reply.String() != "451 4.3.0 a check of this message gave no answer, please try again later" || v.Rule != "a" || v.Because != "clamav gave no answer" {
				t.Errorf("%s: %+v", c.when, v)
			}
		case Quarantine:
			if (v.Class == "policy") != strings.Contains(c.why, "could not be evaluated") || v.Rule != "a" || !strings.Contains(v.Because, "rule a ") {
				t.Errorf("%s: %+v", c.when, v)
			}
		}
	}
}

// TestWrongFactsAreAFailure: facts of another type than promised are no facts.
func TestWrongFactsAreAFailure(t *testing.T) {
	p := compile(t, rulesOf(`{name: a, when: spf.result == "", do: discard}`))
	for _, wrong := range []any{nil, 3, clientFacts{}, &resultFacts{}} {
		if v := decide(t, p, factMap{"spf": wrong}); v.Do != Deliver || v.Steps[0].Why != "spf failed" {
			t.Errorf("%T: %+v", wrong, v)
		}
	}
}

func TestTrace(t *testing.T) {
	p := compile(t, rulesOf(
		`{name: a, when: spf.result == "pass" and dkim.result == "pass", do: deliver}`,
		`{name: b, when: not (spf.result == "fail"), score: 1.5}`,
		`{name: c, when: score > 1, do: discard}`,
		`{name: d, when: 'true', do: reject}`))
	v := decide(t, p, factMap{}.all())
	got := fmt.Sprint(v.Steps)
	want := fmt.Sprint([]Step{
		{Rule: "a", Leaves: []Leaf{{`spf.result == "pass"`, False, ""}, {`dkim.result == "pass"`, Unknown, NotNeeded}}},
		{Rule: "b", Result: True, Matched: true, Score: 1.5, Leaves: []Leaf{{`spf.result == "fail"`, False, ""}}},
		{Rule: "c", Result: True, Matched: true, Do: Discard, Leaves: []Leaf{{`score > 1`, True, ""}}}})
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestLongLeavesAreCutInTheTrace: the trace is stored with every message.
func TestLongLeavesAreCutInTheTrace(t *testing.T) {
	p := compile(t, rulesOf("name: a\n    when: 'client.helo in [\""+strings.Repeat("ä", 500)+"\", \"b\"]'\n    do: discard"))
	if s := decide(t, p, factMap{}.all()).Steps[0].Leaves[0].Text; len(s) > 160 || !utf8.ValidString(s) || !strings.HasPrefix(s, "client.helo in ") {
		t.Errorf("%q", s)
	}
}

// Quoted effects in brackets are YAML, and mean the same.
func TestQuotedEffects(t *testing.T) {
	p := compile(t, rulesOf("name: a\n    when: 'true'\n    effects: ['add_header(\"X-A\", \"b\")', \"tag_subject('[c]')\"]\n    do: deliver"))
	if got := fmt.Sprint(decide(t, p, factMap{}.all()).Effects); got != `[add_header("X-A", "b") tag_subject("[c]")]` {
		t.Error(got)
	}
}

func TestEffectsOfScoringRulesAreKept(t *testing.T) {
	p := compile(t, rulesOf(
		"name: a\n    when: 'true'\n    effects: [add_header(\"X-A\", \"{{client.helo}}, {{score}}\")]",
		"name: b\n    when: 'true'\n    score: 3\n    effects: [tag_subject('[{{score}}]')]",
		"name: no\n    when: 'false'\n    score: 3\n    effects: [tag_subject('no')]",
		"name: s\n    when: 'true'\n    shadow: true\n    effects: [tag_subject('no')]",
		"name: c\n    when: 'true'\n    do: deliver\n    effects:\n      - remove_header(\"X-B\")"))
	v := decide(t, p, factMap{"client": clientFacts{Helo: "a\r\nb"}}.all())
	if got := fmt.Sprint(v.Effects); got != `[add_header("X-A", "a b, 3") tag_subject("[3]") remove_header("X-B")]` {
		t.Error(got)
	}
	if v.Score != 3 || v.Class != "" || v.Rule != "c" {
		t.Errorf("%+v", v)
	}
}

// TestS20_WhatARuleSaysIsBounded: client text in a sentence or a reply is printable ASCII
// and short.
func TestS20_WhatARuleSaysIsBounded(t *testing.T) {
	p := compile(t, rulesOf("name: a\n    when: 'true'\n    do: reject\n    because: 'größer: {{content.subject}} {{content.subject}} {{content.subject}}'\n    reply: 550 5.7.1 {{content.subject}}\n    effects: [tag_subject('{{content.from[0].name}}')]"))
	v := decide(t, p, factMap{"content": contentFacts{Subject: "x\r\n250 ok\x00\x1b ü" + strings.Repeat("long ", 1000)}}.all())
	if !strings.HasPrefix(v.Because, "größer: x 250 ok?? ?long") || len(v.Because) > 400 || !utf8.ValidString(v.Because) {
		t.Errorf("%q", v.Because)
	}
	if len(v.Reply.Text) > 200 || strings.Trim(v.Reply.Text, " !\"#$%&'()*+,-./0123456789:;<=>?abcdefghijklmnopqrstuvwxyzü") != "" {
		t.Errorf("%q", v.Reply.Text)
	}
	if v.Effects[0].Args[0] != "?" {
		t.Errorf("a value that is not there is %q", v.Effects[0].Args[0])
	}
}

func TestUnknownValuesInSentences(t *testing.T) {
	p := compile(t, rulesOf(`{name: a, when: 'true', do: discard, because: '{{spf.result}} {{dkim.result}} {{spf.error}} {{message.received}} {{content.defects}} {{message.size / 2}}'}`),
		func(o *Options) { o.Off = []string{"dkim"} })
	f := factMap{"spf": errTest, "message": messageFacts{Received: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)), Size: 5},
		"content": contentFacts{Defects: []string{"a", "b"}}}
	if v := decide(t, p, f); v.Because != "unknown unknown it broke 2026-01-02T02:04:05Z a, b 2.5" {
		t.Errorf("%q", v.Because)
	}
}

// TestSentencesWaitForTheirFacts: else the sentence would depend on timing.
func TestSentencesWaitForTheirFacts(t *testing.T) {
	p := compile(t, rulesOf(`{name: a, when: client.trusted, do: discard, because: '{{dkim.result}}'}`))
	if _, w := p.Decide(factMap{"client": clientFacts{Trusted: true}}); !slices.Equal(w, []string{"dkim"}) {
		t.Errorf("waits for %v", w)
	}
	if v, w := p.Decide(factMap{"client": clientFacts{}}); w != nil || v.Do != Deliver {
		t.Errorf("waits for %v", w)
	}
	if n := p.Needs(); !slices.Equal(n, []string{"client", "dkim"}) {
		t.Errorf("needs %v", n)
	}
}

func TestFromAndUntil(t *testing.T) {
	p := compile(t, rulesOf(`{name: a, when: 'true', do: discard, from: 2026-12-24, until: 2026-12-27T00:00:00+01:00}`))
	if !slices.Equal(p.Needs(), []string{"message"}) {
		t.Errorf("needs %v", p.Needs())
	}
	if _, w := p.Decide(factMap{}); !slices.Equal(w, []string{"message"}) {
		t.Errorf("waits for %v", w)
	}
	for s, want := range map[string]Disposition{
		"2026-12-23T23:59:59Z": Deliver, "2026-12-24T00:00:00Z": Discard,
		"2026-12-26T22:59:59Z": Discard, "2026-12-26T23:00:00Z": Deliver,
	} {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		if v := decide(t, p, factMap{"message": messageFacts{Received: at}}); v.Do != want {
			t.Errorf("%s: %v", s, v.Do)
		}
	}
}

func TestFilesAreReadInOrderAndBuiltinStandsWhereItIsIncluded(t *testing.T) {
	rule := func(name string) string { return "rules: [{name: " + name + ", when: 'true', score: 1}]\n" }
	p, err := Compile([]Source{
		{"20.yaml", []byte("include: builtin\n" + rule("c"))}, {"30.yaml", []byte(rule("d"))}, {"10.yaml", []byte(rule("b"))}}, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range p.Rules() {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); !strings.HasPrefix(got, "b denied dmarc-reject ") || !strings.HasSuffix(got, " too-big-to-scan c d") {
		t.Error(got)
	}
	q, err := Compile([]Source{{"a.yaml", []byte(rule("c") + "include: builtin\n")}}, testOptions())
	if err != nil || q.Rules()[0].Name != "c" {
		t.Error(err)
	}
	if p.Version() == q.Version() || len(p.Version()) != 12 {
		t.Error("versions", p.Version(), q.Version())
	}
	_, err = Compile([]Source{{"a.yaml", []byte("include: builtin\n")}, {"b.yaml", []byte("include: builtin\n")}}, testOptions())
	if err == nil || !strings.Contains(err.Error(), "included twice") {
		t.Error(err)
	}
	if p, err := Compile(nil, testOptions()); err != nil || decide(t, p, factMap{}).Because != noObjection {
		t.Error("no files", err)
	}
}

func TestVersionIsOfAllThatMatters(t *testing.T) {
	base := rulesOf("name: a\n    when: inList(client.helo, 'partners.txt')\n    do: discard")
	seen := make(map[string]string)
	for name, change := range map[string]func(*Options){
		"as is": func(*Options) {}, "off": func(o *Options) { o.Off = []string{"dkim"} }, "defer": func(o *Options) { o.Defer = nil },
		"list": func(o *Options) {
			f := listFiles()
			f["partners.txt"].Data = []byte("other.example\n")
			o.Files = f
		},
	} {
		v := compile(t, base, func(o *Options) { o.Files = listFiles(); change(o) }).Version()
		if seen[v] != "" {
			t.Errorf("%s and %s are both %s", name, seen[v], v)
		}
		seen[v] = name
	}
}

func TestShadowNeeds(t *testing.T) {
	p := compile(t, `rules:
  - {name: a, when: client.trusted and rcpt.local == "a", do: discard, shadow: true}
  - {name: b, when: client.trusted, do: deliver}
`)
	if n := p.Needs(); !slices.Equal(n, []string{"client"}) {
		t.Errorf("needs %v", n)
	}
	if n := p.ShadowNeeds(); !slices.Equal(n, []string{"rcpt"}) {
		t.Errorf("shadow rules need %v", n)
	}
}

func TestRuleInfoAndTests(t *testing.T) {
	p := compile(t, `rules:
  - name: a
    when: spf.result == "x" and dkim.result == "pass"
    do: reject
    reply: 550 no {{rcpt.address}}
tests:
  - name: t
    facts: {spf: {result: fail}, content: {from: [{name: A}], headers: {x: [a, b]}}, message: {size: 5}}
    expect: {do: deliver, rule: "", score: 0, effects: [tag_subject('x')]}
`, func(o *Options) { o.Off = []string{"dkim"} })
	r := p.Rules()[0]
	if r.Line != 2 || r.File != "test.yaml" || !slices.Equal(r.Needs, []string{"rcpt", "spf"}) || !slices.Equal(r.Off, []string{"dkim"}) || r.Class != "policy" {
		t.Errorf("%+v", r)
	}
	x := p.Tests()[0]
	if fmt.Sprint(x.Facts) != "map[content:map[from:[map[name:A]] headers:map[x:[a b]]] message:map[size:5] spf:map[result:fail]]" ||
		*x.Expect.Rule != "" || *x.Expect.Score != 0 || x.Expect.Effects[0] != `tag_subject("x")` || x.Expect.Do != Deliver || x.Line != 7 {
		t.Errorf("%+v", x)
	}
}
