package journal

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A pending is an entry on its way; with a nil entry it is a Flush.
type pending struct {
	e    *Entry
	done chan<- error // nil: nobody waits
	size int64
}

// maxQueued bounds what all entries take that wait to be written, in bytes: facts are chosen by
// strangers, and a disk may be slow.
const maxQueued = 32 << 20

// A queue holds what waits to be written. The writer is woken once for many entries: to wake it
// for each costs more than to hand the entry over.
type queue struct {
	most int // entries that may wait

	mu     sync.Mutex
	list   []pending
	bytes  int64 // about what they take, those being written included
	closed bool

	some  chan struct{} // the first of many has come
	hurry chan struct{} // somebody waits, there are many, or it is closed
	room  chan struct{} // there are fewer
}

func newQueue(most int) queue {
	return queue{most: most, some: make(chan struct{}, 1), hurry: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// signal is for one who looks again at what there is.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put waits while the queue is full; one entry alone always has room.
func (q *queue) put(ctx context.Context, p pending) error {
	for {
		took, err := q.try(p)
		if took || err != nil {
			return err
		}
		select {
		case <-q.room:
		case <-ctx.Done():
			return fmt.Errorf("record: the queue is full: %w", context.Cause(ctx))
		}
	}
}

func (q *queue) try(p pending) (took bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		signal(q.room) // others may wait as well
		return false, ErrClosed
	}
	if len(q.list) >= q.most || q.bytes > 0 && q.bytes+p.size > maxQueued {
		signal(q.hurry)
		return false, nil
	}
	q.list = append(q.list, p)
	q.bytes += p.size
	switch {
	case p.done != nil || len(q.list) >= maxBatch:
		signal(q.hurry)
	case len(q.list) == 1:
		signal(q.some)
	}
	if len(q.list) < q.most {
		signal(q.room) // one who waits wakes the next
	}
	return true, nil
}

// await returns when something is to be written: when more has had linger to come, or when
// somebody waits for it.
func (q *queue) await(linger time.Duration) {
	select {
	case <-q.hurry:
		return
	case <-q.some:
	}
	if linger <= 0 {
		return
	}
	t := time.NewTimer(linger)
	defer t.Stop()
	select {
	case <-q.hurry:
	case <-t.C:
	}
}

// take moves up to maxBatch entries into batch, and says whether any are left. Closed means that
// none will come any more.
func (q *queue) take(batch []pending) (_ []pending, left, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(maxBatch, len(q.list))
	batch = append(batch, q.list[:n]...)
	rest := copy(q.list, q.list[n:])
	clear(q.list[rest:])
	q.list = q.list[:rest]
	signal(q.room)
	return batch, rest > 0, q.closed
}

// left notes that n bytes are written.
func (q *queue) left(n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= n
	signal(q.room)
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	signal(q.hurry)
	signal(q.room)
}
