package breaker

import (
	"reflect"
	"sync"
	"testing"
	"time"
)

// A bench is a breaker with a clock of its own, and some rules.
type bench struct {
	*Breaker
	now    time.Time
	events []Event
	source uint64
}

var sample = Config{Factor: 10, Least: 50, Window: 10 * time.Minute}

func newBench(rules ...Rule) *bench {
	b := &bench{now: time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)}
	b.Breaker = New(sample, b.now)
	b.Watch(rules, nil)
	return b
}

// hits has n messages of many sources decided by a rule.
func (b *bench) hits(rule string, n int) {
	for range n {
		b.source++
		b.Hit(rule, b.source)
	}
}

// pass lets time pass in steps of a minute, with n messages in each window.
func (b *bench) pass(windows int, rule string, n int) {
	for range windows {
		b.hits(rule, n)
		for range 10 {
			b.now = b.now.Add(time.Minute)
			events, _ := b.Tick(b.now)
			b.events = append(b.events, events...)
		}
	}
}

func (b *bench) wantOpen(t *testing.T, want ...string) {
	t.Helper()
	if open, _ := b.Open(); !reflect.DeepEqual(open, want) && len(open)+len(want) > 0 {
		t.Errorf("open: %v, want %v (%+v)", open, want, b.States())
	}
}

func TestBreakerOpensAndCloses(t *testing.T) {
	b := newBench(Rule{"spam", "1", Tag}, Rule{"other", "1", Tag})
	b.pass(144, "spam", 20)
	b.wantOpen(t)
	b.hits("spam", 199)
	b.Tick(b.now)
	b.wantOpen(t)
	b.hits("spam", 1) // ten times 20
	if events, _ := b.Tick(b.now); len(events) != 1 || events[0].Rule != "spam" || !events[0].State.Open || events[0].Why != "it decided 200 messages within 10m0s; 20.0 were usual" {
		t.Errorf("%+v", events)
	}
	b.wantOpen(t, "spam")
	if events, _ := b.Tick(b.now); len(events) != 0 {
		t.Errorf("told twice: %+v", events)
	}
	b.pass(1, "spam", 0) // the rest of the window in which it opened
	b.pass(2, "spam", 500)
	b.pass(2, "spam", 90)
	b.wantOpen(t, "spam")
	b.pass(1, "spam", 99)
	b.wantOpen(t)
	if last := b.events[len(b.events)-1]; last.Rule != "spam" || last.State.Open || last.State.Baseline != 20 {
		t.Errorf("%+v: what it decided while open is not what is usual", last)
	}
}

// A new rule has room; nights do not lower what is usual; a changed rule is new again.
func TestBreakerLearns(t *testing.T) {
	b := newBench(Rule{"new", "1", Tag})
	b.hits("new", 499)
	b.Tick(b.now)
	b.wantOpen(t)
	b.hits("new", 1)
	b.Tick(b.now)
	b.wantOpen(t, "new")

	b = newBench(Rule{"rare", "1", Tag})
	b.pass(144, "rare", 0)
	b.hits("rare", 49)
	b.Tick(b.now)
	b.wantOpen(t)
	b.hits("rare", 1)
	b.Tick(b.now)
	b.wantOpen(t, "rare")

	b = newBench(Rule{"daily", "1", Tag})
	b.pass(48, "daily", 30)
	b.pass(14*144, "daily", 0) // two weeks of holidays
	b.pass(1, "daily", 299)
	b.wantOpen(t)
	b.Watch([]Rule{{"daily", "2", Tag}}, nil)
	if s := b.States()["daily"]; s.Baseline != 0 || s.Windows != 0 {
		t.Errorf("a changed rule: %+v", s)
	}
}

// One sender, or a handful of them, cannot open a breaker.
func TestBreakerOneSourceIsNotEnough(t *testing.T) {
	b := newBench(Rule{"encrypted", "1", Tag})
	b.pass(144, "encrypted", 1)
	for range 100_000 {
		for source := range uint64(share - 1) {
			b.Hit("encrypted", source)
		}
	}
	b.Tick(b.now)
	b.wantOpen(t)
	for range 10 {
		b.Hit("encrypted", share)
	}
	b.Tick(b.now)
	b.wantOpen(t, "encrypted")
}

func TestBreakerModes(t *testing.T) {
	b := newBench(Rule{"virus", "1", Off}, Rule{"spoof", "1", Alarm})
	b.hits("virus", 100_000)
	b.hits("spoof", 100_000)
	events, _ := b.Tick(b.now)
	b.wantOpen(t)
	if _, alarms := b.Open(); !reflect.DeepEqual(alarms, []string{"spoof"}) || len(events) != 1 || events[0].State.Mode != Alarm {
		t.Errorf("alarms %v, events %+v", alarms, events)
	}
	b.Watch([]Rule{{"spoof", "1", Tag}}, nil) // an alarm that stands does not open it
	b.wantOpen(t)
}

func TestBreakerReset(t *testing.T) {
	b := newBench(Rule{"a", "1", Tag})
	b.pass(144, "a", 5)
	if _, ok := b.Reset("a"); ok {
		t.Error("reset of a closed one")
	}
	b.hits("a", 60)
	b.Tick(b.now)
	b.wantOpen(t, "a")
	if e, ok := b.Reset("a"); !ok || e.State.Open || e.State.Baseline != 60 {
		t.Errorf("%+v", e)
	}
	b.pass(3, "a", 590) // the next ones are usual now
	b.wantOpen(t)
	if _, ok := b.Reset("none"); ok {
		t.Error("reset of what is not there")
	}
}

// A restart forgets nothing; a clock that jumps teaches nothing.
func TestBreakerRestartAndClock(t *testing.T) {
	b := newBench(Rule{"a", "1", Tag}, Rule{"b", "1", Tag})
	b.pass(144, "a", 20)
	b.hits("b", 500)
	b.Tick(b.now)
	b.wantOpen(t, "b")
	saved := b.States()
	if saved["a"].Hits != 144*20 || saved["b"].Hits != 500 {
		t.Errorf("%+v", saved)
	}
	again := &bench{Breaker: New(sample, b.now), now: b.now}
	again.Watch([]Rule{{"a", "1", Tag}, {"b", "1", Tag}, {"c", "1", Tag}}, saved)
	again.wantOpen(t, "b")
	if s := again.States()["a"]; s.Baseline != 20 || s.Windows != 144 {
		t.Errorf("%+v", s)
	}
	again.hits("a", 100)
	for _, step := range []time.Duration{-time.Hour, 3 * time.Hour, -time.Minute} {
		again.now = again.now.Add(step)
		again.Tick(again.now)
	}
	if s := again.States()["a"]; s.Baseline != 20 || s.Windows != 144 || s.Hits != saved["a"].Hits+100 {
		t.Errorf("the clock jumped: %+v", s)
	}
}

// The same calls give the same events, and hits may come while rules change.
func TestBreakerIsDeterministic(t *testing.T) {
	run := func() []Event {
		b := newBench(Rule{"a", "1", Tag}, Rule{"b", "1", Alarm}, Rule{"c", "1", Tag})
		for i := range 400 {
			b.hits("a", i*7%40)
			b.hits("b", i%60/59*700)
			b.pass(1, "c", 3+i%90/85*900)
		}
		return b.events
	}
	if first, second := run(), run(); len(first) < 4 || !reflect.DeepEqual(first, second) {
		t.Errorf("%d and %d events", len(first), len(second))
	}
	b := newBench(Rule{"a", "1", Tag})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 10_000 {
				b.Hit("a", uint64(i))
			}
		})
	}
	for range 100 {
		b.Watch([]Rule{{"a", "1", Tag}}, nil)
		b.Tick(b.now)
	}
	all.Wait()
	if s := b.States()["a"]; s.Hits != 40_000 {
		t.Errorf("%d of 40000 were counted", s.Hits)
	}
}

func BenchmarkHit(b *testing.B) {
	x := newBench(Rule{"a", "1", Tag}, Rule{"b", "1", Tag})
	for i := 0; b.Loop(); i++ {
		x.Hit("a", uint64(i))
	}
}
