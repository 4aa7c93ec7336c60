// Package gateway carries one SMTP transaction from connect to one reply: it takes the
// message, lets filters gather and rules decide, and then acts: relays to the internal
// server, holds in quarantine, refuses.
package gateway

import (
	"context"
	"errors"
	"io"

	"postern/journal"
	"postern/mail"
	"postern/quarantine"
)

// Upstream is the internal server, or several of them.
type Upstream interface {
	// Route names the server group for a recipient: recipients of one route share a
	// transaction. The domain is one of ours.
	Route(to mail.Address) string
	// Begin opens a transaction (connect or take from the pool, MAIL). Its error is a
	// *mail.Reply when the server refused, else a plain error (then the answer is 451 4.4.1).
	Begin(ctx context.Context, route string, env mail.Envelope) (Delivery, error)
	// Extensions is what all internal servers offer; the minimum while unknown.
	Extensions() mail.Extensions
}

// A Delivery is one transaction with an internal server.
type Delivery interface {
	// Rcpt offers one recipient; its refusal is a *mail.Reply.
	Rcpt(ctx context.Context, to mail.RcptTo) error
	// Send sends the message to those recipients, a subset of what Rcpt accepted. The
	// connection is a cache of the envelope: for a subset, or when it timed out meanwhile,
	// it is opened again. One reply a recipient, in the order of to; an error means that
	// nothing is known to be delivered (451), ErrAmbiguous that it may have been.
	Send(ctx context.Context, to []mail.RcptTo, size int64, src Source) ([]mail.Reply, error)
	// Close gives the connection back or drops it. It may be called at any point, once.
	Close() error
}

// A Source yields a message in blocks, each valid until the next call; io.EOF after the last.
// *mail.Reader is one.
type Source interface{ Next() ([]byte, error) }

// ErrAmbiguous wraps the error of a Send whose end of data went out without an answer: the
// message may have been delivered (RFC 1047).
var ErrAmbiguous = errors.New("the internal server may have taken it")

// Quarantine is where copies are held.
type Quarantine interface {
	Hold(ctx context.Context, it *quarantine.Item, r io.Reader) error // durable when it returns, invisible until Keep
	Keep(ctx context.Context, id string) error
	Drop(ctx context.Context, id string) error
}

// Journal takes one entry a transaction.
type Journal interface {
	Record(ctx context.Context, e *journal.Entry) error
	RecordDurably(ctx context.Context, e *journal.Entry) error // returns when the entry is on disk (discard)
}
