package review

import (
	"context"
	"fmt"
	"time"

	"postern/people"
	"postern/quarantine"
	"postern/store"
)

// doAll takes an act on everything that matches: few messages at once, many by Run.
func (d *Desk) doAll(ctx context.Context, who *people.Actor, a Act) (*Done, error) {
	find := d.upToNow(*a.Find)
	a.Find = &find
	n, err := d.matching(ctx, who, find)
	if err != nil {
		return nil, err
	}
	if a.Expect > 0 && n > a.Expect {
		return nil, d.refuse(ctx, who, string(a.Do), "", fmt.Errorf("%w: %d match now, %d did", ErrChanged, n, a.Expect))
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

// upToNow is a Find of everything that matches and was received until now: what comes later nobody
// has seen.
func (d *Desk) upToNow(f Find) Find {
	f.Cursor, f.Limit = "", 0
	if now := d.now().Add(time.Microsecond); f.Until.IsZero() || f.Until.After(now) {
		f.Until = now
	}
	return f
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
