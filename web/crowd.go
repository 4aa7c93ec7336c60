package web

import (
	"context"
	"net/http"
	"sync"

	"postern/people"
)

// A crowd counts what is under way, by person.
type crowd struct {
	mu sync.Mutex
	in map[string]int
}

// enter counts one more; false when the person has as many as one may have.
func (c *crowd) enter(person string, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.in[person] >= most {
		return false
	}
	if c.in == nil {
		c.in = map[string]int{}
	}
	c.in[person]++
	return true
}

func (c *crowd) leave(person string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.in[person]--; c.in[person] <= 0 {
		delete(c.in, person)
	}
}

// Messages that are read at once: each may take as much room as the largest that is held.
const (
	mostReading    = 16
	mostReadingOne = 6 // by one person
)

// reading waits until there is room to read one more message. Call what it gives when it is read.
func (s *Server) reading(ctx context.Context, who *people.Actor) (done func(), err error) {
	if !s.readers.enter(who.ID, mostReadingOne) {
		return nil, &callError{http.StatusTooManyRequests, "You are reading very much at once. Wait until one is there."}
	}
	select {
	case s.room <- struct{}{}:
		return func() { <-s.room; s.readers.leave(who.ID) }, nil
	case <-ctx.Done():
		s.readers.leave(who.ID)
		return nil, ctx.Err()
	}
}
