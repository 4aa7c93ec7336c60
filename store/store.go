// Package store is the database handle on the ground floor: one SQLite file in the
// data directory, one writer goroutine that commits what waits in one transaction,
// a pool of readers, and migrations for each room that keeps tables in it. It knows
// nothing of messages; quarantine and journal bring their own tables and statements.
//
// A Write that returned nil is on disk. After an error that leaves in doubt what the
// disk holds (a failed fsync, a corrupt page) nothing is written until a restart.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
)

// Names in the data directory.
const (
	File     = "postern.db"
	Messages = "messages" // the quarantine's files
	Spool    = "spool"    // messages on their way; nothing in it survives a restart
	lockFile = "postern.lock"
)

// Errors that callers tell apart.
var (
	ErrFull    = errors.New("no room left in the store")                // the disk or a quota is full, or it is mounted read-only
	ErrFailed  = errors.New("the store has failed and needs a restart") // wraps its cause
	ErrCorrupt = errors.New("the store is damaged")                     // never repaired silently
	ErrClosed  = errors.New("the store is closed")
	ErrLocked  = errors.New("another postern runs on this data directory")
	ErrNewer   = errors.New("the data was written by a newer postern")
	ErrUnsafe  = errors.New("everybody may write to the data directory")
)

// Options of Open. The zero value is right for commands.
type Options struct {
	Exclusive   bool          // the daemon: take the lock of the data directory, look for damage
	BusyTimeout time.Duration // wait for another process that writes; 0: 10 s
	Readers     int           // connections that read; 0: 4
	CheckWithin time.Duration // Open waits so long for the look for damage, then it goes on behind; 0: 5 s
}

// A DB is an open database. All methods may be called from any goroutine.
type DB struct {
	dir  string
	lock *os.File

	readers *sql.DB
	writers *sql.DB   // one connection
	conn    *sql.Conn // it
	tx      *Tx

	mu      sync.RWMutex // held for reading while a job is handed over
	closed  bool
	jobs    chan *job
	written chan struct{} // closed when the writer has ended

	watch watch // of the daemon

	stopCheck context.CancelFunc
	checked   chan struct{} // closed when the look for damage has ended

	failed  atomic.Pointer[error]
	commits atomic.Int64
	writes  atomic.Int64
}

// Open opens the database in the data directory, which is made when it is missing
// (mode 0700; its files have 0600). Close it.
func Open(ctx context.Context, dir string, o Options) (*DB, error) {
	if o.BusyTimeout == 0 {
		o.BusyTimeout = 10 * time.Second
	}
	if o.Readers == 0 {
		o.Readers = 4
	}
	if o.CheckWithin == 0 {
		o.CheckWithin = 5 * time.Second
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := prepare(dir); err != nil {
		return nil, err
	}
	db := &DB{
		dir: dir, jobs: make(chan *job, 1024), written: make(chan struct{}),
		checked: make(chan struct{}), stopCheck: func() {},
	}
	if o.Exclusive {
		if db.lock, err = takeLock(dir); err != nil {
			return nil, err
		}
	}
	if err := db.connect(ctx, o); err != nil {
		db.disconnect()
		return nil, fmt.Errorf("open %s: %w", filepath.Join(dir, File), wrap(err))
	}
	go db.run()
	if !o.Exclusive {
		close(db.checked)
		return db, nil
	}
	if err := db.lookForDamage(ctx, o.CheckWithin); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := db.look(); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory: %w", err), db.Close())
	}
	return db, nil
}

func (db *DB) connect(ctx context.Context, o Options) error {
	w, err := sqlite.NewConnector(dsn(db.dir, o.BusyTimeout, false))
	if err != nil {
		return err
	}
	r, err := sqlite.NewConnector(dsn(db.dir, o.BusyTimeout, true))
	if err != nil {
		return err
	}
	db.writers, db.readers = sql.OpenDB(w), sql.OpenDB(r)
	db.writers.SetMaxOpenConns(1)
	db.readers.SetMaxOpenConns(o.Readers)
	db.readers.SetMaxIdleConns(o.Readers)
	if db.conn, err = db.writers.Conn(ctx); err != nil {
		return err
	}
	db.tx = &Tx{conn: db.conn, stmts: map[string]*sql.Stmt{}}
	var mode string
	if err := db.conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("journal mode is %q, wal is needed (is the data directory on a network drive?)", mode)
	}
	return nil
}

// dsn: every connection is set up here, so that none is less careful than another.
// pageSize is that of a new file: twice SQLite's own, which halves the writes of a commit.
const pageSize = 8 << 10

func dsn(dir string, busy time.Duration, readOnly bool) string {
	q := url.Values{}
	q.Set("_busy_timeout", fmt.Sprint(busy.Milliseconds()))
	q.Set("_foreign_keys", "1")
	q.Set("_synchronous", "FULL")
	q.Set("_txlock", "immediate")
	q.Set("_defensive", "1")
	q.Set("_dqs", "0")
	q.Set("_error_rc", "1")
	q.Add("_pragma", "trusted_schema(0)")
	q.Add("_pragma", "cell_size_check(1)")
	q.Add("_pragma", "temp_store(memory)")
	q.Add("_pragma", fmt.Sprintf("page_size(%d)", pageSize))
	q.Add("_pragma", "journal_size_limit(67108864)")
	q.Add("_pragma", "wal_autocheckpoint(2000)") // pages: 16 MiB, so that what changes often is copied seldom
	if readOnly {
		q.Set("_query_only", "1")
	} else {
		q.Set("_journal_mode", "WAL")
		q.Add("_pragma", "cache_size(-16384)") // KiB
	}
	u := url.URL{Scheme: "file", Path: filepath.Join(dir, File), RawQuery: q.Encode()}
	return u.String()
}

// Dir is the data directory, absolute.
func (db *DB) Dir() string { return db.dir }

// Reader is for SELECTs; it sees what was committed, also by other processes. Writes
// through it fail.
func (db *DB) Reader() *sql.DB { return db.readers }

// Err tells why nothing can be written any more; nil while all is well. It wraps ErrFailed.
func (db *DB) Err() error {
	if p := db.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// fail stops all writing until a restart; the first cause stays.
func (db *DB) fail(cause error) {
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	db.failed.CompareAndSwap(nil, &err)
}

// Stats tells how many writes were answered for and how many transactions that took.
func (db *DB) Stats() (writes, commits int64) { return db.writes.Load(), db.commits.Load() }

// Close waits for the writes that were handed over, then closes the database and gives
// back the lock. It may be called twice.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		<-db.written
		return nil
	}
	db.closed = true
	close(db.jobs)
	db.mu.Unlock()
	<-db.written
	db.stopCheck()
	<-db.checked
	return db.disconnect()
}

func (db *DB) disconnect() error {
	var errs []error
	if db.tx != nil {
		db.tx.close()
	}
	if db.readers != nil { // before the writer, whose end folds the log into the file
		errs = append(errs, db.readers.Close())
	}
	if db.conn != nil {
		errs = append(errs, db.conn.Close())
	}
	if db.writers != nil {
		errs = append(errs, db.writers.Close())
	}
	if db.lock != nil {
		errs = append(errs, db.lock.Close())
	}
	return errors.Join(errs...)
}
