package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// A scan sees every entry once, oldest first, with the parts that a search shows.
func TestScan(t *testing.T) {
	s := open(t, t.TempDir(), Options{Linger: -1})
	want := map[string]*Entry{}
	var order []string
	for i := range pageRows + 7 {
		e := sample(start.Add(time.Duration(i)*time.Second), "a@example.org", "b@example.org")
		e.Subject = fmt.Sprintf("no. %d \"quoted\" ü", i)
		e.Outcomes[1] = Outcome{Recipient: address("b@example.org"), Do: "reject", Because: "unknown"}
		if i%2 == 0 {
			e.Outcomes[0].Rules = json.RawMessage(`[{"rule":"` + strings.Repeat("long", 100) + `"}]`)
			e.Outcomes[0].Facts = map[string]json.RawMessage{"lists": json.RawMessage(`{"allowed":true}`)}
		}
		if i%3 == 0 {
			e.Facts = nil
		}
		record(t, s, e)
		want[e.ID], order = e, append(order, e.ID)
	}
	var seen []string
	err := s.Scan(t.Context(), time.Time{}, time.Time{}, func(r *Record) error {
		seen = append(seen, r.ID)
		e := want[r.ID]
		whole, err := r.Entry()
		if err != nil || whole.Subject != e.Subject || r.Subject.Text() != e.Subject || r.Policy != e.Policy || string(r.Size) != "4096" || r.Result.Text() != "held" {
			t.Fatalf("%v %s %s", err, r.Subject, r.Policy)
		}
		facts := map[string]json.RawMessage{}
		for name, v := range r.Facts.Members() {
			facts[string(name)] = slices.Clone(json.RawMessage(v))
		}
		if len(facts) != len(e.Facts) || len(facts) > 0 && !reflect.DeepEqual(facts, e.Facts) {
			t.Fatalf("%s, want %s", facts, e.Facts)
		}
		n := 0
		for o := range r.Each() {
			w := &e.Outcomes[n]
			walk, err := s.Walk(t.Context(), o)
			if err != nil || o.Recipient.Text() != w.Recipient.String() || o.Do.Text() != w.Do || o.Verdict.Text() != w.Verdict || o.Rule.Text() != w.Rule ||
				o.Because.Text() != w.Because || string(o.Score) != fmt.Sprint(w.Score) || o.Held.Text() != w.Held || string(walk) != string(w.Rules) ||
				(len(o.Facts) > 0) != (w.Facts != nil) {
				t.Fatalf("%v %+v, walk %s, want %+v", err, o, walk, w)
			}
			n++
		}
		if n != 2 {
			t.Fatalf("%d outcomes", n)
		}
		return nil
	})
	if err != nil || !slices.Equal(seen, order) {
		t.Fatalf("%v: %d entries, want %d", err, len(seen), len(order))
	}
	count := 0
	if err := s.Scan(t.Context(), start.Add(5*time.Second), start.Add(8*time.Second), func(r *Record) error { count++; return nil }); err != nil || count != 3 {
		t.Errorf("%v, %d entries in three seconds", err, count)
	}
	stop := errors.New("stop")
	if err := s.Scan(t.Context(), time.Time{}, time.Time{}, func(*Record) error { return stop }); err != stop {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Scan(ctx, time.Time{}, time.Time{}, func(*Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Raw finds in any JSON what encoding/json finds, and never goes past the end of what is none.
func FuzzRaw(f *testing.F) {
	for _, s := range []string{`{"a":{"b":[1,"x\"}",{}]},"c":null}`, `[1, {"a":"\\"} ,[]]`, `{"a"`, `{"a":`, `"\\\"`, `[`, `{"x":1,}`, ` { "a" : true , "b":-1.5e3 } `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		members, items := map[string]string{}, []string{}
		for name, v := range Raw(b).Members() {
			members[string(name)] = string(v)
			_ = v.Text()
		}
		for v := range Raw(b).Items() {
			items = append(items, string(v))
		}
		if !json.Valid(b) || strings.Contains(string(b), "\\") && !strings.Contains(string(b), `\"`) {
			return
		}
		var object map[string]json.RawMessage
		var list []json.RawMessage
		if json.Unmarshal(b, &object) == nil && !strings.Contains(string(b), "\\") && !strings.Contains(string(b), "\xff") {
			for name, v := range object {
				if _, ok := members[name]; ok && members[name] != string(v) || !ok && validText(name, b) {
					t.Errorf("%q of %q is %q, want %q", name, b, members[name], v)
				}
			}
		}
		if json.Unmarshal(b, &list) == nil && list != nil {
			if len(items) != len(list) {
				t.Fatalf("%q has %d items, not %d", b, len(items), len(list))
			}
			for i := range list {
				if items[i] != string(list[i]) {
					t.Errorf("%q: %q, want %q", b, items[i], list[i])
				}
			}
		}
	})
}

// validText reports whether a name stands in the text as it is: broken UTF-8 is replaced.
func validText(name string, b []byte) bool { return strings.Contains(string(b), `"`+name+`"`) }

func BenchmarkScan(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	const n = 5000
	for i := range n {
		record(b, s, sample(start.Add(time.Duration(i)*time.Millisecond), "a@example.org"))
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Scan(b.Context(), time.Time{}, time.Time{}, func(r *Record) error {
			for o := range r.Each() {
				_ = o.Do
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
}
