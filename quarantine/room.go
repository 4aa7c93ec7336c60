package quarantine

import (
	"context"
	"fmt"
)

// Usage is what the quarantine takes.
type Usage struct {
	Items int64 `json:"items"` // with their message, visible or not
	Bytes int64 `json:"bytes"` // of their files
	Max   int64 `json:"max"`   // 0: no cap
	Free  int64 `json:"free"`  // bytes left on the disk
}

// Usage counts what is there, also what other processes put or removed.
func (s *Store) Usage(ctx context.Context) (Usage, error) {
	u := Usage{Max: s.o.MaxBytes}
	var err error
	if u.Items, u.Bytes, err = s.index.usage(ctx); err != nil {
		return u, fmt.Errorf("quarantine usage: %w", err)
	}
	s.note(u.Bytes)
	if u.Free, err = s.blobs.Free(); err != nil {
		return u, fmt.Errorf("quarantine usage: %w", err)
	}
	return u, nil
}

// Room tells whether another message may be held: nil, ErrFull or ErrFailed. A full
// quarantine never deletes early: senders keep their mail and try again.
func (s *Store) Room(ctx context.Context) error {
	if err := s.Err(); err != nil {
		return err
	}
	if s.o.MaxBytes > 0 && s.used.Load() >= s.o.MaxBytes {
		// Another process may have made room meanwhile.
		if _, bytes, err := s.index.usage(ctx); err != nil {
			return err
		} else if s.note(bytes); bytes >= s.o.MaxBytes {
			return fmt.Errorf("%w: %d of %d bytes are taken", ErrFull, bytes, s.o.MaxBytes)
		}
	}
	if s.o.MinFree < 0 {
		return nil
	}
	free, err := s.blobs.Free()
	if err != nil {
		return fmt.Errorf("free space: %w", err)
	}
	if free < s.o.MinFree {
		return fmt.Errorf("%w: %d bytes are free, %d must stay", ErrFull, free, s.o.MinFree)
	}
	return nil
}

// note remembers the sum of all files, and warns once when it passes 80 % of the cap.
func (s *Store) note(used int64) {
	s.used.Store(used)
	if s.o.MaxBytes == 0 {
		return
	}
	if high := used >= s.o.MaxBytes/5*4; high != s.warned.Load() && s.warned.CompareAndSwap(!high, high) && high {
		s.o.Log.Warn("quarantine is 80 % full; at 100 % mail that would be held gets 452",
			"bytes", used, "max", s.o.MaxBytes)
	}
}
