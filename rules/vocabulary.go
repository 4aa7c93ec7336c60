package rules

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A Vocabulary names the facts that rules can read: filter name → zero value of its facts.
type Vocabulary map[string]any

// A Fact describes one fact.
type Fact struct {
	Name string `json:"name"` // as rules write it; [] is each element of a list
	Type string `json:"type"`
	Doc  string `json:"doc"`

	Values  []string `json:"values,omitempty"` // all that it can be, besides the empty text
	Example string   `json:"example"`          // a condition that reads it
}

// Describe lists every fact of v by name.
func Describe(v Vocabulary) []Fact {
	var out []Fact
	for _, name := range v.names() {
		out = describe(out, name, reflect.TypeOf(v[name]), 0)
	}
	return out
}

func (v Vocabulary) names() []string {
	names := make([]string, 0, len(v))
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// maxFactDepth bounds structs in lists in structs.
const maxFactDepth = 5

func describe(out []Fact, prefix string, t reflect.Type, depth int) []Fact {
	if t == nil || t.Kind() != reflect.Struct || depth > maxFactDepth {
		return out
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("expr")
		if !f.IsExported() || name == "-" || name == "" {
			continue
		}
		name = prefix + "." + name
		out = append(out, Fact{Name: name, Type: typeName(f.Type), Doc: f.Tag.Get("doc"),
			Values: strings.Fields(f.Tag.Get("enum")), Example: example(name, f)})
		inner, mark := f.Type, ""
		for inner.Kind() == reflect.Slice {
			inner, mark = inner.Elem(), mark+"[]"
		}
		if inner != timeType {
			out = describe(out, name+mark, inner, depth+1)
		}
	}
	return out
}

// typeName says a type in the words of the documentation.
func typeName(t reflect.Type) string {
	switch k := t.Kind(); {
	case t == timeType:
		return "time"
	case t.PkgPath() == "time" && t.Name() == "Duration":
		return "duration"
	case k == reflect.Slice || k == reflect.Array:
		return "list of " + typeName(t.Elem())
	case k == reflect.Map:
		return "map of " + typeName(t.Elem())
	case k == reflect.Struct:
		return "group"
	case k >= reflect.Int && k <= reflect.Uint64:
		return "int"
	case k == reflect.Float32 || k == reflect.Float64:
		return "float"
	case k == reflect.Interface:
		return "a value of unknown type"
	}
	return t.Kind().String()
}

// factNames lists the names of a struct's facts.
func factNames(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("expr"); name != "" && name != "-" && t.Field(i).IsExported() {
			out = append(out, name)
		}
	}
	return out
}

// check refuses facts that are not plain data: a mistake of the program, not of a rule.
func (v Vocabulary) check() error {
	for _, name := range v.names() {
		if name == scoreWord || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_0123456789") != "" {
			return fmt.Errorf("rules: %q cannot be the name of a filter", name)
		}
		t := reflect.TypeOf(v[name])
		if t == nil || t.Kind() != reflect.Struct {
			return fmt.Errorf("rules: the facts of %s are %v, not a struct", name, t)
		}
		if err := checkPlain(t, 0); err != nil {
			return fmt.Errorf("rules: the facts of %s: %w", name, err)
		}
	}
	return nil
}

func checkPlain(t reflect.Type, depth int) error {
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return nil
	case reflect.Slice:
		return checkPlain(t.Elem(), depth)
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return fmt.Errorf("%v: keys must be strings", t)
		}
		return checkPlain(t.Elem(), depth)
	case reflect.Struct:
		if t == timeType {
			return nil
		}
		if depth > maxFactDepth {
			return fmt.Errorf("%v: nested too deeply", t)
		}
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() || f.Tag.Get("expr") == "-" {
				continue
			}
			if f.Tag.Get("expr") == "" || f.Anonymous {
				return fmt.Errorf("field %s has no expr tag", f.Name)
			}
			if err := checkPlain(f.Type, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%v is not plain data", t)
}
