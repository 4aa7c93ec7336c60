package policies

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"postern/store"
)

// What a command may ask of the running gateway.
const (
	Reload = "reload" // take the rule files as they are now
	Reset  = "reset"  // close the breaker of the rule Arg
)

// An Order is what a command asks of the gateway that runs on the same data, which looks for
// orders every second. It needs no address, no signal and no right but to the data folder.
type Order struct {
	N       int64
	At      time.Time
	Who     string
	What    string
	Arg     string
	Done    bool
	Problem string // why it was refused
}

// orderLife is how long an order waits for a gateway: one that is started later reads the
// files anyway.
const orderLife = time.Minute

// Order leaves an order and gives its number.
func (s *Store) Order(ctx context.Context, o *Order) (n int64, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec("DELETE FROM orders WHERE at < ?", o.At.Add(-24*time.Hour).UnixMicro()); err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT INTO orders (at, who, what, arg, answered, problem) VALUES (?, ?, ?, ?, 0, '')",
			o.At.UnixMicro(), o.Who, o.What, o.Arg); err != nil {
			return err
		}
		return tx.Get("SELECT max(n) FROM orders", nil, &n)
	})
	if err != nil {
		return 0, fmt.Errorf("order %s: %w", o.What, err)
	}
	return n, nil
}

// Orders lists those that wait for an answer, oldest first.
func (s *Store) Orders(ctx context.Context, now time.Time) ([]*Order, error) {
	rows, err := s.db.Reader().QueryContext(ctx, "SELECT n, at, who, what, arg FROM orders WHERE answered = 0 AND at > ? ORDER BY n",
		now.Add(-orderLife).UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("look for orders: %w", err)
	}
	defer rows.Close()
	var out []*Order
	for rows.Next() {
		o, at := &Order{}, int64(0)
		if err := rows.Scan(&o.N, &at, &o.Who, &o.What, &o.Arg); err != nil {
			return nil, fmt.Errorf("look for orders: %w", err)
		}
		o.At = time.UnixMicro(at)
		out = append(out, o)
	}
	return out, rows.Err()
}

// Answer says what came of an order; problem is nil when it was done.
func (s *Store) Answer(ctx context.Context, n int64, now time.Time, problem error) error {
	text := ""
	if problem != nil {
		text = problem.Error()
	}
	err := s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("UPDATE orders SET answered = ?, problem = ? WHERE n = ?", now.UnixMicro(), text, n)
		return err
	})
	if err != nil {
		return fmt.Errorf("answer order %d: %w", n, err)
	}
	return nil
}

// waitStep is how often an answer is looked for.
const waitStep = 50 * time.Millisecond

// Await waits until an order is answered or ctx ends.
func (s *Store) Await(ctx context.Context, n int64) (*Order, error) {
	for {
		o, answered := &Order{N: n}, int64(0)
		err := s.db.Reader().QueryRowContext(ctx, "SELECT who, what, arg, answered, problem FROM orders WHERE n = ?", n).
			Scan(&o.Who, &o.What, &o.Arg, &answered, &o.Problem)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, sql.ErrNoRows):
			return nil, fmt.Errorf("order %d: %w", n, ErrNotFound)
		case err != nil:
			return nil, fmt.Errorf("order %d: %w", n, err)
		case answered != 0:
			o.Done = true
			return o, nil
		}
		select {
		case <-time.After(waitStep):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
