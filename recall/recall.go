// Package recall keeps over a restart what a second try is known by: messages whose 250 was probably
// not read (RFC 1047), and those at which the program failed. There are rows of these only, so other
// mail costs nothing here. When a row could not be written, the worst is a second copy, or one more try.
package recall

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"postern/store"
)

const (
	TakenAge  = 24 * time.Hour
	TakenMax  = 10_000
	PoisonAge = 7 * 24 * time.Hour // mail servers give up after five days
	PoisonMax = 1000
)

// A Taken is a message that the internal server took, while its client probably did not learn so.
type Taken struct {
	Client   netip.Addr
	Size     int64  // bytes
	Content  uint32 // CRC-32C of them
	Envelope uint32 // CRC-32C of sender and recipients
	ID       string // of its transaction
	At       time.Time
}

// A Poison is a message at which the program failed.
type Poison struct {
	Sum   [32]byte // SHA-256
	Size  int64    // bytes
	Tries int
	At    time.Time // of the last
}

// A Store keeps both. All methods may be called from any goroutine.
type Store struct{ db *store.DB }

//go:embed schema
var schema embed.FS

// Open brings the tables up to date. There is nothing to close; the database stays the caller's.
func Open(ctx context.Context, db *store.DB) (*Store, error) {
	steps, err := fs.Sub(schema, "schema")
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, "recall", steps); err != nil {
		return nil, err
	}
	return &Store{db}, nil
}

// Took notes a message; it is on disk when Took returns nil. Beyond TakenMax the oldest goes.
func (s *Store) Took(ctx context.Context, m Taken) error {
	return wrapped(s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("INSERT INTO recall_taken (client, size, content, envelope, id, at) VALUES (?, ?, ?, ?, ?, ?)",
			m.Client.String(), m.Size, m.Content, m.Envelope, m.ID, m.At.UnixMicro())
		if err == nil {
			_, err = tx.Exec("DELETE FROM recall_taken WHERE n <= (SELECT max(n) FROM recall_taken) - ?", TakenMax)
		}
		return err
	}))
}

// Panicked counts one more try of a message that failed. Beyond PoisonMax the oldest goes.
func (s *Store) Panicked(ctx context.Context, p Poison) error {
	return wrapped(s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("INSERT INTO recall_poison VALUES (?, ?, 1, ?) ON CONFLICT (sum) DO UPDATE SET tries = tries + 1, at = excluded.at",
			p.Sum[:], p.Size, p.At.UnixMicro())
		if err == nil {
			_, err = tx.Exec("DELETE FROM recall_poison WHERE sum IN (SELECT sum FROM recall_poison ORDER BY at DESC LIMIT -1 OFFSET ?)", PoisonMax)
		}
		return err
	}))
}

// Taken are the messages that are not too old, oldest first.
func (s *Store) Taken(ctx context.Context, now time.Time) ([]Taken, error) {
	rows, err := s.db.Reader().QueryContext(ctx, "SELECT client, size, content, envelope, id, at FROM recall_taken WHERE at > ? ORDER BY n",
		now.Add(-TakenAge).UnixMicro())
	if err != nil {
		return nil, wrapped(err)
	}
	defer rows.Close()
	var out []Taken
	for rows.Next() {
		var m Taken
		var client string
		var at int64
		if err := rows.Scan(&client, &m.Size, &m.Content, &m.Envelope, &m.ID, &at); err != nil {
			return nil, wrapped(err)
		}
		m.Client, _ = netip.ParseAddr(client) // of who came by XCLIENT it may be unavailable
		m.At = time.UnixMicro(at)
		out = append(out, m)
	}
	return out, wrapped(rows.Err())
}

// Poisons are the messages that failed and are not too old.
func (s *Store) Poisons(ctx context.Context, now time.Time) ([]Poison, error) {
	rows, err := s.db.Reader().QueryContext(ctx, "SELECT sum, size, tries, at FROM recall_poison WHERE at > ? ORDER BY at", now.Add(-PoisonAge).UnixMicro())
	if err != nil {
		return nil, wrapped(err)
	}
	defer rows.Close()
	var out []Poison
	for rows.Next() {
		var p Poison
		var sum []byte
		var at int64
		if err := rows.Scan(&sum, &p.Size, &p.Tries, &at); err != nil {
			return nil, wrapped(err)
		}
		copy(p.Sum[:], sum)
		p.At = time.UnixMicro(at)
		out = append(out, p)
	}
	return out, wrapped(rows.Err())
}

// Prune removes what is too old.
func (s *Store) Prune(ctx context.Context, now time.Time) (n int64, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		taken, err := tx.Exec("DELETE FROM recall_taken WHERE at <= ?", now.Add(-TakenAge).UnixMicro())
		if err != nil {
			return err
		}
		poison, err := tx.Exec("DELETE FROM recall_poison WHERE at <= ?", now.Add(-PoisonAge).UnixMicro())
		n = taken + poison
		return err
	})
	return n, wrapped(err)
}

func wrapped(err error) error {
	if err != nil {
		return fmt.Errorf("recall: %w", err)
	}
	return nil
}
