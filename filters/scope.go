package filters

import (
	"context"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

func (e *PanicError) Error() string { return fmt.Sprintf("%s: panic: %v", e.Filter, e.Value) }

// Fact waits for the facts of another filter, which must be named in After. Its error
// is that filter's.
func (in *Input) Fact(ctx context.Context, name string) (any, error) {
	if !slices.Contains(in.after, name) {
		return nil, fmt.Errorf("filter asks for %q, which its After does not name", name)
	}
	if err := in.scope.Wait(ctx, name); err != nil {
		return nil, err
	}
	v, err, _ := in.scope.Lookup(name)
	return v, err
}

// A Scope is what is known about one connection, message or recipient: the results of
// the filters started in it and, by climbing, in its parents. All its methods may be
// called from several goroutines.
type Scope struct {
	parent *Scope
	mu     sync.Mutex
	runs   map[string]*run
	wg     sync.WaitGroup
}

// A run is one filter at work, or done.
type run struct {
	filter Filter
	done   chan struct{}
	facts  any
	err    error
	began  time.Time
	took   time.Duration
}

// NewScope returns an empty scope below parent (nil for a connection's).
func NewScope(parent *Scope) *Scope { return &Scope{parent: parent} }

// Start starts the filters that are not yet in this scope or a parent's. Each runs in a
// goroutine of its own with its time limit; a panic, a timeout and an error all become the
// result's err. What a filter needs from another comes through Input.Fact, so the order of
// fs does not matter.
func (s *Scope) Start(ctx context.Context, fs []Filter, in Input) {
	// All are known before the first begins, so that none finds another not started.
	begun := make([]*run, 0, len(fs))
	for i := range fs {
		if s.find(fs[i].Name) != nil {
			continue
		}
		r := &run{filter: fs[i], done: make(chan struct{}), began: time.Now()}
		s.mu.Lock()
		if s.runs == nil {
			s.runs = make(map[string]*run, len(fs))
		}
		s.runs[r.filter.Name] = r
		s.mu.Unlock()
		begun = append(begun, r)
	}
	in.Recipients = slices.Clip(in.Recipients)
	in.scope = s
	s.wg.Add(len(begun))
	there := in.Body == nil || in.Body.Complete()
	for _, r := range begun {
		if !r.filter.Inline || !there {
			own := in
			own.after = r.filter.After
			go s.gather(ctx, r, &own)
		}
	}
	for _, r := range begun { // behind the others, which work meanwhile
		if r.filter.Inline && there {
			own := in
			own.after = r.filter.After
			s.gather(ctx, r, &own)
		}
	}
}

func (s *Scope) gather(ctx context.Context, r *run, in *Input) {
	defer s.wg.Done()
	defer close(r.done)
	defer func() {
		r.took = time.Since(r.began)
		if v := recover(); v != nil {
			r.facts, r.err = nil, &PanicError{Filter: r.filter.Name, Value: v, Stack: debug.Stack()}
		}
		if r.err != nil {
			r.facts = withError(r.filter.Facts, r.err)
		}
	}()
	ctx, cancel := r.limit(ctx, in)
	defer cancel()
	r.facts, r.err = r.filter.Gather(ctx, in)
	if ctx.Err() != nil && context.Cause(ctx) == errTimeout {
		r.err = errTimeout // also for an answer that came too late: it is no answer
	}
	if r.err == nil && reflect.TypeOf(r.facts) != reflect.TypeOf(r.filter.Facts) {
		r.err = fmt.Errorf("%s: returned %T, not %T", r.filter.Name, r.facts, r.filter.Facts)
	}
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

func (s *Scope) find(name string) *run {
	for ; s != nil; s = s.parent {
		s.mu.Lock()
		r := s.runs[name]
		s.mu.Unlock()
		if r != nil {
			return r
		}
	}
	return nil
}

// Lookup returns a filter's result. known is false while it runs or was not started. After
// a failure value is the zero facts with only the error field set.
func (s *Scope) Lookup(name string) (value any, err error, known bool) {
	r := s.find(name)
	if r == nil {
		return nil, nil, false
	}
	select {
	case <-r.done:
		return r.facts, r.err, true
	default:
		return nil, nil, false
	}
}

// Started reports whether the filter was started here or in a parent.
func (s *Scope) Started(name string) bool { return s.find(name) != nil }

// Wait waits until the filter has a result. ErrNotStarted when nobody started it, else the
// context's cause.
func (s *Scope) Wait(ctx context.Context, name string) error {
	r := s.find(name)
	if r == nil {
		return fmt.Errorf("%s: %w", name, ErrNotStarted)
	}
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Join waits until every filter started in this very scope has returned; cancel their
// context first. It is what guarantees that no filter reads a body after its end.
func (s *Scope) Join() { s.wg.Wait() }

// Busy reports whether a filter started in this very scope is still at work.
func (s *Scope) Busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.runs {
		select {
		case <-r.done:
		default:
			return true
		}
	}
	return false
}

// A Result is one filter's outcome for the journal.
type Result struct {
	Name    string
	Facts   any
	Err     error
	Done    bool
	Began   time.Time
	Took    time.Duration
	Timeout bool
}

// Results lists what was started in this very scope, by name.
func (s *Scope) Results() []Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Result, 0, len(s.runs))
	for name, r := range s.runs {
		res := Result{Name: name, Began: r.began}
		select {
		case <-r.done:
			res.Done, res.Facts, res.Err, res.Took = true, r.facts, r.err, r.took
			res.Timeout = r.err == errTimeout
		default:
		}
		out = append(out, res)
	}
	slices.SortFunc(out, func(a, b Result) int { return strings.Compare(a.Name, b.Name) })
	return out
}
