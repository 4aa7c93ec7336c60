package policies

import (
	"context"
	"encoding/json"
	"fmt"

	"postern/store"
)

// SaveBreakers keeps the states of all breakers, in place of what was kept before.
func (s *Store) SaveBreakers(ctx context.Context, states map[string]json.RawMessage) error {
	err := s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec("DELETE FROM breakers"); err != nil {
			return err
		}
		for rule, state := range states {
			if _, err := tx.Exec("INSERT INTO breakers VALUES (?, ?)", rule, string(state)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep breakers: %w", err)
	}
	return nil
}

// Breakers gives what SaveBreakers kept.
func (s *Store) Breakers(ctx context.Context) (map[string]json.RawMessage, error) {
	rows, err := s.db.Reader().QueryContext(ctx, "SELECT rule, state FROM breakers")
	if err != nil {
		return nil, fmt.Errorf("read breakers: %w", err)
	}
	defer rows.Close()
	out := map[string]json.RawMessage{}
	for rows.Next() {
		var rule, state string
		if err := rows.Scan(&rule, &state); err != nil {
			return nil, fmt.Errorf("read breakers: %w", err)
		}
		out[rule] = json.RawMessage(state)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read breakers: %w", err)
	}
	return out, nil
}
