package journal

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"postern/mail"
	"postern/store"
)

// The detail is written by hand: it is what encoding/json would make of the entry.
func TestDetailIsWhatEncodingJSONMakes(t *testing.T) {
	full := sample(start, "a@example.org", "b@example.org")
	full.Subject, full.From = "line\nbreak \u2028 <&> \xff \x00", `"quoted" \ <a@b.example>`
	full.Filters[0].Error, full.Outcomes[0].Upstream, full.Outcomes[0].Effects = "timed out", "250 ok", []string{`add_header["X" "<y>"]`}
	full.Envelope.Options = mail.Options{Size: 7, UTF8: true, Ret: "HDRS", EnvID: "x+2Dy"}
	full.Outcomes[0].Place, full.Outcomes[0].Shadow = "10.yaml:3", &Shadow{Do: "reject", Rule: "s", Because: "x < y", Effects: []string{"a"}}
	full.Outcomes[1] = Outcome{Recipient: address("b@example.org"), Do: "deliver", Score: -1.25,
		Facts: map[string]json.RawMessage{"lists": json.RawMessage(`{"allowed":true}`)}}
	cases := map[string]*Entry{"full": full, "empty": {}, "no facts": {ID: "x", Outcomes: []Outcome{{}}}}
	r := rand.New(rand.NewPCG(1, 2))
	texts := []string{"", "a", "a <b> & \"c\"\\", "\x00\x1f\x7f\u2028", "broken \xff", "üñ"}
	text := func() string { return texts[r.IntN(len(texts))] }
	for i := range 200 {
		e := &Entry{ID: fmt.Sprint(i), Received: time.Unix(r.Int64N(1<<33), r.Int64N(3)*1e8), Reply: mail.Reply{Code: r.IntN(600), Enhanced: [3]int{r.IntN(6), r.IntN(20), r.IntN(300)}, Text: text()},
			Outcomes: []Outcome{{Recipient: mail.Address{Local: text(), Domain: "x"}, Score: []float64{0, -0.5, 1e21, 3, math.Copysign(0, -1)}[i%5]}}}
		e.Envelope = mail.Envelope{ID: text(), Received: e.Received.UTC(), Sender: mail.Address{Local: text(), Domain: text()},
			Client:  mail.Client{Addr: []netip.Addr{{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("::ffff:192.0.2.1")}[i%4], Port: uint16(i % 3), Helo: text(), ESMTP: i%2 == 0, TLS: text(), Trusted: i%3 == 0},
			Options: mail.Options{Size: int64(i % 2), Body: mail.BodyType(text()), UTF8: i%2 == 1, Ret: text(), EnvID: text()}}
		for range i % 3 {
			e.Envelope.Recipients = append(e.Envelope.Recipients, mail.RcptTo{Address: mail.Address{Local: text(), Domain: "y"}, Notify: text(), ORcpt: text()})
		}
		cases[fmt.Sprint("at random ", i)] = e
	}
	for name, e := range cases {
		x := encoder{walks: newWalks()}
		r := row{e: e}
		if err := x.entry(&r); err != nil {
			t.Fatal(err)
		}
		p := plain(*e)
		want := stored{plain: &p, Reply: storedReply{e.Reply.Code, e.Reply.Enhanced, e.Reply.Text}}
		for _, o := range e.Outcomes {
			want.Outcomes = append(want.Outcomes, storedOutcome{Outcome: o})
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var a, b map[string]any
		if err := json.Unmarshal(x.detail, &a); err != nil {
			t.Fatalf("%s: %v in %s", name, err, x.detail)
		}
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatal(err)
		}
		for _, empty := range []string{"outcomes", "filters"} { // null or left out
			for _, m := range []map[string]any{a, b} {
				if m[empty] == nil {
					delete(m, empty)
				}
			}
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s:\n got %s\nwant %s", name, x.detail, text)
		}
	}
}

// A walk that comes again is kept once, as long as entries name it.
func TestWalksAreKeptOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	walk := json.RawMessage(`[{"rule":"` + strings.Repeat("long-", 100) + `","result":"false","matched":false,"shadow":false}]`)
	var last *Entry
	for i := range 50 {
		last = sample(start.Add(time.Duration(i)*time.Hour), "a@example.org", "b@example.org")
		last.Outcomes[0].Rules, last.Outcomes[1].Rules = walk, walk
		record(t, s, last)
		if i%20 == 0 {
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := s.Get(t.Context(), last.ID)
	if err != nil || !reflect.DeepEqual(got, last) {
		t.Errorf("got %+v, %v", got, err)
	}
	again, _, err := open(t, dir, Options{}).Search(t.Context(), Query{Limit: 500})
	if err != nil || len(again) != 50 {
		t.Fatal(len(again), err)
	}
	for _, e := range again {
		if string(e.Outcomes[0].Rules) != string(walk) || string(e.Outcomes[1].Rules) != string(walk) {
			t.Errorf("%s: %s", e.ID, e.Outcomes[0].Rules)
		}
	}
	rows := func() (n int) {
		if err := s.o.DB.Reader().QueryRow("SELECT count(*) FROM walks").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := rows(); n != 1 {
		t.Errorf("%d walks", n)
	}
	if _, err := s.Prune(t.Context(), last.Received); err != nil || rows() != 1 {
		t.Errorf("%d walks while entries name it, %v", rows(), err)
	}
	for day := range 95 { // a clock that goes on evenly is believed
		if _, err := s.Prune(t.Context(), last.Received.Add(time.Duration(day)*24*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := count(s); err != nil || n != 0 || rows() != 0 {
		t.Errorf("%d entries and %d walks after their retention, %v", n, rows(), err)
	}
}

// Many entries of one moment each have their place and are found by id.
func TestEntriesOfOneMoment(t *testing.T) {
	dir := t.TempDir()
	var all []*Entry
	for range 3 { // a new writer does not remember which places are taken
		s := open(t, dir, Options{})
		for range 100 {
			all = append(all, record(t, s, sample(start, "a@example.org")))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir, Options{})
	for _, e := range all {
		if got, err := s.Get(t.Context(), e.ID); err != nil || got.ID != e.ID {
			t.Fatalf("%s: %v", e.ID, err)
		}
	}
	record(t, s, all[0])
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := count(s); err != nil || n != 300 || s.Lost() != 1 {
		t.Errorf("%d entries, %d refused, %v", n, s.Lost(), err)
	}
}

// D-20: a journal of the first form is read and searched as before.
func TestD20_JournalOfTheFirstForm(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := fs.ReadFile(schema, "schema/001_entries.sql")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), "journal", fstest.MapFS{"001_entries.sql": {Data: first}}); err != nil {
		t.Fatal(err)
	}
	e := sample(start, "Ana@example.org", "bea@example.net")
	x := encoder{walks: newWalks()}
	var r row
	if err := x.row(&r, e); err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			r.seq, e.ID, e.Result, "192.0.2.7", r.sender, r.domain, e.MessageID, r.replies, r.words, x.detail)
		for n, o := range e.Outcomes {
			if err == nil {
				_, err = tx.Exec("INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", r.seq, n, key(o.Recipient), o.Recipient.Domain, o.Do, o.Rule, o.Class, o.Held)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{})
	if got, err := s.Get(t.Context(), e.ID); err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("got %+v, %v", got, err)
	}
	for name, q := range map[string]Query{"rule": {Rule: "spoof"}, "class": {Class: "spoof"}, "recipient": {Recipient: "ana@example.org"},
		"domain": {Recipient: "@example.net"}, "sender": {Sender: "mallory@evil.example"}} {
		if got := ids(t, s, q); len(got) != 1 {
			t.Errorf("by %s: %v", name, got)
		}
	}
	if got := ids(t, s, Query{Rule: "poof"}); len(got) != 0 {
		t.Errorf("by a part of a rule: %v", got)
	}
	if err := s.o.DB.Reader().QueryRow("SELECT 1 FROM sqlite_master WHERE name = 'outcomes'").Scan(new(int)); err != sql.ErrNoRows {
		t.Errorf("the old table: %v", err)
	}
}

func (s *Store) queued() int64 {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return s.queue.bytes
}
