package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
)

// Over gives the facts that a test decides on: those of base, zero values for filters that it
// lacks, and in their place what the test says. A fact "error" makes its filter one without an
// answer.
func (t *Test) Over(v Vocabulary, base map[string]any) (Facts, error) {
	out := testFacts{}
	for name, zero := range v {
		value, ok := base[name]
		if !ok {
			value = zero
		}
		if said := t.Facts[name]; said != nil {
			var err error
			if value, err = override(value, said); err != nil {
				return nil, fmt.Errorf("facts of %s: %w", name, err)
			}
		}
		out[name] = value
	}
	return out, nil
}

// override gives a copy of a facts struct with some of its facts replaced. Facts survive a JSON
// round trip, and their names there are those of rules.
func override(value any, said map[string]any) (any, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	all := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		return nil, err
	}
	for fact, v := range said {
		all[fact] = v
	}
	if text, err = json.Marshal(all); err != nil {
		return nil, err
	}
	out := reflect.New(reflect.TypeOf(value))
	d = json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var wrong *json.UnmarshalTypeError
	if err := d.Decode(out.Interface()); errors.As(err, &wrong) {
		return nil, fmt.Errorf("%s cannot be a %s", wrong.Field, wrong.Value)
	} else if err != nil {
		return nil, err
	}
	return out.Elem().Interface(), nil
}

// testFacts are facts by filter, all of them known.
type testFacts map[string]any

func (f testFacts) Lookup(name string) (value any, err error, known bool) {
	v, ok := f[name]
	if !ok {
		return nil, nil, false
	}
	if e := reflect.ValueOf(v).FieldByName("Error"); e.IsValid() && e.String() != "" {
		err = errors.New(e.String())
	}
	return v, err, true
}

// Differences tells what of a verdict is not as expected, a line each; none when it is.
func (e *Expect) Differences(v *Verdict) []string {
	var out []string
	differ := func(what string, got, want any) {
		out = append(out, fmt.Sprintf("%s is %v, want %v", what, got, want))
	}
	if e.Do != None && e.Do != v.Do {
		differ("do", v.Do, e.Do)
	}
	for _, x := range []struct {
		what, got string
		want      *string
	}{{"rule", v.Rule, e.Rule}, {"class", v.Class, e.Class}, {"because", v.Because, e.Because}} {
		if x.want != nil && x.got != *x.want {
			out = append(out, fmt.Sprintf("%s is %q, want %q", x.what, x.got, *x.want))
		}
	}
	if e.Score != nil && math.Abs(v.Score-*e.Score) > 1e-9 {
		differ("score", v.Score, *e.Score)
	}
	if e.Effects != nil {
		got := make([]string, len(v.Effects))
		for i, f := range v.Effects {
			args := make([]string, len(f.Args))
			for j, a := range f.Args {
				args[j] = fmt.Sprintf("%q", a)
			}
			got[i] = f.Name + "(" + strings.Join(args, ", ") + ")"
		}
		if g, w := strings.Join(got, ", "), strings.Join(e.Effects, ", "); g != w {
			differ("effects", "["+g+"]", "["+w+"]")
		}
	}
	return out
}
