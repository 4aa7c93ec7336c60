package people

import (
	"context"
	"encoding/json"
	"errors"

	"postern/audit"
	"postern/store"
)

// Audit is the log of acts; audit.Log is one, and has to be on the same database.
type Audit interface {
	Note(ctx context.Context, l audit.Line) error
	// Refuse is Note for what was refused. What is tried again and again is counted.
	Refuse(ctx context.Context, l audit.Line) error
	// NoteAfter writes what do writes and the line that it gives, both or neither.
	NoteAfter(ctx context.Context, do func(*store.Tx) (*audit.Line, error)) error
}

// noted carries out a change of people and writes its line, both or neither: none can be there
// without the other. do says in the line what was before and after. What is refused or fails
// leaves a line as well.
func (s *Store) noted(ctx context.Context, who *Actor, act, object string, do func(tx *store.Tx, l *audit.Line) error) error {
	after := func(tx *store.Tx) (*audit.Line, error) {
		l := s.line(who, act, object)
		err := do(tx, &l)
		return &l, err
	}
	var err error
	if s.o.Audit == nil {
		err = s.o.DB.Write(ctx, func(tx *store.Tx) error { _, err := after(tx); return err })
	} else {
		err = s.o.Audit.NoteAfter(ctx, after)
	}
	if err != nil {
		return s.note(ctx, who, act, object, err)
	}
	return nil
}

// note writes one line that comes with no change: of a sign-in, and of what was refused or failed.
func (s *Store) note(ctx context.Context, who *Actor, act, object string, err error) error {
	if s.o.Audit == nil {
		return err
	}
	l, write := s.line(who, act, object), s.o.Audit.Note
	var invalid *InvalidError
	switch {
	case err == nil:
	case errors.Is(err, ErrForbidden), errors.Is(err, ErrSignIn), errors.Is(err, ErrLastAdmin), errors.Is(err, ErrTaken), errors.Is(err, ErrNotFound), errors.As(err, &invalid):
		l.Result, l.Note = "refused", err.Error()
		if act != signInAct || l.Who == "" { // how often an account is tried is bounded, and each time is of interest
			write = s.o.Audit.Refuse
		}
	default:
		l.Result = "failed"
	}
	if failed := write(context.WithoutCancel(ctx), l); failed != nil {
		return errors.Join(err, failed)
	}
	return err
}

const signInAct = "sign-in"

// line begins a line about something that is done.
func (s *Store) line(who *Actor, act, object string) audit.Line {
	l := audit.Line{At: s.now(), Act: act, Object: object, Result: "done"}
	if who != nil {
		l.Who, l.By = who.Login, who.By
		if who.From.IsValid() {
			l.From = who.From.String()
		}
	}
	return l
}

func asJSON(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}
