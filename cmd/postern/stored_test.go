package main

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	fast "github.com/segmentio/encoding/json"

	"postern/filters"
	"postern/journal"
	"postern/testkit"
)

// TestFactsAreReadAsTheyWereWritten: what the journal has of any facts is decoded to what they
// were, all of them or only those that are asked for; what it does not keep is told to be missing.
func TestFactsAreReadAsTheyWereWritten(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	fs := filterList(defaultConfig(), outside{})
	all := newFactReader(fs, nil)
	for name, zero := range filters.Vocabulary() {
		for range 300 {
			facts := reflect.New(reflect.TypeOf(zero)).Elem()
			testkit.Fill(r, facts, "", "pass", "a <b> & \"c\"\\", "\x00\x1f\x7f\u2028\u2029", "\\\"}{][", "üñ 🙂")
			if c, ok := facts.Addr().Interface().(interface{ Restore() }); ok { // one of them is made of another
				facts.FieldByName("Header").SetZero()
				c.Restore()
			}
			var kept any = facts.Interface()
			if brief, ok := kept.(interface{ Abridged() any }); ok {
				kept = brief.Abridged()
			}
			text, err := fast.Append(nil, kept, 0)
			if err != nil {
				t.Fatal(err)
			}
			asked := []string{}
			for i := range facts.NumField() {
				if fact := facts.Type().Field(i).Tag.Get("expr"); r.IntN(4) == 0 {
					asked = append(asked, fact)
				}
			}
			compareFacts(t, all.plans[name], facts, text, nil)
			compareFacts(t, newFactReader(fs, map[string][]string{name: asked}).plans[name], facts, text, asked)
		}
	}
}

func compareFacts(t *testing.T, p *factPlan, want reflect.Value, text []byte, asked []string) {
	t.Helper()
	var f storedFact
	if err := p.decode(journal.Raw(text), &f); err != nil || !f.known {
		t.Fatalf("%s: %v\n%s", p.name, err, text)
	}
	got := reflect.ValueOf(f.value)
	for i := range want.NumField() {
		fact := want.Type().Field(i).Tag.Get("expr")
		if p.gone[fact] || asked != nil && !slices.Contains(asked, fact) && fact != "error" {
			continue
		}
		a, errA := json.Marshal(got.Field(i).Interface())
		b, errB := json.Marshal(want.Field(i).Interface())
		if empty := want.Field(i).Kind() == reflect.Slice || want.Field(i).Kind() == reflect.Map; errA != nil || errB != nil || string(a) != string(b) && !(empty && want.Field(i).Len() == 0 && got.Field(i).Len() == 0) {
			t.Fatalf("%s.%s is %s, was %s\n%s", p.name, fact, a, b, text)
		}
	}
	if failed := want.FieldByName("Error").String(); (f.err == nil) != (failed == "") {
		t.Fatalf("%s: error %v of %q", p.name, f.err, failed)
	}
	if len(f.lacks) > 0 {
		t.Fatalf("%s lacks %v\n%s", p.name, f.lacks, text)
	}
}

// TestFactsOfAnOlderVersionAreMissing: a fact that was not known when an entry was written is
// not taken for an empty one.
func TestFactsOfAnOlderVersionAreMissing(t *testing.T) {
	p := newFactReader(nil, map[string][]string{"dmarc": {"result", "policy", "reason"}}).plans["dmarc"]
	var f storedFact
	if err := p.decode(journal.Raw(`{"result":"fail","domain":"x.example"}`), &f); err != nil || !slices.Equal(f.lacks, []string{"policy"}) {
		t.Errorf("%v, lacks %v", err, f.lacks)
	}
	for _, broken := range []string{`{"result":"fail","aligned_spf":true,"policy":"x","from_count":"many"}`, `{"result":7}`} {
		p := newFactReader(nil, nil).plans["dmarc"]
		if err := p.decode(journal.Raw(broken), &f); err == nil {
			t.Errorf("%s is read", broken)
		}
	}
}

func TestAbridgedFacts(t *testing.T) {
	gone := newFactReader(nil, nil).plans["content"].gone
	if !gone["text"] || !gone["html"] || gone["subject"] || gone["header"] {
		t.Errorf("%v", gone)
	}
}
