package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// Migrate brings a room's tables up to date: the files NNN.sql or NNN_words.sql of its
// folder, from 1 on without gaps, each applied once and all in one transaction. There is
// no way back; tables of a later version are refused with ErrNewer.
func (db *DB) Migrate(ctx context.Context, room string, files fs.FS) error {
	steps, err := readSteps(files)
	if err != nil {
		return fmt.Errorf("tables of %s: %w", room, err)
	}
	var have int
	err = db.readers.QueryRowContext(ctx, "SELECT version FROM rooms WHERE room = ?", room).Scan(&have)
	if err == nil && have == len(steps) {
		return nil // the usual case, without a write lock
	}
	err = db.Write(ctx, func(tx *Tx) error {
		if err := tx.script(ownTables); err != nil {
			return err
		}
		var have int
		err := tx.Get("SELECT version FROM rooms WHERE room = ?", []any{room}, &have)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if have > len(steps) {
			return fmt.Errorf("%w (version %d, this one knows %d)", ErrNewer, have, len(steps))
		}
		for i := have; i < len(steps); i++ {
			if err := tx.script(steps[i]); err != nil {
				return fmt.Errorf("step %d: %w", i+1, err)
			}
		}
		if have == len(steps) {
			return nil
		}
		_, err = tx.Exec("INSERT INTO rooms VALUES (?, ?, ?) ON CONFLICT (room) DO UPDATE SET version = excluded.version, changed = excluded.changed",
			room, len(steps), time.Now().Unix())
		return err
	})
	if err != nil {
		return fmt.Errorf("tables of %s: %w", room, err)
	}
	return nil
}

// ownTables are the store's own: who has which version, and TrustClock's.
const ownTables = `
CREATE TABLE IF NOT EXISTS rooms (room TEXT PRIMARY KEY, version INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS clocks (room TEXT PRIMARY KEY, seen INTEGER NOT NULL, since INTEGER NOT NULL) STRICT;
`

func readSteps(files fs.FS) ([]string, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	steps := make([]string, len(names))
	for _, name := range names {
		digits, _, _ := strings.Cut(strings.TrimSuffix(path.Base(name), ".sql"), "_")
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 || n > len(names) || steps[n-1] != "" {
			return nil, fmt.Errorf("%s: steps are numbered from 1 without gaps", name)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		steps[n-1] = string(text)
	}
	return steps, nil
}
