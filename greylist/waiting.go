package greylist

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/store"
)

// A Pair is who wrote to whom.
type Pair struct {
	ID        int64     `json:"id"`
	Who       string    `json:"who"`    // a network, or a domain that SPF proves
	Sender    string    `json:"sender"` // with # for digits; "" is the null sender
	Recipient string    `json:"recipient"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Tries     int       `json:"tries"`
	Passed    time.Time `json:"passed,omitzero"` // when it was let through; zero: it waits
	By        string    `json:"by,omitempty"`    // who let it through; empty when it came back
}

// A Query says which pairs are wanted; each field that is empty does not narrow.
type Query struct {
	Address string // in the sender or the recipient, or who
	Passed  bool   // also those that need not wait any more
	Limit   int    // 0: 1,000
}

const pairColumns = "SELECT id, who, sender, recipient, first, last, tries, passed, by_whom FROM greylist"

// List gives pairs, the newest first.
func (s *Store) List(ctx context.Context, q Query) (list []*Pair, err error) {
	if q.Limit <= 0 {
		q.Limit = 1000
	}
	like := "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(strings.ToLower(q.Address)) + "%"
	rows, err := s.o.DB.Reader().QueryContext(ctx, pairColumns+` WHERE (passed = 0 OR ?) AND (? = '%%' OR who LIKE ? ESCAPE '\' OR sender LIKE ? ESCAPE '\' OR recipient LIKE ? ESCAPE '\')
		ORDER BY first DESC, id DESC LIMIT ?`, q.Passed, like, like, like, like, q.Limit)
	if err != nil {
		return nil, wrapped(err)
	}
	defer rows.Close()
	for rows.Next() {
		var p Pair
		var first, last, passed int64
		if err := rows.Scan(&p.ID, &p.Who, &p.Sender, &p.Recipient, &first, &last, &p.Tries, &passed, &p.By); err != nil {
			return nil, wrapped(err)
		}
		p.First, p.Last = time.UnixMicro(first).UTC(), time.UnixMicro(last).UTC()
		if passed > 0 {
			p.Passed = time.UnixMicro(passed).UTC()
		}
		list = append(list, &p)
	}
	return list, wrapped(rows.Err())
}

// ErrNotFound is returned for a pair that is not there, or does not wait.
var ErrNotFound = errors.New("no such pair waits")

// Pass lets the mail of a pair through from now on: its next try is not put off.
func (s *Store) Pass(ctx context.Context, id int64, by string) error {
	now := s.o.Clock().UnixMicro()
	err := s.o.DB.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec("UPDATE greylist SET passed = ?, last = ?, by_whom = ? WHERE id = ? AND passed = 0", now, now, store.Clean(by, maxText), id)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("greylist: pair %d: %w", id, err)
	}
	return nil
}
