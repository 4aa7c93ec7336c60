package tally

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"github.com/segmentio/encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"postern/journal"
	"postern/store"
)

const (
	flushEach = time.Minute
	// lateness is how long after its receipt an entry may be written at the most: a connection
	// lasts half an hour, and its last message may end.
	lateness = 6 * time.Hour
	lastWait = 15 * time.Second // of the flush at the end
)

// begin finds out what has to be counted again, and notes that counts are open from now on.
func (t *Tally) begin(ctx context.Context) error {
	var settled bool
	var flushed int64
	err := t.o.DB.Reader().QueryRowContext(ctx, "SELECT settled, flushed, since FROM tally_state").Scan(&settled, &flushed, &t.since)
	switch {
	case errors.Is(err, sql.ErrNoRows): // all that the journal has is to be counted
		t.since = hourOf(t.began)
		t.redo = timeOf(t.since)
		flushed = t.began.UnixMicro()
	case err != nil:
		return err
	case settled:
		t.settled = true
	default:
		t.redo = time.UnixMicro(flushed).Add(-lateness).Truncate(time.Hour)
		if t.redo.Before(timeOf(t.since)) {
			t.redo = timeOf(t.since)
		}
	}
	return t.o.DB.Write(ctx, func(tx *store.Tx) error { return t.state(tx, false, flushed) })
}

func (t *Tally) state(tx *store.Tx, settled bool, flushed int64) error {
	_, err := tx.Exec("INSERT OR REPLACE INTO tally_state VALUES (1, ?, ?, ?)", settled, flushed, t.since)
	return err
}

// Run counts again what is to be, and writes what is counted every minute, until ctx ends.
func (t *Tally) Run(ctx context.Context, j *journal.Store) {
	tick := time.NewTicker(flushEach)
	defer tick.Stop()
	again := make(chan struct{})
	go func() {
		defer close(again)
		if err := t.recount(ctx, j); err != nil && ctx.Err() == nil {
			t.o.Log.Error("counting again from the journal", "error", err)
		}
	}()
	defer func() { <-again }()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
			err := t.flush(ctx, false)
			if err == nil && n%60 == 0 {
				err = t.prune(ctx)
			}
			if err != nil && ctx.Err() == nil {
				t.o.Log.Error("writing what was counted", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// recount counts again what a crash may have left out, then, hour by hour back, what was there
// before anybody counted.
func (t *Tally) recount(ctx context.Context, j *journal.Store) error {
	if !t.settled { // nobody else sets it
		for n := hourOf(t.redo); n <= hourOf(t.began); n++ {
			if err := t.countHour(ctx, j, n); err != nil {
				return err
			}
		}
		t.writing.Lock()
		t.settled = true
		t.writing.Unlock()
	}
	if t.since == 0 {
		return nil
	}
	oldest, err := j.Oldest(ctx)
	if err != nil {
		return err
	}
	for n := t.since - 1; !oldest.IsZero() && n >= hourOf(oldest); n-- {
		began := time.Now()
		if err := t.countHour(ctx, j, n); err != nil {
			return err
		}
		select { // mail comes first
		case <-time.After(time.Since(began)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	t.writing.Lock()
	defer t.writing.Unlock()
	t.since = 0
	return t.o.DB.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("UPDATE tally_state SET since = 0")
		return err
	})
}

// countHour puts in the place of an hour's rows what the journal has of it from earlier runs.
func (t *Tally) countHour(ctx context.Context, j *journal.Store, n int64) error {
	h := &hour{domains: map[string]*Counts{}}
	until := timeOf(n + 1)
	if until.After(t.began) {
		until = t.began
	}
	message, seen := uint64(0), map[string][]string{}
	err := j.Scan(ctx, timeOf(n), until, func(r *journal.Record) error {
		message++
		return h.record(ctx, j, r, message, seen)
	})
	if err != nil {
		return err
	}
	t.writing.Lock()
	defer t.writing.Unlock()
	if err := t.o.DB.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec("DELETE FROM tally_hours WHERE hour = ?", n); err != nil {
			return err
		}
		if message > 0 {
			if err := h.write(tx, n); err != nil {
				return err
			}
		}
		_, err := tx.Exec("UPDATE tally_state SET since = min(since, ?)", n)
		return err
	}); err != nil {
		return err
	}
	t.since = min(t.since, n)
	return nil
}

// record counts an entry as the journal has it.
func (h *hour) record(ctx context.Context, j *journal.Store, r *journal.Record, message uint64, seen map[string][]string) error {
	for o := range r.Each() {
		matched, known := seen[string(o.Walk)]
		if !known {
			walk, err := j.Walk(ctx, o)
			if err != nil {
				return err
			}
			matched = matchedIn(journal.Raw(walk))
			if len(seen) < maxWalks {
				seen[string(o.Walk)] = matched
			}
		}
		would := ""
		for name, v := range o.Shadow.Members() {
			if string(name) == "rule" {
				would = v.Text()
			}
		}
		to := o.Recipient.Text()
		domain := to
		for i := len(to) - 1; i >= 0; i-- {
			if to[i] == '@' {
				domain = to[i+1:]
				break
			}
		}
		h.outcome(message, domain, o.Do.Text(), o.Rule.Text(), would, matched)
	}
	for f := range r.Filters.Items() {
		name, state, took := "", "", int64(0)
		for member, v := range f.Members() {
			switch string(member) {
			case "name":
				name = v.Text()
			case "state":
				state = v.Text()
			case "took":
				took, _ = strconv.ParseInt(string(v), 10, 64)
			}
		}
		h.filter(name, state, time.Duration(took))
	}
	return nil
}

// flush writes what was counted. While something is still to be counted again it waits: the hours
// of then are not to be mixed with those of now.
func (t *Tally) flush(ctx context.Context, last bool) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	if !t.settled || t.closed {
		return nil
	}
	now := t.o.Clock()
	t.mu.Lock()
	hours := t.hours
	t.hours = map[int64]*hour{}
	t.mu.Unlock()
	err := t.o.DB.Write(ctx, func(tx *store.Tx) error {
		for n, h := range hours {
			if err := h.write(tx, n); err != nil {
				return err
			}
		}
		return t.state(tx, last, now.UnixMicro())
	})
	if err == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, h := range hours { // the next time
		t.hour(n).add(h)
	}
	return fmt.Errorf("tally: %w", err)
}

func (h *hour) add(o *hour) {
	h.all.Add(&o.all)
	for domain, c := range o.domains {
		if h.domains[domain] == nil {
			h.domains[domain] = &Counts{}
		}
		h.domains[domain].Add(c)
	}
}

// write adds an hour to what its rows have.
func (h *hour) write(tx *store.Tx, n int64) error {
	if err := h.all.write(tx, n, ""); err != nil {
		return err
	}
	for _, domain := range slices.Sorted(maps.Keys(h.domains)) {
		if domain == "" {
			continue
		}
		if err := h.domains[domain].write(tx, n, domain); err != nil {
			return err
		}
	}
	return nil
}

func (c *Counts) write(tx *store.Tx, n int64, domain string) error {
	var text []byte
	sum := &Counts{}
	err := tx.Get("SELECT counts FROM tally_hours WHERE domain = ? AND hour = ?", []any{domain, n}, &text)
	if err == nil {
		err = json.Unmarshal(text, sum)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	sum.Add(c)
	if text, err = json.Marshal(sum); err != nil {
		return err
	}
	_, err = tx.Exec("INSERT OR REPLACE INTO tally_hours VALUES (?, ?, ?)", domain, n, string(text))
	return err
}

// prune removes hours past their time, unless the clock has made a step.
func (t *Tally) prune(ctx context.Context) error {
	now := t.o.Clock()
	trusted, err := t.o.DB.TrustClock(ctx, "tally", now)
	if err != nil || !trusted {
		return err
	}
	return t.o.DB.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("DELETE FROM tally_hours WHERE hour < ?", hourOf(now.Add(-t.o.Keep)))
		return err
	})
}

// Close writes what was counted, when all of it is certain. It may be called twice; Run has ended.
func (t *Tally) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastWait)
	defer cancel()
	err := t.flush(ctx, true)
	t.writing.Lock()
	defer t.writing.Unlock()
	t.closed = true
	return err
}
