package review

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"postern/audit"
	"postern/people"
	"postern/store"
)

// States of an act.
const (
	stateWaiting = "waiting"
	stateRunning = "running"
	stateDone    = "done"
	stateUndone  = "undone"
)

// leaseFor is how long an act runs before it counts as broken off, unless it says that it goes on.
const leaseFor = 20 * time.Minute

// A job is an act that runs.
type job struct {
	id     string
	who    *people.Actor
	act    Act
	cursor string
	tally  Tally
}

// insert writes a new act.
func (d *Desk) insert(tx *store.Tx, id, state string, who *people.Actor, a *Act, due time.Time) error {
	now := d.now()
	many := 0
	if a.Find != nil {
		many = 1
	}
	_, err := tx.Exec("INSERT INTO review_acts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '{}')", id, state, a.Do, who.ID, who.Login,
		string(jsonOf(who)), string(jsonOf(a)), now.UnixMicro(), due.UnixMicro(), now.Add(leaseFor).UnixMicro(), many)
	if err != nil {
		return err
	}
	for _, item := range a.IDs {
		if _, err := tx.Exec("INSERT INTO review_act_items VALUES (?, ?, '', '', ?)", item, id, now.UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}

// begin notes that an act runs, so that a crash does not leave it untold.
func (d *Desk) begin(ctx context.Context, who *people.Actor, a Act) (*job, error) {
	j := &job{id: ulid.Make().String(), who: who, act: a}
	err := d.o.DB.Write(ctx, func(tx *store.Tx) error { return d.insert(tx, j.id, stateRunning, who, &a, d.now()) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Do, err)
	}
	return j, nil
}

// schedule has an act wait. The same act of the same person that waits already is that one.
func (d *Desk) schedule(ctx context.Context, who *people.Actor, a Act, grace time.Duration, count int) (*Done, error) {
	done := &Done{ID: ulid.Make().String(), Due: d.now().Add(grace), Count: count, Items: []ItemDone{}, State: stateWaiting}
	err := d.o.DB.Write(ctx, func(tx *store.Tx) error {
		var id string
		var due int64
		err := tx.Get("SELECT id, due FROM review_acts WHERE state = 'waiting' AND due > ? AND person = ? AND login = ? AND act = ?",
			[]any{d.now().UnixMicro(), who.ID, who.Login, string(jsonOf(&a))}, &id, &due)
		if err == nil {
			done.ID, done.Due = id, time.UnixMicro(due).UTC()
			return nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		return d.insert(tx, done.ID, stateWaiting, who, &a, done.Due)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Do, err)
	}
	done.Words = fmt.Sprintf("%s %s at %s, unless it is undone", plural(count), map[Verb]string{Release: "will be released", Delete: "will be deleted", Spam: "will be marked as spam"}[a.Do],
		done.Due.Format("15:04:05 UTC"))
	d.hurry()
	return done, nil
}

func plural(n int) string {
	if n == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", n)
}

// hurry tells Run that an act waits.
func (d *Desk) hurry() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// finish ends an act and writes its line, both or neither.
func (d *Desk) finish(ctx context.Context, j *job, t Tally, line audit.Line, items ...ItemDone) error {
	err := d.noteWith(ctx, line, func(tx *store.Tx) error {
		for _, it := range items {
			_, err := tx.Exec("UPDATE review_act_items SET result = ?, words = ?, at = ? WHERE item = ? AND act = ?",
				it.Result, store.Clean(it.Words, mostReason), d.now().UnixMicro(), it.ID, j.id)
			if err != nil {
				return err
			}
		}
		_, err := tx.Exec("UPDATE review_acts SET state = 'done', done = ?, lease = 0 WHERE id = ?", string(jsonOf(t)), j.id)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: what was done could not be noted: %w", j.act.Do, err)
	}
	return nil
}

// Undo takes back an act that still waits: nothing of it was done, nor will be. An act of somebody
// else is not found, but administrators of all domains undo everything. What was undone already stays so.
func (d *Desk) Undo(ctx context.Context, who *people.Actor, id string) error {
	if err := d.may(ctx, who, people.SeeMail, "undo", id); err != nil {
		return err
	}
	var refused error
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteFor)
	defer cancel()
	err := d.o.Audit.NoteAfter(ctx, func(tx *store.Tx) (*audit.Line, error) {
		refused = nil
		line := d.line(who, "undo", id, lineDone)
		var state, verb, person, login, act string
		err := tx.Get("SELECT state, do, person, login, act FROM review_acts WHERE id = ?", []any{id}, &state, &verb, &person, &login, &act)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			refused = ErrNotFound
		case err != nil:
			return nil, err
		case (person != who.ID || login != who.Login) && !oversees(who):
			refused = ErrNotFound
		case state == stateUndone:
			line.Note = "it was undone already"
		case state != stateWaiting:
			refused = ErrTooLate
		case !mayVerb(who, Verb(verb)):
			refused = ErrForbidden
		default:
			line.Note, line.Before = verb, []byte(act)
			if _, err := tx.Exec("UPDATE review_acts SET state = 'undone' WHERE id = ?", id); err != nil {
				return nil, err
			}
		}
		if refused != nil {
			return nil, nil
		}
		return &line, nil
	})
	if err != nil || refused == nil {
		return err
	}
	return d.refuse(ctx, who, "undo", id, refused)
}

// oversees reports whether the acts of others are the actor's to look at and to undo: those of an
// administrator of some domains may be about mail of any.
func oversees(who *people.Actor) bool { return who.Role == people.Admin && whole(who) }

func mayVerb(who *people.Actor, v Verb) bool {
	p, known := v.permission()
	return known && who.May(p)
}

// Acted tells how far an act of the actor has come.
func (d *Desk) Acted(ctx context.Context, who *people.Actor, id string) (*Done, error) {
	done := &Done{ID: id, Items: []ItemDone{}}
	var person, login string
	var verb Verb
	err := d.o.DB.Reader().QueryRowContext(ctx, "SELECT state, do, person, login, due, done FROM review_acts WHERE id = ?", id).
		Scan(&done.State, &verb, &person, &login, (*micro)(&done.Due), jsonColumn{&done.Tally})
	if errors.Is(err, sql.ErrNoRows) || err == nil && (who == nil || (person != who.ID || login != who.Login) && !oversees(who)) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("desk: %w", err)
	}
	if done.State == stateDone {
		done.Due = time.Time{}
	}
	done.Count, done.Words = done.Tally.sum(), done.Tally.words(verb)
	err = d.each(ctx, "SELECT item, result, words FROM review_act_items WHERE act = ? LIMIT ?", []any{id, mostIDs}, func(rows *sql.Rows) error {
		var one ItemDone
		err := rows.Scan(&one.ID, &one.Result, &one.Words)
		done.Items = append(done.Items, one)
		return err
	})
	return done, err
}
