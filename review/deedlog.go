package review

import (
	"context"
	"errors"

	"postern/audit"
	"postern/people"
	"postern/quarantine"
	"postern/store"
)

// auditMost is how many lines one page looks at for somebody who does not see all mail.
const auditMost = 5000

// Audit is a page of the log of acts, newest first; before 0 begins at its end. Who does not see
// all mail reads own lines, and those about messages all of whose copies are in sight.
func (d *Desk) Audit(ctx context.Context, who *people.Actor, before int64, limit int) ([]audit.Line, error) {
	if err := d.may(ctx, who, people.ReadAudit, "audit", ""); err != nil {
		return nil, err
	}
	if whole(who) {
		return d.o.Audit.List(ctx, audit.Query{Before: before, Limit: limit})
	}
	limit = store.Page(limit)
	out := []audit.Line{}
	for looked := 0; looked < auditMost; {
		lines, err := d.o.Audit.List(ctx, audit.Query{Before: before, Limit: 500})
		if err != nil || len(lines) == 0 {
			return out, err
		}
		for i := range lines {
			before = lines[i].N
			ok, err := d.maySeeLine(ctx, who, &lines[i])
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
			if out = append(out, lines[i]); len(out) == limit {
				return out, nil
			}
		}
		looked += len(lines)
	}
	return out, nil
}

func (d *Desk) maySeeLine(ctx context.Context, who *people.Actor, line *audit.Line) (bool, error) {
	if line.Who == who.Login {
		return true, nil
	}
	it, err := d.o.Quarantine.Get(ctx, line.Object)
	if errors.Is(err, quarantine.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for i := range it.Copies {
		if !sees(who, &it.Copies[i]) {
			return false, nil
		}
	}
	return true, nil
}
