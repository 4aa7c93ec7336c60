package gateway

import (
	"errors"
	"io"

	"github.com/emersion/go-smtp"

	"postern/mail"
)

// A talk is one client's connection as the flow sees it: *conversation.
type talk interface {
	// hello tells what EHLO or HELO said; again after STARTTLS.
	hello(helo string, esmtp bool, tls string)
	// begin opens a transaction at MAIL; a reply that is not nil refuses it.
	begin(from mail.Address, o mail.Options) (deal, *mail.Reply)
	// end is called once, when the connection is over and its transaction too.
	end(cause error)
}

// A deal is one message's transaction as the session sees it: *transaction.
type deal interface {
	// rcpt answers one recipient; nil stands for 250 2.1.5.
	rcpt(to mail.RcptTo) *mail.Reply
	// ready is asked before 354; nil means go on.
	ready() *mail.Reply
	// data takes the message and gives the final reply. The transaction is over then.
	data(u upload) *mail.Reply
	// abandon ends a transaction that got no final reply. It may be called again.
	abandon(cause error)
}

// More reasons why a transaction was abandoned.
var (
	errReset  = errors.New("client reset the transaction")
	errQuit   = errors.New("client quit")
	errPanic  = errors.New("internal error")
	errHungUp = errors.New("server hung up")
)

// backend and session are go-smtp's way to us. What was said is taken from the adapter,
// which has parsed it strictly, and so is what will be answered: go-smtp keeps the order
// of commands, and only whether a call failed matters to it.
type backend struct{}

func (backend) NewSession(c *smtp.Conn) (smtp.Session, error) {
	a, ok := c.Conn().(*adapter)
	if !ok {
		return nil, errors.New("not a connection of this server")
	}
	return session{a}, nil
}

type session struct{ a *adapter }

// refused stands for a reply that the adapter knows.
var refused = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Try again later"}

func (s session) Mail(string, *smtp.MailOptions) error {
	a := s.a
	tx, reply := a.talk.begin(a.from, a.opts)
	if reply != nil && !reply.OK() {
		a.answer = reply
		a.logRefusal("MAIL FROM:<"+a.from.String()+">", replyLine(reply))
		return refused
	}
	a.tx, a.tried, a.accepted = tx, 0, 0
	return nil
}

func (s session) Rcpt(string, *smtp.RcptOptions) error {
	a := s.a
	a.tried++
	reply := a.tx.rcpt(a.to)
	a.answer = reply
	if reply != nil && !reply.OK() {
		return refused
	}
	a.accepted++
	return nil
}

func (s session) Data(io.Reader) error {
	a := s.a
	a.openBody()
	reply := a.tx.data(a.body)
	a.tx = nil
	a.answer = reply
	if reply == nil || !reply.OK() {
		return refused
	}
	return nil
}

// Reset comes at RSET and EHLO, and after DATA, where something is left to abandon only
// when the transaction panicked.
func (s session) Reset() {
	cause := errReset
	if s.a.body != nil {
		cause = errPanic
	}
	s.a.abandon(cause)
}

// Logout comes when go-smtp closes the connection, also after a panic.
func (s session) Logout() error {
	s.a.end()
	return nil
}
