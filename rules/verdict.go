package rules

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"postern/mail"
)

// A Disposition is where a recipient's copy ends up: a closed set.
type Disposition uint8

const (
	None       Disposition = iota // a rule without do
	Deliver                       // to the internal server
	Quarantine                    // held for review, answered 250
	Reject                        // refused, 5xx
	Defer                         // refused for now, 4xx
	Discard                       // answered 250 and dropped; the journal line is the only trace
)

var dispositions = [...]string{"none", "deliver", "quarantine", "reject", "defer", "discard"}

func (d Disposition) String() string {
	if int(d) < len(dispositions) {
		return dispositions[d]
	}
	return fmt.Sprintf("Disposition(%d)", uint8(d))
}

// MarshalText gives the word that rule files use.
func (d Disposition) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads it.
func (d *Disposition) UnmarshalText(b []byte) error {
	for i, s := range dispositions {
		if s == string(b) {
			*d = Disposition(i)
			return nil
		}
	}
	return fmt.Errorf("unknown disposition %q", b)
}

// An Effect is something to be done to a message on its way: an open set, named by the
// gateway.
type Effect struct {
	Name string   `json:"name"`
	Args []string `json:"args"`
	Rule string   `json:"-"` // which rule asks for it
}

// String gives the effect as rule files write it: name("text", "text").
func (e Effect) String() string {
	args := make([]string, len(e.Args))
	for i, a := range e.Args {
		args[i] = strconv.Quote(a)
	}
	return e.Name + "(" + strings.Join(args, ", ") + ")"
}

// A Verdict is what the rules say of one recipient's copy.
type Verdict struct {
	Do      Disposition `json:"do"`
	Rule    string      `json:"rule"`  // which rule decided; "" when none did
	Class   string      `json:"class"` // virus spoof malformed attachment spam policy; "" for a plain delivery
	Because string      `json:"because"`
	Score   float64     `json:"score"`
	Reply   *mail.Reply `json:"-"` // what that rule wants said, printable; nil for the default
	Effects []Effect    `json:"effects"`
	File    string      `json:"file,omitempty"` // where the deciding rule stands
	Line    int         `json:"line,omitempty"`
	Place   string      `json:"-"` // the same in short, "20-spoof.yaml:12"; "" when no rule decided
	Steps   []Step      `json:"-"` // every rule looked at and what it said: shared, not to be changed

	Breaker []string `json:"breaker,omitempty"` // rules that matched, but whose breaker is open: they had no say

	Shadow *Alternate `json:"shadow,omitempty"` // what the shadow rules would have had done, when that is something else
	Wants  []string   `json:"-"`                // filters without which a shadow rule cannot be decided

	Trace json.RawMessage `json:"-"` // Steps as JSON, shared as well
}

// Truth is Kleene's third value beside true and false.
type Truth int8

const (
	False Truth = iota
	True
	Unknown
)

func (t Truth) String() string { return [...]string{"false", "true", "unknown"}[t] }

// MarshalText gives the word.
func (t Truth) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads it.
func (t *Truth) UnmarshalText(b []byte) error {
	switch string(b) {
	case "true":
		*t = True
	case "unknown":
		*t = Unknown
	default:
		*t = False
	}
	return nil
}

// A Step is one rule looked at.
type Step struct {
	Rule    string      `json:"rule"`
	Result  Truth       `json:"result"`
	Matched bool        `json:"matched"`
	Shadow  bool        `json:"shadow"`
	Breaker bool        `json:"breaker,omitempty"` // its breaker is open: it has no say
	Do      Disposition `json:"do,omitempty"`      // what it says when it matched
	Score   float64     `json:"score,omitempty"`   // what it added
	Why     string      `json:"why,omitempty"`     // of an unknown: which fact, and whether it failed, timed out or is off
	Leaves  []Leaf      `json:"leaves,omitempty"`  // the sub-expressions
}

// A Leaf is one sub-expression between and, or, not, with its value.
type Leaf struct {
	Text   string `json:"text"`
	Result Truth  `json:"result"`
	Why    string `json:"why,omitempty"` // of an unknown: not needed, or that a filter failed, timed out, is off, was not gathered
}

// NotNeeded is why a sub-expression is unknown without which the rule was decided.
const NotNeeded = "not needed"
