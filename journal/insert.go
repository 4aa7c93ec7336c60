package journal

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/store"
)

// maxRows is how many rows one statement inserts: most of what a statement costs is the same
// for one row and for many.
const maxRows = 32

// insertAll inserts rows; each of them or an error, by which what was inserted is undone as a whole
// (store.Write). So no statement needs to be undone by itself, for which SQLite would copy each page:
// they say OR FAIL, or OR IGNORE.
func insertAll(tx *store.Tx, rows []row) error {
	if err := writeWalks(tx, rows); err != nil {
		return err
	}
	if err := insertPacks(tx, rows); err != nil {
		return err
	}
	for part := range slices.Chunk(rows, maxRows) {
		if err := insertEntries(tx, part); err != nil {
			return err
		}
	}
	return insertRecipients(tx, rows)
}

func writeWalks(tx *store.Tx, rows []row) error {
	var done []*walk
	for i := range rows {
		day := dayOf(rows[i].e.Received)
		for _, w := range rows[i].walks {
			if w.day >= day || slices.Contains(done, w) {
				continue
			}
			if err := w.write(tx, day); err != nil {
				return err
			}
			done = append(done, w)
		}
	}
	return nil
}

// wrote remembers, once it is on disk, until when the walks of rows are kept.
func wrote(rows []row) {
	for i := range rows {
		for _, w := range rows[i].walks {
			w.day = max(w.day, dayOf(rows[i].e.Received))
		}
	}
}

// insertPacks writes what the details of rows stand in.
func insertPacks(tx *store.Tx, rows []row) error {
	var done *pack
	for i := range rows {
		p := rows[i].pack
		if p == nil || p == done { // those of one pack lie together
			continue
		}
		if _, err := tx.Exec("INSERT OR FAIL INTO packs VALUES (?, ?)", p.last, p.details); err != nil {
			return err
		}
		done = p
	}
	return nil
}

const entryColumns = 16

// insertEntries fails when the place of one is taken.
func insertEntries(tx *store.Tx, rows []row) error {
	args := make([]any, 0, entryColumns*len(rows))
	for i := range rows {
		args = rows[i].append(args)
	}
	_, err := tx.Exec("INSERT OR FAIL INTO entries VALUES "+places(len(rows), entryColumns), args...)
	return err
}

func (r *row) append(args []any) []any {
	e, in := r.e, int64(0)
	if r.pack != nil {
		in = r.pack.last
	}
	return append(args, r.seq, e.ID, e.Result, e.Envelope.Client.Addr.String(), r.sender, r.domain,
		store.Clean(e.MessageID, maxField), r.rules, r.classes, r.replies, r.words, r.detail, in, r.place, r.proven, e.Size)
}

// insertRecipients inserts what recipients are found by.
func insertRecipients(tx *store.Tx, rows []row) error {
	var args []any
	n := 0
	flush := func() error {
		if n == 0 {
			return nil
		}
		// The same mailbox may have been named twice, in letters of different case.
		_, err := tx.Exec("INSERT OR IGNORE INTO recipients VALUES "+places(n, 3), args...)
		args, n = args[:0], 0
		return err
	}
	for i := range rows {
		for j := range rows[i].e.Outcomes {
			o := &rows[i].e.Outcomes[j]
			args = append(args, key(o.Recipient), rows[i].seq, o.Do)
			if n++; n < maxRows {
				continue
			}
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// places are question marks for rows of columns.
func places(rows, columns int) string {
	one := "(" + strings.Repeat("?, ", columns-1) + "?)"
	return strings.Repeat(one+", ", rows-1) + one
}

// sameTime is how far a row may be moved on, in microseconds.
const sameTime = 1_000_000

var errTwice = errors.New("it is in the journal already")

// insert inserts one row by itself, at its time or at the first free place behind it.
func (r *row) insert(tx *store.Tx) error {
	var free, twice int64
	err := tx.Get("SELECT count(*) FROM entries WHERE seq BETWEEN ? AND ? AND id = ?", []any{r.seq, r.seq + sameTime, r.e.ID}, &twice)
	switch {
	case err != nil:
		return err
	case twice > 0:
		return errTwice
	}
	err = tx.Get(`SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM entries WHERE seq = ?1) THEN ?1 ELSE
		(SELECT min(a.seq) + 1 FROM entries a WHERE a.seq BETWEEN ?1 AND ?2 AND NOT EXISTS (SELECT 1 FROM entries b WHERE b.seq = a.seq + 1)) END`,
		[]any{r.seq, r.seq + sameTime}, &free)
	if err != nil {
		return err
	}
	r.seq = free
	return insertAll(tx, []row{*r})
}

// An order gives each row a place of its own, as long as it remembers who had which.
type order map[int64]string

const maxOrder = 8192

func (o order) place(r *row) error {
	if len(o) >= maxOrder {
		clear(o)
	}
	for range sameTime {
		id, taken := o[r.seq]
		if !taken {
			o[r.seq] = r.e.ID
			return nil
		}
		if id == r.e.ID {
			return fmt.Errorf("record %s: %w", id, errTwice)
		}
		r.seq++
	}
	return errors.New("no place left at its time")
}
