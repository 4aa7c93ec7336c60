package filters

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/mail"
)

type testFacts struct {
	Error string `expr:"error" json:"error,omitempty" doc:"."`
	N     int    `expr:"n" json:"n" doc:"."`
}

func gives(name string, n int, after ...string) Filter {
	return Filter{Name: name, Stage: mail.Sender, Facts: testFacts{}, After: after,
		Gather: func(ctx context.Context, in *Input) (any, error) {
			for _, a := range after {
				v, err := in.Fact(ctx, a)
				if err != nil {
					return nil, err
				}
				n += v.(testFacts).N
			}
			return testFacts{N: n}, nil
		}}
}

// Whatever the order of the list, a filter waits for what it reads; a look-up climbs.
func TestScopeOrderAndClimbing(t *testing.T) {
	conn := NewScope(nil)
	conn.Start(t.Context(), []Filter{gives("a", 1)}, Input{})
	msg := NewScope(conn)
	msg.Start(t.Context(), []Filter{gives("c", 100, "a", "b"), gives("b", 10, "a"), gives("a", 7)}, Input{})
	msg.Join()
	conn.Join()
	if v, err, known := msg.Lookup("c"); !known || err != nil || v.(testFacts).N != 112 {
		t.Errorf("c = %v, %v, %v; want 112", v, err, known)
	}
	if n := len(msg.Results()); n != 2 {
		t.Errorf("%d filters ran in the message's scope, want 2: a was the connection's", n)
	}
}

// A panic, an error, a wrong type and a timeout are all the same thing: an error in the scope,
// with its text in the error fact.
func TestScopeFailuresAreResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewScope(nil)
		s.Start(t.Context(), []Filter{
			{Name: "panics", Facts: testFacts{}, Gather: func(context.Context, *Input) (any, error) { panic("boom") }},
			{Name: "fails", Facts: testFacts{}, Gather: func(context.Context, *Input) (any, error) { return nil, errors.New("no route") }},
			{Name: "lies", Facts: testFacts{}, Gather: func(context.Context, *Input) (any, error) { return "?", nil }},
			{Name: "stalls", Facts: testFacts{}, Timeout: time.Second, Gather: func(ctx context.Context, _ *Input) (any, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}},
			{Name: "late", Facts: testFacts{}, Timeout: time.Second, Gather: func(context.Context, *Input) (any, error) {
				time.Sleep(2 * time.Second)
				return testFacts{N: 1}, nil
			}},
		}, Input{})
		s.Join()
		for name, want := range map[string]string{"panics": "boom", "fails": "no route", "lies": "returned string", "stalls": "timed out", "late": "timed out"} {
			v, err, known := s.Lookup(name)
			if !known || err == nil {
				t.Errorf("%s: %v, %v, %v; want an error", name, v, err, known)
				continue
			}
			if f, ok := v.(testFacts); !ok || !strings.Contains(f.Error, want) || f.N != 0 {
				t.Errorf("%s: facts %+v, want only an error about %q", name, v, want)
			}
		}
	})
}

// A filter of the data stage is not timed while the client uploads, only after.
func TestScopeTimeoutCountsFromTheEndOfTheUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := mail.NewSpool("", 0, 0).New()
		defer body.Close()
		s := NewScope(nil)
		began := time.Now()
		s.Start(t.Context(), []Filter{{Name: "x", Stage: mail.Data, Facts: testFacts{}, Timeout: time.Second,
			Gather: func(ctx context.Context, _ *Input) (any, error) { <-ctx.Done(); return nil, ctx.Err() }}}, Input{Body: body})
		time.Sleep(time.Hour)
		body.Finish(nil)
		s.Join()
		if took := time.Since(began); took != time.Hour+time.Second {
			t.Errorf("timed out after %v, want 1h0m1s", took)
		}
	})
}

func TestScopeUndeclaredAndUnstarted(t *testing.T) {
	s := NewScope(nil)
	s.Start(t.Context(), []Filter{{Name: "x", Facts: testFacts{}, Gather: func(ctx context.Context, in *Input) (any, error) {
		_, err := in.Fact(ctx, "y")
		return nil, err
	}}}, Input{})
	s.Join()
	if _, err, _ := s.Lookup("x"); err == nil || !strings.Contains(err.Error(), "After") {
		t.Errorf("reading a filter that After does not name: %v", err)
	}
	if err := s.Wait(t.Context(), "z"); !errors.Is(err, ErrNotStarted) {
		t.Errorf("waiting for what nobody started: %v", err)
	}
}
