package quarantine

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/mail"
	"postern/store"
)

// index is the rows beside the files. Nothing from a message is ever part of a statement.
type index struct{ db *store.DB }

const maxText = 1024 // bytes of a subject or sentence that are kept

// key is an address for comparing: most servers ignore case in local parts too, and so
// does whoever searches.
func key(a mail.Address) string { return store.Clean(strings.ToLower(a.String()), maxText) }

func domain(a mail.Address) string { return store.Clean(strings.ToLower(a.Domain), maxText) }

func micro(t time.Time) int64 { return t.UnixMicro() }

func fromMicro(n int64) time.Time { return time.UnixMicro(n).UTC() }

func (x index) insert(ctx context.Context, it *Item, stored int64) (used int64, err error) {
	envelope, err := json.Marshal(&it.Envelope)
	if err != nil {
		return 0, err
	}
	said := make([][]byte, len(it.Copies))
	for i := range it.Copies {
		if said[i], err = json.Marshal(&it.Copies[i].Recipient); err != nil {
			return 0, err
		}
	}
	err = x.db.Write(ctx, func(tx *store.Tx) error {
		seq, err := freeSeq(tx, micro(it.Received))
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO items (id, received, state, sender, sender_domain, subject, from_text, size, stored, sha256, policy,
			changed, expires, by_whom, note, envelope, seq, message_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			it.ID, micro(it.Received), it.State, key(it.Envelope.Sender), domain(it.Envelope.Sender),
			store.Clean(it.Subject, maxText), store.Clean(it.From, maxText), it.Size, stored, it.SHA256, it.Policy,
			micro(it.Changed), micro(it.Expires), it.By, store.Clean(it.Note, maxText), string(envelope), seq, store.Clean(it.MessageID, maxText))
		if err != nil {
			return err
		}
		for n := range it.Copies {
			c := &it.Copies[n]
			_, err := tx.Exec(`INSERT INTO copies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
				it.ID, n, key(c.Recipient.Address), domain(c.Recipient.Address), string(said[n]), c.Class, c.Rule,
				store.Clean(c.Because, maxText), c.Score, c.State, micro(c.Changed), c.By, store.Clean(c.Note, maxText))
			if err != nil {
				return err
			}
		}
		if err := it.index(tx, seq); err != nil {
			return err
		}
		used, err = count(tx, 1, stored)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("write row: %w", err)
	}
	return used, nil
}

// count keeps the sum of all files in step.
func count(tx *store.Tx, items, bytes int64) (used int64, err error) {
	err = tx.Get("UPDATE usage SET items = items + ?, bytes = bytes + ? RETURNING bytes", []any{items, bytes}, &used)
	return used, err
}

func (x index) usage(ctx context.Context) (items, bytes int64, err error) {
	err = x.db.Reader().QueryRowContext(ctx, "SELECT items, bytes FROM usage").Scan(&items, &bytes)
	return items, bytes, err
}

// state reads an item's state inside a transaction.
func state(tx *store.Tx, id string) (st State, stored int64, err error) {
	err = tx.Get("SELECT state, stored FROM items WHERE id = ?", []any{id}, &st, &stored)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return st, stored, err
}

func (x index) keep(ctx context.Context, id string, now time.Time) error {
	return x.db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec("UPDATE items SET state = ?, changed = ? WHERE id = ? AND state = ?", Kept, micro(now), id, Held)
		if err != nil {
			return err
		}
		if n == 1 {
			_, err = tx.Exec("UPDATE copies SET state = ?, changed = ? WHERE item = ?", Kept, micro(now), id)
			return err
		}
		_, _, err = state(tx, id)
		return err
	})
}

func (x index) drop(ctx context.Context, id string) (used int64, err error) {
	err = x.db.Write(ctx, func(tx *store.Tx) error {
		st, stored, err := state(tx, id)
		switch {
		case errors.Is(err, ErrNotFound):
			used, err = count(tx, 0, 0)
			return err
		case err != nil:
			return err
		case st != Held:
			return &StateError{id, st}
		}
		used, err = remove(tx, id, stored)
		return err
	})
	return used, err
}

// remove deletes a row with its copies.
func remove(tx *store.Tx, id string, stored int64) (used int64, err error) {
	if _, err := tx.Exec("DELETE FROM items WHERE id = ?", id); err != nil {
		return 0, err
	}
	return empty(tx, stored)
}

// empty takes a file out of the sum.
func empty(tx *store.Tx, stored int64) (used int64, err error) {
	if stored == 0 {
		return count(tx, 0, 0)
	}
	return count(tx, -1, -stored)
}

const columns = `id, received, state, subject, from_text, size, sha256, policy, changed, expires, by_whom, note, envelope, message_id, seq`

func scanItem(rows interface{ Scan(...any) error }) (*Item, error) {
	it := &Item{}
	var received, changed, expires int64
	var envelope []byte
	err := rows.Scan(&it.ID, &received, &it.State, &it.Subject, &it.From, &it.Size, &it.SHA256, &it.Policy,
		&changed, &expires, &it.By, &it.Note, &envelope, &it.MessageID, &it.seq)
	if err != nil {
		return nil, err
	}
	it.Received, it.Changed, it.Expires = fromMicro(received), fromMicro(changed), fromMicro(expires)
	if err := json.Unmarshal(envelope, &it.Envelope); err != nil {
		return nil, fmt.Errorf("envelope of %s: %w", it.ID, err)
	}
	return it, nil
}

func (x index) get(ctx context.Context, id string) (*Item, error) {
	row := x.db.Reader().QueryRowContext(ctx, "SELECT "+columns+" FROM items WHERE id = ? AND state <> ?", id, Held)
	it, err := scanItem(row)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return it, x.addCopies(ctx, []*Item{it})
}

// addCopies reads the copies of some items, at most some hundred.
func (x index) addCopies(ctx context.Context, items []*Item) error {
	if len(items) == 0 {
		return nil
	}
	byID := make(map[string]*Item, len(items))
	args := make([]any, len(items))
	for i, it := range items {
		byID[it.ID], args[i] = it, it.ID
	}
	rows, err := x.db.Reader().QueryContext(ctx, `SELECT item, said, class, rule, because, score, state, changed, by_whom, note
		FROM copies WHERE item IN (?`+strings.Repeat(", ?", len(args)-1)+`) ORDER BY item, n`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var said []byte
		var changed int64
		var c Copy
		if err := rows.Scan(&id, &said, &c.Class, &c.Rule, &c.Because, &c.Score, &c.State, &changed, &c.By, &c.Note); err != nil {
			return err
		}
		c.Changed = fromMicro(changed)
		if err := json.Unmarshal(said, &c.Recipient); err != nil {
			return fmt.Errorf("recipient of %s: %w", id, err)
		}
		byID[id].Copies = append(byID[id].Copies, c)
	}
	return rows.Err()
}
