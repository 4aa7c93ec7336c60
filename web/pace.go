package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"postern/people"
)

// How much users ask for: what they read and do is noted, and nobody fills the disk with it. Who
// looks after other people's mail has no such bound.
const (
	paceBurst = 3000                   // requests at once
	paceEvery = 200 * time.Millisecond // then one each
	mostPaced = 10_000                 // users that are remembered
)

// paces count requests of users.
type paces struct {
	mu   sync.Mutex
	left map[string]pace
}

type pace struct {
	requests float64
	at       time.Time
}

// take tells whether a person may ask for something more now.
func (p *paces) take(person string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == nil || len(p.left) >= mostPaced {
		p.left = map[string]pace{} // at worst somebody has a burst more
	}
	is, known := p.left[person]
	if !known || now.Before(is.at) {
		is = pace{paceBurst, now}
	}
	is.requests = min(is.requests+float64(now.Sub(is.at))/float64(paceEvery), paceBurst)
	is.at = now
	ok := is.requests >= 1
	if ok {
		is.requests--
	}
	p.left[person] = is
	return ok
}

// hasty refuses a user who asks for too much at once.
func (s *Server) hasty(r *http.Request) *callError {
	who := actor(r)
	if who == nil || who.Role != people.User || s.paces.take(who.ID, s.now()) {
		return nil
	}
	return &callError{http.StatusTooManyRequests, "That was very much at once. Wait a little."}
}

// findFor is how long a search may take: who asked gives up sooner, and the next one waits.
const findFor = 30 * time.Second

// within gives a search so much time.
func within[T any](ctx context.Context, most time.Duration, search func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	found, err := search(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err) // the store says that it was interrupted
	}
	return found, err
}
