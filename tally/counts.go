package tally

import (
	"github.com/segmentio/encoding/json"
	"math/bits"
	"time"
)

// Counts is what became of mail. A message of which copies fared differently counts once for each
// of these.
type Counts struct {
	Delivered int                `json:"delivered,omitempty"`
	Held      int                `json:"held,omitempty"`
	Refused   int                `json:"refused,omitempty"`
	Deferred  int                `json:"deferred,omitempty"`
	Discarded int                `json:"discarded,omitempty"`
	Rules     map[string]*Rule   `json:"rules,omitempty"`
	Filters   map[string]*Filter `json:"filters,omitempty"` // of all mail only

	marks [5]uint64 // the last message that counted for each of the five
}

// A Rule is what one rule did, in messages.
type Rule struct {
	Hits  int `json:"hits,omitempty"`  // that it decided, or to which it gave score or effects
	Held  int `json:"held,omitempty"`  // held by it
	Would int `json:"would,omitempty"` // that it would have changed, were it no shadow rule

	marks [3]uint64
}

// A Filter is how one filter fared.
type Filter struct {
	Ran      int  `json:"ran"` // with an answer or without
	Failed   int  `json:"failed,omitempty"`
	TimedOut int  `json:"timed_out,omitempty"`
	Took     Span `json:"took"`
}

// Add adds what another counted.
func (c *Counts) Add(o *Counts) {
	c.Delivered += o.Delivered
	c.Held += o.Held
	c.Refused += o.Refused
	c.Deferred += o.Deferred
	c.Discarded += o.Discarded
	for name, r := range o.Rules {
		to := c.rule(name)
		to.Hits += r.Hits
		to.Held += r.Held
		to.Would += r.Would
	}
	for name, f := range o.Filters {
		to := c.filter(name)
		to.Ran += f.Ran
		to.Failed += f.Failed
		to.TimedOut += f.TimedOut
		for i, n := range f.Took.in {
			to.Took.in[i] += n
		}
	}
}

func (c *Counts) rule(name string) *Rule {
	r := c.Rules[name]
	if r == nil {
		if c.Rules == nil {
			c.Rules = map[string]*Rule{}
		}
		r = &Rule{}
		c.Rules[name] = r
	}
	return r
}

func (c *Counts) filter(name string) *Filter {
	f := c.Filters[name]
	if f == nil {
		if c.Filters == nil {
			c.Filters = map[string]*Filter{}
		}
		f = &Filter{}
		c.Filters[name] = f
	}
	return f
}

// once adds one to a number unless it did so for this message already.
func once(n *int, mark *uint64, message uint64) {
	if *mark != message {
		*mark = message
		*n++
	}
}

// steps is how many boxes a doubling of time is divided into, boxes how many there are: from a
// microsecond to more than ten minutes.
const (
	steps = 4
	boxes = 30 * steps
)

// A Span tells how long something took, to within a tenth.
type Span struct{ in [boxes]uint32 }

func (s *Span) note(d time.Duration) { s.in[box(d)]++ }

func box(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 0))
	if us < steps {
		return int(us)
	}
	n := bits.Len64(us)
	return min((n-2)*steps+int(us>>(n-3))&(steps-1), boxes-1)
}

// from is the least that falls into a box.
func from(box int) time.Duration {
	if box < steps {
		return time.Duration(box) * time.Microsecond
	}
	n := box/steps + 2
	return time.Duration(uint64(steps+box%steps)<<(n-3)) * time.Microsecond
}

// Part gives the time within which that part of all ended: 0.5 is the median. 0 when there is none.
func (s *Span) Part(part float64) time.Duration {
	all := 0
	for _, n := range s.in {
		all += int(n)
	}
	left := int(float64(all)*part + 0.5)
	if left = max(left, 1); all == 0 {
		return 0
	}
	for i, n := range s.in {
		if left -= int(n); left <= 0 {
			return (from(i) + from(i+1)) / 2
		}
	}
	return 0
}

// MarshalJSON writes the boxes that are not empty, each behind its number.
func (s *Span) MarshalJSON() ([]byte, error) {
	out := []uint32{}
	for i, n := range s.in {
		if n > 0 {
			out = append(out, uint32(i), n)
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads them.
func (s *Span) UnmarshalJSON(text []byte) error {
	var list []uint32
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	for i := 0; i+1 < len(list); i += 2 {
		if list[i] < boxes {
			s.in[list[i]] = list[i+1]
		}
	}
	return nil
}
