package quarantine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/store"
)

const (
	expireBatch = 200
	expireMost  = 5000 // a call; the next one goes on
	inFlight    = 24 * time.Hour

	// mayGo leaves alone what is being received or released.
	mayGo = "state <> ? AND (state <> ? OR changed < ?)"
)

// Expire removes what is past its retention, at most some thousand a call, and returns how
// many. A crash in between leaves nothing that the next call or Sweep does not finish. After
// a step of the clock nothing is removed for a day (store.TrustClock). Call it every hour.
func (s *Store) Expire(ctx context.Context, now time.Time) (n int, err error) {
	trusted, err := s.o.DB.TrustClock(ctx, "quarantine", now)
	if err != nil {
		return 0, fmt.Errorf("expire quarantine: %w", err)
	}
	for trusted && n < expireMost {
		ids, err := s.index.expired(ctx, now)
		if err == nil && len(ids) > 0 {
			err = s.expire(ctx, ids, now)
		}
		if err != nil {
			return n, fmt.Errorf("expire quarantine: %w", err)
		}
		if n += len(ids); len(ids) < expireBatch {
			break
		}
	}
	if trusted {
		if err := s.index.forget(ctx, now); err != nil {
			return n, fmt.Errorf("expire quarantine: %w", err)
		}
	}
	switch {
	case !trusted:
		s.o.Log.Warn("the clock has made a step: nothing is removed from quarantine for 24 hours", "now", now)
	case n > 0:
		s.o.Log.Info("quarantine: removed what was past its retention", "items", n)
	}
	return n, nil
}

func (x index) expired(ctx context.Context, now time.Time) (ids []string, err error) {
	rows, err := x.db.Reader().QueryContext(ctx,
		"SELECT id FROM items WHERE expires <= ? AND "+mayGo+" ORDER BY expires LIMIT ?",
		micro(now), Held, Releasing, micro(now.Add(-inFlight)), expireBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// expire first says that the messages are gone, then removes the files, then the rows.
func (s *Store) expire(ctx context.Context, ids []string, now time.Time) error {
	quiet := micro(now.Add(-inFlight))
	var used int64
	var gone []string
	err := s.o.DB.Write(ctx, func(tx *store.Tx) (err error) {
		gone = nil
		for _, id := range ids {
			_, stored, err := state(tx, id)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			n, err := tx.Exec("UPDATE items SET state = ?, stored = 0, note = 'past its retention' WHERE id = ? AND "+mayGo,
				Deleted, id, Held, Releasing, quiet)
			if err != nil {
				return err
			}
			if n == 0 {
				continue // somebody began to release it
			}
			if _, err := empty(tx, stored); err != nil {
				return err
			}
			gone = append(gone, id)
		}
		used, err = count(tx, 0, 0)
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range gone {
		if err := s.blobs.Delete(ctx, id); err != nil {
			return err
		}
	}
	if err := s.blobs.Forget(gone); err != nil { // else a power cut leaves files that nobody has a row of
		return err
	}
	s.note(used)
	return s.o.DB.Write(ctx, func(tx *store.Tx) error {
		for _, id := range gone {
			if _, err := tx.Exec("DELETE FROM items WHERE id = ?", id); err != nil {
				return err
			}
		}
		return nil
	})
}
