package gateway

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"postern/filters"
	"postern/journal"
)

// The journal's facts are written by another encoder than that which reads them.
func TestFactsComeBackFromTheJournal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, zero := range filters.Vocabulary() {
		for range 200 {
			facts := reflect.New(reflect.TypeOf(zero)).Elem()
			fillAtRandom(r, facts)
			e := journal.Entry{Found: []journal.Found{{Name: name, Rcpt: journal.All, Facts: facts.Interface()}}}
			if err := e.Encode(); err != nil {
				t.Fatal(name, err)
			}
			text := e.Facts[name]
			kept := facts.Interface()
			if brief, ok := kept.(interface{ Abridged() any }); ok {
				kept = brief.Abridged()
			}
			want, err := json.Marshal(kept)
			if err != nil {
				t.Fatal(name, err)
			}
			var a, b any
			if err := json.Unmarshal(text, &a); err != nil {
				t.Fatalf("%s: %v in %s", name, err, text)
			}
			_ = json.Unmarshal(want, &b)
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("%s:\n got %s\nwant %s", name, text, want)
			}
		}
	}
}

func fillAtRandom(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if _, ok := v.Interface().(time.Time); ok {
			v.Set(reflect.ValueOf(time.Unix(r.Int64N(1<<33), r.Int64N(1e9)).UTC()))
			return
		}
		for i := range v.NumField() {
			fillAtRandom(r, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			fillAtRandom(r, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(3) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fillAtRandom(r, key)
			fillAtRandom(r, value)
			v.SetMapIndex(key, value)
		}
	case reflect.String:
		texts := []string{"", "pass", "a <b> & \"c\"\\", "\x00\x1f\x7f\u2028\u2029", "broken \xff\xc3", "üñ 🙂"}
		v.SetString(texts[r.IntN(len(texts))])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64() - r.Int64())
	case reflect.Float64:
		v.SetFloat(r.NormFloat64() * 1e6)
	default:
		panic("facts have a " + v.Type().String())
	}
}
