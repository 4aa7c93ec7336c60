package main

import (
	"io"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"postern/journal"
	"postern/quarantine"
)

// D-17: the clock jumps by ten years, back, and by an hour: nothing is removed by age, neither held
// mail nor the journal, until it has run on for a day.
func TestD17_OneJumpRemovesNothing(t *testing.T) {
	s := newSite(t, "127.0.0.1:9", "quarantine: {keep: 30d}\njournal: {keep: 90d}\n")
	cfg, err := loadConfig(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	p, err := build(t.Context(), cfg, newLog(cfg, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	now := time.Now()
	for n := range 5 {
		id, received := ulid.Make().String(), now.Add(-time.Duration(n)*24*time.Hour)
		holdSample(t, p.quarantine, id, received)
		if err := p.journal.RecordDurably(t.Context(), &journal.Entry{ID: id, Received: received, Result: "held"}); err != nil {
			t.Fatal(err)
		}
	}
	left := func(want int, when string) {
		t.Helper()
		items, _, err := p.quarantine.List(t.Context(), quarantine.Query{State: quarantine.Any})
		entries, _, jerr := p.journal.Search(t.Context(), journal.Query{})
		if err != nil || jerr != nil || len(items) != want || len(entries) != want {
			t.Errorf("%s: %d held, %d entries, want %d (%v, %v)", when, len(items), len(entries), want, err, jerr)
		}
	}
	p.tidy(t.Context(), now)
	for _, jump := range []struct {
		name string
		to   time.Time
	}{{"ten years on", now.AddDate(10, 0, 0)}, {"back", now.Add(time.Hour)}, {"ten years back", now.AddDate(-10, 0, 0)}, {"an hour on", now.Add(2 * time.Hour)}, {"ten years on again", now.AddDate(10, 0, 1)}} {
		for hour := range 3 { // the housekeeper comes hourly
			p.tidy(t.Context(), jump.to.Add(time.Duration(hour)*time.Hour))
		}
		left(5, jump.name)
	}
	for hour := range 30 { // it was no mistake
		p.tidy(t.Context(), now.AddDate(10, 0, 1).Add(time.Duration(hour+3)*time.Hour))
	}
	left(0, "a day later")
}
