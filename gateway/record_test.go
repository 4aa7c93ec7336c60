package gateway

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"

	"postern/filters"
	"postern/journal"
	"postern/testkit"
)

// The journal's facts are written by another encoder than that which reads them.
func TestFactsComeBackFromTheJournal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, zero := range filters.Vocabulary() {
		for range 200 {
			facts := reflect.New(reflect.TypeOf(zero)).Elem()
			testkit.Fill(r, facts, "", "pass", "a <b> & \"c\"\\", "\x00\x1f\x7f\u2028\u2029", "broken \xff\xc3", "üñ 🙂")
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
