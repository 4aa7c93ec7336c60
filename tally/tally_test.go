package tally

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"postern/journal"
	"postern/mail"
	"postern/store"
)

// start is a moment at which a day has begun somewhere.
var start = time.Date(2026, 11, 20, 10, 20, 0, 0, time.UTC)

// A bed is a journal with its tally, as a daemon has them.
type bed struct {
	dir string
	db  *store.DB
	j   *journal.Store
	t   *Tally
	now time.Time
	n   int
}

func newBed(t *testing.T) *bed {
	b := &bed{dir: t.TempDir(), now: start}
	b.open(t)
	t.Cleanup(func() { b.stop(t) })
	return b
}

func (b *bed) open(t *testing.T) {
	t.Helper()
	var err error
	if b.db, err = store.Open(t.Context(), b.dir, store.Options{}); err != nil {
		t.Fatal(err)
	}
	if b.t, err = Open(t.Context(), Options{DB: b.db, Clock: func() time.Time { return b.now }}); err != nil {
		t.Fatal(err)
	}
	if b.j, err = journal.Open(t.Context(), journal.Options{DB: b.db, Linger: -1, Written: b.t.Count}); err != nil {
		t.Fatal(err)
	}
}

// crash ends all of it as a power cut would: what was counted since the last flush is lost.
func (b *bed) crash(t *testing.T) {
	t.Helper()
	b.t.writing.Lock()
	b.t.closed = true
	b.t.writing.Unlock()
	b.stop(t)
}

func (b *bed) stop(t *testing.T) {
	t.Helper()
	for _, end := range []func() error{b.j.Close, b.t.Close, b.db.Close} {
		if err := end(); err != nil {
			t.Error(err)
		}
	}
}

// settle does what Run does at first.
func (b *bed) settle(t *testing.T) {
	t.Helper()
	if err := b.t.recount(t.Context(), b.j); err != nil {
		t.Fatal(err)
	}
}

func (b *bed) flush(t *testing.T) {
	t.Helper()
	if err := b.t.flush(t.Context(), false); err != nil {
		t.Fatal(err)
	}
}

// mail records some messages, of the minutes before now.
func (b *bed) mail(t *testing.T, r *rand.Rand, n int) {
	t.Helper()
	for range n {
		b.n++
		if err := b.j.Record(t.Context(), anyEntry(r, b.now.Add(-time.Duration(r.IntN(1000))*time.Second), b.n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.j.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func anyEntry(r *rand.Rand, at time.Time, n int) *journal.Entry {
	e := &journal.Entry{ID: fmt.Sprintf("E%06d", n), Received: at, Result: "mixed", Size: 100,
		Envelope: mail.Envelope{Client: mail.Client{Addr: netip.MustParseAddr("192.0.2.1")}, Received: at}}
	for i := range 1 + r.IntN(3) {
		o := journal.Outcome{Recipient: mail.Address{Local: fmt.Sprint("u@", i), Domain: []string{"a.example", "B.example", "c.example"}[r.IntN(3)]},
			Do: []string{"deliver", "quarantine", "reject", "defer", "discard", ""}[r.IntN(6)]}
		if r.IntN(2) == 0 {
			o.Rule = []string{"spam", "virus"}[r.IntN(2)]
		}
		if r.IntN(3) > 0 {
			o.Rules = []byte(fmt.Sprintf(`[{"rule":"score","result":"true","matched":%t,"shadow":false,"leaves":[{"text":%q,"result":"true"}]},{"rule":"dark","result":"true","matched":true,"shadow":true}]`,
				r.IntN(2) == 0, "a \"quoted\" thing that is rather long, so that the walk is kept apart from the entry when it comes again, as most do"))
		}
		if r.IntN(4) == 0 {
			o.Shadow = &journal.Shadow{Do: "reject", Rule: "dark"}
		}
		e.Outcomes = append(e.Outcomes, o)
	}
	for _, name := range []string{"spf", "content"} {
		e.Filters = append(e.Filters, journal.Timing{Name: name, State: []string{journal.Done, journal.Failed, journal.TimedOut, journal.NotNeeded, journal.Cancelled}[r.IntN(5)],
			Took: time.Duration(r.IntN(1_000_000)) * time.Microsecond})
	}
	return e
}

// recounted is what the journal says, counted by other means.
func (b *bed) recounted(t *testing.T, domains []string) map[time.Time]map[string]int {
	t.Helper()
	out := map[time.Time]map[string]int{}
	if err := b.j.Scan(t.Context(), time.Time{}, time.Time{}, func(rec *journal.Record) error {
		e, err := b.j.Get(t.Context(), rec.ID)
		if err != nil {
			return err
		}
		at := e.Received.Truncate(time.Hour).UTC()
		if out[at] == nil {
			out[at] = map[string]int{}
		}
		for _, domain := range domains {
			seen := map[string]bool{}
			for _, o := range e.Outcomes {
				if domain != "" && lower(o.Recipient.Domain) != domain {
					continue
				}
				seen[map[string]string{"deliver": "Delivered", "quarantine": "Held", "reject": "Refused", "defer": "Deferred", "discard": "Discarded"}[o.Do]] = true
				var steps []struct {
					Rule            string
					Matched, Shadow bool
				}
				_ = json.Unmarshal(o.Rules, &steps)
				for _, s := range steps {
					if s.Matched && !s.Shadow {
						seen["hits "+s.Rule] = true
					}
				}
				if o.Rule != "" {
					seen["hits "+o.Rule] = true
					if o.Do == "quarantine" {
						seen["held "+o.Rule] = true
					}
				}
				if o.Shadow != nil {
					seen["would "+o.Shadow.Rule] = true
				}
			}
			for what := range seen {
				if what != "" {
					out[at][what]++
				}
			}
		}
		for _, f := range e.Filters {
			if len(domains) == 1 && domains[0] == "" && (f.State == journal.Done || f.State == journal.Failed || f.State == journal.TimedOut) {
				out[at]["ran "+f.Name]++
				out[at]["box "+f.Name+fmt.Sprint(box(f.Took))]++
				out[at][f.State+" "+f.Name]++
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func flat(c *Counts) map[string]int {
	out := map[string]int{"Delivered": c.Delivered, "Held": c.Held, "Refused": c.Refused, "Deferred": c.Deferred, "Discarded": c.Discarded}
	for name, r := range c.Rules {
		out["hits "+name], out["held "+name], out["would "+name] = r.Hits, r.Held, r.Would
	}
	for name, f := range c.Filters {
		out["ran "+name], out["failed "+name], out["timed out "+name] = f.Ran, f.Failed, f.TimedOut
		out["done "+name] = f.Ran - f.Failed - f.TimedOut
		for i, n := range f.Took.in {
			out["box "+name+fmt.Sprint(i)] = int(n)
		}
	}
	for k, n := range out {
		if n == 0 {
			delete(out, k)
		}
	}
	return out
}

func (b *bed) check(t *testing.T, when string) {
	t.Helper()
	for _, domains := range [][]string{nil, {"a.example"}, {"b.example", "C.example"}, {"none.example"}} {
		list, whole, err := b.t.Between(t.Context(), time.Time{}, b.now.Add(time.Hour), domains)
		if err != nil || !whole {
			t.Fatal(when, err, whole)
		}
		got := map[time.Time]map[string]int{}
		for i := range list {
			if f := flat(&list[i].Counts); len(f) > 0 {
				got[list[i].At] = f
			}
		}
		asked := []string{""}
		if domains != nil {
			asked = nil
			for _, d := range domains {
				asked = append(asked, lower(d))
			}
		}
		want := b.recounted(t, asked)
		for at, m := range want {
			if len(m) == 0 {
				delete(want, at)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s, %v:\ngot  %v\nwant %v", when, domains, got, want)
		}
	}
}

// Whenever the power goes, the numbers are those of the journal, and nothing counts twice.
func TestTallyIsWhatTheJournalSays(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	b := newBed(t)
	b.settle(t)
	for round := range 14 {
		b.mail(t, r, r.IntN(20))
		switch r.IntN(6) {
		case 0:
			b.flush(t)
		case 1:
			b.flush(t)
			b.mail(t, r, 5)
			b.flush(t)
		case 2: // lost since the last flush
			b.crash(t)
			b.open(t)
			b.now = b.now.Add(20 * time.Minute)
			b.mail(t, r, 3) // before it is counted again
			b.settle(t)
		case 3: // twice in a row, the second while it was not yet counted again
			b.crash(t)
			b.open(t)
			b.now = b.now.Add(20 * time.Minute)
			b.mail(t, r, 3)
			b.crash(t)
			b.open(t)
			b.settle(t)
		case 4: // as it should be
			b.stop(t)
			b.open(t)
			if !b.t.settled {
				t.Fatal("a stop left something open")
			}
		}
		b.check(t, fmt.Sprint("round ", round))
		b.now = b.now.Add(time.Duration(20+r.IntN(60)) * time.Minute) // longer than mail is old
	}
}

// A journal that was there before anybody counted is counted, hour by hour back; what comes
// meanwhile counts once.
func TestTallyOfAnOldJournal(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	b := newBed(t)
	for range 30 {
		b.mail(t, r, 4)
		b.now = b.now.Add(40 * time.Minute)
	}
	b.crash(t)
	db, err := store.Open(t.Context(), b.dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec("DELETE FROM tally_hours")
		if err == nil {
			_, err = tx.Exec("DELETE FROM tally_state")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b.open(t)
	if _, whole, err := b.t.Between(t.Context(), start, b.now, nil); err != nil || whole {
		t.Error("it says that it is whole", err)
	}
	b.now = b.now.Add(20 * time.Minute)
	b.mail(t, r, 4)
	b.settle(t)
	b.check(t, "counted back")
}

// Hours past their time go; those of the same domain and later stay.
func TestTallyPrune(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	b := newBed(t)
	b.settle(t)
	b.mail(t, r, 10)
	b.flush(t)
	for range 2 { // the first look at the clock
		if err := b.t.prune(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if list, _, err := b.t.Between(t.Context(), time.Time{}, b.now, nil); err != nil || len(list) == 0 {
		t.Fatal("nothing is left", err)
	}
	for b.now.Before(start.Add(91 * 24 * time.Hour)) { // no step of the clock
		b.now = b.now.Add(20 * time.Hour)
		if err := b.t.prune(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if list, _, err := b.t.Between(t.Context(), time.Time{}, b.now, nil); err != nil || len(list) != 0 {
		t.Fatal(list, err)
	}
}

func TestSpan(t *testing.T) {
	for i := range boxes - 1 {
		if i >= boxes-1 {
			break
		}
		if got := box(from(i)); got != i {
			t.Fatalf("%v is in box %d, not %d", from(i), got, i)
		}
	}
	var s Span
	if s.Part(0.5) != 0 {
		t.Error("of nothing")
	}
	for i := range 1000 {
		s.note(time.Duration(i) * time.Millisecond)
	}
	s.note(-time.Second)
	s.note(24 * time.Hour)
	for part, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.95: 950 * time.Millisecond, 0: 0, 1: 15 * time.Minute} {
		if got := s.Part(part); want > 0 && part < 1 && (got < want*88/100 || got > want*112/100) || part == 1 && got < want/2 {
			t.Errorf("%v: %v, want about %v", part, got, want)
		}
	}
	text, err := json.Marshal(&s)
	var back Span
	if err != nil || json.Unmarshal(text, &back) != nil || back != s {
		t.Errorf("%s %v", text, err)
	}
}

// A month of a busy site: 50 rules, 12 filters.
func BenchmarkBetween(b *testing.B) {
	db, err := store.Open(b.Context(), b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	t, err := Open(b.Context(), Options{DB: db})
	if err != nil {
		b.Fatal(err)
	}
	h := &hour{domains: map[string]*Counts{}}
	for i := range 50 {
		h.outcome(uint64(i+1), "a.example", "quarantine", fmt.Sprint("a-rule-with-a-name-", i), "", nil)
	}
	for i := range 12 {
		for k := range 40 {
			h.filter(fmt.Sprint("filter", i), journal.Done, time.Duration(k*k)*time.Millisecond)
		}
	}
	const hours = 30 * 24
	if err := db.Write(b.Context(), func(tx *store.Tx) error {
		for n := range int64(hours) {
			if err := h.write(tx, 490_000+n); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		list, _, err := t.Between(b.Context(), timeOf(490_000), timeOf(490_000+hours), nil)
		if err != nil || len(list) != hours {
			b.Fatal(len(list), err)
		}
	}
}

func BenchmarkCount(b *testing.B) {
	t := &Tally{hours: map[int64]*hour{}, walks: walks{}}
	r := rand.New(rand.NewPCG(7, 8))
	e := anyEntry(r, start, 1)
	walk := []byte(`[{"rule":"score","matched":true}]`)
	e.Outcomes = e.Outcomes[:1]
	e.Outcomes[0].Rules = walk
	b.ReportAllocs()
	for b.Loop() {
		t.Count(e)
	}
}
