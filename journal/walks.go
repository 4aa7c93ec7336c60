package journal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"postern/store"
)

// Most mail walks through the rules in one of a few ways. A walk that comes again is kept
// once, and entries name it; one that has not come before is kept with its entry.

const (
	minWalk  = 256 // bytes from which a walk is worth a name
	maxWalks = 256 // how many are remembered
)

// A walk is one that the writer remembers.
type walk struct {
	id   string // "" while it came only once
	text []byte
	day  int64 // the last for which it is written, since 1970; 0: not yet
}

// walks is the writer's memory of walks; it is for one goroutine.
type walks struct {
	seed  maphash.Seed
	known map[uint64]*walk
}

func newWalks() walks { return walks{maphash.MakeSeed(), make(map[uint64]*walk)} }

// named gives the walk under whose name text is kept; nil when it is to stand with its entry.
func (k *walks) named(text []byte) *walk {
	if len(text) < minWalk {
		return nil
	}
	h := maphash.Bytes(k.seed, text)
	w := k.known[h]
	switch {
	case w == nil || string(w.text) != string(text):
		if len(k.known) >= maxWalks {
			clear(k.known)
		}
		k.known[h] = &walk{text: text}
		return nil
	case w.id == "":
		sum := sha256.Sum256(text)
		w.id = fmt.Sprintf("%x", sum[:16])
	}
	return w
}

func dayOf(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }

// write makes sure that a walk outlives an entry of that day.
func (w *walk) write(tx *store.Tx, day int64) error {
	_, err := tx.Exec("INSERT INTO walks VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET seen = max(seen, excluded.seen)",
		w.id, day, string(w.text))
	return err
}

// resolve puts the walk in place of its name in each outcome.
func (s *Store) resolve(ctx context.Context, e *Entry) error {
	for i := range e.Outcomes {
		o := &e.Outcomes[i]
		if o.walk == "" {
			continue
		}
		text, err := s.walk(ctx, o.walk)
		if err != nil {
			return fmt.Errorf("entry %s: %w", e.ID, err)
		}
		o.Rules, o.walk = text, ""
	}
	return nil
}

// walk reads a walk; nil when it is gone.
func (s *Store) walk(ctx context.Context, id string) (json.RawMessage, error) {
	if text, ok := s.read.Load(id); ok {
		return text.(json.RawMessage), nil
	}
	var text string
	err := s.o.DB.Reader().QueryRowContext(ctx, "SELECT text FROM walks WHERE id = ?", id).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read a walk: %w", err)
	}
	if s.readMany.Add(1) > maxWalks {
		s.read.Clear()
		s.readMany.Store(0)
	}
	s.read.Store(id, json.RawMessage(text))
	return json.RawMessage(text), nil
}
