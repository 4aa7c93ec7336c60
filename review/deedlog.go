package review

import (
	"context"
	"slices"

	"postern/audit"
	"postern/people"
	"postern/quarantine"
	"postern/store"
)

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
	for {
		lines, err := d.o.Audit.List(ctx, audit.Query{Before: before, Limit: auditBatch})
		if err != nil || len(lines) == 0 {
			return out, err
		}
		seen, err := d.inSight(ctx, who, lines)
		if err != nil {
			return nil, err
		}
		for i := range lines {
			if lines[i].Who != who.Login && !seen[lines[i].Object] {
				continue
			}
			if out = append(out, lines[i]); len(out) == limit {
				return out, nil
			}
		}
		before = lines[len(lines)-1].N
	}
}

// auditBatch is how many lines are looked at together.
const auditBatch = 500

// inSight tells of which objects of some lines, being messages, the actor sees all copies.
func (d *Desk) inSight(ctx context.Context, who *people.Actor, lines []audit.Line) (map[string]bool, error) {
	var ids []string
	for i := range lines {
		if id := lines[i].Object; id != "" && lines[i].Who != who.Login && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	items, err := d.o.Quarantine.Some(ctx, ids)
	seen := map[string]bool{}
	for _, it := range items {
		seen[it.ID] = !slices.ContainsFunc(it.Copies, func(c quarantine.Copy) bool { return !sees(who, &c) })
	}
	return seen, err
}
