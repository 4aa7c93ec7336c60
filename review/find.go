// Package review is the desk at which people look at mail and act on it. Every page, call of the
// API and reply to a digest comes here, and here alone it is asked who may see and do what, and
// each act is noted in the log of acts. Mail is held in quarantine, its story is in journal;
// whoever sends and decides is reached through interfaces.
package review

import (
	"errors"
	"time"

	"postern/mail"
	"postern/quarantine"
)

// Errors that callers tell apart.
var (
	ErrNotFound  = errors.New("there is no such message") // or it is not in the actor's sight: nobody learns which
	ErrForbidden = errors.New("not allowed")
	ErrChanged   = errors.New("it is not as it was any more") // other than Expect said, or somebody was quicker
	ErrTooLate   = errors.New("too late to undo")
)

// A Find picks messages, for a list or for an act on all that match.
type Find struct {
	Query     string    `json:"query,omitempty"` // plain words, or an expression in the language of the rules over the stored columns
	View      string    `json:"view,omitempty"`  // "" (what waits), mine, unseen, asked, expiring, released, spam, deleted, all
	State     string    `json:"state,omitempty"` // of held mail, in the words of package quarantine; narrows the view "all"
	Class     string    `json:"class,omitempty"`
	Rule      string    `json:"rule,omitempty"`
	Recipient string    `json:"recipient,omitempty"`
	Sender    string    `json:"sender,omitempty"`
	Result    string    `json:"result,omitempty"` // of the journal: delivered held mixed refused deferred discarded command abandoned
	Since     time.Time `json:"since,omitzero"`
	Until     time.Time `json:"until,omitzero"`
	Limit     int       `json:"limit,omitempty"` // 0: 50; at most 500
	Cursor    string    `json:"cursor,omitempty"`
}

// A Row is one message in a list. Of held mail it has every field of quarantine.Item, in the same
// words: programs read both alike.
type Row struct {
	ID          string            `json:"id"`
	Received    time.Time         `json:"received"`
	State       quarantine.State  `json:"state,omitempty"`  // of held mail
	Result      string            `json:"result,omitempty"` // of the journal
	FromName    string            `json:"from_name"`        // as the From field shows it
	FromAddress string            `json:"from_address"`
	From        string            `json:"from"`     // the same as one text
	Envelope    mail.Envelope     `json:"envelope"` // with the recipients in the actor's sight
	Sender      string            `json:"sender"`   // of the envelope; "" is the null sender
	Mismatch    bool              `json:"mismatch"`
	Subject     string            `json:"subject"`
	Copies      []quarantine.Copy `json:"copies"` // those in the actor's sight
	Class       string            `json:"class"`
	Rule        string            `json:"rule"`
	Because     string            `json:"because"`
	Score       float64           `json:"score"`
	Size        int64             `json:"size"`
	Attachments []string          `json:"attachments,omitempty"` // types as declared
	Auth        Auth              `json:"auth"`
	Expires     time.Time         `json:"expires,omitzero"`
	SHA256      string            `json:"sha256,omitempty"` // of the bytes as received, hex
	Policy      string            `json:"policy"`           // version of the rules
	Changed     time.Time         `json:"changed,omitzero"`
	By          string            `json:"by,omitempty"` // who released or deleted it
	Note        string            `json:"note,omitempty"`
	Seen        *Mark             `json:"seen,omitempty"`
	Assigned    string            `json:"assigned,omitempty"` // who has it
	Asked       *Request          `json:"asked,omitempty"`
	Pending     *Pending          `json:"pending,omitempty"` // an act that can still be undone
	May         []Verb            `json:"may"`               // what the actor may do with it now
	Reasons     []Verb            `json:"reasons,omitempty"` // of those, for which the site wants a reason
}

// Auth is what was found out about the sender, in the words of RFC 8601; "" when nobody asked.
type Auth struct {
	SPF   string `json:"spf,omitempty"`
	DKIM  string `json:"dkim,omitempty"`
	DMARC string `json:"dmarc,omitempty"`
}

// A Mark is who did something, and when.
type Mark struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// A Request is a user's wish that a message be released.
type Request struct {
	By      string    `json:"by"`
	At      time.Time `json:"at"`
	For     string    `json:"for"` // recipient
	Comment string    `json:"comment,omitempty"`
	State   string    `json:"state"` // asked approved denied
	Answer  string    `json:"answer,omitempty"`
	Decided *Mark     `json:"decided,omitempty"`
}

// A Page is part of a list.
type Page struct {
	Rows  []Row  `json:"rows"`
	Next  string `json:"next,omitempty"` // cursor; "" at the end
	Total Count  `json:"total"`
	Chips []Chip `json:"chips,omitempty"` // on the first page
}

// A Count may have an upper end, where counting on would take too long.
type Count struct {
	N    int  `json:"n"`
	More bool `json:"more,omitempty"` // there are more than N
}

// A Chip narrows a list, and says beforehand how many would be left.
type Chip struct {
	Name  string `json:"name"`  // class:spam, view:expiring, …
	Label string `json:"label"` // for people
	On    bool   `json:"on"`
	Count Count  `json:"count"`
}

// A View is a Find that somebody gave a name to.
type View struct {
	Name string `json:"name"`
	Find Find   `json:"find"`
	Site bool   `json:"site,omitempty"` // one that everybody has
}
