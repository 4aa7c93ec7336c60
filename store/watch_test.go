package store

import (
	"errors"
	"os"
	"testing"
)

// A log or a database that is deleted, moved or replaced under a running daemon stops all writing at
// the next look; what was acknowledged before is there after a usual end.
func TestD08_FilesTakenAwayAreNoticed(t *testing.T) {
	for name, damage := range map[string]func(file, log string) error{
		"log deleted":    func(_, log string) error { return os.Remove(log) },
		"log replaced":   func(_, log string) error { return errors.Join(os.Remove(log), os.WriteFile(log, nil, 0o600)) },
		"database moved": func(file, _ string) error { return os.Rename(file, file+".old") },
		"database replaced": func(file, _ string) error {
			return errors.Join(os.Rename(file, file+".old"), os.WriteFile(file, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			db := open(t, dir, Options{Exclusive: true})
			if err := db.Write(t.Context(), func(tx *Tx) error { return tx.script("CREATE TABLE numbers (n INTEGER)") }); err != nil {
				t.Fatal(err)
			}
			for n := range 100 {
				if err := db.Write(t.Context(), insert(n)); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Watch(); err != nil {
				t.Fatalf("nothing happened: %v", err)
			}
			if err := damage(db.names()); err != nil {
				t.Fatal(err)
			}
			if err := db.Watch(); !errors.Is(err, ErrFailed) || !errors.Is(err, ErrCorrupt) {
				t.Errorf("got %v", err)
			}
			if err := db.Watch(); err != nil {
				t.Errorf("told again: %v", err)
			}
			if err := db.Write(t.Context(), insert(200)); !errors.Is(err, ErrFailed) {
				t.Errorf("the next write: %v", err)
			}
			if err := db.Close(); err != nil {
				t.Logf("close: %v", err)
			}
			if name != "log deleted" {
				return
			}
			if n := count(t, open(t, dir, Options{Exclusive: true})); n != 100 {
				t.Errorf("%d rows after a usual end", n)
			}
		})
	}
}

// The log is the same file after it was folded into the database and cut.
func TestD08_AFoldedLogIsNotTakenAway(t *testing.T) {
	db := open(t, t.TempDir(), Options{Exclusive: true})
	for range 3 {
		if err := db.Write(t.Context(), func(tx *Tx) error { return tx.script("CREATE TABLE IF NOT EXISTS numbers (n INTEGER)") }); err != nil {
			t.Fatal(err)
		}
		if _, err := db.conn.ExecContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
			t.Fatal(err)
		}
		if err := db.Watch(); err != nil {
			t.Fatal(err)
		}
	}
}
