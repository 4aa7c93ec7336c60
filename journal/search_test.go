package journal

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/rules"
	"postern/search"
	"postern/store"
)

// Words that stand in random entries; some are parts of others, some would be something in SQL.
func someWords() []string {
	return []string{"invoice", "Invoice", "in", "voi", "ПРИВЕТ", "привет", "x'); --", "50%", `"q"`, "äöü", "a_b", "*", "re: hi", ""}
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// someEntry is a random entry for one to three people, or for nobody.
func someEntry(r *rand.Rand, at time.Time) *Entry {
	e := sample(at)
	e.Subject, e.From = pick(r, someWords())+" "+pick(r, someWords()), pick(r, someWords())+" <x@y.example>"
	e.MessageID = fmt.Sprintf("<%d@Host>", r.IntN(900))
	e.Result, e.Size = pick(r, results()), int64(r.IntN(60))
	e.Reply = mail.Reply{Code: pick(r, []int{0, 250, 550}), Enhanced: [3]int{5, 7, 1}, Text: "said " + pick(r, someWords())}
	e.Envelope.Sender = pick(r, []mail.Address{{}, {Local: "Bob", Domain: "evil.example"}, {Local: fmt.Sprint("n", r.IntN(300)), Domain: "good.example"}})
	e.Envelope.Client.Addr = netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(200))})
	for i := range r.IntN(4) {
		a := mail.Address{Local: fmt.Sprintf("R%d", r.IntN(200)), Domain: pick(r, []string{"a.example", "b.example", "B.example"})}
		if i == 2 {
			a = mail.Address{Local: "r0", Domain: "a.example"}
		}
		e.Outcomes = append(e.Outcomes, Outcome{Recipient: a, Do: pick(r, []string{"deliver", "quarantine", "reject", ""}), Rule: pick(r, []string{"r1", "r2", "Rule-3", ""}),
			Class: pick(r, []string{"virus", "spam", ""}), Because: "it says " + pick(r, someWords()), Score: float64(r.IntN(5)) / 2, Reply: "550 no " + pick(r, someWords()), Upstream: pick(r, []string{"", "452 Full"})})
		e.Envelope.Recipients = append(e.Envelope.Recipients, mail.RcptTo{Address: a})
	}
	if r.IntN(100) == 0 { // its words are cut in the columns
		for i := range 120 {
			e.Outcomes = append(e.Outcomes, Outcome{Recipient: mail.Address{Local: fmt.Sprintf("many-recipients-here-%d", i), Domain: "c.example"}, Do: "deliver", Because: fmt.Sprint("for ", i)})
		}
	}
	return e
}

func someCondition(r *rand.Rand, depth int) *search.Condition {
	switch r.IntN(5) {
	case 0:
		if depth > 0 {
			return search.No(someCondition(r, depth-1))
		}
	case 1, 2:
		if depth > 0 {
			a, b := someCondition(r, depth-1), someCondition(r, depth-1)
			return pick(r, []*search.Condition{search.All(a, b), search.Any(a, b), search.All(a, b, someCondition(r, depth-1))})
		}
	}
	order := []search.Op{search.Equal, search.Less, search.AtMost, search.More, search.AtLeast}
	parts := []search.Op{search.Equal, search.Has, search.Begins, search.Ends}
	switch r.IntN(10) {
	case 0:
		return search.OfNumber("score", pick(r, order), float64(r.IntN(5))/2)
	case 1:
		return search.OfNumber("size", pick(r, order), float64(r.IntN(60)))
	case 2:
		return search.OfTime("received", pick(r, order), start.Add(time.Duration(r.IntN(1200))*time.Second))
	case 3:
		return search.OfText(pick(r, []string{"result", "do", "class"}), search.In, pick(r, [][]string{{"delivered"}, {"held", "refused"}, {"deliver"}, {"virus"}, {"virus", "spam"}})...)
	case 4:
		return search.OfText("rule", pick(r, parts), pick(r, []string{"r1", "R2", "rule-3", "none", "", "r"}))
	case 5:
		return search.OfText(pick(r, []string{"rcpt", "rcpt.domain"}), pick(r, parts), pick(r, []string{"r0@a.example", fmt.Sprintf("r%d@B.example", r.IntN(200)), "b.example", "a.example", "r", "@", "c.example", "many-recipients-here-119@c.example"}))
	case 6:
		return search.OfText(pick(r, []string{"sender", "sender.domain", "client", "message_id"}), pick(r, parts),
			pick(r, []string{"", "bob@evil.example", "evil.example", "good.example", fmt.Sprintf("n%d@good.example", r.IntN(300)), "192.0.2.1", fmt.Sprintf("192.0.2.%d", r.IntN(200)), fmt.Sprintf("<%d@host>", r.IntN(900)), "ana"}))
	case 7:
		return search.OfText(pick(r, []string{"subject", "from", "because"}), pick(r, parts), pick(r, someWords()))
	case 8:
		return search.OfText("reply", search.Has, pick(r, append(someWords(), "550", "452 full", "said")))
	}
	return search.OfText(search.Anything, search.Has, pick(r, append(someWords(), "r0@a", "evil", "it says", "here-119")))
}

// What a search finds is what the condition says of each copy that may be seen, page by page, with
// sketches of most entries, of entries that came late, and of none; and it is counted so.
func TestSearchIsWhatTheConditionSays(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	s := open(t, t.TempDir(), Options{Linger: time.Hour})
	var all []*Entry
	enter := func(n int, from, to int) {
		for range n {
			all = append(all, record(t, s, someEntry(r, start.Add(time.Duration(from)*time.Second+time.Duration(r.IntN((to-from)*1e6))*time.Microsecond))))
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check := func(rounds int) {
		for round := range rounds {
			q := Query{Where: someCondition(r, 3), Limit: 1 + r.IntN(60)}
			q.Only = pick(r, [][]string{nil, nil, {"r0@a.example"}, {"@b.example"}, {"r1@b.example", "@a.example"}, {"r0@a.example", "r2@b.example"}, {}})
			var want []string
			for _, e := range all {
				mine := *e
				if q.fits(&mine, q.Where) {
					want = append(want, e.ID)
				}
			}
			got := ids(t, s, q)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, round %d: %v, only %v: %d found, %d wanted", seed, round, q.Where, q.Only, len(got), len(want))
			}
			if total, err := s.CountUpTo(t.Context(), q, 50, 0); err != nil || total.N != min(len(want), 50) || total.More != (len(want) > 50) {
				t.Fatalf("seed %d: %v, only %v: counted %+v of %d, %v", seed, q.Where, q.Only, total, len(want), err)
			}
		}
	}
	enter(700, 0, 1000)
	check(60)
	if n, err := s.Sketch(t.Context(), start.Add(time.Hour)); err != nil || n != 2*sketchEntries {
		t.Fatal(n, err)
	}
	if n, err := s.Sketch(t.Context(), start.Add(time.Hour)); err != nil || n != 0 {
		t.Fatal("drawn again", n, err)
	}
	check(100)
	enter(3, 10, 500) // late ones, into what is drawn
	enter(300, 1000, 1300)
	check(100)
}

// What comes late takes the sketch of its time away, also from another process; the least that
// stands in none is searched all the same, and retention removes both.
func TestSketchesAreTrue(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{Linger: time.Hour})
	count := func() (n int) {
		if err := s.o.DB.Reader().QueryRow("SELECT count(*) FROM sketches").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 3*sketchEntries + 5 {
		e := sample(start.Add(time.Duration(i)*time.Second), "a@example.org")
		if i == 300 {
			e.Subject = "a needle in it"
		}
		record(t, s, e)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sketch(t.Context(), start.Add(SketchAfter)); n != 0 || err != nil {
		t.Errorf("drew %d of the last minutes, %v", n, err)
	}
	if n, err := s.Sketch(t.Context(), start.Add(time.Hour)); n != 3*sketchEntries || err != nil || count() != 3 {
		t.Fatal(n, count(), err)
	}
	needle := Query{Text: "needle"}
	w, err := s.walkFor(t.Context(), &needle)
	if err != nil {
		t.Fatal(err)
	}
	w.want, w.until = 10, time.Now().Add(time.Hour)
	runs, err := w.runs(t.Context(), 0)
	if err != nil || len(runs) != 3 || runs[0].may || !runs[1].may || runs[2].may {
		t.Errorf("%+v, %v", runs, err)
	}
	if list := ids(t, s, needle); len(list) != 1 {
		t.Errorf("found %v", list)
	}
	other := open(t, dir, Options{Linger: time.Hour})
	late := sample(start.Add(10*time.Second), "a@example.org")
	late.Subject = "another needle"
	if err := other.RecordDurably(t.Context(), late); err != nil || count() != 2 {
		t.Fatal(count(), err)
	}
	if list := ids(t, s, needle); len(list) != 2 {
		t.Errorf("found %v", list)
	}
	if _, err := s.Prune(t.Context(), start.Add(s.o.Retention+time.Duration(2*sketchEntries)*time.Second)); err != nil || count() != 1 {
		t.Errorf("%d sketches are left, %v", count(), err)
	}
	if list := ids(t, s, needle); len(list) != 0 {
		t.Errorf("found %v", list)
	}
}

// W-07: nobody finds out by searching what became of somebody else's copy, or that there is one.
func TestW07_SearchTellsNothingOfOthers(t *testing.T) {
	s := open(t, t.TempDir(), Options{Linger: time.Hour})
	e := sample(start, "me@a.example", "secret@b.example")
	o := &e.Outcomes[1]
	o.Do, o.Class, o.Rule, o.Because, o.Score, o.Reply, o.Upstream = "reject", "virus", "hush", "nobody may know", 99, "550 hidden", "551 hidden"
	e.Result, e.Reply.Text, e.Steps = "mixed", "hidden", []Step{{What: "rcpt", Why: "secret@b.example"}}
	record(t, s, e)
	for _, where := range []string{`rcpt == "secret@b.example"`, `rcpt contains "secret"`, `rcpt.domain == "b.example"`, `secret`, `"nobody may know"`,
		`class == "virus"`, `rule == "hush"`, `because contains "nobody"`, `score > 50`, `do == "reject"`, `result == "mixed"`, `reply contains "hidden"`} {
		c, err := rules.ParseSearch(where, Fields(), start)
		if err != nil {
			t.Fatal(err)
		}
		for only, want := range map[string]int{"me@a.example": 0, "@a.example": 0, "secret@b.example": 1, "": 1} {
			q := Query{Where: c}
			if only != "" {
				q.Only = []string{only}
			}
			if where == `result == "mixed"` && only != "" || where == `reply contains "hidden"` && only == "me@a.example" {
				want = 0
			}
			total, err := s.CountUpTo(t.Context(), q, 0, 0)
			if list := ids(t, s, q); err != nil || total.N != want || len(list) != want {
				t.Errorf("only %q, %s: %d counted, %d found, %v", only, where, total.N, len(list), err)
			}
		}
	}
	entries, _, err := s.Search(t.Context(), Query{Only: []string{"me@a.example"}})
	if err != nil || len(entries) != 1 {
		t.Fatal(len(entries), err)
	}
	if text := fmt.Sprintf("%+v", entries[0]); strings.Contains(text, "secret") || strings.Contains(text, "hidden") || entries[0].Result != "held" {
		t.Errorf("told: %s", text)
	}
}

// W-11: what people write becomes parameters.
func TestW11_SearchIsNoSQL(t *testing.T) {
	s := open(t, t.TempDir(), Options{Linger: time.Hour})
	record(t, s, sample(start, "a@a.example"))
	for _, a := range []string{`' OR 1=1 --`, `x'; DROP TABLE entries; --`, `" OR ""="`, `*`, `\`, "%", "abc\x00def", "\xff\xfe\xfd", `?`, `?1`, `:name`, `$name`, `)`, strings.Repeat(`"`, 40)} {
		var conditions []*search.Condition
		for name, f := range Fields() {
			for _, op := range []search.Op{search.Equal, search.Has, search.Begins, search.Ends} {
				if f.Type == search.Text && f.Is == "" && (name != search.Anything || op == search.Has) {
					conditions = append(conditions, search.OfText(name, op, a))
				}
			}
		}
		for _, c := range conditions {
			if list := ids(t, s, Query{Where: c}); len(list) > 0 {
				t.Errorf("%v: found %v", c, list)
			}
		}
		for _, q := range []Query{{ID: a}, {MessageID: a}, {Sender: a}, {Recipient: a}, {Subject: a}, {Text: a}, {Result: a}, {Rule: a}, {Class: a}, {Client: a}, {Reply: a}, {Only: []string{a}}, {Only: []string{"@" + a}}} {
			if list := ids(t, s, q); len(list) > 0 && a != `"` && q.Text == "" {
				t.Errorf("%+v: found %v", q, list)
			}
		}
	}
	if _, _, err := s.Search(t.Context(), Query{Where: search.True("seen")}); err == nil || !strings.Contains(err.Error(), "seen cannot be searched here") {
		t.Errorf("an unknown field: %v", err)
	}
	if list := ids(t, s, Query{}); len(list) != 1 {
		t.Errorf("%d entries are left", len(list))
	}
}

func BenchmarkSketch(b *testing.B) {
	const n = 20 * sketchEntries
	s := open(b, b.TempDir(), Options{Linger: time.Hour})
	for i := range n {
		record(b, s, sample(start.Add(time.Duration(i)*time.Millisecond), "a@example.org"))
	}
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	for range b.N {
		s.drawn.Store(0)
		if err := s.o.DB.Write(b.Context(), func(tx *store.Tx) error { _, err := tx.Exec("DELETE FROM sketches"); return err }); err != nil {
			b.Fatal(err)
		}
		if drawn, err := s.Sketch(b.Context(), start.Add(time.Hour)); err != nil || drawn != n {
			b.Fatal(drawn, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/entry")
}
