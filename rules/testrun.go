package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
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

// A Difference is one thing of a verdict that is not as a test expects.
type Difference struct {
	What string `json:"what"` // do, rule, class, because, score, effects
	Want string `json:"want"`
	Got  string `json:"got"`
}

// Differences tells what of a verdict is not as expected; none when it is.
func (e *Expect) Differences(v *Verdict) []Difference {
	var out []Difference
	differ := func(what, want, got string) {
		if want != got {
			out = append(out, Difference{what, want, got})
		}
	}
	if e.Do != None {
		differ("do", e.Do.String(), v.Do.String())
	}
	for _, x := range []struct {
		what, got string
		want      *string
	}{{"rule", v.Rule, e.Rule}, {"class", v.Class, e.Class}, {"because", v.Because, e.Because}} {
		if x.want != nil {
			differ(x.what, strconv.Quote(*x.want), strconv.Quote(x.got))
		}
	}
	if e.Score != nil && math.Abs(v.Score-*e.Score) > 1e-9 {
		differ("score", fmt.Sprint(*e.Score), fmt.Sprint(v.Score))
	}
	if e.Effects != nil {
		got := make([]string, len(v.Effects))
		for i := range v.Effects {
			got[i] = v.Effects[i].String()
		}
		differ("effects", "["+strings.Join(e.Effects, ", ")+"]", "["+strings.Join(got, ", ")+"]")
	}
	return out
}
