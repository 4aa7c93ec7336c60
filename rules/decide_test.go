package rules

import (
	"slices"
	"testing"
)

func rulesOf(list ...string) string {
	s := "rules:\n"
	for _, r := range list {
		s += "  - " + r + "\n"
	}
	return s
}

func decide(t *testing.T, p *Policy, f Facts) Verdict {
	t.Helper()
	v, waiting := p.Decide(f)
	if waiting != nil {
		t.Fatalf("waits for %v", waiting)
	}
	return v
}

func TestFirstMatchDecides(t *testing.T) {
	p := compile(t, rulesOf(
		`{name: a, when: spf.result == "fail", score: 2.5}`,
		`{name: b, when: score >= 2.5 and dmarc.result == "fail", do: quarantine, class: spoof, because: "{{dmarc.domain}} scored {{score}}"}`,
		`{name: c, when: "true", do: reject, reply: "550 5.7.1 no, {{sender.address}}"}`))
	v := decide(t, p, factMap{"spf": resultFacts{Result: "fail"}, "dmarc": resultFacts{Result: "fail", Domain: "x.example"}}.all())
	if v.Do != Quarantine || v.Rule != "b" || v.Class != "spoof" || v.Because != "x.example scored 2.5" || v.Score != 2.5 || len(v.Steps) != 2 {
		t.Errorf("%+v", v)
	}
	v = decide(t, p, factMap{"sender": addressFacts{Address: "a\r\nb@x.example"}}.all())
	if v.Do != Reject || v.Rule != "c" || v.Reply.String() != "550 5.7.1 no, a b@x.example" || v.Because != "rule c matched" {
		t.Errorf("%+v", v)
	}
}

func TestWaitingNamesOnlyWhatCanMatter(t *testing.T) {
	for _, c := range []struct {
		when  string
		facts factMap
		wait  []string
	}{
		{`clamav.infected and spf.result == "fail"`, factMap{}, []string{"clamav"}},
		{`clamav.infected and spf.result == "fail"`, factMap{"spf": resultFacts{}}, nil},
		{`clamav.infected or spf.result == "fail"`, factMap{"spf": resultFacts{Result: "fail"}}, nil},
		{`spf.result == "fail" and clamav.infected`, factMap{"spf": resultFacts{Result: "fail"}}, []string{"clamav"}},
		{`not (spf.result == "fail" and clamav.infected)`, factMap{"spf": resultFacts{}}, nil},
		{`spf.result == "fail" and clamav.infected`, factMap{"spf": errTest}, nil}, // unknown at best
		{`clamav.infected and spf.result == "fail"`, factMap{"spf": errTest}, nil},
		{`spf.result == dmarc.result`, factMap{}, []string{"dmarc", "spf"}},
		{`spf.error == "" and clamav.error == ""`, factMap{}, []string{"spf"}},
		{`true or clamav.infected`, factMap{}, nil},
		{`(true ? spf.result : clamav.signature) == "fail"`, factMap{}, []string{"spf", "clamav"}},
	} {
		p := compile(t, rulesOf("name: a\n    when: '"+c.when+"'\n    do: discard"))
		_, waiting := p.Decide(c.facts)
		slices.Sort(waiting)
		slices.Sort(c.wait)
		if !slices.Equal(waiting, c.wait) {
			t.Errorf("%s with %v waits for %v, want %v", c.when, c.facts, waiting, c.wait)
		}
	}
}
