// Package quarantine keeps messages until people have looked at them: each as a file with
// the bytes as received, beside a row that tells why it is held and for whom. Store has the
// order of writes that makes a Hold durable, what a crash leaves behind is put right by
// Sweep, age and room are watched by Expire. Nobody is asked here and nothing is sent.
package quarantine

import (
	"time"

	"postern/mail"
)

// A State is where a held message stands.
type State string

const (
	Held      State = "held"      // written, not yet answered for: invisible
	Kept      State = "kept"      // in quarantine
	Spam      State = "spam"      // a person said it is spam: still there, but waits for nobody
	Releasing State = "releasing" // being sent; after a crash: perhaps delivered
	Released  State = "released"
	Deleted   State = "deleted" // by a person; the message is gone, the row stays until retention
)

// A Copy is one recipient's held copy and why it is held.
type Copy struct {
	Recipient mail.RcptTo `json:"recipient"`
	Class     string      `json:"class"` // virus spoof malformed attachment spam policy undelivered
	Rule      string      `json:"rule"`
	Because   string      `json:"because"`
	Score     float64     `json:"score"`
	State     State       `json:"state"` // each copy goes its own way; set by the store
	Changed   time.Time   `json:"changed"`
	By        string      `json:"by,omitempty"` // who released or deleted it
	Note      string      `json:"note,omitempty"`
}

// An Item is one held message: the bytes as received, for one or more recipients. Its state
// is that of its copies: releasing when one is, else kept when one is, else spam, else released
// when one is, else deleted.
type Item struct {
	ID        string        `json:"id"` // the transaction's id, with -2, -3 … when it holds several groups
	Received  time.Time     `json:"received"`
	State     State         `json:"state"` // Kept given to Hold makes the item visible at once
	Envelope  mail.Envelope `json:"envelope"`
	Copies    []Copy        `json:"copies"`
	Subject   string        `json:"subject"`
	From      string        `json:"from"` // the From field as shown to people: name and address
	MessageID string        `json:"message_id,omitempty"`
	Size      int64         `json:"size"`
	SHA256    string        `json:"sha256"` // of the bytes as received, hex
	Policy    string        `json:"policy"` // version of the rules that held it
	Changed   time.Time     `json:"changed"`
	Expires   time.Time     `json:"expires"`
	By        string        `json:"by,omitempty"` // who released or deleted it
	Note      string        `json:"note,omitempty"`

	seq int64 // its place in the order of receipt
}
