package rules

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestFlips(t *testing.T) {
	const spoof = `{name: spoof, when: 'dmarc.result == "fail" and dmarc.policy in ["reject", "quarantine"]', do: quarantine}`
	for _, c := range []struct {
		rules []string
		facts factMap
		want  string
	}{
		{[]string{spoof}, factMap{"dmarc": resultFacts{Result: "fail", Policy: "reject"}},
			"dmarc.result: fail → pass gives deliver (no rule objects)|dmarc.policy: reject → none gives deliver (no rule objects)"},
		{[]string{spoof, `{name: proven, when: 'dmarc.result == "pass" and client.trusted', do: discard}`}, factMap{"dmarc": resultFacts{Result: "fail", Policy: "reject"}},
			"dmarc.result: fail → pass gives deliver (no rule objects)|dmarc.policy: reject → none gives deliver (no rule objects)"},
		{[]string{spoof}, factMap{"dmarc": resultFacts{Result: "pass", Policy: "reject"}}, "dmarc.result: pass → fail gives quarantine (rule spoof)"},
		{[]string{spoof}, factMap{"dmarc": resultFacts{Result: "pass", Policy: "none"}}, ""}, // two changes
		{[]string{spoof}, factMap{"dmarc": errTest}, ""},
		{[]string{`{name: big, when: message.size > 1000, do: reject}`}, factMap{"message": messageFacts{Size: 2000}}, "message.size: 2000 → 1000 gives deliver (no rule objects)"},
		{[]string{`{name: big, when: message.size > 1000, do: reject}`}, factMap{"message": messageFacts{Size: 9}}, "message.size: 9 → 1001 gives reject (rule big)"},
		{[]string{`{name: v, when: clamav.infected, do: quarantine}`}, factMap{}, "clamav.infected: false → true gives quarantine (rule v)"},
		{[]string{`{name: exe, when: 'any(content.attachments, .name endsWith ".exe")', do: quarantine}`}, factMap{"content": contentFacts{Attachments: []attachment{{Name: "a.exe"}}}},
			"content.attachments: 1 of them → none gives deliver (no rule objects)"},
		{[]string{`{name: exe, when: 'any(content.attachments, .name endsWith ".exe")', do: quarantine}`}, factMap{},
			`any(content.attachments, .name endsWith ".exe") being true gives quarantine (rule exe)`},
		{[]string{`{name: p, when: 'inNetwork(client.addr, "192.0.2.0/24")', do: deliver}`, `{name: no, when: 'true', do: reject}`}, factMap{"client": clientFacts{Addr: "192.0.2.7"}},
			"client.addr: 192.0.2.7 → something else gives reject (rule no)"},
		{[]string{`{name: a, when: spf.result == "fail", score: 2}`, `{name: b, when: content.gtube, score: 3}`, `{name: c, when: score > 4, do: quarantine}`},
			factMap{"spf": resultFacts{Result: "fail"}, "content": contentFacts{Gtube: true}}, "spf.result: fail → pass gives deliver (no rule objects)|content.gtube: true → false gives deliver (no rule objects)"},
		{[]string{`{name: nearest, when: 'client.trusted and content.gtube', do: reject}`, `{name: near, when: content.malformed, do: quarantine}`}, factMap{"client": clientFacts{Trusted: true}},
			"content.gtube: false → true gives reject (rule nearest)|content.malformed: false → true gives quarantine (rule near)"},
		{[]string{`{name: s, when: content.gtube, do: reject, shadow: true}`}, factMap{}, ""},
		{[]string{`{name: a, when: "content.subject matches '^x'", do: reject}`}, factMap{"content": contentFacts{Subject: "xy"}}, "content.subject: xy → something else gives deliver (no rule objects)"},
		{nil, factMap{}, ""},
	} {
		text := rulesOf(c.rules...)
		if c.rules == nil {
			text = "rules: []"
		}
		var got []string
		for _, f := range compile(t, text).Flips(c.facts.all(), 3) {
			got = append(got, f.String())
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%v with %v:\n%s, want\n%s", c.rules, c.facts, s, c.want)
		}
	}
}

// TestFlipsAreTrue: each change that is named leads to what is said of it, and nothing is said
// of facts that nobody knows.
func TestFlipsAreTrue(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	facts, leaves := 0, 0
	for range 500 {
		p := compile(t, randomRules(r))
		full := randomFacts(r)
		for name := range full {
			if r.IntN(8) == 0 {
				delete(full, name)
			}
		}
		v, missing := p.Replay(full)
		before := fmt.Sprint(full)
		for _, f := range p.Flips(full, 3) {
			if missing != nil || f.Do == v.Do {
				t.Fatalf("%+v of %s, missing %v", f, outcome(v), missing)
			}
			if f.Fact == "" {
				leaves++
				continue
			}
			facts++
			filter, _, _ := strings.Cut(f.Fact, ".")
			if _, _, known := full.Lookup(filter); !known {
				t.Fatalf("%s is not known", f.Fact)
			}
		}
		if after := fmt.Sprint(full); after != before {
			t.Fatalf("the facts were changed:\n%s\n%s", before, after)
		}
	}
	if facts < 100 || leaves < 50 {
		t.Errorf("the test is too weak: %d facts, %d sub-expressions", facts, leaves)
	}
}
