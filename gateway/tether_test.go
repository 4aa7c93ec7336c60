package gateway

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var errCut = errors.New("cut")

// Whatever happens to a tether and when it is first asked, it says what the context of the library
// says that the same happened to.
func TestTetherIsLikeAContext(t *testing.T) {
	steps := map[string]func(end func(error), parent context.CancelCauseFunc){
		"nothing":           func(func(error), context.CancelCauseFunc) {},
		"cut":               func(end func(error), _ context.CancelCauseFunc) { end(errCut) },
		"cut twice":         func(end func(error), _ context.CancelCauseFunc) { end(errCut); end(errOver) },
		"parent":            func(_ func(error), parent context.CancelCauseFunc) { parent(errParent) },
		"cut, then parent":  func(end func(error), parent context.CancelCauseFunc) { end(errCut); parent(errParent) },
		"parent, then cut":  func(end func(error), parent context.CancelCauseFunc) { parent(errParent); end(errCut) },
		"parent, cut twice": func(end func(error), parent context.CancelCauseFunc) { parent(errParent); end(errCut); end(errOver) },
	}
	asked := map[string]func(context.Context){
		"late":       func(context.Context) {},
		"Done first": func(ctx context.Context) { ctx.Done() },
		"Err first":  func(ctx context.Context) { _ = ctx.Err() },
		"child":      func(ctx context.Context) { context.AfterFunc(ctx, func() {}) },
	}
	type key struct{}
	for what, step := range steps {
		for when, ask := range asked {
			t.Run(what+"/"+when, func(t *testing.T) {
				base := context.WithValue(t.Context(), key{}, "v")
				parent, endParent := context.WithCancelCause(base)
				got := &tether{Context: parent}
				wantParent, endWantParent := context.WithCancelCause(base)
				want, endWant := context.WithCancelCause(wantParent)
				ask(got)
				step(got.cut, endParent)
				step(endWant, endWantParent)
				if got.Err() != want.Err() || context.Cause(got) != context.Cause(want) || got.why() != context.Cause(want) {
					t.Errorf("it ended with %v, %v, %v; a context with %v, %v", got.Err(), context.Cause(got), got.why(), want.Err(), context.Cause(want))
				}
				select {
				case <-got.Done():
					if want.Err() == nil {
						t.Error("Done is closed too early")
					}
				default:
					if want.Err() != nil {
						t.Error("Done is not closed")
					}
				}
				child, cancel := context.WithTimeout(got, time.Hour)
				defer cancel()
				if child.Err() != want.Err() || context.Cause(child) != context.Cause(want) {
					t.Errorf("its child ended with %v, %v", child.Err(), context.Cause(child))
				}
				if got.Value(key{}) != "v" {
					t.Error("a value of the parent is gone")
				}
				if _, ok := got.Deadline(); ok {
					t.Error("it has a deadline")
				}
			})
		}
	}
}

func TestTetherHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := 0
		tell := func() { ran++ }
		ctx := &tether{Context: t.Context()}
		stop := ctx.onEnd(tell)
		off := ctx.onEnd(func() { t.Error("what was stopped ran") })
		if !off() || off() {
			t.Error("a hook is stopped once")
		}
		ctx.cut(errCut)
		ctx.cut(errCut)
		synctest.Wait()
		if ran != 1 || stop() {
			t.Errorf("it ran %d times; stopped: %t", ran, stop())
		}
		if ctx.onEnd(tell)() {
			t.Error("what came too late was stopped")
		}
		synctest.Wait()
		if ran != 2 {
			t.Error("what came too late did not run")
		}
		parent, cancel := context.WithCancel(t.Context())
		cancel()
		(&tether{Context: parent}).onEnd(tell)
		synctest.Wait()
		if ran != 3 {
			t.Error("it did not run though the parent has ended")
		}
	})
}
