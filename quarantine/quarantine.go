package quarantine

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"postern/store"
)

// Errors that callers tell apart.
var (
	ErrFull     = store.ErrFull   // no room: the disk, a quota or MaxBytes; try again later (452)
	ErrFailed   = store.ErrFailed // a sync failed: nothing is held until a restart
	ErrCorrupt  = errors.New("the message is damaged on disk")
	ErrNotFound = errors.New("no such message in quarantine")
	ErrState    = errors.New("not possible in this state") // see StateError
)

// A StateError says where the message stands instead. errors.Is finds ErrState.
type StateError struct {
	ID    string
	State State
}

func (e *StateError) Error() string        { return fmt.Sprintf("%s is %s", e.ID, e.State) }
func (e *StateError) Is(target error) bool { return target == ErrState }

// Options of Open.
type Options struct {
	Dir       string           // of the messages; "": DB.Dir()/messages
	DB        *store.DB        // stays the caller's to close
	Retention time.Duration    // 0: 30 days
	MaxBytes  int64            // of all files; 0: no cap
	MinFree   int64            // bytes that must stay free on the disk; 0: 75 MiB, one and a half of the largest message; negative: none
	Clock     func() time.Time // nil: time.Now
	FS        FS               // nil: the disk
	Log       *slog.Logger     // nil: none
}

// A Store is the quarantine. All methods may be called from any goroutine, and by several
// processes on one directory.
type Store struct {
	o     Options
	blobs Blobs
	index index

	used   atomic.Int64 // bytes of all files as last heard
	warned atomic.Bool

	mu   sync.Mutex
	live map[string]time.Time // held by this process and not yet kept or dropped; since when, whatever the clock says
}

//go:embed schema
var schema embed.FS

// Open opens the quarantine and brings its tables up to date. Close it before its DB. The
// daemon calls Sweep before it takes mail.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Dir == "" {
		o.Dir = filepath.Join(o.DB.Dir(), store.Messages)
	}
	if o.Retention == 0 {
		o.Retention = 30 * 24 * time.Hour
	}
	if o.MinFree == 0 {
		o.MinFree = 75 << 20
	}
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
	if err := o.DB.Migrate(ctx, "quarantine", steps); err != nil {
		return nil, err
	}
	if o.FS == nil {
		if o.FS, err = openDisk(o.Dir); err != nil {
			return nil, fmt.Errorf("open quarantine: %w", err)
		}
	}
	blobs, err := newFiles(o.FS)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open quarantine: %w", err), o.FS.Close())
	}
	s := &Store{o: o, blobs: blobs, index: index{o.DB}, live: map[string]time.Time{}}
	if _, err := s.Usage(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open quarantine: %w", err), blobs.Close())
	}
	return s, nil
}

// Close gives back the folder.
func (s *Store) Close() error { return s.blobs.Close() }

// Err tells why nothing can be held any more; nil while all is well.
func (s *Store) Err() error { return errors.Join(s.blobs.Err(), s.o.DB.Err()) }

// Hold stores a message, invisible until Keep (or at once, when it.State is Kept). It is
// durable when Hold returns nil; after an error nothing of it stays. Hold fills in Size,
// SHA256, State, Changed and Expires. r is read to its end; its error is passed on.
func (s *Store) Hold(ctx context.Context, it *Item, r io.Reader) error {
	if err := s.hold(ctx, it, r); err != nil {
		return fmt.Errorf("hold %s: %w", it.ID, err)
	}
	return nil
}

func (s *Store) hold(ctx context.Context, it *Item, r io.Reader) error {
	if len(it.Copies) == 0 {
		return errors.New("nobody's copy")
	}
	if err := s.Room(ctx); err != nil {
		return err
	}
	s.mark(it.ID) // before its file is there, which has no row yet
	blob, err := s.blobs.Put(ctx, it.ID, r)
	if err != nil {
		s.unmark(it.ID)
		return err
	}
	now := s.now()
	if it.State != Kept {
		it.State = Held
	}
	it.Size, it.SHA256, it.Changed = blob.Size, blob.SHA256, now
	if it.Received.IsZero() {
		it.Received = now
	}
	it.Expires = it.Received.Add(s.o.Retention)
	for i := range it.Copies {
		it.Copies[i].State, it.Copies[i].Changed = it.State, now
	}
	used, err := s.index.insert(ctx, it, blob.Stored)
	if err != nil {
		s.unmark(it.ID)
		// No answer was given for it. Should the row be there all the same (a commit that
		// failed half-way), Sweep removes it, since its file is gone.
		return errors.Join(err, s.blobs.Delete(context.WithoutCancel(ctx), it.ID))
	}
	if it.State == Kept {
		s.unmark(it.ID)
	}
	s.note(used)
	return nil
}

// Keep makes a held message visible; nil when it is so already.
func (s *Store) Keep(ctx context.Context, id string) error {
	s.unmark(id)
	if err := s.index.keep(ctx, id, s.now()); err != nil {
		return fmt.Errorf("keep %s: %w", id, err)
	}
	return nil
}

// Drop forgets a held message, whose sender was told that it was not taken; nil when there
// is none. What is kept is never dropped: StateError.
func (s *Store) Drop(ctx context.Context, id string) error {
	s.unmark(id)
	used, err := s.index.drop(ctx, id)
	if err == nil {
		s.note(used)
		err = s.blobs.Delete(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("drop %s: %w", id, err)
	}
	return nil
}

// Get returns one item; ErrNotFound when there is none or it is not visible yet.
func (s *Store) Get(ctx context.Context, id string) (*Item, error) {
	it, err := s.index.get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", id, err)
	}
	return it, nil
}

// Content gives the bytes as received. In the place of io.EOF comes ErrCorrupt when they
// are not: act on nothing before the end, or Verify first. Close it.
func (s *Store) Content(ctx context.Context, id string) (io.ReadCloser, error) {
	it, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	r, err := s.blobs.Open(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		if it.State == Deleted {
			return nil, fmt.Errorf("open %s: %w", id, &StateError{id, Deleted})
		}
		return nil, fmt.Errorf("open %s: its file is missing: %w", id, ErrCorrupt)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", id, err)
	}
	return verify(r, it.Size, it.SHA256), nil
}

// Verify reads a message to its end: ErrCorrupt when it is not what was received.
func (s *Store) Verify(ctx context.Context, id string) error {
	r, err := s.Content(ctx, id)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("verify %s: %w", id, err)
	}
	return nil
}

func (s *Store) now() time.Time { return s.o.Clock().UTC().Truncate(time.Microsecond) }

func (s *Store) mark(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[id] = time.Now()
}

func (s *Store) unmark(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, id)
}
