package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
)

const maxBatch = 256 // writes a transaction

// A job is one Write on its way. Either the writer takes it or its caller takes it back.
type job struct {
	fn    func(*Tx) error
	taken atomic.Bool
	done  chan error
}

// Write runs fn in a transaction and returns when it is on disk, or when nothing of it
// is. Several waiting writes share one transaction, each behind a savepoint, so that an
// error or a panic of one undoes that one alone. fn must not keep tx, wait for anything
// else, or write in turn. When ctx ends first, fn was not run.
func (db *DB) Write(ctx context.Context, fn func(tx *Tx) error) error {
	j := &job{fn: fn, done: make(chan error, 1)}
	if err := db.hand(ctx, j); err != nil {
		return err
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		if j.taken.CompareAndSwap(false, true) {
			return context.Cause(ctx)
		}
		return <-j.done // it is being written: the answer is near, and must be the true one
	}
}

func (db *DB) hand(ctx context.Context, j *job) error {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.closed {
		return ErrClosed
	}
	if err := db.Err(); err != nil {
		return err
	}
	if ctx.Err() != nil { // of two ways that are open, select takes any
		return context.Cause(ctx)
	}
	select {
	case db.jobs <- j:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run is the writer: it owns the connection.
func (db *DB) run() {
	defer close(db.written)
	batch := make([]*job, 0, maxBatch)
	for j := range db.jobs {
		batch = db.collect(append(batch[:0], j))
		for rest := batch; len(rest) > 0; {
			rest = rest[db.commit(rest):]
		}
		clear(batch)
	}
}

// collect adds what waits already; it never waits itself.
func (db *DB) collect(batch []*job) []*job {
	for len(batch) < maxBatch {
		select {
		case j, ok := <-db.jobs:
			if !ok {
				return batch
			}
			batch = append(batch, j)
		default:
			return batch
		}
	}
	return batch
}

// commit runs the jobs in one transaction, answers them and says how many it answered:
// fewer than all when an error ended the transaction in the midst of them.
func (db *DB) commit(batch []*job) int {
	errs := make([]error, len(batch))
	n, err := db.transact(batch, errs)
	for i, j := range batch[:n] {
		switch {
		case errs[i] == errGone:
			continue
		case errs[i] == nil:
			errs[i] = err
		}
		db.writes.Add(1)
		j.done <- errs[i]
	}
	return n
}

// errGone marks a job whose caller took it back.
var errGone = errors.New("taken back")

// transact fills in each job's own error; err is what befell all of them.
func (db *DB) transact(batch []*job, errs []error) (n int, err error) {
	if err := db.Err(); err != nil {
		return len(batch), err
	}
	if _, err := db.tx.Exec("BEGIN IMMEDIATE"); err != nil {
		return len(batch), db.judge(fmt.Errorf("begin: %w", err))
	}
	did := false
	for i, j := range batch {
		if !j.taken.CompareAndSwap(false, true) {
			errs[i] = errGone
			continue
		}
		own, broken := db.step(j, len(batch) == 1)
		if broken != nil {
			db.tx.Exec("ROLLBACK") // it may be over already
			errs[i] = own
			return i + 1, db.judge(broken)
		}
		errs[i] = own
		did = did || own == nil
	}
	if !did {
		_, err := db.tx.Exec("ROLLBACK")
		return len(batch), db.judge(err)
	}
	if _, err := db.tx.Exec("COMMIT"); err != nil {
		db.tx.Exec("ROLLBACK")
		return len(batch), db.judge(fmt.Errorf("commit: %w", err))
	}
	db.commits.Add(1)
	return len(batch), nil
}

// step runs one job behind its savepoint, for which SQLite copies each page that it changes; a
// job that is alone needs none. broken means that the whole transaction is lost.
func (db *DB) step(j *job, alone bool) (own, broken error) {
	if alone {
		own = db.judge(db.guarded(j.fn))
		return own, own
	}
	if _, err := db.tx.Exec("SAVEPOINT job"); err != nil {
		return nil, err
	}
	own = db.guarded(j.fn)
	if own != nil {
		own = db.judge(own)
		if _, err := db.tx.Exec("ROLLBACK TO job"); err != nil { // SQLite has rolled back all of it (full, I/O error)
			return own, own
		}
	}
	if _, err := db.tx.Exec("RELEASE job"); err != nil {
		return own, err
	}
	return own, nil
}

func (db *DB) guarded(fn func(*Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a write: %v", p)
		}
	}()
	return fn(db.tx)
}

// A Tx is a transaction, valid inside the function that Write was given.
type Tx struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

const maxStmts = 128

// Nothing may interrupt a statement of the writer: it would take the others along.
func (t *Tx) prepare(query string) (*sql.Stmt, error) {
	if s := t.stmts[query]; s != nil {
		return s, nil
	}
	s, err := t.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	if len(t.stmts) >= maxStmts {
		t.close()
	}
	t.stmts[query] = s
	return s, nil
}

// Exec runs one statement and returns the number of rows that it changed.
func (t *Tx) Exec(query string, args ...any) (int64, error) {
	s, err := t.prepare(query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Query runs a SELECT inside the transaction. Close the rows.
func (t *Tx) Query(query string, args ...any) (*sql.Rows, error) {
	s, err := t.prepare(query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(context.Background(), args...)
}

// Get scans the first row into dest; sql.ErrNoRows when there is none.
func (t *Tx) Get(query string, args []any, dest ...any) error {
	s, err := t.prepare(query)
	if err != nil {
		return err
	}
	return s.QueryRowContext(context.Background(), args...).Scan(dest...)
}

// script runs several statements, for migrations.
func (t *Tx) script(text string) error {
	_, err := t.conn.ExecContext(context.Background(), text)
	return err
}

func (t *Tx) close() {
	for q, s := range t.stmts {
		s.Close()
		delete(t.stmts, q)
	}
}

// Waiting is how many writes wait for the writer.
func (db *DB) Waiting() int { return len(db.jobs) }
