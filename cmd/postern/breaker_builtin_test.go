package main

import (
	"testing"

	"postern/breaker"
	"postern/filters"
	"postern/rules"
)

// Whoever is denied, forged or dangerous must not get through by sending much: of the built-in
// rules only the one about a test text may fall back to tagging.
func TestNobodyFloodsTheBuiltinRulesOpen(t *testing.T) {
	p, err := rules.Compile([]rules.Source{rules.Builtin()}, rules.Options{Vocabulary: filters.Vocabulary()})
	if err != nil {
		t.Fatal(err)
	}
	c := BreakerConf{Classes: []string{"spam", "policy"}}
	seen := 0
	for _, r := range c.watched(p.Rules()) {
		seen++
		if r.Mode != breaker.Alarm && r.Name != "gtube" {
			t.Errorf("%s: %s", r.Name, r.Mode)
		}
	}
	if seen < 10 {
		t.Errorf("only %d rules are watched", seen)
	}
}
