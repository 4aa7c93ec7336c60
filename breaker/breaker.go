// Package breaker notices rules that suddenly decide far more mail than they used to. Each rule
// is compared with its own past alone: no model, no thresholds to tune for each. A breaker that
// opens asks its caller to let the rule tag only; one that may not open raises an alarm. It has
// no clock and does no I/O: who calls Tick says what time it is, and the same calls give the
// same events.
package breaker

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config says when a rule decides too much: when it decided Factor times as many messages in a
// Window as it did in the mean of its past busy windows, and Least at the least. A rule that is
// in force for less than a day has Factor times Least.
type Config struct {
	Factor float64
	Least  int
	Window time.Duration
}

const (
	sources  = 64             // counters of a rule, by where its mail comes from
	share    = 5              // one of them counts for no more than this part of the limit
	day      = 24 * time.Hour // until a rule is no longer new
	week     = 7 * day        // how far back the mean looks, in busy windows
	calmFor  = 3              // calm windows until a breaker closes
	calmPart = 2              // calm is below this part of the limit
)

// A Mode is what becomes of a rule that decides too much.
type Mode string

// The modes, as rule files name them.
const (
	Tag   Mode = "tag"   // the breaker opens: the rule only tags
	Alarm Mode = "alarm" // it goes on, and somebody is told
	Off   Mode = "off"
)

// A Rule is one that is watched. Print tells whether it is still the same rule after a reload: a
// changed one is new.
type Rule struct {
	Name, Print string
	Mode        Mode
}

// A State is what is known of a rule; it survives a restart.
type State struct {
	Print    string    `json:"print"`
	Mode     Mode      `json:"mode"`
	Windows  int       `json:"windows"`  // that it was watched
	Busy     int       `json:"busy"`     // in which it decided something
	Baseline float64   `json:"baseline"` // messages in the mean of those
	Count    int       `json:"count"`    // of this window, or of the last one that had any
	Hits     int64     `json:"hits"`     // in all
	Open     bool      `json:"open"`     // it only tags; with Mode Alarm: the alarm stands
	Since    time.Time `json:"since,omitzero"`
	Limit    float64   `json:"limit,omitempty"` // that was passed when it opened
	Calm     int       `json:"calm,omitempty"`  // windows
}

// An Event is a breaker that opened or closed.
type Event struct {
	Rule  string
	State State // after it
	Why   string
}

// A Breaker watches the rules in force. Its methods may be called from several goroutines.
type Breaker struct {
	c     Config
	rules atomic.Pointer[map[string]*counter] // never changed once stored

	mu    sync.Mutex // of all below, and of the states
	began time.Time  // of this window
}

// A counter counts the messages of this window.
type counter struct {
	by    [sources]atomic.Uint32
	state State
}

// New makes a breaker that watches nothing yet.
func New(c Config, now time.Time) *Breaker {
	b := &Breaker{c: c, began: now}
	b.rules.Store(&map[string]*counter{})
	return b
}

// Hit counts a message that a rule decided, or would have. source tells where it came from: one
// that sends much counts for a part of the limit only, so that nobody opens a breaker alone.
func (b *Breaker) Hit(rule string, source uint64) {
	if c := (*b.rules.Load())[rule]; c != nil {
		c.by[source%sources].Add(1)
	}
}

// Watch says which rules are in force from now on. What is known of a rule stays known while it
// is the same; saved is what is known from before a restart.
func (b *Breaker) Watch(list []Rule, saved map[string]State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, next := *b.rules.Load(), make(map[string]*counter, len(list))
	for _, r := range list {
		if r.Mode == Off {
			continue
		}
		c := old[r.Name]
		if c == nil || c.state.Print != r.Print {
			c = &counter{}
			if s := saved[r.Name]; s.Print == r.Print {
				c.state = s
			}
		}
		if c.state.Open && c.state.Mode != r.Mode { // it means something else now
			c.state.Open, c.state.Since, c.state.Calm = false, time.Time{}, 0
		}
		c.state.Print, c.state.Mode = r.Print, r.Mode
		next[r.Name] = c
	}
	b.rules.Store(&next)
}

// Tick compares; call it every second or so. At the end of a window it learns and begins the
// next one; windows in which it was not called are not learned.
func (b *Breaker) Tick(now time.Time) (events []Event, windowEnded bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	age := now.Sub(b.began)
	windowEnded = age >= b.c.Window || age < 0
	rules := *b.rules.Load()
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		c := rules[name]
		limit := b.limit(&c.state)
		count, most := c.count(limit)
		if count > 0 {
			c.state.Count = count
		}
		if !c.state.Open && most >= limit {
			c.state.Open, c.state.Since, c.state.Limit, c.state.Calm = true, now, limit, 0
			events = append(events, Event{name, c.state, fmt.Sprintf("it decided %d messages within %s; %.1f were usual", count, b.c.Window, c.state.Baseline)})
		}
		if !windowEnded {
			continue
		}
		c.clear()
		if age < 0 || age >= 2*b.c.Window { // the clock was set, or the machine slept: this was no window
			continue
		}
		if b.learn(&c.state, count) {
			events = append(events, Event{name, c.state, "it decides as much as usual again"})
		}
	}
	if windowEnded {
		b.began = now
	}
	return events, windowEnded
}

// limit is how many messages of this window are too many.
func (b *Breaker) limit(s *State) float64 {
	least := float64(b.c.Least)
	if time.Duration(s.Windows)*b.c.Window < day {
		least *= b.c.Factor
	}
	return max(least, b.c.Factor*s.Baseline)
}

// count gives the messages of this window, and how many they are when no source counts for more
// than its share of the limit.
func (c *counter) count(limit float64) (all int, most float64) {
	for i := range c.by {
		n := c.by[i].Load()
		all += int(n)
		most += min(float64(n), limit/share)
	}
	return all, most
}

func (c *counter) clear() {
	for i := range c.by {
		c.state.Hits += int64(c.by[i].Swap(0))
	}
}

// learn takes a window into what is known, and tells whether an open breaker closed. Only busy
// windows make the mean: nights, weekends and holidays do not lower it.
func (b *Breaker) learn(s *State, count int) (closed bool) {
	s.Windows++
	if s.Open {
		if float64(count) >= s.Limit/calmPart {
			s.Calm = 0
			return false
		}
		if s.Calm++; s.Calm < calmFor {
			return false
		}
		s.Open, s.Since, s.Calm = false, time.Time{}, 0
		return true
	}
	if count > 0 {
		s.Busy++
		s.Baseline += (float64(count) - s.Baseline) / float64(min(s.Busy, max(int(week/b.c.Window), 1)))
	}
	return false
}

// Reset closes a breaker since somebody found that the rule is right: what it decided last is
// what is usual from now on. ok is false when there is no such open breaker.
func (b *Breaker) Reset(rule string) (e Event, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := (*b.rules.Load())[rule]
	if c == nil || !c.state.Open {
		return Event{}, false
	}
	s := &c.state
	s.Open, s.Since, s.Calm = false, time.Time{}, 0
	s.Baseline = max(s.Baseline, float64(s.Count))
	c.clear()
	return Event{rule, *s, "it was reset"}, true
}

// Open lists, sorted, the rules whose breaker is open, and those whose alarm stands.
func (b *Breaker) Open() (open, alarms []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rules := *b.rules.Load()
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		switch s := &rules[name].state; {
		case s.Open && s.Mode == Tag:
			open = append(open, name)
		case s.Open:
			alarms = append(alarms, name)
		}
	}
	return open, alarms
}

// States tells all that is known, to be kept for a restart.
func (b *Breaker) States() map[string]State {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]State{}
	for name, c := range *b.rules.Load() {
		s := c.state
		for i := range c.by {
			s.Hits += int64(c.by[i].Load())
		}
		out[name] = s
	}
	return out
}
