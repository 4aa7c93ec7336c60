package review

import (
	"time"

	"postern/journal"
)

// A Message is all that is known about one, held or not.
type Message struct {
	Row
	Entry    *journal.Entry `json:"entry,omitempty"`  // its story; outcomes of copies out of sight are left out; nil when it is gone
	Answer   *Answer        `json:"answer,omitempty"` // the last reply to the client, for who sees all copies
	Known    Known          `json:"known"`
	Explain  []Explained    `json:"explain,omitempty"` // by recipient in sight
	Timeline []Event        `json:"timeline"`
	Place    string         `json:"place,omitempty"` // of the rule that decided: "20-spoof.yaml:12"
	Text     bool           `json:"text"`            // its content is there, and the actor may read it
}

// An Answer is an SMTP reply.
type Answer struct {
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced,omitempty"` // RFC 3463: 5.7.1
	Text     string `json:"text"`
}

// Known is what earlier mail tells about the sender.
type Known struct {
	Count int       `json:"count"` // proven earlier messages to the same recipient that were delivered; 100 at most
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
}

// Explained is why a copy has its verdict.
type Explained struct {
	Recipient string            `json:"recipient"`
	Do        string            `json:"do"`                 // what the rules said: deliver quarantine reject defer discard
	Rule      string            `json:"rule,omitempty"`     // that decided; "" when none objected
	Steps     []ExplainedStep   `json:"steps"`              // the rules, in their order
	Sources   []ExplainedSource `json:"sources,omitempty"`  // filters whose facts the rules looked at
	Flips     []string          `json:"flips,omitempty"`    // smallest changes that would change the verdict, a sentence each
	NoFlips   string            `json:"no_flips,omitempty"` // why nobody knows them
	Shadow    string            `json:"shadow,omitempty"`   // what shadow rules would have had done, when that is something else
	Gone      string            `json:"gone,omitempty"`     // why rules are shown without text and place: their version is gone
}

// The results of an ExplainedStep.
const (
	StepMatched  = "matched"
	StepNo       = "no"
	StepUnknown  = "unknown"
	StepNotAsked = "not asked" // it stands behind the rule that decided
)

// An ExplainedStep is one rule of the walk.
type ExplainedStep struct {
	Rule    string            `json:"rule"`
	Place   string            `json:"place,omitempty"` // "20-spoof.yaml:12"
	When    string            `json:"when,omitempty"`  // as written
	Result  string            `json:"result"`          // matched, no, unknown, not asked
	Why     string            `json:"why,omitempty"`   // of an unknown: which fact, and whether it failed, timed out or is off
	Decided bool              `json:"decided,omitempty"`
	Shadow  bool              `json:"shadow,omitempty"`
	Breaker bool              `json:"breaker,omitempty"` // its breaker was open: it had no say
	Do      string            `json:"do,omitempty"`      // what it says when it matches
	Score   float64           `json:"score,omitempty"`   // what it added
	Parts   []ExplainedPart   `json:"parts,omitempty"`   // sub-expressions with their values
	Facts   map[string]string `json:"facts,omitempty"`   // what was looked at
}

// An ExplainedPart is one sub-expression.
type ExplainedPart struct {
	Text   string `json:"text"`
	Value  string `json:"value"`         // true false unknown "not needed"
	Values string `json:"values"`        // of the facts in it, for people
	Why    string `json:"why,omitempty"` // of an unknown
}

// An ExplainedSource is a filter that found facts out.
type ExplainedSource struct {
	Filter string            `json:"filter"`
	State  string            `json:"state"` // done, failed, timed out, cancelled, not needed, off (not configured)
	Began  time.Duration     `json:"began"` // since MAIL
	Took   time.Duration     `json:"took"`
	Error  string            `json:"error,omitempty"`
	Facts  map[string]string `json:"facts"` // those that rules looked at, by name
}

// An Event is one point of a message's way, from connect to the last act of a person.
type Event struct {
	At   time.Time     `json:"at"`
	Took time.Duration `json:"took,omitempty"`
	Kind string        `json:"kind"` // session filter verdict delivery person
	What string        `json:"what"`
	Why  string        `json:"why,omitempty"`
	Who  string        `json:"who,omitempty"`
}
