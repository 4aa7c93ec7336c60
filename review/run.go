package review

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"postern/people"
	"postern/quarantine"
	"postern/store"
)

// Run carries out acts that wait, until ctx ends: those of a person on some messages, and beside
// them, one at a time, those on everything that matches. What a crash broke off goes on. There is
// one Run for a data folder.
func (d *Desk) Run(ctx context.Context) {
	if err := d.resume(ctx); err != nil && ctx.Err() == nil {
		d.o.Log.Error("acts of people that were broken off", "error", err)
	}
	defer context.AfterFunc(ctx, func() { time.AfterFunc(endFor, d.end) })()
	var wg sync.WaitGroup
	few, many := make(chan struct{}, 1), make(chan struct{}, 1)
	wg.Go(func() { d.work(ctx, 0, few) })
	wg.Go(func() { d.work(ctx, 1, many) })
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-d.wake:
			}
			for _, c := range []chan struct{}{few, many} {
				select {
				case c <- struct{}{}:
				default:
				}
			}
		}
	})
	wg.Wait()
	d.under.Lock() // what is under way, for whomever, may end
	defer d.under.Unlock()
}

// endFor is how long messages that are being acted on at a stop may take to end.
const endFor = 50 * time.Second

// lookEvery is how often acts are looked for that another process wrote.
const lookEvery = 5 * time.Second

// work carries out acts of one kind as they fall due.
func (d *Desk) work(ctx context.Context, many int, wake <-chan struct{}) {
	for ctx.Err() == nil {
		j, err := d.claimJob(ctx, many)
		if err == nil && j != nil {
			err = d.carryJob(ctx, j)
		}
		if err != nil && ctx.Err() == nil {
			d.o.Log.Error("an act of a person could not be carried out", "error", err)
		}
		if j != nil && err == nil {
			continue
		}
		wait := lookEvery
		if due, ok := d.nextDue(ctx, many); ok && err == nil {
			wait = min(wait, max(due.Sub(d.now()), 0)+time.Millisecond)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// resume gives back at once what the daemon that ran before had taken up. Commands that run
// beside it keep theirs.
func (d *Desk) resume(ctx context.Context) error {
	return d.o.DB.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("UPDATE review_acts SET lease = 0 WHERE state = 'running' AND json_extract(actor, '$.By') <> ?", people.ByCommand)
		return err
	})
}

func (d *Desk) nextDue(ctx context.Context, many int) (due time.Time, ok bool) {
	err := d.o.DB.Reader().QueryRowContext(ctx, "SELECT due FROM review_acts WHERE state = 'waiting' AND many = ? ORDER BY due LIMIT 1", many).Scan((*micro)(&due))
	return due, err == nil
}

// claimJob takes up an act that is due, or was broken off; nil when there is none.
func (d *Desk) claimJob(ctx context.Context, many int) (*job, error) {
	j := &job{who: &people.Actor{}}
	now := d.now()
	err := d.o.DB.Write(ctx, func(tx *store.Tx) error {
		return tx.Get(`UPDATE review_acts SET state = 'running', lease = ? WHERE id = (SELECT id FROM review_acts WHERE many = ?
			AND (state = 'waiting' AND due <= ? OR state = 'running' AND lease < ?) ORDER BY due LIMIT 1) RETURNING id, actor, act, cursor, done`,
			[]any{now.Add(leaseFor).UnixMicro(), many, now.UnixMicro(), now.UnixMicro()}, &j.id, jsonColumn{j.who}, jsonColumn{&j.act}, &j.cursor, jsonColumn{&j.tally})
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("take up an act: %w", err)
	}
	return j, nil
}

// carryJob carries out what was taken up, as the person that it is for may do it now.
func (d *Desk) carryJob(ctx context.Context, j *job) error {
	if d.o.Fresh != nil && j.who.By != people.ByCommand {
		who, err := d.o.Fresh(ctx, j.who)
		if err != nil {
			line := d.line(j.who, string(j.act.Do), j.id, lineRefused)
			line.Note, line.Reason = "the account is not what it was: "+err.Error(), j.act.Reason
			return d.finish(ctx, j, Tally{Refused: len(j.act.IDs)}, line)
		}
		j.who = who
	}
	if !mayVerb(j.who, j.act.Do) {
		line := d.line(j.who, string(j.act.Do), j.id, lineRefused)
		line.Note, line.Reason = ErrForbidden.Error(), j.act.Reason
		return d.finish(ctx, j, Tally{Refused: len(j.act.IDs)}, line)
	}
	if j.act.Find != nil {
		return d.carryAll(ctx, j)
	}
	_, err := d.carryOut(ctx, j)
	return err
}

// doAll takes an act on everything that matches: few messages at once, many by Run.
func (d *Desk) doAll(ctx context.Context, who *people.Actor, a Act) (*Done, error) {
	find := *a.Find
	find.Cursor, find.Limit = "", 0
	if now := d.now().Add(time.Microsecond); find.Until.IsZero() || find.Until.After(now) {
		find.Until = now // what comes later nobody has seen
	}
	a.Find = &find
	n, err := d.matching(ctx, who, find)
	if err != nil {
		return nil, err
	}
	if a.Expect > 0 && n > a.Expect {
		return nil, fmt.Errorf("%w: %d match now, %d did", ErrChanged, n, a.Expect)
	}
	if a.Undoing && a.Do.undoable() {
		return d.schedule(ctx, who, a, Grace, n)
	}
	if n > mostIDs && who.By != people.ByCommand {
		return d.schedule(ctx, who, a, 0, n)
	}
	j, err := d.begin(ctx, who, a)
	if err != nil {
		return nil, err
	}
	if err := d.carryAll(context.WithoutCancel(ctx), j); err != nil { // what has begun is ended, whoever hangs up
		return nil, err
	}
	done, err := d.Acted(ctx, who, j.id)
	if err == nil {
		done.ID = ""
	}
	return done, err
}

// batch is how many messages of an act on everything are noted together.
const batch = 200

// carryAll does an act with everything that matches, some at a time; what is done is noted after
// each batch, so that it goes on from there.
func (d *Desk) carryAll(ctx context.Context, j *job) error {
	if j.cursor == "" && j.act.Expect > 0 {
		if n, err := d.matching(ctx, j.who, *j.act.Find); err != nil {
			return err
		} else if n > j.act.Expect {
			line := d.line(j.who, string(j.act.Do), j.id, lineFailed)
			line.Reason, line.Note = j.act.Reason, fmt.Sprintf("%v: %d match now, %d did; nothing was done", ErrChanged, n, j.act.Expect)
			line.After = jsonOf(map[string]any{"find": j.act.Find})
			return d.finish(ctx, j, Tally{Failed: n}, line)
		}
	}
	for more := true; more; {
		f := *j.act.Find
		f.Cursor, f.Limit = j.cursor, batch
		items, next, err := d.pick(ctx, j.who, f)
		if err != nil {
			return err
		}
		if err := d.carryBatch(ctx, j, items, next); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx) // the next start goes on
		}
		more = next != ""
	}
	line := d.line(j.who, string(j.act.Do), j.id, j.tally.line())
	line.Reason, line.Note = j.act.Reason, j.tally.words(j.act.Do)
	line.After = jsonOf(map[string]any{"find": j.act.Find, "tally": j.tally})
	return d.finish(ctx, j, j.tally, line)
}

func (d *Desk) carryBatch(ctx context.Context, j *job, items []*quarantine.Item, next string) error {
	q, err := d.query(j.who, *j.act.Find)
	if err != nil {
		return err
	}
	copies, err := d.o.Quarantine.Matching(ctx, q, items)
	if err != nil {
		return err
	}
	also := map[string]bool{}
	for _, id := range j.act.Also {
		also[id] = true
	}
	all := make([]carried, len(items))
	d.parallel(len(items), func(i int) {
		all[i].ID = items[i].ID
		switch to := copies[items[i].ID]; {
		case ctx.Err() != nil: // a stop: the others are left for the next start
		case j.act.Do.undoable() && perilous(items[i]) && !also[items[i].ID]:
			all[i].Result, all[i].Words = ResultLeft, "dangerous, and left out"
		case len(to) == 0:
			all[i].Result, all[i].Words = ResultAlready, "it does not match any more"
		default:
			one := j.act
			one.To = to
			all[i] = d.carry(ctx, j.who, &one, items[i].ID)
		}
	})
	if ctx.Err() != nil {
		next = j.cursor
	}
	return d.noteBatch(ctx, j, all, next)
}

// noteBatch notes what became of some messages, and from where to go on. Each counts once, also
// when a crash had it looked at twice.
func (d *Desk) noteBatch(ctx context.Context, j *job, all []carried, next string) error {
	tally := j.tally
	err := d.o.DB.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		tally = j.tally
		now := d.now()
		for i := range all {
			if all[i].Result == "" {
				continue
			}
			n, err := tx.Exec("INSERT INTO review_act_items VALUES (?, ?, ?, ?, ?) ON CONFLICT (item, act) DO NOTHING",
				all[i].ID, j.id, all[i].Result, store.Clean(all[i].Words, mostReason), now.UnixMicro())
			if err != nil {
				return err
			}
			if n == 1 {
				tally.add(all[i].Result)
			}
		}
		_, err := tx.Exec("UPDATE review_acts SET cursor = ?, done = ?, lease = ? WHERE id = ?", next, string(jsonOf(tally)), now.Add(leaseFor).UnixMicro(), j.id)
		return err
	})
	if err == nil {
		j.tally, j.cursor = tally, next
	}
	return err
}

// perilous reports whether a copy that waits is of a dangerous class.
func perilous(it *quarantine.Item) bool {
	for i := range it.Copies {
		if c := &it.Copies[i]; waits(c.State) && dangerous(c.Class) {
			return true
		}
	}
	return false
}

// matching counts what a Find picks, however much it is.
func (d *Desk) matching(ctx context.Context, who *people.Actor, f Find) (int, error) {
	q, err := d.query(who, f)
	if err != nil {
		return 0, err
	}
	return d.o.Quarantine.Count(ctx, q)
}
