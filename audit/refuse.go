package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Bounds of what is refused: nobody fills the log with what they may not do.
const (
	countFor = time.Hour // the same once more within it is counted, and told in one line
	mostTold = 60        // refusals of one actor that are told one by one within it; the others are counted
	mostAnon = 300       // of all who are not signed in
	mostActs = 50        // acts that are counted apart
)

// Refuse notes what somebody tried and was refused. The same again (who, what, with what; from
// where, when nobody is signed in) within an hour is counted, and so is all that one actor tries
// beyond 60 refusals an hour; the count is a line of its own when the hour is over: see Settle.
func (l *Log) Refuse(ctx context.Context, line Line) error {
	line.bound()
	var err error
	if l.refused.take(&line, l.o.Clock()) {
		if err = l.Note(ctx, line); err != nil {
			l.refused.forget(&line)
		}
	}
	return errors.Join(err, l.Settle(ctx, false))
}

// Settle writes what was counted in hours that are over; all: whatever was counted so far, which
// is for the end of a program. Call it every hour.
func (l *Log) Settle(ctx context.Context, all bool) error {
	var failed error
	for _, line := range l.refused.due(l.o.Clock(), all) {
		failed = errors.Join(failed, l.Note(ctx, line))
	}
	return failed
}

// refusals are those of the last hour.
type refusals struct {
	mu    sync.Mutex
	tried map[attempt]*tries
	told  map[string]*tries // by actor: how many lines there are
	next  time.Time         // when to look for hours that are over
}

// An attempt is what somebody tried; of those beyond mostTold it has the actor alone.
type attempt struct{ who, from, act, object string }

func attemptOf(line *Line) attempt {
	if line.Who != "" {
		return attempt{who: line.Who, act: line.Act, object: line.Object}
	}
	return attempt{from: line.From, act: line.Act, object: line.Object}
}

type tries struct {
	first Line
	since time.Time
	last  time.Time
	n     int
	acts  map[string]int // of those beyond mostTold
}

// take tells whether a refusal is to be told in a line of its own; else it is counted.
func (r *refusals) take(line *Line, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tried == nil {
		r.tried, r.told = map[attempt]*tries{}, map[string]*tries{}
	}
	key, most := attemptOf(line), mostTold
	if line.Who == "" {
		most = mostAnon
	}
	before := r.tried[key]
	if before != nil && now.Sub(before.since) < countFor {
		before.n, before.last = before.n+1, now
		return false
	}
	by := r.told[line.Who]
	if by == nil || now.Sub(by.since) >= countFor {
		by = &tries{since: now}
		r.told[line.Who] = by
	}
	if by.n < most {
		by.n++
		r.tried[key] = &tries{first: *line, since: now, last: now}
		if before != nil && before.n > 0 {
			line.Note += fmt.Sprintf(" (and %d more of the same, from %s)", before.n, before.span())
		}
		return true
	}
	rest := r.tried[attempt{who: line.Who}]
	if rest == nil {
		rest = &tries{first: Line{Who: line.Who, By: line.By, Act: "many", Result: line.Result}, since: now, acts: map[string]int{}}
		r.tried[attempt{who: line.Who}] = rest
	}
	rest.n, rest.last, rest.first.From = rest.n+1, now, line.From
	if rest.acts[line.Act] > 0 || len(rest.acts) < mostActs {
		rest.acts[line.Act]++
	}
	return false
}

// forget has an attempt told again whose line could not be written.
func (r *refusals) forget(line *Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.tried, attemptOf(line))
}

// due takes out what was tried in hours that are over, and gives lines of what was counted.
func (r *refusals) due(now time.Time, all bool) (lines []Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !all && now.Before(r.next) && r.next.Sub(now) <= countFor {
		return nil
	}
	r.next = now.Add(time.Minute)
	for key, t := range r.tried {
		if age := now.Sub(t.since); all || age >= countFor || age < 0 {
			delete(r.tried, key)
			if t.n > 0 {
				lines = append(lines, t.line())
			}
		}
	}
	for who, t := range r.told {
		if age := now.Sub(t.since); age >= countFor || age < 0 {
			delete(r.told, who)
		}
	}
	return lines
}

// line tells how often something was tried.
func (t *tries) line() Line {
	line := t.first
	if t.acts != nil {
		line.Note = fmt.Sprintf("%d more attempts were refused, from %s: too many to be told one by one", t.n, t.span())
		line.After, _ = json.Marshal(map[string]any{"acts": t.acts}) // words and numbers
		return line
	}
	line.Note = fmt.Sprintf("%d more of the same, from %s: %s", t.n, t.span(), line.Note)
	return line
}

func (t *tries) span() string {
	return fmt.Sprintf("%s to %s UTC", t.since.UTC().Format("15:04"), t.last.UTC().Format("15:04"))
}
