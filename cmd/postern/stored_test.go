package main

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	fast "github.com/segmentio/encoding/json"

	"postern/filters"
	"postern/journal"
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
			randomFact(r, facts)
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

func randomFact(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if _, ok := v.Interface().(time.Time); ok {
			v.Set(reflect.ValueOf(time.Unix(r.Int64N(1<<33), r.Int64N(1e9)).UTC()))
			return
		}
		for i := range v.NumField() {
			randomFact(r, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			randomFact(r, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(3) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			randomFact(r, key)
			randomFact(r, value)
			v.SetMapIndex(key, value)
		}
	case reflect.String:
		texts := []string{"", "pass", "a <b> & \"c\"\\", "\x00\x1f\x7f\u2028\u2029", "\\\"}{][", "üñ 🙂"}
		v.SetString(texts[r.IntN(len(texts))])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64N(1<<40) - r.Int64N(1<<40))
	case reflect.Float64:
		v.SetFloat(r.NormFloat64() * 1e6)
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
