package journal

import (
	"context"
	"fmt"
	"time"

	"postern/store"
)

const pruneBatch = 500

// Prune removes what is past its retention, some at a time so that others can write in
// between, until all is done or ctx ends, and returns how many. After a step of the clock
// nothing is removed for a day (store.TrustClock). Call it every hour.
func (s *Store) Prune(ctx context.Context, now time.Time) (n int64, err error) {
	trusted, err := s.o.DB.TrustClock(ctx, "journal", now)
	if err != nil {
		return 0, fmt.Errorf("prune journal: %w", err)
	}
	if !trusted {
		s.o.Log.Warn("the clock has made a step: nothing is removed from the journal for 24 hours", "now", now)
		return 0, nil
	}
	before := now.Add(-s.o.Retention).UnixMicro()
	for {
		some, err := s.pruneSome(ctx, before)
		if err != nil {
			return n, fmt.Errorf("prune journal: %w", err)
		}
		if n += some; some < pruneBatch {
			break
		}
	}
	if err := s.prunePacks(ctx, before-packGrace.Microseconds()); err != nil {
		return n, fmt.Errorf("prune journal: %w", err)
	}
	oldest := dayOf(now.Add(-s.o.Retention)) - 2
	err = s.o.DB.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec("DELETE FROM sketches WHERE last < ?", before); err != nil {
			return err
		}
		_, err := tx.Exec("DELETE FROM walks WHERE seen < ?", oldest)
		return err
	})
	if err != nil {
		return n, fmt.Errorf("prune journal: %w", err)
	}
	if n > 0 {
		s.o.Log.Info("journal: removed what was past its retention", "entries", n)
	}
	return n, nil
}

// pruneSome removes the oldest entries before a time, with what recipients find them by.
func (s *Store) pruneSome(ctx context.Context, before int64) (n int64, err error) {
	type old struct {
		seq   int64
		rcpts []string
	}
	spots, err := s.spots(ctx, "SELECT "+spotColumns+" FROM entries WHERE seq < ? ORDER BY seq LIMIT ?", before, pruneBatch)
	if err != nil || len(spots) == 0 {
		return 0, err
	}
	list := make([]old, len(spots))
	u := unpacker{db: s.o.DB.Reader()}
	for i := range spots {
		o := &list[i]
		o.seq = spots[i].seq
		e, err := u.entry(ctx, &spots[i])
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if err != nil { // it goes all the same
			s.o.Log.Error("journal: an entry cannot be read", "seq", o.seq, "error", err)
			continue
		}
		for i := range e.Outcomes {
			o.rcpts = append(o.rcpts, key(e.Outcomes[i].Recipient))
		}
	}
	err = s.o.DB.Write(ctx, func(tx *store.Tx) error {
		for _, o := range list {
			for _, rcpt := range o.rcpts {
				if _, err := tx.Exec("DELETE FROM recipients WHERE rcpt = ? AND entry = ?", rcpt, o.seq); err != nil {
					return err
				}
			}
		}
		n, err = tx.Exec("DELETE FROM entries WHERE seq BETWEEN ? AND ?", list[0].seq, list[len(list)-1].seq)
		return err
	})
	return n, err
}

// packGrace: who has just read where an entry stands still finds its pack.
const packGrace = time.Hour

// prunePacks removes packs whose entries are gone, all of them before a time, some at once.
func (s *Store) prunePacks(ctx context.Context, before int64) error {
	for {
		var some int64
		err := s.o.DB.Write(ctx, func(tx *store.Tx) (err error) {
			some, err = tx.Exec("DELETE FROM packs WHERE last IN (SELECT last FROM packs WHERE last < ? ORDER BY last LIMIT ?)", before, prunePackBatch)
			return err
		})
		if err != nil || some < prunePackBatch {
			return err
		}
	}
}

const prunePackBatch = pruneBatch / packMost
