package main

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/segmentio/encoding/json"

	"postern/filters"
	"postern/journal"
	"postern/mail"
)

// A factReader turns what the journal keeps of facts into facts for rules. Of each filter it
// decodes only those that are asked for; the others stay zero. It may be used by several
// goroutines.
type factReader struct {
	plans map[string]*factPlan
}

// A factPlan says how to decode the facts of one filter.
type factPlan struct {
	name      string
	kind      reflect.Type
	fields    map[string]int  // of those asked for, by their name in JSON
	always    int             // how many of them are always written
	failed    int             // the field with the error; -1: none
	gone      map[string]bool // facts that the journal does not keep
	restored  bool            // one of those asked for is made of another
	said      bool            // the envelope tells them
	recipient bool            // each recipient has its own
	number    int
}

// newFactReader makes a reader of the facts that want lists by filter; nil: of all.
func newFactReader(fs []filters.Filter, want map[string][]string) *factReader {
	r := &factReader{plans: map[string]*factPlan{}}
	stages := map[string]filters.Filter{}
	for _, f := range fs {
		stages[f.Name] = f
	}
	vocabulary := filters.Vocabulary()
	for i, name := range slices.Sorted(maps.Keys(vocabulary)) {
		zero := vocabulary[name]
		p := &factPlan{name: name, kind: reflect.TypeOf(zero), fields: map[string]int{}, failed: -1, gone: abridgedFacts(zero),
			recipient: stages[name].Stage == mail.Recipient, number: i}
		asked := p.asked(zero, want)
		_, p.said = filters.Retell(name, &mail.Envelope{}, mail.Address{}, 0)
		for j := range p.kind.NumField() {
			f := p.kind.Field(j)
			inJSON, option, _ := strings.Cut(f.Tag.Get("json"), ",")
			fact := f.Tag.Get("expr")
			if fact == "error" {
				p.failed = j
			}
			if fact == "error" || asked == nil || slices.Contains(asked, fact) {
				p.fields[inJSON] = j
				if !strings.Contains(option, "omit") {
					p.always++
				}
			}
		}
		r.plans[name] = p
	}
	return r
}

// restorable are facts of which some are made of others, and need not be kept.
type restorable interface{ Restored() map[string]string }

// asked lists the facts to be decoded: those wanted, and those that they are made of; nil: all.
func (p *factPlan) asked(zero any, want map[string][]string) []string {
	r, ok := zero.(restorable)
	if want == nil {
		p.restored = ok
		return nil
	}
	asked := append([]string{}, want[p.name]...)
	if !ok {
		return asked
	}
	for fact, source := range r.Restored() {
		if slices.Contains(asked, fact) {
			p.restored, asked = true, append(asked, source)
		}
	}
	return asked
}

// abridgedFacts lists the facts that Abridged leaves out: texts of which it makes nothing.
func abridgedFacts(zero any) map[string]bool {
	_, ok := zero.(interface{ Abridged() any })
	if !ok {
		return nil
	}
	full := reflect.New(reflect.TypeOf(zero)).Elem()
	for i := range full.NumField() {
		if f := full.Field(i); f.Kind() == reflect.String {
			f.SetString("x")
		}
	}
	brief := reflect.ValueOf(full.Interface().(interface{ Abridged() any }).Abridged())
	gone := map[string]bool{}
	for i := range full.NumField() {
		if !full.Field(i).IsZero() && brief.Field(i).IsZero() {
			gone[full.Type().Field(i).Tag.Get("expr")] = true
		}
	}
	return gone
}

// decode reads the facts of a filter into f.
func (p *factPlan) decode(text journal.Raw, f *storedFact) error {
	v := reflect.New(p.kind).Elem()
	found := 0
	for name, raw := range text.Members() {
		i, ok := p.fields[string(name)]
		if !ok {
			continue
		}
		if err := setFact(v.Field(i), raw); err != nil {
			return fmt.Errorf("%s.%s: %w", p.name, name, err)
		}
		found++
	}
	if p.restored {
		v.Addr().Interface().(interface{ Restore() }).Restore()
	}
	if p.failed >= 0 {
		if why := v.Field(p.failed).String(); why != "" {
			f.err = errors.New(why)
		}
	}
	if f.value, f.known = v.Interface(), true; found < p.always {
		f.lacks = p.absent(text)
	}
	return nil
}

// absent lists the facts that are always written and are not in text: an earlier version of
// Postern did not know them.
func (p *factPlan) absent(text journal.Raw) (out []string) {
	there := map[string]bool{}
	for name := range text.Members() {
		there[string(name)] = true
	}
	for name, i := range p.fields {
		if f := p.kind.Field(i); !there[name] && !strings.Contains(f.Tag.Get("json"), ",omit") {
			out = append(out, f.Tag.Get("expr"))
		}
	}
	return out
}

func setFact(v reflect.Value, raw journal.Raw) error {
	switch {
	case v.Kind() == reflect.String && raw[0] == '"':
		v.SetString(raw.Text())
		return nil
	case v.Kind() == reflect.Bool:
		v.SetBool(raw[0] == 't')
		return nil
	case v.CanInt() && len(raw) < 18:
		n, err := strconv.ParseInt(string(raw), 10, 64)
		v.SetInt(n)
		return err
	}
	return json.Unmarshal(raw, v.Addr().Interface())
}
