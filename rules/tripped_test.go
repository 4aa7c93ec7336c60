package rules

import (
	"reflect"
	"strings"
	"testing"
)

const trippedRules = `rules:
  - {name: spammy, when: 'client.helo == "spam"', class: spam, do: quarantine, because: spam, effects: ['add_header("X-Spam", "yes")']}
  - {name: points, when: 'client.helo == "spam"', score: 2}
  - {name: later, when: 'score > 1 and sender.domain == "bad.example"', class: spoof, do: reject, because: bad}
  - {name: late, when: 'content.subject == "x"', class: spam, do: reject, because: x}
`

// A rule whose breaker is open is looked at and told, but has no say and no effects; the rules
// behind it go on. Nothing changes for the policy itself.
func TestTripped(t *testing.T) {
	p := compile(t, trippedRules)
	open := p.Tripped([]string{"spammy", "late"})
	if !strings.HasPrefix(open.Version(), p.Version()+"!") || p.Tripped(nil) != p {
		t.Errorf("versions %s and %s", p.Version(), open.Version())
	}
	if !reflect.DeepEqual(p.Needs(), open.Needs()) {
		t.Errorf("needs %v, want %v", open.Needs(), p.Needs())
	}
	spam := mustFacts(t, map[string]map[string]any{"client": {"helo": "spam"}})
	v, waiting := open.Decide(spam)
	if waiting != nil || v.Do != Deliver || v.Rule != "" || v.Score != 2 || !reflect.DeepEqual(v.Breaker, []string{"spammy"}) ||
		!reflect.DeepEqual(v.Effects, []Effect{{Name: "add_header", Args: []string{BreakerHeader, "spammy"}}}) {
		t.Errorf("%+v, waiting for %v", v, waiting)
	}
	if s := v.Steps[0]; !s.Breaker || !s.Matched || s.Shadow {
		t.Errorf("step %+v", s)
	}
	v, _ = open.Decide(mustFacts(t, map[string]map[string]any{"client": {"helo": "spam"}, "sender": {"domain": "bad.example"}}))
	if v.Do != Reject || v.Rule != "later" || !reflect.DeepEqual(v.Breaker, []string{"spammy"}) {
		t.Errorf("%+v", v)
	}
	if v, _ := p.Decide(spam); v.Do != Quarantine || v.Rule != "spammy" || v.Breaker != nil || v.Steps[0].Breaker {
		t.Errorf("the policy itself: %+v", v)
	}
	// It is waited for all the same, so that mail is tagged and the breaker can see calm.
	some := testFacts{}
	for name, v := range mustFacts(t, nil).(testFacts) {
		if name != "content" {
			some[name] = v
		}
	}
	if _, waiting := open.Decide(some); !reflect.DeepEqual(waiting, []string{"content"}) {
		t.Errorf("waiting for %v", waiting)
	}
}

// An open breaker is no way round a scanner that is dead.
func TestTrippedIsNotOpenToOutages(t *testing.T) {
	p := compile(t, "rules: [{name: av, when: clamav.infected, class: policy, do: quarantine}, {name: broken, when: 'content.from[0].domain == \"x\"', class: policy, do: reject}]").Tripped([]string{"av", "broken"})
	if v, _ := p.Decide(factMap{"clamav": errTest}.all()); v.Do != Defer || v.Rule != "av" {
		t.Errorf("%+v", v)
	}
	if v, _ := p.Decide(mustFacts(t, nil)); v.Do != Quarantine || v.Rule != "broken" {
		t.Errorf("%+v", v)
	}
	if v, _ := p.Decide(mustFacts(t, map[string]map[string]any{"clamav": {"infected": true}, "content": {"from": []any{map[string]any{"domain": "y"}}}})); v.Do != Deliver || len(v.Breaker) != 1 {
		t.Errorf("%+v", v)
	}
}

func mustFacts(t *testing.T, said map[string]map[string]any) Facts {
	t.Helper()
	f, err := (&Test{Facts: said}).Over(testVocabulary(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestBreakerKey(t *testing.T) {
	info := compile(t, "rules: [{name: a, when: true, do: quarantine, breaker: alarm}, {name: b, when: true, do: reject}]").Rules()
	if info[0].Breaker != "alarm" || info[1].Breaker != "" {
		t.Errorf("%+v", info)
	}
	for text, want := range map[string]string{
		"rules: [{name: a, when: true, do: quarantine, breaker: alram}]": "did you mean alarm?",
		"rules: [{name: a, when: true, do: deliver, breaker: tag}]":      "keeps mail back",
		"rules: [{name: a, when: true, score: 1, breaker: tag}]":         "keeps mail back",
	} {
		if _, err := Compile([]Source{{"t.yaml", []byte(text)}}, testOptions()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
