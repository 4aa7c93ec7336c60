package main

import (
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/segmentio/encoding/json"

	"postern/filters"
	"postern/rules"
)

// A factTable tells people the values of the facts that a sub-expression names.
type factTable struct {
	facts      map[string]json.RawMessage // by filter
	vocabulary map[string]any
	abridged   bool // they are the journal's, which does not keep texts
}

func newFactTable(facts map[string]json.RawMessage) *factTable {
	return &factTable{facts: facts, vocabulary: filters.Vocabulary()}
}

var (
	quotedText = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\.)*'|`[^`]*`")
	factPath   = regexp.MustCompile(`\b([a-z_][a-z0-9_]*)\.([a-z_][a-z0-9_]*)(\[Q\])?`)
)

// A factValue is a fact that a sub-expression names.
type factValue struct {
	filter, name string // "spf", "spf.result"
	value        string
	gone         bool // value says why there is none
}

func (v *factValue) String() string {
	if v.gone {
		return v.name + ": " + v.value
	}
	return v.name + " = " + v.value
}

// values lists the facts that the text of a sub-expression names, each with its value.
func (t *factTable) values(text string) (out []string) {
	for _, v := range t.named(text) {
		out = append(out, v.String())
	}
	return out
}

func (t *factTable) named(text string) (out []factValue) {
	if t == nil {
		return nil
	}
	var quoted []string
	bare := quotedText.ReplaceAllStringFunc(text, func(s string) string { quoted = append(quoted, s); return "Q" })
	for _, m := range factPath.FindAllStringSubmatchIndex(bare, -1) {
		filter, fact := bare[m[2]:m[3]], bare[m[4]:m[5]]
		zero, ok := t.vocabulary[filter]
		if !ok || m[2] > 0 && bare[m[2]-1] == '.' {
			continue
		}
		key := ""
		if m[6] >= 0 {
			key, _ = strconv.Unquote(quoted[strings.Count(bare[:m[6]], "Q")])
		}
		if v, ok := t.value(zero, filter, fact, key); ok && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// value is one fact with its value, or one member of it.
func (t *factTable) value(zero any, filter, fact, key string) (v factValue, ok bool) {
	kind := reflect.TypeOf(zero)
	for i := range kind.NumField() {
		f := kind.Field(i)
		if f.Tag.Get("expr") != fact {
			continue
		}
		v = factValue{filter: filter, name: filter + "." + fact}
		raw, there := t.facts[filter]
		if !there {
			v.value, v.gone = "not gathered", true
			return v, true
		}
		whole := reflect.New(kind) // all of it, since some facts are made of others
		if json.Unmarshal(raw, whole.Interface()) != nil {
			return v, false
		}
		found := whole.Elem().Field(i)
		if t.abridged && found.IsZero() && abridgedFacts(zero)[fact] {
			v.value, v.gone = "not kept", true
			return v, true
		}
		if key != "" && f.Type.Kind() == reflect.Map {
			item := found.MapIndex(reflect.ValueOf(key))
			if !item.IsValid() {
				item = reflect.Zero(f.Type.Elem())
			}
			v.name += fmt.Sprintf("[%q]", key)
			found = item
		}
		v.value = valueWords(found)
		return v, true
	}
	return v, false
}

// valueWords writes the value of a fact on less than a line.
func valueWords(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		return clip(strconv.Quote(v.String()), 60)
	case reflect.Slice, reflect.Map:
		if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String && v.Len() > 0 {
			return clip(fmt.Sprintf("%q", v.Interface()), 60)
		}
		if v.Len() == 1 {
			return "1 entry"
		}
		return fmt.Sprintf("%d entries", v.Len())
	}
	return clip(fmt.Sprint(v.Interface()), 60)
}

// maxFlips is how many changes people are shown.
const maxFlips = 3

// printFlips names what would have turned a verdict.
func printFlips(w io.Writer, indent string, list []rules.Flip) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(w, indent+"one of these would have changed it")
	for i := range list {
		paragraph(w, indent+"  ", list[i].String())
	}
}
