package review

import (
	"context"
	"fmt"
	"time"

	"postern/store"
)

// keepMarks is how long marks, requests and acts are kept: longer than any mail in quarantine
// usually is. The log of acts stays.
const keepMarks = 400 * 24 * time.Hour

// Tidy removes what is about mail of long ago. After a step of the clock nothing is removed for a
// day. Call it every hour.
func (d *Desk) Tidy(ctx context.Context, now time.Time) error {
	trusted, err := d.o.DB.TrustClock(ctx, "review", now)
	if err != nil || !trusted {
		return err
	}
	err = d.o.DB.Write(ctx, func(tx *store.Tx) error {
		before := now.Add(-keepMarks).UnixMicro()
		for _, statement := range []string{
			"DELETE FROM review_seen WHERE at < ?",
			"DELETE FROM review_taken WHERE at < ?",
			"DELETE FROM review_requests WHERE at < ?",
			"DELETE FROM review_spam WHERE at < ?",
			"DELETE FROM review_act_items WHERE at < ?",
			"DELETE FROM review_acts WHERE at < ? AND state IN ('done', 'undone')",
		} {
			if _, err := tx.Exec(statement, before); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tidy the desk: %w", err)
	}
	return nil
}
