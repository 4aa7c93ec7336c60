package filters

import (
	"context"
	"fmt"
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
	runs   []*run
	room   []run // for those to come
	wg     sync.WaitGroup
}

// usualRuns is how many filters most scopes have.
const usualRuns = 4

// NewScope returns an empty scope below parent (nil for a connection's).
func NewScope(parent *Scope) *Scope { return &Scope{parent: parent} }

// quickBody is how big a message may be for filters to take turns at it. For one that is bigger
// it is quicker to work side by side.
const quickBody = 128 << 10

// Start starts the filters that are not yet in this scope or a parent's. Each runs in a
// goroutine of its own with its time limit, but for those that need not wait now: these take
// turns here, and Start returns when they are done. A panic, a timeout and an error all become
// the result's err. What a filter needs from another comes through Input.Fact, so the order of
// fs does not matter, though Quick ones had better come behind those that they read.
func (s *Scope) Start(ctx context.Context, fs []Filter, in Input) {
	begun := s.begin(fs)
	in.Recipients = slices.Clip(in.Recipients)
	in.scope = s
	there := in.Body == nil || in.Body.Complete()
	small := in.Body == nil || in.Body.Size() <= quickBody
	quick := func(f *Filter) bool { return f.Quick && there && small }
	inline := func(f *Filter) bool { return f.Inline && there }
	for i := range begun {
		if f := begun[i].filter; !quick(f) && !inline(f) {
			s.spawn(ctx, &begun[i], in)
		}
	}
	// The others behind these, which work meanwhile; first those that may turn out to have to wait.
	t := turns.Get().(*turn)
	t.in = in
	for i := range begun {
		if r := &begun[i]; quick(r.filter) && !s.try(ctx, r, t) {
			s.spawn(ctx, r, in)
		}
	}
	for i := range begun {
		if r := &begun[i]; inline(r.filter) && !quick(r.filter) {
			s.gather(ctx, r, &t.in)
		}
	}
	*t = turn{}
	turns.Put(t)
}

// A turn is what filters get that run where they are started, one after the other.
type turn struct {
	in  Input
	now instant
}

var turns = sync.Pool{New: func() any { return new(turn) }}

// begin makes a run of each filter that is not there yet. All are known before the first one
// works, so that none finds another not started.
func (s *Scope) begin(fs []Filter) []run {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cap(s.room)-len(s.room) < len(fs) {
		s.room = make([]run, 0, max(usualRuns, len(fs)))
		s.runs = slices.Grow(s.runs, cap(s.room))
	}
	now, from := time.Now(), len(s.room)
	for i := range fs {
		if _, above := s.parent.find(fs[i].Name); above != nil || s.own(fs[i].Name) != nil {
			continue
		}
		s.room = append(s.room, run{filter: &fs[i], began: now})
		s.runs = append(s.runs, &s.room[len(s.room)-1])
	}
	begun := s.room[from:]
	s.wg.Add(len(begun))
	return begun
}

// spawn gathers in a goroutine, with an input of its own.
func (s *Scope) spawn(ctx context.Context, r *run, in Input) {
	go s.gather(ctx, r, &in)
}

// gather runs a filter to its end.
func (s *Scope) gather(ctx context.Context, r *run, in *Input) {
	began := r.began
	ctx, cancel := r.limit(ctx, in)
	defer cancel()
	facts, err := r.gather(ctx, in)
	s.settle(r, began, facts, err)
}

// try runs a filter as far as that needs no waiting; false when it has to begin again.
func (s *Scope) try(ctx context.Context, r *run, t *turn) bool {
	t.now = instant{Context: ctx, began: time.Now(), limit: r.filter.Timeout}
	facts, err := r.gather(&t.now, &t.in)
	if t.now.waits {
		return false
	}
	s.settle(r, t.now.began, facts, err)
	return true
}

// settle ends a run.
func (s *Scope) settle(r *run, began time.Time, facts any, err error) {
	defer s.wg.Done()
	later := r.filter.Later && err == ErrLater
	if err != nil && !later {
		facts = withError(r.filter.Facts, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.began, r.took = began, time.Since(began); later {
		s.runs = slices.DeleteFunc(s.runs, func(other *run) bool { return other == r }) // as if it had not been started
	}
	r.facts, r.err = facts, err
	r.over.Store(true)
	if r.done != nil {
		close(r.done)
	}
}

// find climbs to the scope in which the filter was started.
func (s *Scope) find(name string) (*Scope, *run) {
	for ; s != nil; s = s.parent {
		s.mu.Lock()
		r := s.own(name)
		s.mu.Unlock()
		if r != nil {
			return s, r
		}
	}
	return nil, nil
}

// own is called with s.mu held.
func (s *Scope) own(name string) *run {
	for _, r := range s.runs {
		if r.filter.Name == name {
			return r
		}
	}
	return nil
}

// Lookup returns a filter's result. known is false while it runs or was not started. After
// a failure value is the zero facts with only the error field set.
func (s *Scope) Lookup(name string) (value any, err error, known bool) {
	if _, r := s.find(name); r != nil && r.over.Load() {
		return r.facts, r.err, true
	}
	return nil, nil, false
}

// Started reports whether the filter was started here or in a parent.
func (s *Scope) Started(name string) bool {
	_, r := s.find(name)
	return r != nil
}

// Wait waits until the filter has a result. ErrNotStarted when nobody started it, else the
// context's cause.
func (s *Scope) Wait(ctx context.Context, name string) error {
	owner, r := s.find(name)
	switch {
	case r == nil:
		return fmt.Errorf("%s: %w", name, ErrNotStarted)
	case r.over.Load():
		return nil
	case !mayWait(ctx):
		return errWaits
	}
	select {
	case <-owner.end(r):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end gives a channel that is closed when the run is over.
func (s *Scope) end(r *run) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.done == nil {
		r.done = make(chan struct{})
		if r.over.Load() {
			close(r.done)
		}
	}
	return r.done
}

// Join waits until every filter started in this very scope has returned; cancel their
// context first. It is what guarantees that no filter reads a body after its end.
func (s *Scope) Join() { s.wg.Wait() }

// Busy reports whether a filter started in this very scope is still at work.
func (s *Scope) Busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.runs, func(r *run) bool { return !r.over.Load() })
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
	for _, r := range s.runs {
		res := Result{Name: r.filter.Name, Began: r.began}
		if r.over.Load() {
			res.Done, res.Facts, res.Err, res.Took = true, r.facts, r.err, r.took
			res.Timeout = r.err == errTimeout
		}
		out = append(out, res)
	}
	slices.SortFunc(out, func(a, b Result) int { return strings.Compare(a.Name, b.Name) })
	return out
}
