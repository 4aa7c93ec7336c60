package filters

import (
	"context"
	"errors"
	"time"
)

// An instant is the context of a filter that is tried where it was started. What would have to
// wait under it fails at once instead, and the filter begins again in a goroutine of its own. So
// mail whose answers are remembered costs no goroutine, no stack that has to grow, no timer.
// It is for one goroutine.
type instant struct {
	context.Context
	began time.Time
	limit time.Duration // of the filter; 0 for none
	waits bool          // something would have had to wait
}

var errWaits = errors.New("has to wait")

type instantKey struct{}

// Value implements context.Context.
func (c *instant) Value(key any) any {
	if key == (instantKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// Err implements context.Context. Nobody waits for Done, so the limit needs no timer.
func (c *instant) Err() error {
	switch {
	case c.waits:
		return errWaits
	case c.limit > 0 && time.Since(c.began) > c.limit:
		return errTimeout
	}
	return c.Context.Err()
}

// mayWait says whether something done under ctx may wait. When it may not, it has to return.
func mayWait(ctx context.Context) bool {
	c, ok := ctx.Value(instantKey{}).(*instant)
	if ok {
		c.waits = true
	}
	return !ok
}

// inTime limits what is done under ctx to a time, unless that is an instant's and cannot wait.
func inTime(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.(*instant); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// remembers reports whether a resolver gives what it has at once and fails where it would have to
// ask, under an instant's context.
func remembers(r Resolver) bool {
	_, ok := r.(*DNS)
	return ok
}
