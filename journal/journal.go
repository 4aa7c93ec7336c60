package journal

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/store"
)

// Errors that callers tell apart.
var (
	ErrNotFound = errors.New("no such entry in the journal")
	ErrClosed   = errors.New("the journal is closed")
)

// Options of Open.
type Options struct {
	DB        *store.DB        // stays the caller's to close, after the journal
	Retention time.Duration    // 0: 90 days
	Clock     func() time.Time // nil: time.Now
	Queue     int              // entries that may wait to be written; 0: 4096
	Linger    time.Duration    // wait for more entries to share a commit; 0: 100 ms; negative: none
	Log       *slog.Logger     // nil: none
	Told      Sink             // of each entry once it is written, or cannot be; nil: nobody
	Written   Sink             // of each entry that is written, by one goroutine; nil: nobody
}

const (
	maxBatch     = 512
	maxFactsKept = 4 << 20 // bytes of the buffer for facts
)

// A Store keeps entries. All methods may be called from any goroutine.
type Store struct {
	o     Options
	queue queue
	enc   encoder // the writer's, and facts and order too
	facts []byte  // of the entries of one batch, until all are told of
	order order

	ended chan struct{}

	waiting atomic.Int64 // entries not yet written
	lost    atomic.Int64
	sick    atomic.Pointer[error] // why the last batch could not be written

	drawn atomic.Int64 // up to which entry there are sketches; all, as long as nobody knows

	read     sync.Map // walks that were read, by name
	readMany atomic.Int32
}

//go:embed schema
var schema embed.FS

// Open opens the journal and brings its tables up to date. Close it.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Retention == 0 {
		o.Retention = 90 * 24 * time.Hour
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Queue == 0 {
		o.Queue = 4096
	}
	if o.Linger == 0 {
		o.Linger = 100 * time.Millisecond
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Told == nil {
		o.Told = func(*Entry) {}
	}
	if o.Written == nil {
		o.Written = func(*Entry) {}
	}
	steps, err := fs.Sub(schema, "schema")
	if err != nil {
		return nil, err
	}
	if err := o.DB.Migrate(ctx, "journal", steps); err != nil {
		return nil, err
	}
	s := &Store{o: o, queue: newQueue(o.Queue), ended: make(chan struct{}),
		enc: encoder{walks: newWalks()}, order: make(order)}
	s.drawn.Store(math.MaxInt64)
	go s.run()
	return s, nil
}

// Record hands an entry over to be written soon; it must not be changed or kept afterwards. It waits
// only while the queue is full. What cannot be written later is logged and seen in Err.
func (s *Store) Record(ctx context.Context, e *Entry) error {
	return s.hand(ctx, pending{e: e})
}

// RecordDurably returns nil when the entry is on disk. When ctx ends first, it may still
// be written.
func (s *Store) RecordDurably(ctx context.Context, e *Entry) error {
	return s.handAndWait(ctx, e)
}

// Flush returns when all that was recorded before is written, or has failed to be.
func (s *Store) Flush(ctx context.Context) error { return s.handAndWait(ctx, nil) }

func (s *Store) handAndWait(ctx context.Context, e *Entry) error {
	done := make(chan error, 1)
	if err := s.hand(ctx, pending{e: e, done: done}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("record: %w", context.Cause(ctx))
	}
}

func (s *Store) hand(ctx context.Context, p pending) error {
	if p.e != nil {
		p.size = p.e.weight()
		s.waiting.Add(1)
	}
	err := s.queue.put(ctx, p)
	if err != nil && p.e != nil {
		s.waiting.Add(-1)
		s.refused(p.e)
	}
	return err
}

// refused tells of an entry that was not taken: the log may be all there is of it.
func (s *Store) refused(e *Entry) {
	_ = e.Encode() // as far as it goes
	s.o.Told(e)
}

// weight is about how many bytes the entry takes.
func (e *Entry) weight() int64 {
	n := 1024
	for _, f := range e.Facts {
		n += len(f)
	}
	for _, f := range e.Found {
		if w, ok := f.Facts.(weighty); ok {
			n += w.Weight()
		} else {
			n += usualWeight
		}
	}
	for i := range e.Outcomes {
		n += 512 + len(e.Outcomes[i].Rules)
		for _, f := range e.Outcomes[i].Facts {
			n += len(f)
		}
	}
	return int64(n)
}

// Err tells why the journal could not be written when it last had to; nil while all is well.
func (s *Store) Err() error {
	if p := s.sick.Load(); p != nil {
		return *p
	}
	return s.o.DB.Err()
}

// Waiting is the number of entries not yet written, Lost of those that could not be.
func (s *Store) Waiting() int64 { return s.waiting.Load() }
func (s *Store) Lost() int64    { return s.lost.Load() }

// Close writes what waits. Entries recorded afterwards are refused. It may be called twice.
func (s *Store) Close() error {
	s.queue.close()
	<-s.ended
	return nil
}

// run writes batches until the queue is closed and empty.
func (s *Store) run() {
	defer close(s.ended)
	batch := make([]pending, 0, maxBatch)
	for closed := false; !closed; {
		s.queue.await(s.o.Linger)
		for left := true; left; {
			batch, left, closed = s.queue.take(batch[:0])
			s.write(batch)
			clear(batch)
		}
	}
}

// write writes a batch in one transaction; when that fails, each entry by itself, so that
// one bad entry does not cost the others.
func (s *Store) write(batch []pending) {
	if len(batch) == 0 {
		return
	}
	errs := make([]error, len(batch))
	rows, from := s.rows(batch, errs)
	var err error
	if len(rows) > 0 {
		err = s.o.DB.Write(context.Background(), func(tx *store.Tx) error { return errors.Join(insertAll(tx, rows), s.smudge(tx, rows)) })
	}
	if err == nil {
		wrote(rows)
	} else {
		err = s.singly(rows, func(i int, err error) { errs[from[i]] = err })
	}
	s.sick.Store(nil)
	if err != nil {
		s.sick.Store(&err)
	}
	for i, p := range batch {
		if p.e != nil {
			s.waiting.Add(-1)
			s.queue.left(p.size)
			s.o.Told(p.e)
			if errs[i] == nil {
				s.o.Written(p.e)
			}
		}
		if errs[i] != nil {
			s.lost.Add(1)
			s.o.Log.Error("journal entry lost", "id", p.e.ID, "error", errs[i])
		}
		if p.done != nil {
			p.done <- errs[i]
		}
	}
}

// rows makes the rows of a batch in the order of their time, and says where in it each comes from.
func (s *Store) rows(batch []pending, errs []error) (rows []row, from []int) {
	for i, p := range batch {
		if p.e != nil {
			from = append(from, i)
		}
	}
	slices.SortStableFunc(from, func(a, b int) int { return batch[a].e.Received.Compare(batch[b].e.Received) })
	rows = make([]row, len(from)) // the packer knows their places
	if s.facts = s.facts[:0]; cap(s.facts) > maxFactsKept {
		s.facts = nil
	}
	n := 0
	for _, i := range from {
		e, r := batch[i].e, &rows[n]
		var err error
		if s.facts, err = e.encode(s.facts); err != nil {
			s.o.Log.Error("facts left out of the journal", "id", e.ID, "error", err)
		}
		if err = s.enc.row(r, e); err == nil {
			err = s.order.place(r)
		}
		if errs[i] = err; err == nil {
			s.enc.put(r)
			from[n] = i
			n++
		}
	}
	s.enc.packer.seal()
	return rows[:n], from[:n]
}

// singly tells the error of each entry that is at fault by itself, and returns the last one of
// the store itself.
func (s *Store) singly(rows []row, tell func(i int, err error)) (last error) {
	errs := make([]error, len(rows))
	var wg sync.WaitGroup
	for i := range rows {
		if errs[i] = rows[i].unpack(&s.enc.packer); errs[i] != nil {
			continue
		}
		wg.Go(func() {
			errs[i] = s.o.DB.Write(context.Background(), func(tx *store.Tx) error { return errors.Join(rows[i].insert(tx), s.smudge(tx, rows[i:i+1])) })
		})
	}
	wg.Wait()
	ok := 0
	for i, err := range errs {
		if err != nil {
			tell(i, fmt.Errorf("record %s: %w", rows[i].e.ID, err))
			last = fmt.Errorf("journal: %w", err)
		} else {
			wrote(rows[i : i+1])
			ok++
		}
	}
	if ok > 0 && s.o.DB.Err() == nil {
		return nil
	}
	return last
}
