package gateway

import (
	"context"
	"sync"
	"time"
)

// An until is a context with a deadline whose timer is armed only when somebody waits for its
// end: most of what is done for a message has its answer at once, and asks at most whether the
// time is over.
type until struct {
	parent context.Context
	at     time.Time
	cause  error // of the end; nil: context.DeadlineExceeded

	mu     sync.Mutex
	armed  context.Context // nil until somebody waits
	disarm context.CancelFunc
}

// within gives a context that ends after d; call end when it is of no use any more. cause may
// be nil.
func within(parent context.Context, d time.Duration, cause error) *until {
	u := &until{parent: parent, at: time.Now().Add(d), cause: cause}
	if at, ok := parent.Deadline(); ok && at.Before(u.at) {
		u.at = at
	}
	return u
}

// Deadline is when it ends by itself.
func (u *until) Deadline() (time.Time, bool) { return u.at, true }

// Done arms the timer.
func (u *until) Done() <-chan struct{} { return u.arm().Done() }

func (u *until) arm() context.Context {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.armed == nil {
		u.armed, u.disarm = context.WithDeadlineCause(u.parent, u.at, u.cause)
	}
	return u.armed
}

func (u *until) now() context.Context {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.armed
}

// Err is why it ended; nil while it has not.
func (u *until) Err() error {
	if u.now() == nil && time.Until(u.at) > 0 {
		return u.parent.Err()
	}
	return u.arm().Err()
}

// Value has the cause of the end for context.Cause, as far as it is known.
func (u *until) Value(key any) any {
	ctx := u.now()
	if ctx == nil && time.Until(u.at) > 0 {
		return u.parent.Value(key)
	}
	return u.arm().Value(key)
}

// AfterFunc runs f in a goroutine of its own when it ends, as context.AfterFunc asks for.
func (u *until) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(u.arm(), f) }

// cancelled gives the context that ends with ctx but for its deadline, which the caller keeps
// by other means.
func cancelled(ctx context.Context) context.Context {
	if u, ok := ctx.(*until); ok && u.now() == nil {
		return u.parent
	}
	return ctx
}

func (u *until) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.disarm != nil {
		u.disarm()
	}
}
