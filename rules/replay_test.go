package rules

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestReplayIsTheDecision: with the facts that a decision had, and with any that came too late
// for it, Replay gives the same verdict; with fewer it gives it too, or says what is missing.
func TestReplayIsTheDecision(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 17))
	undecidable, decided := 0, 0
	for round := range 2000 {
		text := randomRules(r)
		p := compile(t, text)
		full := randomFacts(r)
		want := decide(t, p, full)
		same := func(v Verdict) bool {
			return v.Do == want.Do && v.Rule == want.Rule && v.Class == want.Class && v.Score == want.Score
		}
		if v, missing := p.Replay(full); missing != nil || !same(v) || v.Because != want.Because {
			t.Fatalf("round %d: %s, missing %v, want %s\n%s", round, outcome(v), missing, outcome(want), text)
		}
		known := maps.Clone(full)
		for len(known) > 0 {
			names := slices.Sorted(maps.Keys(known))
			delete(known, names[r.IntN(len(names))])
			v, missing := p.Replay(known)
			if missing == nil {
				decided++
				if !same(v) {
					t.Fatalf("round %d: with %v only %s, want %s\n%s", round, names, outcome(v), outcome(want), text)
				}
				continue
			}
			undecidable++
			for _, m := range missing {
				if _, there := known[m]; there {
					t.Fatalf("round %d: %s is not missing", round, m)
				}
			}
		}
	}
	if undecidable < 1000 || decided < 1000 {
		t.Errorf("the test is too weak: %d decided with less, %d not", decided, undecidable)
	}
}

// sparse are facts of which some were not kept.
type sparse struct {
	factMap
	gone map[string]bool
}

func (s sparse) Partial() bool                  { return len(s.gone) > 0 }
func (s sparse) Lacks(filter, fact string) bool { return s.gone[filter+"."+fact] }

func TestFactsThatWereNotKept(t *testing.T) {
	p := compile(t, rulesOf(
		`{name: words, when: 'content.gtube and content.subject contains "x"', do: reject}`,
		`{name: bad, when: content.malformed, do: quarantine, because: "{{content.subject}}"}`))
	for _, c := range []struct {
		content contentFacts
		gone    []string
		want    string
	}{
		{contentFacts{Gtube: true, Subject: "x"}, nil, "reject []"},
		{contentFacts{Gtube: true, Subject: "x"}, []string{"content.subject"}, "none [content.subject]"},
		{contentFacts{Subject: "x"}, []string{"content.subject"}, "deliver []"},
		{contentFacts{Malformed: true}, []string{"content.subject"}, "quarantine []"},
		{contentFacts{Gtube: true, Subject: "x"}, []string{"content.gtube", "content.subject"}, "none [content.gtube]"},
		{contentFacts{Subject: "x"}, []string{"content.gtube"}, "none [content.gtube]"},
	} {
		f := sparse{factMap{"content": c.content}.all(), map[string]bool{}}
		for _, g := range c.gone {
			f.gone[g] = true
		}
		v, missing := p.Replay(f)
		if fmt.Sprintf("%v %v", v.Do, missing) != c.want {
			t.Errorf("%+v without %v: %v %v, want %s", c.content, c.gone, v.Do, missing, c.want)
		}
		if _, waiting := p.Decide(f); (missing != nil) != (waiting != nil) || waiting != nil && waiting[0] != "content" {
			t.Errorf("%+v without %v waits for %v", c.content, c.gone, waiting)
		}
	}
	f := sparse{factMap{"content": errTest}.all(), map[string]bool{"content.subject": true, "content.gtube": true}}
	if v, missing := p.Replay(f); v.Do != Deliver || missing != nil {
		t.Errorf("a failure lacks nothing: %v %v", v.Do, missing)
	}
}

func TestReads(t *testing.T) {
	p := compile(t, `rules:
  - {name: a, when: 'spf.result == "fail" and any(content.from, .domain == dmarc.domain)', score: 1, because: '{{client.helo}}'}
  - {name: b, when: 'content.header["x"] != "" and clamav.error == ""', shadow: true, do: reject, from: 2020-01-01}
  - {name: c, when: 'score > 2', do: reject, reply: '550 5.7.1 {{sender.address}}'}
  - {name: d, when: 'true', effects: [add_header("X", "{{dkim.result}}")]}
`)
	if got := fmt.Sprint(p.Reads()); got != "map[client:[helo] content:[from header] dkim:[result] dmarc:[domain] message:[received] sender:[address] spf:[result]]" {
		t.Error(got)
	}
}
