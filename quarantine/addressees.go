package quarantine

import (
	"context"
	"fmt"
	"time"

	"postern/mail"
)

// Addressees are the recipients of mail that waits: of messages received since one moment whose
// copies came to be as they are since another one. Nobody stands there twice.
func (s *Store) Addressees(ctx context.Context, received, changed time.Time) ([]mail.Address, error) {
	rows, err := s.o.DB.Reader().QueryContext(ctx, `SELECT DISTINCT rcpt FROM items CROSS JOIN copies
		WHERE received >= ? AND item = id AND copies.state = ? AND copies.changed >= ?`, micro(received), Kept, micro(changed))
	if err != nil {
		return nil, fmt.Errorf("for whom mail is held: %w", err)
	}
	defer rows.Close()
	var list []mail.Address
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("for whom mail is held: %w", err)
		}
		if a, err := mail.ParseAddress(text, true); err == nil { // else nothing can be sent there
			list = append(list, a)
		}
	}
	return list, rows.Err()
}
