package gateway

import (
	"context"
	"errors"
	"testing"
	"time"
)

var errParent, errOwn = errors.New("parent"), errors.New("own")

// It tells the same as the context of the standard library, whether or not somebody waits.
func TestUntilIsAContext(t *testing.T) {
	type ends struct {
		parent, deadline bool
	}
	for _, e := range []ends{{}, {parent: true}, {deadline: true}, {true, true}} {
		for _, waiting := range []bool{false, true} {
			for _, cause := range []error{nil, errOwn} {
				parent, cancel := context.WithCancelCause(t.Context())
				d := time.Hour
				if e.parent {
					cancel(errParent)
				}
				if e.deadline {
					d = -time.Second
				}
				got := within(parent, d, cause)
				want, stop := context.WithTimeoutCause(parent, d, cause)
				if waiting {
					got.Done()
				}
				if e.parent || e.deadline {
					called := make(chan bool)
					context.AfterFunc(got, func() { close(called) })
					<-called
					<-got.Done()
				}
				at, ok := got.Deadline()
				if at2, _ := want.Deadline(); !ok || at2.Sub(at).Abs() > time.Minute {
					t.Errorf("%+v: ends at %v", e, at)
				}
				if e != (ends{true, true}) && (got.Err() != want.Err() || context.Cause(got) != context.Cause(want)) {
					t.Errorf("%+v %v: %v %v, want %v %v", e, waiting, got.Err(), context.Cause(got), want.Err(), context.Cause(want))
				}
				if e.parent && got.Err() == nil {
					t.Errorf("%+v: goes on", e)
				}
				got.end()
				stop()
				cancel(nil)
			}
		}
	}
}

// Nobody waits, and the cause is known all the same once the time is over.
func TestUntilWithoutATimer(t *testing.T) {
	ctx := within(t.Context(), time.Millisecond, errOwn)
	defer ctx.end()
	if ctx.Err() != nil && time.Until(ctx.at) > 0 {
		t.Fatal(ctx.Err())
	}
	for time.Until(ctx.at) > 0 {
	}
	if context.Cause(ctx) != errOwn || ctx.Err() != context.DeadlineExceeded {
		t.Errorf("%v, %v", context.Cause(ctx), ctx.Err())
	}
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	if child.Err() == nil || context.Cause(child) != errOwn {
		t.Errorf("a child: %v, %v", child.Err(), context.Cause(child))
	}
	outer, cancelOuter := context.WithTimeout(t.Context(), time.Minute)
	defer cancelOuter()
	inner := within(outer, time.Hour, nil)
	defer inner.end()
	if at, _ := inner.Deadline(); time.Until(at) > time.Minute {
		t.Errorf("it ends after its parent: %v", at)
	}
}
