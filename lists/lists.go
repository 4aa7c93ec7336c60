// Package lists holds what people allow and deny: addresses, domains, networks and mailing
// lists, for everybody, for a domain of recipients or for one of them, until a day, with a note.
// Store keeps the entries in the database and, for looking up, as an Index in memory that follows
// changes of any process within a second. It decides nothing: rules read what it says as facts.
package lists

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/store"
)

// Options of Open.
type Options struct {
	DB    *store.DB        // stays the caller's to close
	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: none
}

// A Store keeps the entries. All methods may be called from any goroutine.
type Store struct {
	o      Options
	most   int // entries
	index  atomic.Pointer[Index]
	looked atomic.Int64 // when the database was last asked for changes, nanoseconds since start
	start  time.Time
	asking sync.Mutex
	sick   atomic.Bool // the last time that did not work
}

//go:embed schema
var schema embed.FS

// Open brings the tables up to date and reads the entries. There is nothing to close.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	steps, err := fs.Sub(schema, "schema")
	if err != nil {
		return nil, err
	}
	if err := o.DB.Migrate(ctx, "lists", steps); err != nil {
		return nil, err
	}
	s := &Store{o: o, most: maxEntries, start: time.Now()}
	return s, s.load(ctx)
}

// Index gives the lists as they are now, or were up to half a second ago. It asks the database
// for changes at most twice a second, and only when it is called; when the database gives no
// answer, the entries known before stay in force.
func (s *Store) Index() *Index {
	now := time.Since(s.start).Nanoseconds()
	if now-s.looked.Load() < freshFor.Nanoseconds() || !s.asking.TryLock() {
		return s.index.Load()
	}
	defer s.asking.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), askFor)
	defer cancel()
	err := s.refresh(ctx)
	s.looked.Store(time.Since(s.start).Nanoseconds())
	if failed := err != nil; s.sick.Swap(failed) != failed {
		if failed {
			s.o.Log.Error("lists: changes cannot be read, what was known stays in force", "error", err)
		} else {
			s.o.Log.Info("lists: read again")
		}
	}
	return s.index.Load()
}

const (
	freshFor = 500 * time.Millisecond
	askFor   = 2 * time.Second
)

// Err tells whether changes of the lists can be read.
func (s *Store) Err() error {
	if s.sick.Load() {
		return errors.New("lists: changes cannot be read")
	}
	return nil
}

// refresh loads the entries when they have changed.
func (s *Store) refresh(ctx context.Context) error {
	var n int64
	if err := s.o.DB.Reader().QueryRowContext(ctx, "SELECT n FROM list_generation").Scan(&n); err != nil {
		return err
	}
	if s.index.Load().generation == n {
		return nil
	}
	if err := s.load(ctx); err != nil {
		return err
	}
	s.o.Log.Info("lists: changes are in force", "entries", s.index.Load().Len())
	return nil
}

// load reads all entries that are in force.
func (s *Store) load(ctx context.Context) error {
	tx, err := s.o.DB.Reader().BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("lists: %w", err)
	}
	defer tx.Rollback()
	var n int64
	if err := tx.QueryRowContext(ctx, "SELECT n FROM list_generation").Scan(&n); err != nil {
		return fmt.Errorf("lists: %w", err)
	}
	rows, err := tx.QueryContext(ctx, selectEntries+" WHERE until = 0 OR until > ? ORDER BY value, scope", s.o.Clock().UnixMicro())
	if err != nil {
		return fmt.Errorf("lists: %w", err)
	}
	entries, err := scan(rows)
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e *Entry) bool {
		if e.Kind == "" {
			s.o.Log.Error("lists: an entry makes no sense and is not in force", "entry", e.Value)
		}
		return e.Kind == ""
	})
	s.index.Store(newIndex(n, entries))
	return nil
}

const selectEntries = "SELECT value, scope, allow, unauthenticated, until, added, by_whom, note FROM list_entries"

func scan(rows *sql.Rows) (entries []*Entry, err error) {
	defer rows.Close()
	for rows.Next() {
		var value, scope, by, note string
		var allow, unauthenticated bool
		var until, added int64
		if err := rows.Scan(&value, &scope, &allow, &unauthenticated, &until, &added, &by, &note); err != nil {
			return nil, fmt.Errorf("lists: %w", err)
		}
		e, err := ParseEntry(value)
		if err != nil { // of another version, that took more
			e = Entry{Value: value}
		}
		e.Scope, e.Allow, e.Unauthenticated, e.By, e.Note, e.Added = scope, allow, unauthenticated, by, note, time.UnixMicro(added).UTC()
		if until != 0 {
			e.Until = time.UnixMicro(until).UTC()
		}
		entries = append(entries, &e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("lists: %w", err)
	}
	return entries, nil
}
