// Package filters finds things out about a connection, a sender, a recipient or a
// message. A filter gathers facts and decides nothing; rules decide. Here stand
// what a filter is, the list of all of them, and the scopes in which they run.
package filters

import (
	"context"
	"errors"
	"time"

	"postern/mail"
)

// Fail says what a filter that gave no answer means.
type Fail uint8

const (
	Unknown Fail = iota // what rests on it is unknown; only its error field can be read
	Defer               // no answer means "try later": 451
)

// A Cost is the dearest thing that a filter needs, for who writes rules.
type Cost string

// The costs, the cheapest first.
const (
	Free     Cost = "free"     // what was said
	Header   Cost = "header"   // the header of the message
	Body     Cost = "body"     // all of the message
	Answers  Cost = "DNS"      // answers of others, remembered for a while
	Database Cost = "database" // a look into the data folder
	Scanner  Cost = "scanner"  // another program that reads all of the message
)

// A Filter finds out one thing.
type Filter struct {
	Name    string     // the word rules use: spf.result
	Doc     string     // what it finds out, for the reference
	Cost    Cost       // besides that of what it reads
	Stage   mail.Stage // when its input is there
	After   []string   // filters whose facts it reads: dmarc after spf, dkim
	Facts   any        // zero value of what Gather returns: the vocabulary and its types
	OnFail  Fail
	Lazy    bool          // start when a decision names it, not at its stage: for what costs much (clamav)
	Inline  bool          // pure, waits for nothing but the end of the upload: runs in Start itself when that is there
	Quick   bool          // needs not wait when the answers that it needs are remembered: Start tries that first, see instant
	Said    bool          // only repeats what was said: costs nothing, and Retell gives it again from the envelope
	Later   bool          // of mail.Recipient: may answer ErrLater, and is asked again with the data when a decision names it
	Relayed bool          // judges the client's address: behind a trusted relay it runs at mail.Data, on the address that the relay recorded
	Timeout time.Duration // for Data filters it counts from the end of the upload; 0 means none (pure computation)
	Gather  func(ctx context.Context, in *Input) (facts any, err error)

	// Full: whether so much waits for it that more would run out of time. Then mail that may need
	// it is put off before its data. nil: never.
	Full func() bool

	// Varies, of mail.Recipient: whether the recipients of a message that begins now may have
	// different facts; nil: they may. When they may not, the filter runs once a message, with
	// no Recipient.
	Varies func() bool
}

// Config is what the filters need to know.
type Config struct {
	Resolver Resolver
	SPF      SPFConfig
	DKIM     DKIMConfig
	DMARC    DMARCConfig
	ClamAV   ClamAVConfig // without addresses clamav is off
	Lists    Lists        // nil: there are none
	History  History      // nil: nobody has written before
	Greylist Greylist     // nil: nobody waits
	ClamFail Fail         // what no answer of clamd means; Defer unless configured otherwise
}

// New is THE LIST of filters, those left out that are not configured. Add a filter here.
func New(c Config) []Filter {
	all := []Filter{
		client(), sender(), rcpt(), message(),
		spf(c.SPF, c.Resolver),
		dkim(c.DKIM, c.Resolver),
		dmarc(c.DMARC, c.Resolver),
		content(),
		lists(c.Lists, c.SPF.Trusted),
		history(c.History),
		greylist(c.Greylist),
	}
	if len(c.ClamAV.Addresses) > 0 {
		av := clamav(c.ClamAV)
		av.OnFail = c.ClamFail
		all = append(all, av)
	}
	return all
}

// Catalogue is every filter, also those that are not configured, to be read about.
func Catalogue() []Filter { return New(Config{ClamAV: ClamAVConfig{Addresses: []string{"unix:/"}}}) }

// Vocabulary gives every filter's zero facts by name, also of those that are off.
func Vocabulary() map[string]any {
	words := map[string]any{}
	for _, f := range Catalogue() {
		words[f.Name] = f.Facts
	}
	return words
}

// Input is what a filter may look at: a copy made when it starts. Recipients are those
// accepted so far; Recipient is set from mail.Recipient on in a recipient's scope, Body
// from mail.Data on.
type Input struct {
	mail.Envelope
	Recipient mail.Address
	Body      *mail.Body

	scope *Scope
	after []string
}

// Errors that the scope itself reports.
var (
	ErrNotStarted = errors.New("not started: its stage is still to come")
	ErrOff        = errors.New("not configured")
)

// A PanicError is a filter that panicked; it counts as any other failure.
type PanicError struct {
	Filter string
	Value  any
	Stack  []byte
}
