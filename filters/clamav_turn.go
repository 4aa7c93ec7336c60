package filters

import (
	"context"
	"fmt"
	"sync"
	"time"

	"postern/mail"
)

// A queue hands out the scanners, and knows how long the next one in it would wait.
type queue struct {
	slots   chan struct{} // scans at once
	timeout time.Duration // what a message has in all

	mu      sync.Mutex
	waiting int
	usual   time.Duration // of a scan, a moving average
	moved   time.Time     // when a scan last began or ended
}

// enter waits for a free scanner; leave gives it back.
func (q *queue) enter(ctx context.Context) (began time.Time, err error) {
	select {
	case q.slots <- struct{}{}:
	default:
		q.wait(1)
		defer q.wait(-1)
		select {
		case q.slots <- struct{}{}:
		case <-ctx.Done():
			return began, fmt.Errorf("no free scanner: %w", context.Cause(ctx))
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.moved = time.Now()
	return q.moved, nil
}

func (q *queue) leave(began time.Time) {
	q.mu.Lock()
	q.moved = time.Now()
	q.usual += (q.moved.Sub(began) - q.usual) / 8
	q.mu.Unlock()
	<-q.slots
}

func (q *queue) wait(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting += n
}

// full reports whether one more would wait for more than half of the time that it has: by the usual
// time of a scan, or the time since anything moved when that is longer (S-35).
func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting == 0 {
		return false
	}
	each := max(q.usual, time.Since(q.moved))
	return each*time.Duration(q.waiting+1)/time.Duration(cap(q.slots)) > q.timeout/2
}

// turn is ask when a scanner is free. Each scan waits for its own, so that a message of many
// parts keeps none from the others.
func (s *scanner) turn(ctx context.Context, body *mail.Body) (ClamAVFacts, error) {
	began, err := s.queue.enter(ctx)
	if err != nil {
		return ClamAVFacts{}, err
	}
	defer s.queue.leave(began)
	return s.ask(ctx, body)
}
