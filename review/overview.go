package review

import "time"

// An Overview is the numbers of a span of time.
type Overview struct {
	Since    time.Time   `json:"since"`
	Until    time.Time   `json:"until"`
	Step     string      `json:"step"` // hour or day
	Slots    []Slot      `json:"slots"`
	Rules    []RuleUse   `json:"rules"`
	Filters  []FilterUse `json:"filters"`
	Open     []Alarm     `json:"open,omitempty"` // breakers
	Asked    int         `json:"asked"`          // requests that wait
	Oldest   time.Time   `json:"oldest,omitzero"`
	Held     int         `json:"held"`     // copies
	Released int         `json:"released"` // of what was held in the span
	Spam     int         `json:"spam"`     // of it, what people said is spam
	Health   []Neighbour `json:"health"`
	Counting bool        `json:"counting,omitempty"` // after a crash or an upgrade: what is told is not all yet
}

// A Slot is what became of the messages of an hour or a day.
// A message of which copies fared differently counts for each of these.
type Slot struct {
	At        time.Time `json:"at"` // when it begins
	Delivered int       `json:"delivered"`
	Held      int       `json:"held"`
	Refused   int       `json:"refused"`
	Deferred  int       `json:"deferred"`
	Discarded int       `json:"discarded"`
}

// RuleUse is how a rule fares. Released of Held is the meter of its false positives.
type RuleUse struct {
	Rule     string `json:"rule"`
	Class    string `json:"class,omitempty"`
	Place    string `json:"place,omitempty"`
	Do       string `json:"do,omitempty"`
	Hits     int    `json:"hits"`     // messages that it decided, or to which it gave score or effects
	Held     int    `json:"held"`     // copies held by it
	Released int    `json:"released"` // of those
	Spam     int    `json:"spam"`     // of those: what people called spam
	Would    int    `json:"would"`    // of a shadow rule: messages that it would have changed
	Shadow   bool   `json:"shadow,omitempty"`
	Never    bool   `json:"never,omitempty"` // it has not decided anything in the span
}

// FilterUse is how a filter fares.
type FilterUse struct {
	Filter   string        `json:"filter"`
	Ran      int           `json:"ran"`
	Failed   int           `json:"failed"`
	TimedOut int           `json:"timed_out"`
	Median   time.Duration `json:"median"`
	P95      time.Duration `json:"p95"`
}

// An Alarm is a rule whose breaker is open.
type Alarm struct {
	Rule  string    `json:"rule"`
	Since time.Time `json:"since"`
	Why   string    `json:"why"`
}

// A Neighbour is what Postern depends on: internal servers, scanner, DNS, store.
type Neighbour struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Why  string `json:"why,omitempty"`
}
