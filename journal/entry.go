// Package journal tells what became of every transaction: one entry each, with the facts,
// the outcome of each recipient and the steps that led there. Store keeps entries in batches
// off the reply's path, to be searched and pruned by age; Tee hands each to the log and the
// metrics as well. Nothing is decided here.
package journal

import (
	"encoding/json"
	"time"

	"postern/mail"
)

// An Entry tells what became of one transaction, whatever its end.
type Entry struct {
	ID        string                     `json:"id"`
	Received  time.Time                  `json:"received"`
	Policy    string                     `json:"policy"` // version of the rules
	Envelope  mail.Envelope              `json:"envelope"`
	Subject   string                     `json:"subject,omitempty"`
	From      string                     `json:"from,omitempty"`
	MessageID string                     `json:"message_id,omitempty"`
	Size      int64                      `json:"size"`
	Result    string                     `json:"result"` // delivered held mixed refused deferred discarded command abandoned
	Reply     mail.Reply                 `json:"-"`      // the last reply to the client
	Outcomes  []Outcome                  `json:"outcomes"`
	Facts     map[string]json.RawMessage `json:"facts,omitempty"` // all that was gathered, by filter; errors in .error
	Filters   []Timing                   `json:"filters,omitempty"`
	Steps     []Step                     `json:"steps,omitempty"` // the timeline
	Took      time.Duration              `json:"took"`            // from MAIL to the reply

	Found []Found `json:"-"` // what Encode makes Facts of
}

// An Outcome is what became of one recipient's copy.
type Outcome struct {
	Recipient mail.Address    `json:"recipient"`
	Do        string          `json:"do"`                // what was done: deliver quarantine reject defer discard command
	Verdict   string          `json:"verdict,omitempty"` // what the rules said, when that differs (a reject that was held instead)
	Rule      string          `json:"rule,omitempty"`
	Class     string          `json:"class,omitempty"`
	Because   string          `json:"because,omitempty"`
	Score     float64         `json:"score"`
	Reply     string          `json:"reply,omitempty"`    // what the client was told about this recipient
	Upstream  string          `json:"upstream,omitempty"` // what the internal server said
	Held      string          `json:"held,omitempty"`     // id in quarantine
	Effects   []string        `json:"effects,omitempty"`
	Breaker   []string        `json:"breaker,omitempty"` // rules that matched, but whose breaker is open
	Place     string          `json:"place,omitempty"`   // of the rule that decided: "20-spoof.yaml:12"
	Shadow    *Shadow         `json:"shadow,omitempty"`  // what shadow rules would have had done, when that is something else
	Rules     json.RawMessage `json:"rules,omitempty"`   // the walk: []rules.Step

	Facts map[string]json.RawMessage `json:"facts,omitempty"` // those that were gathered for this recipient alone, by filter

	walk string // its name, until it is read
}

// A Shadow is what would have become of a copy had the shadow rules been live.
type Shadow struct {
	Do      string   `json:"do"`
	Rule    string   `json:"rule"` // the shadow rule that it is owed to
	Because string   `json:"because,omitempty"`
	Effects []string `json:"effects,omitempty"` // names of those that it adds
}

// A Timing is one filter's part.
type Timing struct {
	Name  string        `json:"name"`
	State string        `json:"state"`
	Began time.Duration `json:"began"` // since MAIL
	Took  time.Duration `json:"took"`
	Error string        `json:"error,omitempty"` // why it failed, or what cancelled it
}

// The states of a Timing.
const (
	Done      = "done"
	Failed    = "failed"
	TimedOut  = "timed out"
	Cancelled = "cancelled"  // "decided": nobody waited for it any more
	NotNeeded = "not needed" // it never ran: the message was decided without it
)

// A Step is one event of the transaction.
type Step struct {
	At   time.Duration `json:"at"` // since MAIL
	What string        `json:"what"`
	Why  string        `json:"why,omitempty"`
}
