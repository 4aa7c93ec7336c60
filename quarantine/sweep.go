package quarantine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A file without a row is younger than this while its Hold may still be under way.
const orphanAge = time.Hour

// A Report is what Check saw, or Sweep put right.
type Report struct {
	Kept     Found // held by a crash: a doubt is kept, never dropped
	Voided   Found // rows of a Hold that failed half-way: never answered for, without a file
	Leftover Found // files of deleted messages: removed
	Orphans  Found // files without a row, older than an hour: set aside until retention
	Missing  Found // rows whose file is gone: damage, left as they are
	Perhaps  Found // releasing: perhaps delivered, for a person to decide
	Cleaned  int   // half-written files and old set-aside ones that were removed
}

// Found counts, and names the first hundred.
type Found struct {
	Count int
	IDs   []string
}

func (f *Found) add(id string) {
	if f.Count++; f.Count <= 100 {
		f.IDs = append(f.IDs, id)
	}
}

// Check compares rows and files and changes nothing.
func (s *Store) Check(ctx context.Context) (Report, error) {
	return s.survey(ctx, orphanAge, false)
}

// Sweep puts right what a crash left: held rows older than olderThan that this process is
// not working on become kept, files and rows without each other are cleared up as Report
// tells. The daemon calls it at start, and may at any time. A second call finds nothing.
func (s *Store) Sweep(ctx context.Context, olderThan time.Duration) (Report, error) {
	r, err := s.survey(ctx, olderThan, true)
	if err != nil {
		return r, err
	}
	now := s.now()
	r.Cleaned, err = s.blobs.Clean(ctx, now.Add(-orphanAge), now.Add(-s.o.Retention))
	if err != nil {
		return r, fmt.Errorf("sweep quarantine: %w", err)
	}
	return r, nil
}

func (s *Store) survey(ctx context.Context, olderThan time.Duration, repair bool) (r Report, err error) {
	now := s.now()
	sv := &survey{s: s, r: &r, repair: repair, now: now, stale: now.Add(-olderThan)}
	if err := sv.rows(ctx); err != nil {
		return r, fmt.Errorf("check quarantine: %w", err)
	}
	if err := s.blobs.Walk(ctx, func(ids []string) error { return sv.files(ctx, ids) }); err != nil {
		return r, fmt.Errorf("check quarantine: %w", err)
	}
	return r, nil
}

type survey struct {
	s      *Store
	r      *Report
	repair bool
	now    time.Time
	stale  time.Time
}

// busy reports whether this process is still working on a message, be it held or on its way there.
func (sv *survey) busy(id string) bool {
	sv.s.mu.Lock()
	defer sv.s.mu.Unlock()
	at, ok := sv.s.live[id]
	return ok && time.Since(at) < orphanAge
}

// rows looks for each row's file.
func (sv *survey) rows(ctx context.Context) error {
	for after := ""; ; {
		page, err := sv.s.index.states(ctx, after)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, row := range page {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			_, has, err := sv.s.blobs.Stat(ctx, row.id)
			if err == nil {
				err = sv.row(ctx, row, has)
			}
			if err != nil {
				return err
			}
		}
		after = page[len(page)-1].id
	}
}

func (sv *survey) row(ctx context.Context, row row, has bool) error {
	switch {
	case row.state == Held && (row.changed.After(sv.stale) || sv.busy(row.id)):
		return nil
	case row.state == Held && !has:
		sv.r.Voided.add(row.id)
		if sv.repair {
			_, err := sv.s.index.drop(ctx, row.id)
			return err
		}
	case row.state == Held:
		sv.r.Kept.add(row.id)
		if sv.repair {
			return sv.s.index.keep(ctx, row.id, sv.now)
		}
	case row.state == Deleted:
		return nil
	case !has:
		return sv.missing(ctx, row.id)
	case row.state == Releasing:
		sv.r.Perhaps.add(row.id)
	}
	return nil
}

// missing looks again: somebody may have deleted it since the page was read.
func (sv *survey) missing(ctx context.Context, id string) error {
	it, err := sv.s.index.get(ctx, id)
	if errors.Is(err, ErrNotFound) || err == nil && it.State == Deleted {
		return nil
	}
	sv.r.Missing.add(id)
	return err
}

// files looks for each file's row.
func (sv *survey) files(ctx context.Context, ids []string) error {
	states, err := sv.s.index.statesOf(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		st, known := states[id]
		switch {
		case known && st == Deleted:
			sv.r.Leftover.add(id)
			if sv.repair {
				if err := sv.s.blobs.Delete(ctx, id); err != nil {
					return err
				}
			}
		case !known:
			if err := sv.orphan(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// orphan sets a file aside rather than removing it: when the database came from an older
// backup, it is a message that somebody was told we have.
func (sv *survey) orphan(ctx context.Context, id string) error {
	changed, ok, err := sv.s.blobs.Stat(ctx, id)
	if err != nil || !ok || sv.now.Sub(changed) < orphanAge || sv.busy(id) {
		return err
	}
	sv.r.Orphans.add(id)
	if sv.repair {
		return sv.s.blobs.SetAside(ctx, id)
	}
	return nil
}

type row struct {
	id      string
	state   State
	changed time.Time
}

// states pages through all rows by id.
func (x index) states(ctx context.Context, after string) ([]row, error) {
	rows, err := x.db.Reader().QueryContext(ctx, "SELECT id, state, changed FROM items WHERE id > ? ORDER BY id LIMIT 1000", after)
	if err != nil {
		return nil, err
	}
	return scanRows(rows)
}

func (x index) statesOf(ctx context.Context, ids []string) (map[string]State, error) {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	rows, err := x.db.Reader().QueryContext(ctx,
		"SELECT id, state, changed FROM items WHERE id IN (?"+strings.Repeat(", ?", len(ids)-1)+")", args...)
	if err != nil {
		return nil, err
	}
	list, err := scanRows(rows)
	states := make(map[string]State, len(list))
	for _, r := range list {
		states[r.id] = r.state
	}
	return states, err
}

func scanRows(rows *sql.Rows) (list []row, err error) {
	defer rows.Close()
	for rows.Next() {
		var r row
		var changed int64
		if err := rows.Scan(&r.id, &r.state, &changed); err != nil {
			return nil, err
		}
		r.changed = fromMicro(changed)
		list = append(list, r)
	}
	return list, rows.Err()
}
