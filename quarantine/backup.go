package quarantine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"postern/store"
)

// A stored is what a row says of its message's file.
type stored struct {
	id, sha256 string
	state      State
	size       int64
}

// Saved is what Save did.
type Saved struct {
	Messages int
	Gone     int   // removed since the database was copied: the copy says so now
	Damaged  Found // with bytes that are not those that were received, or without a file
}

// Save gives put the file of each message that a copy of the database, opened as copied, has a row
// of: its name in the data directory, and its bytes. What was removed since the copy was made is
// marked so in the copy, so that rows and files fit together. Damage is told, and saved as it is.
func (s *Store) Save(ctx context.Context, copied *store.DB, put func(name string, file []byte) error) (r Saved, err error) {
	var with files
	err = index{copied}.eachStored(ctx, func(m stored) error {
		file, err := s.file(ctx, m.id)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return s.vanished(ctx, copied, m, &r)
		case err != nil:
			return err
		}
		if with.intact(file, m) != nil {
			r.Damaged.add(m.id)
		}
		r.Messages++
		_, name := place(m.id)
		return put(path.Join(store.Messages, name), file)
	})
	if err != nil {
		return r, fmt.Errorf("save messages: %w", err)
	}
	return r, nil
}

// VerifyAll reads every message to its end and tells which are not what was received.
func (s *Store) VerifyAll(ctx context.Context) (messages int, damaged Found, err error) {
	var with files
	err = s.index.eachStored(ctx, func(m stored) error {
		file, err := s.file(ctx, m.id)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil {
			messages++
			err = with.intact(file, m)
		}
		if err == nil {
			return nil
		}
		if now, err := s.index.statesOf(ctx, []string{m.id}); err != nil || now[m.id] == "" || now[m.id] == Deleted {
			return err // somebody removed it meanwhile
		}
		damaged.add(m.id)
		return nil
	})
	if err != nil {
		return messages, damaged, fmt.Errorf("verify messages: %w", err)
	}
	return messages, damaged, nil
}

// file reads a message's file as it is.
func (s *Store) file(ctx context.Context, id string) ([]byte, error) {
	r, err := s.blobs.Raw(ctx, id)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// intact unpacks a message's file and compares it with what was received.
func (b *files) intact(file []byte, m stored) error {
	r, err := b.unpack(io.NopCloser(bytes.NewReader(file)))
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, verify(r, m.size, m.sha256))
	return err
}

// vanished settles a row of the copy whose file is not there.
func (s *Store) vanished(ctx context.Context, copied *store.DB, m stored, r *Saved) error {
	now, err := s.index.statesOf(ctx, []string{m.id})
	if err != nil {
		return err
	}
	if st, there := now[m.id]; there && st != Deleted {
		r.Damaged.add(m.id)
		return nil
	}
	r.Gone++
	if m.state == Held {
		_, err := index{copied}.drop(ctx, m.id)
		return err
	}
	return copied.Write(ctx, func(tx *store.Tx) error {
		_, bytes, err := state(tx, m.id)
		if err != nil {
			return err
		}
		if _, err := tx.Exec("UPDATE copies SET state = ? WHERE item = ?", Deleted, m.id); err != nil {
			return err
		}
		if _, err := tx.Exec("UPDATE items SET state = ?, stored = 0, note = 'removed while the backup was made' WHERE id = ?", Deleted, m.id); err != nil {
			return err
		}
		_, err = empty(tx, bytes)
		return err
	})
}

// eachStored calls fn for each message that should have a file, in the order of ids.
func (x index) eachStored(ctx context.Context, fn func(stored) error) error {
	for after := ""; ; {
		page, err := x.storedAfter(ctx, after)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, m := range page {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if err := fn(m); err != nil {
				return err
			}
		}
		after = page[len(page)-1].id
	}
}

func (x index) storedAfter(ctx context.Context, after string) (page []stored, err error) {
	rows, err := x.db.Reader().QueryContext(ctx,
		"SELECT id, sha256, state, size FROM items WHERE id > ? AND state <> ? ORDER BY id LIMIT 500", after, Deleted)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m stored
		if err := rows.Scan(&m.id, &m.sha256, &m.state, &m.size); err != nil {
			return nil, err
		}
		page = append(page, m)
	}
	return page, rows.Err()
}
