package review

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"postern/audit"
	"postern/people"
	"postern/store"
)

// Results of a line of the log of acts.
const (
	lineDone    = "done"
	lineRefused = "refused"
	lineFailed  = "failed"
)

// may asks for a permission; when it is missing, that is noted as an attempt.
func (d *Desk) may(ctx context.Context, who *people.Actor, p people.Permission, act, object string) error {
	if who != nil && who.May(p) {
		return nil
	}
	return d.refuse(ctx, who, act, object, ErrForbidden)
}

// refuse notes an attempt that was refused, and returns why. Attempts again and again are counted.
func (d *Desk) refuse(ctx context.Context, who *people.Actor, act, object string, why error) error {
	line := d.line(who, act, object, lineRefused)
	line.Note = why.Error()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteFor)
	defer cancel()
	if err := d.o.Audit.Refuse(ctx, line); err != nil {
		return err
	}
	return why
}

// Refuse notes that the actor may not do something that was refused before the Desk was asked, and
// returns ErrForbidden.
func (d *Desk) Refuse(ctx context.Context, who *people.Actor, act, object string) error {
	return d.refuse(ctx, who, act, object, ErrForbidden)
}

// line begins a line of the log of acts.
func (d *Desk) line(who *people.Actor, act, object, result string) audit.Line {
	line := audit.Line{Act: act, Object: object, Result: result}
	if who != nil {
		line.Who, line.By = who.Login, who.By
		if who.From.IsValid() {
			line.From = who.From.String()
		}
	}
	return line
}

// noteFor is how long a line may take to be written; who asked may have gone meanwhile.
const noteFor = 20 * time.Second

// note writes a line. Its error must reach who asked: what is not noted must not be done unseen.
func (d *Desk) note(ctx context.Context, line audit.Line) error {
	return d.noteWith(ctx, line, func(*store.Tx) error { return nil })
}

// noteWith writes a line and what do writes, both or neither.
func (d *Desk) noteWith(ctx context.Context, line audit.Line, do func(*store.Tx) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteFor)
	defer cancel()
	return d.o.Audit.NoteWith(ctx, line, do)
}

// jsonOf is v for a line; it is made of our own types, which always have a form in JSON.
func jsonOf(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(fmt.Sprintf("%q", err.Error()))
	}
	return text
}
