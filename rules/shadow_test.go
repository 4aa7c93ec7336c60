package rules

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestAlternate(t *testing.T) {
	const quarantine, deliver = "do: quarantine", "do: deliver"
	shadow := func(name, when, does string) string {
		return fmt.Sprintf("name: %s\n    when: '%s'\n    shadow: true\n    %s", name, when, does)
	}
	live := func(name, when, does string) string {
		return fmt.Sprintf("{name: %s, when: '%s', %s}", name, when, does)
	}
	for _, c := range []struct {
		what  string
		rules []string
		facts factMap
		want  string
	}{
		{"no shadow rule matches", []string{shadow("s", "false", quarantine)}, factMap{}, "nothing"},
		{"one would hold", []string{shadow("s", "true", quarantine)}, factMap{}, "quarantine by s: rule s matched"},
		{"one would let pass", []string{shadow("s", "true", deliver), live("a", "true", quarantine)}, factMap{}, "deliver by s: rule s matched"},
		{"the same comes of it", []string{shadow("s", "true", quarantine), live("a", "true", quarantine)}, factMap{}, "nothing"},
		{"behind the rule that decides", []string{live("a", "true", deliver), shadow("s", "true", quarantine)}, factMap{}, "nothing"},
		{"the first of two", []string{shadow("s", "true", quarantine), shadow("u", "true", "do: reject")}, factMap{}, "quarantine by s: rule s matched"},
		{"a score", []string{shadow("s", "true", "score: 3"), live("a", "score > 2", quarantine)}, factMap{}, "quarantine by s: rule a matched"},
		{"a score takes away", []string{live("b", "true", "score: 3"), shadow("s", "true", "score: -2"), live("a", "score > 2", quarantine)}, factMap{}, "deliver by s: no rule objected"},
		{"a score, and what is behind", []string{live("b", "true", "score: 3"), shadow("s", "true", "score: -2"), live("a", "score > 2", quarantine), live("c", "true", "do: discard")}, factMap{}, "discard by s: rule c matched"},
		{"a score, and what is behind is not known", []string{live("b", "true", "score: 3"), shadow("s", "true", "score: -2"), live("a", "score > 2", quarantine), live("c", "clamav.infected", "do: discard")},
			factMap{"clamav": notThere}, "nothing"},
		{"not decided", []string{shadow("s", "clamav.infected", quarantine)}, factMap{"clamav": notThere}, "nothing"},
		{"one is not decided, the next is", []string{shadow("s", "clamav.infected", quarantine), shadow("u", "true", "do: reject")}, factMap{"clamav": notThere}, "reject by u: rule u matched"},
		{"a filter without an answer", []string{shadow("s", "clamav.infected", quarantine)}, factMap{"clamav": errTest}, "defer by s: clamav gave no answer"},
		{"it breaks", []string{shadow("s", `content.from[0].domain == "x"`, "do: reject")}, factMap{}, "quarantine by s: rule s could not be evaluated for this message"},
		{"effects", []string{shadow("s", "true", `effects: ["tag_subject('x')"]`)}, factMap{}, "deliver by s: no rule objected [tag_subject]"},
		{"effects of what is not delivered", []string{shadow("s", "true", `effects: ["tag_subject('x')"]`), live("a", "true", quarantine)}, factMap{}, "nothing"},
		{"effects and then do", []string{shadow("s", "true", `effects: ["tag_subject('x')"]`), shadow("u", "true", quarantine)}, factMap{}, "quarantine by u: rule u matched"},
	} {
		p := compile(t, rulesOf(c.rules...))
		f := c.facts.all()
		for name, v := range f {
			if v == notThere {
				delete(f, name)
			}
		}
		v := decide(t, p, f)
		got := "nothing"
		if a := v.Shadow; a != nil {
			got = fmt.Sprintf("%v by %s: %s", a.Do, a.Rule, a.Because)
			if len(a.Effects) > 0 {
				got += fmt.Sprint(" ", a.Effects)
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

var notThere any = "not there"

// TestTheAlternateIsTheVerdictOfLiveRules: what is told of shadow rules is what the same rules
// decide once they are live.
func TestTheAlternateIsTheVerdictOfLiveRules(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 4))
	differ := 0
	for range 2000 {
		text := randomRules(r)
		p, live := compile(t, text), compile(t, strings.ReplaceAll(text, "    shadow: true\n", ""))
		full := randomFacts(r)
		v, want := decide(t, p, full), decide(t, live, full)
		got := v.Do
		if v.Shadow != nil {
			got = v.Shadow.Do
			differ++
			if i := slices.IndexFunc(p.Rules(), func(r RuleInfo) bool { return r.Name == v.Shadow.Rule }); i < 0 || !p.Rules()[i].Shadow {
				t.Fatalf("%q is no shadow rule\n%s", v.Shadow.Rule, text)
			}
		}
		if got != want.Do || v.Shadow != nil && v.Shadow.Do != v.Do && v.Shadow.Because != want.Because {
			t.Fatalf("shadow %+v of %s\nlive %s\n%s", v.Shadow, outcome(v), outcome(want), text)
		}
	}
	if differ < 100 {
		t.Errorf("the test is too weak: %d differ", differ)
	}
}

func TestShadowFilesAndGather(t *testing.T) {
	p := compile(t, "rules:\n  - {name: a, when: clamav.infected, do: reject}\n  - {name: b, when: spf.result == 'x', gather: true, do: reject}\ngather: false\nshadow: true\n")
	for i, want := range []bool{false, true} {
		if r := p.Rules()[i]; !r.Shadow || r.Gather != want {
			t.Errorf("%+v", r)
		}
	}
	if fmt.Sprint(p.Needs(), p.GatherNeeds(), p.ShadowNeeds()) != "[spf] [spf] [clamav]" {
		t.Error(p.Needs(), p.GatherNeeds(), p.ShadowNeeds())
	}
	v := decide(t, p, factMap{})
	if fmt.Sprint(v.Wants) != "[clamav spf]" || v.Do != Deliver || v.Shadow != nil {
		t.Errorf("%+v", v)
	}
	if v = decide(t, p, factMap{"clamav": clamavFacts{}, "spf": resultFacts{Result: "x"}}); v.Wants != nil || v.Shadow == nil || v.Shadow.Rule != "b" {
		t.Errorf("%+v", v)
	}
	for text, want := range map[string]string{
		"shadow: maybe\nrules: []":       "shadow is true or false",
		"shadow: true\ninclude: builtin": "cannot include the built-in rules",
		"shadow: true\nrules:\n  - {name: a, when: client.trusted, do: reject, shadow: false}": "the whole file is a shadow",
		"rules:\n  - {name: a, when: client.trusted, do: reject, gather: true}":                "gather is for shadow rules",
	} {
		if _, err := Compile([]Source{{"a.yaml", []byte(text)}}, Options{Vocabulary: testVocabulary()}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
