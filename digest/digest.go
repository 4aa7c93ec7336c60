// Package digest writes to people what is held for them: once, when they want it, in a mail in
// which nothing is alive. They release by answering it, with a mail to an address that is signed
// for one copy of one message; opening a link shows, and never acts.
package digest

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"time"

	"postern/audit"
	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/review"
	"postern/store"
)

// Held is the quarantine, as far as digests look into it.
type Held interface {
	Get(ctx context.Context, id string) (*quarantine.Item, error)
	List(ctx context.Context, q quarantine.Query) ([]*quarantine.Item, string, error)
	Addressees(ctx context.Context, received, changed time.Time) ([]mail.Address, error)
}

// A Desk acts for people; *review.Desk is it.
type Desk interface {
	Do(ctx context.Context, who *people.Actor, a review.Act) (*review.Done, error)
	Untold(ctx context.Context, most int) ([]review.Answered, error) // answers to requests, which those who asked do not know
	Told(ctx context.Context, n int64) error
}

// People knows whose an address is.
type People interface {
	// Owner is who gets the mail to an address, acting by mail with the rights of a user. Whom
	// nobody has entered owns that one address.
	Owner(ctx context.Context, to mail.Address, from netip.Addr) (*people.Actor, error)
}

// A Mailer sends a letter to somebody inside; it says who it is from. An error that wraps
// ErrRefused says that the internal server will never take it.
type Mailer interface {
	Post(ctx context.Context, l *mail.Letter) error
}

// ErrRefused is said by a Mailer: there is no use in trying again.
var ErrRefused = errors.New("the internal server refused it")

// Audit is the log of acts; *audit.Log is it.
type Audit interface {
	NoteWith(ctx context.Context, l audit.Line, do func(*store.Tx) error) error
	Refuse(ctx context.Context, l audit.Line) error
}

// Options of Open. What may be nil or empty says so.
type Options struct {
	DB      *store.DB // stays the caller's to close
	Held    Held
	Desk    Desk
	People  People
	Mailer  Mailer
	Audit   Audit          // nil: acts are not noted
	Domains mail.DomainSet // no digest goes elsewhere

	Default  Every          // what holds for who has not said
	At       time.Duration  // after midnight, of daily and weekly digests
	Zone     *time.Location // nil: local time
	MaxItems int            // shown in one digest; 0: 50
	Origin   string         // of the pages, for links; "": there are none
	Host     string         // as the gateway calls itself

	Key         *Key   // nil: nobody releases by mail
	ReplyDomain string // whose mail comes to us

	// Known tells whether the message is proven to be from somebody who wrote to this person
	// before; nil: nobody is known.
	Known func(ctx context.Context, it *quarantine.Item, to mail.Address) bool

	Counted func(what, result string) // for metrics; nil: nothing is counted
	Clock   func() time.Time          // nil: time.Now
	Log     *slog.Logger              // nil: none
}

// Digests are sent by Run, or one by one. All methods may be called from any goroutine.
type Digests struct {
	o         Options
	confirmed confirmed
}

//go:embed schema
var schema embed.FS

// Open brings the tables up to date. There is nothing to close.
func Open(ctx context.Context, o Options) (*Digests, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Zone == nil {
		o.Zone = time.Local
	}
	if o.MaxItems <= 0 {
		o.MaxItems = 50
	}
	if o.Default == "" {
		o.Default = Off
	}
	if o.Counted == nil {
		o.Counted = func(string, string) {}
	}
	steps, err := fs.Sub(schema, "schema")
	if err != nil {
		return nil, err
	}
	if err := o.DB.Migrate(ctx, "digest", steps); err != nil {
		return nil, fmt.Errorf("digests: %w", err)
	}
	return &Digests{o: o}, nil
}

func (d *Digests) now() time.Time { return d.o.Clock().UTC().Truncate(time.Microsecond) }
