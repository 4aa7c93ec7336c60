package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"modernc.org/sqlite"
)

// lookForDamage runs Check and waits for it for a while: a large database is checked
// while it is in use already, and stops writing when something is found.
func (db *DB) lookForDamage(ctx context.Context, wait time.Duration) error {
	behind, stop := context.WithCancel(context.WithoutCancel(ctx))
	db.stopCheck = stop
	found := make(chan error, 1)
	go func() {
		defer close(db.checked)
		err := db.Check(behind)
		if errors.Is(err, ErrCorrupt) {
			db.fail(err)
		}
		found <- err
	}()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case err := <-found:
		return err
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Check reads the whole database and returns ErrCorrupt when it finds damage.
func (db *DB) Check(ctx context.Context) error { return db.check(ctx, "PRAGMA quick_check(10)") }

// CheckAll also compares each index with its table, which takes several times as long.
func (db *DB) CheckAll(ctx context.Context) error { return db.check(ctx, "PRAGMA integrity_check(10)") }

func (db *DB) check(ctx context.Context, pragma string) error {
	rows, err := db.readers.QueryContext(ctx, pragma)
	if err != nil {
		return fmt.Errorf("check the database: %w", wrap(err))
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return fmt.Errorf("check the database: %w", wrap(err))
		}
		found = append(found, s)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("check the database: %w", wrap(err))
	}
	if len(found) != 1 || found[0] != "ok" {
		return fmt.Errorf("check the database: %w: %s", ErrCorrupt, strings.Join(found, "; "))
	}
	return nil
}

// Backup writes a copy of the database as it is now to a new file (mode 0600). Messages
// are files of their own; copy them afterwards.
func (db *DB) Backup(ctx context.Context, file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	c, err := sqlite.NewConnector(dsn(db.dir, 10*time.Second, false)) // readers may not do this
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	own := sql.OpenDB(c)
	defer own.Close()
	if _, err := own.ExecContext(ctx, "VACUUM INTO ?", file); err != nil {
		return fmt.Errorf("back up to %s: %w", file, wrap(err))
	}
	return nil
}
