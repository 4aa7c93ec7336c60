package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const (
	clockStep = 24 * time.Hour // a longer step of the clock between two looks is not believed at once
	clockWait = 24 * time.Hour // what it must have run on since then
)

// TrustClock is asked before anything is removed by age; room names who asks. A clock that
// made a step of more than a day since it was last asked (it jumped, or the machine was
// off) is believed only after it has run on for a day: one jump must not empty a store.
// Ask at least every few hours.
func (db *DB) TrustClock(ctx context.Context, room string, now time.Time) (trusted bool, err error) {
	err = db.Write(ctx, func(tx *Tx) error {
		var seen, since int64 // Unix seconds: last look; the clock has run evenly from then on
		err := tx.Get("SELECT seen, since FROM clocks WHERE room = ?", []any{room}, &seen, &since)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			seen, since = now.Unix(), now.Add(-clockWait).Unix()
		case err != nil:
			return err
		}
		if step := now.Unix() - seen; step > int64(clockStep/time.Second) || step < -int64(clockStep/time.Second) {
			since = now.Unix()
		}
		trusted = now.Unix()-since >= int64(clockWait/time.Second)
		_, err = tx.Exec("INSERT INTO clocks VALUES (?, ?, ?) ON CONFLICT (room) DO UPDATE SET seen = excluded.seen, since = excluded.since",
			room, now.Unix(), since)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look at the clock: %w", err)
	}
	return trusted, nil
}
