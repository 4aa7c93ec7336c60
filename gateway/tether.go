package gateway

import (
	"context"
	"slices"
	"sync"
)

// A tether is a context that ends when it is cut, or with its parent, and costs nothing while nobody
// waits for that: nearly all that is done for a message has its answer at once. Whoever may end the
// parent cuts the tether as well, for onEnd's sake.
type tether struct {
	context.Context // the parent

	mu    sync.Mutex
	cause error           // it was cut
	armed context.Context // nil until somebody waits
	slack context.CancelCauseFunc
	hooks []*func()
}

// cut ends it. It may be called again; the first cause stays.
func (t *tether) cut(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cause == nil && t.Context.Err() != nil {
		t.cause = context.Cause(t.Context)
	}
	if t.cause == nil {
		t.cause = cause
	}
	if t.slack != nil {
		t.slack(t.cause)
	}
	for _, f := range t.hooks {
		go (*f)()
	}
	t.hooks = nil
}

// onEnd runs f in a goroutine of its own once it is cut; with the parent, only if that has ended
// already. stop reports whether f will not run.
func (t *tether) onEnd(f func()) (stop func() bool) {
	hook := &f
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cause != nil || t.Context.Err() != nil {
		go f()
		return func() bool { return false }
	}
	t.hooks = append(t.hooks, hook)
	return func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		i := slices.Index(t.hooks, hook)
		if i >= 0 {
			t.hooks = slices.Delete(t.hooks, i, i+1)
		}
		return i >= 0
	}
}

func (t *tether) arm() context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.armed == nil {
		parent := t.Context
		if t.cause != nil {
			parent = context.WithoutCancel(parent) // it may have ended since, for another cause
		}
		t.armed, t.slack = context.WithCancelCause(parent)
		if t.cause != nil {
			t.slack(t.cause)
		}
	}
	return t.armed
}

// why is its cause; nil while it has not ended.
func (t *tether) why() error {
	t.mu.Lock()
	cause := t.cause
	t.mu.Unlock()
	if cause != nil {
		return cause
	}
	return context.Cause(t)
}

// plain gives what stands for it now: the parent as long as it was neither cut nor waited for.
func (t *tether) plain() context.Context {
	t.mu.Lock()
	idle := t.armed == nil && t.cause == nil
	t.mu.Unlock()
	if idle {
		return t.Context
	}
	return t.arm()
}

// Done arms it.
func (t *tether) Done() <-chan struct{} { return t.arm().Done() }

// Err is why it ended; nil while it has not.
func (t *tether) Err() error { return t.plain().Err() }

// Value has the cause of the end for context.Cause.
func (t *tether) Value(key any) any { return t.plain().Value(key) }
