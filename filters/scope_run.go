package filters

import (
	"context"
	"fmt"
	"reflect"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// A run is one filter at work, or done.
type run struct {
	filter *Filter
	began  time.Time     // with the scope's mu held, until it is over
	done   chan struct{} // made by the first who waits, with the scope's mu held

	over  atomic.Bool // from then on what follows never changes
	facts any
	err   error
	took  time.Duration
}

// gather calls the filter and sees to it that there is either an error or facts of its type.
func (r *run) gather(ctx context.Context, in *Input) (facts any, err error) {
	defer func() {
		if v := recover(); v != nil {
			facts, err = nil, &PanicError{Filter: r.filter.Name, Value: v, Stack: debug.Stack()}
		}
	}()
	in.after = r.filter.After
	facts, err = r.filter.Gather(ctx, in)
	if ctx.Err() != nil && context.Cause(ctx) == errTimeout {
		err = errTimeout // also for an answer that came too late: it is no answer
	}
	if err == nil && reflect.TypeOf(facts) != reflect.TypeOf(r.filter.Facts) {
		err = fmt.Errorf("%s: returned %T, not %T", r.filter.Name, facts, r.filter.Facts)
	}
	return facts, err
}

// errTimeout is the cause of a context whose filter ran out of its own time.
var errTimeout = fmt.Errorf("timed out: %w", context.DeadlineExceeded)

// limit arms the filter's timeout: at once, or at the end of the upload for what reads the
// body while it arrives, since a slow client is no fault of the filter.
func (r *run) limit(ctx context.Context, in *Input) (context.Context, context.CancelFunc) {
	if r.filter.Timeout == 0 {
		return ctx, func() {}
	}
	if in.Body == nil { // before mail.Data; behind a trusted relay also filters of mail.Sender have one
		return context.WithTimeoutCause(ctx, r.filter.Timeout, errTimeout)
	}
	if in.Body.Complete() {
		return context.WithTimeoutCause(ctx, r.filter.Timeout, errTimeout)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := make(chan struct{})
	go func() {
		select {
		case <-in.Body.Done():
		case <-stop:
			return
		}
		t := time.NewTimer(r.filter.Timeout)
		defer t.Stop()
		select {
		case <-t.C:
			cancel(errTimeout)
		case <-stop:
		}
	}()
	return ctx, func() { close(stop); cancel(nil) }
}

// withError puts err's text into the Error field of a zero facts struct, so that rules can
// read it.
func withError(zero any, err error) any {
	v := reflect.New(reflect.TypeOf(zero)).Elem()
	v.Set(reflect.ValueOf(zero))
	if f := v.FieldByName("Error"); f.IsValid() && f.Kind() == reflect.String {
		f.SetString(err.Error())
	}
	return v.Interface()
}
