package quarantine

import (
	"context"
	"fmt"

	"postern/mail"
)

// MarkSpam notes that kept copies are spam: all of them, or those of to. A StateError when none
// is kept.
func (s *Store) MarkSpam(ctx context.Context, id, by string, to ...mail.Address) error {
	return s.remark(ctx, id, by, Kept, Spam, to)
}

// UnmarkSpam takes that back: the copies wait again.
func (s *Store) UnmarkSpam(ctx context.Context, id, by string, to ...mail.Address) error {
	return s.remark(ctx, id, by, Spam, Kept, to)
}

func (s *Store) remark(ctx context.Context, id, by string, from, next State, to []mail.Address) error {
	err := s.change(ctx, id, func(cs *changes) error {
		_, err := cs.move([]State{from}, next, by, "", to)
		return err
	})
	if err != nil {
		return fmt.Errorf("mark %s: %w", id, err)
	}
	return nil
}
