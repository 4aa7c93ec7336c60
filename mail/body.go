package mail

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// A Spool makes bodies and bounds the memory that all of them take together.
// What does not fit is written to unlinked files in its folder.
type Spool struct {
	dir   string
	each  int64 // bytes of one message kept in memory
	total int64 // bytes of all messages kept in memory
	used  atomic.Int64
}

// Defaults of NewSpool.
const (
	DefaultInMemory = 1 << 20
	DefaultTotal    = 64 << 20
)

// NewSpool returns a spool with files in dir (made when needed, removed from the
// folder at once, so that a crash leaves none). each and total are bytes; zero
// stands for the defaults.
func NewSpool(dir string, each, total int64) *Spool {
	if each == 0 {
		each = DefaultInMemory
	}
	if total == 0 {
		total = DefaultTotal
	}
	return &Spool{dir: dir, each: each, total: total}
}

// InMemory is how many bytes all bodies hold in memory now.
func (s *Spool) InMemory() int64 { return s.used.Load() }

// Chunks: the first is small, since most messages are.
const (
	firstChunk = 8 << 10
	chunkSize  = 64 << 10
)

var chunkPool = sync.Pool{New: func() any { b := make([]byte, chunkSize); return &b }}
var firstPool = sync.Pool{New: func() any { b := make([]byte, firstChunk); return &b }}

// ErrClosed is what readers get after Close.
var ErrClosed = errors.New("mail: body closed")

// A Body spools one message. One goroutine writes; any number of readers, opened
// at any time, each read it from the start and wait at its end for what is still
// to come. Bytes already given out never change.
type Body struct {
	spool *Spool

	mu      sync.Mutex
	more    sync.Cond
	chunks  []*[]byte // all but the last are full; none once spilled
	size    int64
	file    *os.File // set once spilled: everything is there
	held    int64    // what is charged to the spool
	end     error    // io.EOF when all arrived, else why not; nil while it arrives
	closed  bool
	done    chan struct{}
	readers int // readers with a borrowed block; chunks go back to the pool only when none is left

	headOnce sync.Once
	head     *Header
	headErr  error
}

// New returns an empty body. Close it when nobody reads it any more.
func (s *Spool) New() *Body {
	b := &Body{spool: s, done: make(chan struct{})}
	b.more.L = &b.mu
	return b
}

// BodyOf returns a finished body that holds p, for tests and offline use. It is
// not charged to any spool.
func BodyOf(p []byte) *Body {
	b := NewSpool("", 1<<62, 1<<62).New()
	_, _ = b.Write(p)
	b.Finish(nil)
	return b
}

// Write appends p. The error is that of the spool file: the message cannot be kept
// (4xx, our fault).
func (b *Body) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.end != nil {
		return 0, ErrClosed
	}
	if b.file == nil && !b.fits(int64(len(p))) {
		if err := b.spill(); err != nil {
			return 0, err
		}
	}
	if b.file != nil {
		n, err := b.file.Write(p)
		b.size += int64(n)
		b.more.Broadcast()
		return n, err
	}
	for rest := p; len(rest) > 0; {
		tail := b.tail()
		n := copy(tail, rest)
		rest = rest[n:]
		b.size += int64(n)
	}
	b.more.Broadcast()
	return len(p), nil
}

// chunkOf tells which chunk holds offset, and where in it.
func chunkOf(off int64) (i int, at int) {
	if off < firstChunk {
		return 0, int(off)
	}
	off -= firstChunk
	return 1 + int(off/chunkSize), int(off % chunkSize)
}

// tail returns the free part of the last chunk, with a new chunk when it is full.
func (b *Body) tail() []byte {
	i, at := chunkOf(b.size)
	if i == len(b.chunks) {
		pool := &chunkPool
		if i == 0 {
			pool = &firstPool
		}
		b.chunks = append(b.chunks, pool.Get().(*[]byte))
	}
	return (*b.chunks[i])[at:]
}

// fits charges n more bytes to the spool, when they may stay in memory.
func (b *Body) fits(n int64) bool {
	if b.size+n > b.spool.each {
		return false
	}
	// Charged in steps of whole chunks, as memory is taken in them.
	need := int64(firstChunk)
	if b.size+n > firstChunk {
		need += (b.size + n - firstChunk + chunkSize - 1) / chunkSize * chunkSize
	}
	if more := need - b.held; more > 0 {
		if b.spool.used.Add(more) > b.spool.total {
			b.spool.used.Add(-more)
			return false
		}
		b.held = need
	}
	return true
}

// spill moves the body to an unlinked file.
func (b *Body) spill() error {
	f, err := os.CreateTemp(b.spool.dir, "spool-*")
	if err != nil {
		return err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return err
	}
	left := b.size
	for _, c := range b.chunks {
		n := min(left, int64(len(*c)))
		if _, err := f.Write((*c)[:n]); err != nil {
			f.Close()
			return err
		}
		left -= n
	}
	b.file = f
	b.release()
	return nil
}

// release gives the memory back. Chunks that a reader may still look at are left to
// the garbage collector.
func (b *Body) release() {
	if b.readers == 0 {
		for i, c := range b.chunks {
			if i == 0 {
				firstPool.Put(c)
			} else {
				chunkPool.Put(c)
			}
		}
	}
	b.chunks = nil
	b.spool.used.Add(-b.held)
	b.held = 0
}

// Finish ends the body: err is nil when all of it arrived, else every reader gets
// err after what did. Only the first call counts.
func (b *Body) Finish(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.end != nil {
		return
	}
	if b.end = err; err == nil {
		b.end = io.EOF
	}
	close(b.done)
	b.more.Broadcast()
}

// Done is closed at Finish (and at Close).
func (b *Body) Done() <-chan struct{} { return b.done }

// Complete reports whether Done is closed.
func (b *Body) Complete() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// Size is how many bytes arrived so far.
func (b *Body) Size() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.size
}

// Close frees what the body holds and wakes every reader with ErrClosed. It may be
// called more than once.
func (b *Body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	if b.end == nil {
		b.end = ErrClosed
		close(b.done)
	}
	b.release()
	b.more.Broadcast()
	if b.file != nil {
		return b.file.Close()
	}
	return nil
}
