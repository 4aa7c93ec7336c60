package quarantine

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"postern/mail"
	"postern/store"
)

// StartRelease claims copies for sending, by compare-and-set: of many who try at once, one
// succeeds. Without to it claims every copy that is kept or called spam, else those of these recipients, all or
// none. It returns the claimed copies; a StateError when there is nothing kept to claim.
// What stays in Releasing (a crash, an unclear answer) was perhaps delivered and is never
// sent again by itself.
func (s *Store) StartRelease(ctx context.Context, id, by string, to ...mail.Address) ([]Copy, error) {
	var claimed []Copy
	err := s.change(ctx, id, func(cs *changes) error {
		claimed = nil
		var err error
		claimed, err = cs.move([]State{Kept, Spam}, Releasing, by, "", to)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("release %s: %w", id, err)
	}
	return claimed, nil
}

// FinishRelease tells what became of the claimed copies (of those of to, when it is given):
// released, or kept again. note says how, for people.
func (s *Store) FinishRelease(ctx context.Context, id string, ok bool, note string, to ...mail.Address) error {
	next := Kept
	if ok {
		next = Released
	}
	err := s.change(ctx, id, func(cs *changes) error {
		_, err := cs.move([]State{Releasing}, next, "", note, to)
		return err
	})
	if err != nil {
		return fmt.Errorf("finish the release of %s: %w", id, err)
	}
	return nil
}

// Delete deletes the kept copies, or with to those of these recipients only. When no copy
// needs it any more the message is removed; the row stays until retention. Copies that are
// being released must be finished before: StateError.
func (s *Store) Delete(ctx context.Context, id, by string, to ...mail.Address) error {
	gone := false
	err := s.change(ctx, id, func(cs *changes) (err error) {
		if len(to) > 0 {
			if _, err := cs.move([]State{Kept, Spam}, Deleted, by, "", to); err != nil {
				return err
			}
			gone = cs.derive() == Deleted
		} else if gone, err = cs.deleteAll(by); err != nil {
			return err
		}
		if gone {
			return cs.forget()
		}
		return nil
	})
	if err == nil && gone {
		err = s.blobs.Delete(context.WithoutCancel(ctx), id) // should it stay, Sweep removes it
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", id, err)
	}
	return nil
}

// changes is one item on its way to another state, inside a transaction.
type changes struct {
	tx     *store.Tx
	id     string
	now    time.Time
	state  State
	stored int64
	copies []Copy
	by     string
	note   string
}

func (s *Store) change(ctx context.Context, id string, fn func(*changes) error) error {
	now := s.now()
	return s.o.DB.Write(ctx, func(tx *store.Tx) error {
		cs := &changes{tx: tx, id: id, now: now}
		if err := cs.read(); err != nil {
			return err
		}
		if err := fn(cs); err != nil {
			return err
		}
		if cs.state != Deleted {
			cs.state = cs.derive()
		}
		_, err := tx.Exec(`UPDATE items SET state = ?, changed = ?, by_whom = CASE ? WHEN '' THEN by_whom ELSE ? END, note = ?, stored = ? WHERE id = ?`,
			cs.state, micro(now), cs.by, cs.by, cs.note, cs.stored, id)
		return err
	})
}

func (cs *changes) read() (err error) {
	if cs.state, cs.stored, err = state(cs.tx, cs.id); err != nil {
		return err
	}
	if cs.state == Held {
		return ErrNotFound
	}
	rows, err := cs.tx.Query("SELECT said, class, rule, because, score, state, by_whom, note FROM copies WHERE item = ? ORDER BY n", cs.id)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var said sql.RawBytes
		var c Copy
		if err := rows.Scan(&said, &c.Class, &c.Rule, &c.Because, &c.Score, &c.State, &c.By, &c.Note); err != nil {
			return err
		}
		if err := json.Unmarshal(said, &c.Recipient); err != nil {
			return fmt.Errorf("recipient: %w", err)
		}
		cs.copies = append(cs.copies, c)
	}
	return rows.Err()
}

// move takes copies from one state to the next.
func (cs *changes) move(from []State, next State, by, note string, to []mail.Address) ([]Copy, error) {
	wanted := make(map[string]bool, len(to))
	for _, a := range to {
		wanted[key(a)] = false
	}
	var moved []Copy
	for n := range cs.copies {
		c := &cs.copies[n]
		k := key(c.Recipient.Address)
		if _, named := wanted[k]; len(to) > 0 && !named {
			continue
		}
		if !slices.Contains(from, c.State) {
			if len(to) > 0 && !wanted[k] {
				return nil, &StateError{cs.id, c.State}
			}
			continue
		}
		wanted[k] = true
		if err := cs.set(n, next, by, note); err != nil {
			return nil, err
		}
		moved = append(moved, *c)
	}
	for _, a := range to {
		if !wanted[key(a)] {
			return nil, fmt.Errorf("%w for <%s>", ErrNotFound, a)
		}
	}
	if len(moved) == 0 {
		return nil, &StateError{cs.id, cs.state}
	}
	return moved, nil
}

func (cs *changes) set(n int, next State, by, note string) error {
	c := &cs.copies[n]
	c.State, c.Changed, c.Note = next, cs.now, store.Clean(note, maxText)
	if by != "" {
		c.By, cs.by = by, by
	}
	cs.note = c.Note
	_, err := cs.tx.Exec("UPDATE copies SET state = ?, changed = ?, by_whom = ?, note = ? WHERE item = ? AND n = ?",
		c.State, micro(cs.now), c.By, c.Note, cs.id, n)
	return err
}

// deleteAll deletes what is kept; copies that were released stay so, to be told of.
func (cs *changes) deleteAll(by string) (gone bool, err error) {
	if cs.state == Deleted {
		return false, &StateError{cs.id, Deleted}
	}
	for n := range cs.copies {
		switch cs.copies[n].State {
		case Releasing:
			return false, &StateError{cs.id, Releasing}
		case Kept, Spam:
			if err := cs.set(n, Deleted, by, ""); err != nil {
				return false, err
			}
		}
	}
	cs.state, cs.by = Deleted, by
	return true, nil
}

// forget takes the file out of the sum.
func (cs *changes) forget() error {
	_, err := empty(cs.tx, cs.stored)
	cs.stored = 0
	return err
}

func (cs *changes) derive() State {
	has := map[State]bool{}
	for i := range cs.copies {
		has[cs.copies[i].State] = true
	}
	return stateOf(has)
}

// stateOf is the state of an item that has copies in some states.
func stateOf(has map[State]bool) State {
	for _, st := range []State{Releasing, Kept, Spam, Released} {
		if has[st] {
			return st
		}
	}
	return Deleted
}
