package rules

import (
	"fmt"
	"testing"
)

// Numbers need no quotes, an optional argument may be left out, the last one may come again.
func TestArgumentsOfEffects(t *testing.T) {
	p := compile(t, rulesOf("name: a\n    when: 'true'\n    do: deliver\n    effects: [throttle(\"client\", 100), throttle(\"sender\", 10m), notify(\"a\"), notify(\"a\", \"{{score}}\"), strip(\"x\", \"y\", \"z\")]"))
	if got := fmt.Sprint(decide(t, p, factMap{}.all()).Effects); got != `[throttle("client", "100") throttle("sender", "10m") notify("a") notify("a", "0") strip("x", "y", "z")]` {
		t.Error(got)
	}
}

// What a sender chose never chooses more than the words of a text: not the field's name, nor an
// address.
func TestFixedArgumentsShowNoFacts(t *testing.T) {
	for _, call := range []string{`add_header("{{client.helo}}", "x")`, `remove_header("X{{client.helo}}")`, `notify("{{sender.address}}")`, `throttle("{{client.helo}}", 1)`} {
		if _, err := Compile([]Source{{Name: "a.yaml", Text: []byte(rulesOf("name: a\n    when: 'true'\n    effects: ['" + call + "']"))}}, testOptions()); err == nil {
			t.Errorf("%s is loaded", call)
		}
	}
}

func TestUsage(t *testing.T) {
	for want, e := range map[string]EffectSpec{
		"notify(address, [text])": {Name: "notify", Params: []Param{{Name: "address"}, {Name: "text", Optional: true}}},
		"strip(what, …)":          {Name: "strip", Params: []Param{{Name: "what", Many: true}}},
		"nothing()":               {Name: "nothing"},
	} {
		if got := e.Usage(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
