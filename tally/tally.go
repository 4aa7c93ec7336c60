// Package tally counts what became of mail, by the hour, so that numbers over weeks need not be
// read from millions of journal entries. It counts entries as the journal's writer has them,
// writes what it counted once a minute, and counts again from the journal what a crash may have
// left out: the numbers are always those that a recount would give.
package tally

import (
	"context"
	"embed"
	"fmt"
	"github.com/segmentio/encoding/json"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/journal"
	"postern/store"
)

// Options of Open.
type Options struct {
	DB    *store.DB        // stays the caller's to close, after the tally
	Keep  time.Duration    // how long hours are kept; 0: 90 days
	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: none
}

// A Tally counts. Its methods may be called from any goroutine. It is for the one process that
// writes the journal.
type Tally struct {
	o     Options
	began time.Time // entries received before it are those of earlier runs
	redo  time.Time // from here on they are to be counted again; zero: none

	mu       sync.Mutex // of what follows
	hours    map[int64]*hour
	messages uint64
	walks    walks

	writing sync.RWMutex // held while counts move to the database
	settled bool         // what a crash left out is counted; of writing
	since   int64        // the first hour that is counted; of writing
	closed  bool         // of writing
}

// An hour is what was counted since the last flush.
type hour struct {
	all     Counts
	domains map[string]*Counts
}

// maxDomains bounds the domains of recipients that are counted for themselves in one hour.
const maxDomains = 500

//go:embed schema
var schema embed.FS

// Open brings the tables up to date. Count from then on, have Run run, and Close it behind the
// journal.
func Open(ctx context.Context, o Options) (*Tally, error) {
	if o.Keep == 0 {
		o.Keep = 90 * 24 * time.Hour
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	steps, err := fs.Sub(schema, "schema")
	if err != nil {
		return nil, err
	}
	if err := o.DB.Migrate(ctx, "tally", steps); err != nil {
		return nil, err
	}
	t := &Tally{o: o, began: o.Clock(), hours: map[int64]*hour{}, walks: walks{}}
	if err := t.begin(ctx); err != nil {
		return nil, fmt.Errorf("tally: %w", err)
	}
	return t, nil
}

func hourOf(at time.Time) int64   { return at.Unix() / 3600 }
func timeOf(hour int64) time.Time { return time.Unix(hour*3600, 0).UTC() }
func lower(domain string) string  { return strings.ToLower(domain) }
func (t *Tally) hour(n int64) *hour { // under mu
	h := t.hours[n]
	if h == nil {
		h = &hour{domains: map[string]*Counts{}}
		t.hours[n] = h
	}
	return h
}

// Count counts an entry that the journal has written. It is a journal.Sink.
func (t *Tally) Count(e *journal.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hour(hourOf(e.Received))
	t.messages++
	for i := range e.Outcomes {
		o := &e.Outcomes[i]
		would := ""
		if o.Shadow != nil {
			would = o.Shadow.Rule
		}
		h.outcome(t.messages, o.Recipient.Domain, o.Do, o.Rule, would, t.walks.matched(o.Rules))
	}
	for i := range e.Filters {
		h.filter(e.Filters[i].Name, e.Filters[i].State, e.Filters[i].Took)
	}
}

// outcome counts one copy.
func (h *hour) outcome(message uint64, domain, do, rule, would string, matched []string) {
	h.all.outcome(message, do, rule, would, matched)
	domain = lower(domain)
	c := h.domains[domain]
	if c == nil {
		if len(h.domains) >= maxDomains {
			return
		}
		c = &Counts{}
		h.domains[domain] = c
	}
	c.outcome(message, do, rule, would, matched)
}

func (c *Counts) outcome(message uint64, do, rule, would string, matched []string) {
	switch do {
	case "deliver":
		once(&c.Delivered, &c.marks[0], message)
	case "quarantine":
		once(&c.Held, &c.marks[1], message)
	case "reject":
		once(&c.Refused, &c.marks[2], message)
	case "defer":
		once(&c.Deferred, &c.marks[3], message)
	case "discard":
		once(&c.Discarded, &c.marks[4], message)
	}
	for _, name := range matched {
		r := c.rule(name)
		once(&r.Hits, &r.marks[0], message)
	}
	if rule != "" {
		r := c.rule(rule)
		once(&r.Hits, &r.marks[0], message)
		if do == "quarantine" {
			once(&r.Held, &r.marks[1], message)
		}
	}
	if would != "" {
		r := c.rule(would)
		once(&r.Would, &r.marks[2], message)
	}
}

func (h *hour) filter(name, state string, took time.Duration) {
	switch state {
	case journal.Done, journal.Failed, journal.TimedOut:
	default: // nobody waited for it
		return
	}
	f := h.all.filter(name)
	f.Ran++
	f.Took.note(took)
	if state == journal.Failed {
		f.Failed++
	} else if state == journal.TimedOut {
		f.TimedOut++
	}
}

// An Hour is what became of mail that came within one.
type Hour struct {
	At     time.Time
	Counts Counts
}

// Between gives the hours in [since, until) in which mail came, oldest first: of all mail, or of
// that for some domains of recipients, where a message for two of them counts twice. whole is
// false while what a crash or an upgrade left out is still being counted.
func (t *Tally) Between(ctx context.Context, since, until time.Time, domains []string) (list []Hour, whole bool, err error) {
	if domains == nil {
		domains = []string{""}
	}
	t.writing.RLock()
	defer t.writing.RUnlock()
	first, end := hourOf(since), hourOf(until.Add(time.Hour-1))
	found := map[int64]*Counts{}
	for _, domain := range domains {
		if err := t.read(ctx, lower(domain), first, end, found); err != nil {
			return nil, false, fmt.Errorf("tally: %w", err)
		}
	}
	t.fresh(domains, first, end, found)
	for _, n := range slices.Sorted(maps.Keys(found)) {
		list = append(list, Hour{timeOf(n), *found[n]})
	}
	return list, t.settled && (t.since == 0 || first >= t.since), nil
}

// read adds what is in the database.
func (t *Tally) read(ctx context.Context, domain string, first, end int64, found map[int64]*Counts) error {
	rows, err := t.o.DB.Reader().QueryContext(ctx, "SELECT hour, counts FROM tally_hours WHERE domain = ? AND hour >= ? AND hour < ?", domain, first, end)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		var text []byte
		if err := rows.Scan(&n, &text); err != nil {
			return err
		}
		c := &Counts{}
		if err := json.Unmarshal(text, c); err != nil {
			return fmt.Errorf("hour %d: %w", n, err)
		}
		add(found, n, c)
	}
	return rows.Err()
}

// fresh adds what is not in the database yet.
func (t *Tally) fresh(domains []string, first, end int64, found map[int64]*Counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, h := range t.hours {
		if n < first || n >= end {
			continue
		}
		for _, domain := range domains {
			if domain == "" {
				add(found, n, &h.all)
			} else if c := h.domains[lower(domain)]; c != nil {
				add(found, n, c)
			}
		}
	}
}

func add(found map[int64]*Counts, n int64, c *Counts) {
	if found[n] == nil {
		found[n] = &Counts{}
	}
	found[n].Add(c)
}
