package review

import (
	"time"

	"postern/lists"
	"postern/mail"
)

// A Verb is what can be done with messages.
type Verb string

// The verbs.
const (
	Release Verb = "release" // send it to its recipients
	Delete  Verb = "delete"
	Spam    Verb = "spam"   // it is spam: recorded; nothing is sent
	Unspam  Verb = "unspam" // it is not: it waits again, and nobody learns from it
	Seen    Verb = "seen"   // looked at
	Unseen  Verb = "unseen" // as if nobody had looked
	Take    Verb = "take"   // the actor has it
	Leave   Verb = "leave"
	Ask     Verb = "ask"     // a user's request for release
	Approve Verb = "approve" // requests
	Deny    Verb = "deny"
)

// Grace is how long an act can be undone when the actor wants that: nothing leaves before.
const Grace = 10 * time.Second

// An Act is what somebody wants done, with some messages or with all that match.
type Act struct {
	Do      Verb           `json:"do"`
	IDs     []string       `json:"ids,omitempty"`
	Find    *Find          `json:"find,omitempty"`    // instead of IDs: everything that matches when it is carried out
	Expect  int            `json:"expect,omitempty"`  // how many the person saw; ErrChanged when there are more
	Also    []string       `json:"also,omitempty"`    // ids of dangerous messages that an act on everything includes all the same
	To      []mail.Address `json:"to,omitempty"`      // release: only these recipients
	Copy    bool           `json:"copy,omitempty"`    // release: also to the actor's own first address
	Reason  string         `json:"reason,omitempty"`  // and the comment of Ask, the answer of Approve and Deny
	Again   bool           `json:"again,omitempty"`   // also what was perhaps delivered before
	Danger  bool           `json:"danger,omitempty"`  // release although the scanner finds something; by permission, and with a reason
	Allow   *Allow         `json:"allow,omitempty"`   // release: and let such mail through from now on
	Undoing bool           `json:"undoing,omitempty"` // wait for Grace, so that it can be undone; else it is carried out before Do returns
}

// Allow is the entry of the lists that goes with a release. It is in force only for mail that
// proves to be from there (DMARC or SPF and DKIM), unless an administrator said otherwise.
type Allow struct {
	Entry string    `json:"entry"` // address, domain or list-id, as lists.ParseEntry reads it
	Scope string    `json:"for"`   // as lists.ParseScope reads it; a user's own addresses only
	Until time.Time `json:"until,omitzero"`
	Note  string    `json:"note,omitempty"`
}

// A Summary says what an act would do, before it is done.
type Summary struct {
	Items     Count    `json:"items"`
	Senders   int      `json:"senders"`
	Rules     int      `json:"rules"`
	Copies    int      `json:"copies"`
	Dangerous []Row    `json:"dangerous,omitempty"` // of the classes virus, malformed and attachment: left out unless Also names them
	Refused   int      `json:"refused"`             // messages with which the actor may not do it
	Reason    bool     `json:"reason"`              // the site wants a reason for it
	Words     []string `json:"words"`               // what will happen, a sentence each

	// Until is up to when mail was received that a Find picks here. Handed back as its until, what
	// came later is left alone.
	Until time.Time `json:"until,omitzero"`
}

// Pending is an act that waits for its grace to end.
type Pending struct {
	ID  string    `json:"id"` // for Undo
	Do  Verb      `json:"do"`
	By  string    `json:"by"`
	Due time.Time `json:"due"`
}

// Done tells what became of an act.
type Done struct {
	ID    string     `json:"id,omitempty"` // for Undo, until Due
	Due   time.Time  `json:"due,omitzero"` // zero: it is carried out
	Count int        `json:"count"`        // messages it was, or will be, done with
	Items []ItemDone `json:"items"`        // each, when it is carried out; the first 500
	Tally Tally      `json:"tally"`        // how many had which result, so far
	State string     `json:"state"`        // waiting running done undone
	Words string     `json:"words"`        // for people: "Released to b@example.org."
}

// A Tally counts results.
type Tally struct {
	Done    int `json:"done"`
	Already int `json:"already,omitempty"`
	Refused int `json:"refused,omitempty"`
	Failed  int `json:"failed,omitempty"`
	Unclear int `json:"unclear,omitempty"`
	Left    int `json:"left,omitempty"`
}

// Results of an ItemDone.
const (
	ResultDone    = "done"
	ResultAlready = "already"
	ResultRefused = "refused"
	ResultFailed  = "failed"
	ResultUnclear = "unclear"
	ResultLeft    = "left"
)

func (t *Tally) add(result string) {
	switch result {
	case ResultDone:
		t.Done++
	case ResultAlready:
		t.Already++
	case ResultRefused:
		t.Refused++
	case ResultUnclear:
		t.Unclear++
	case ResultLeft:
		t.Left++
	default:
		t.Failed++
	}
}

// line is the result of the whole act for the log of acts.
func (t *Tally) line() string {
	switch {
	case t.Failed+t.Unclear > 0 && t.Done == 0:
		return lineFailed
	case t.Done+t.Already == 0 && t.Refused > 0:
		return lineRefused
	}
	return lineDone
}

func (t *Tally) sum() int { return t.Done + t.Already + t.Refused + t.Failed + t.Unclear }

// An ItemDone is what became of one message.
type ItemDone struct {
	ID     string `json:"id"`
	Result string `json:"result"` // done, already, refused (by right), failed, unclear (perhaps delivered), left (an act on everything leaves dangerous mail out)
	Words  string `json:"words"`
}

// Effect is what an entry of the lists would have let in, found by replay over past mail.
type Effect struct {
	Looked int       `json:"looked"`
	In     int       `json:"in"`     // messages that were held or refused and would have been delivered
	Spam   int       `json:"spam"`   // of those: which people called spam
	Rows   []Row     `json:"rows"`   // the newest of them
	Unsure int       `json:"unsure"` // messages that it is about, of which nobody can tell
	Days   int       `json:"days"`
	Since  time.Time `json:"since"`            // how far back mail was looked at
	Cut    bool      `json:"cut,omitempty"`    // there is more mail than could be looked at
	Denied int       `json:"denied,omitempty"` // messages that it is about, but another entry denies
	Why    string    `json:"why,omitempty"`    // why it would change nothing
	// Entry as it would be written.
	Entry lists.Entry `json:"entry"`
}
