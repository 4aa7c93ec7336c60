package review

import (
	"context"
	"slices"
	"sync"
	"time"

	"postern/people"
	"postern/quarantine"
)

// arrivals tell everybody who listens of newly held mail. One goroutine looks for all of them, and
// only while somebody listens.
type arrivals struct {
	mu   sync.Mutex
	to   map[*listener]bool
	stop context.CancelFunc
}

type listener struct {
	who  *people.Actor
	rows chan Row
}

const (
	lookForNews = time.Second
	newsRoom    = 64              // rows that a slow listener may be behind
	mayBeHeld   = 5 * time.Minute // how long a message is watched that is not visible yet
)

// Arrivals gives newly held mail in the actor's sight until ctx ends; then the channel is closed.
// What comes faster than it is read is left out.
func (d *Desk) Arrivals(ctx context.Context, who *people.Actor) (<-chan Row, error) {
	if err := d.may(ctx, who, people.SeeMail, "listen", ""); err != nil {
		return nil, err
	}
	last, err := d.o.Quarantine.Last(ctx)
	if err != nil {
		return nil, err
	}
	l := &listener{who: who, rows: make(chan Row, newsRoom)}
	d.news.mu.Lock()
	defer d.news.mu.Unlock()
	if d.news.to == nil {
		d.news.to = map[*listener]bool{}
	}
	d.news.to[l] = true
	if len(d.news.to) == 1 {
		looking, stop := context.WithCancel(context.WithoutCancel(ctx))
		d.news.stop = stop
		go d.lookOut(looking, last)
	}
	context.AfterFunc(ctx, func() { d.news.leave(l) })
	return l.rows, nil
}

func (a *arrivals) leave(l *listener) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.to, l)
	close(l.rows)
	if len(a.to) == 0 {
		a.stop()
	}
}

// lookOut tells of rows behind last until ctx ends.
func (d *Desk) lookOut(ctx context.Context, last int64) {
	told := map[string]bool{}       // of the rows behind last
	since := map[string]time.Time{} // when a row was first seen that is not visible yet
	t := time.NewTicker(lookForNews)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		list, err := d.o.Quarantine.Arrived(ctx, last)
		if err != nil {
			continue // the store says so itself, and the next look may succeed
		}
		if len(list) == 0 {
			clear(told)
			if now, err := d.o.Quarantine.Last(ctx); err == nil {
				last = min(last, now) // numbers of dropped rows come again
			}
			continue
		}
		var fresh []string
		upTo, waiting := last, false
		for _, a := range list {
			if a.Kept && !told[a.ID] {
				told[a.ID] = true
				fresh = append(fresh, a.ID)
			}
			if since[a.ID].IsZero() {
				since[a.ID] = time.Now()
			}
			waiting = waiting || !a.Kept && time.Since(since[a.ID]) < mayBeHeld
			if !waiting {
				upTo = a.Row
			}
		}
		for _, a := range list {
			if a.Row <= upTo {
				delete(told, a.ID)
				delete(since, a.ID)
			}
		}
		last = upTo
		d.tellAll(ctx, fresh[max(0, len(fresh)-newsRoom):])
	}
}

// tellAll gives new messages to those who may see them.
func (d *Desk) tellAll(ctx context.Context, ids []string) {
	items, err := d.o.Quarantine.Some(ctx, ids)
	if err != nil || len(items) == 0 {
		return
	}
	slices.SortFunc(items, func(a, b *quarantine.Item) int { return a.Received.Compare(b.Received) })
	rows := make([]Row, len(items)) // what is in them for everybody; nobody has marked them yet
	for i, it := range items {
		if rows[i], err = d.bareRow(ctx, it); err != nil {
			return
		}
	}
	d.news.mu.Lock()
	to := make([]*listener, 0, len(d.news.to))
	for l := range d.news.to {
		to = append(to, l)
	}
	d.news.mu.Unlock()
	for _, l := range to {
		var seen []Row
		for i, it := range items {
			one := *it
			if !own(l.who, &one) {
				continue
			}
			row := heldRow(&one)
			row.Auth, row.Attachments, row.May = rows[i].Auth, rows[i].Attachments, d.verbs(l.who, &one, false)
			row.Reasons = d.reasonsFor(row.May, &one)
			seen = append(seen, row)
		}
		d.news.tell(l, seen)
	}
}

func (a *arrivals) tell(l *listener, rows []Row) {
	a.mu.Lock() // so that the channel is not closed meanwhile
	defer a.mu.Unlock()
	if !a.to[l] {
		return
	}
	for _, r := range rows {
		select {
		case l.rows <- r:
		default:
		}
	}
}
