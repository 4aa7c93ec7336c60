package review

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"postern/people"
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
