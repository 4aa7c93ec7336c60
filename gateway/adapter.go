package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"postern/mail"
)

// An adapter is the net.Conn that go-smtp sees. It works in lockstep: one Read gives one
// command line that has passed our own checks, and what is written before the next Read is
// go-smtp's answer to it, of which only the code is used; the words to the client are ours.
// go-smtp gets no byte of a body, and of an address only that there is one.
type adapter struct {
	w      *wire
	front  *front
	client mail.Client
	talk   talk
	cancel context.CancelCauseFunc // of everything done for this connection
	done   func()                  // frees the connection's place
	secure bool                    // it has to use TLS
	assume func(*adapter) bool     // makes the client of XCLIENT that of the connection; nil: it may not be said

	verb   string      // the command under way
	line   []byte      // go-smtp's version of it
	give   []byte      // what go-smtp has still to read of that
	code   int         // what go-smtp answered
	answer *mail.Reply // what the flow answered

	claimed claim // by XCLIENT
	greeted bool
	ext     offered
	limit   int64 // of a message, in bytes, as offered; 0 for none

	from     mail.Address // the MAIL and RCPT under way
	opts     mail.Options
	to       mail.RcptTo
	tx       deal // nil outside of a transaction
	tried    int  // recipients
	accepted int

	chunks  *chunks // of a message that comes by BDAT
	pending string  // a command that ended such a message
	body    *body   // from 354 to the final reply
	ended   bool
	shut    bool
}

// Read gives go-smtp its next line. The only error it ever sees is io.EOF.
func (a *adapter) Read(p []byte) (n int, err error) {
	defer func() {
		if cause := recover(); cause != nil { // in the flow, called from here
			a.front.panicked(cause)
			a.crash()
			n, err = 0, io.EOF
		}
	}()
	if len(a.give) == 0 {
		if err := a.next(); err != nil {
			return 0, err
		}
	}
	n = copy(p, a.give)
	a.give = a.give[n:]
	return n, nil
}

// crash says that we are at fault and ends the connection.
func (a *adapter) crash() {
	a.w.expel("421 4.3.0 "+a.w.host+" Internal error, try again later", errPanic)
	_ = a.w.flush()
}

// Write takes go-smtp's answer: all that counts is its code.
func (a *adapter) Write(p []byte) (int, error) {
	if len(p) > 3 {
		if code, err := strconv.Atoi(string(p[:3])); err == nil {
			a.code = code
		}
	}
	return len(p), nil
}

// openBody says 354, whenever the flow will read, and makes the body readable.
func (a *adapter) openBody() {
	a.code = 0
	if a.chunks == nil {
		a.w.say("354 End data with <CR><LF>.<CR><LF>")
		_ = a.w.flush()
	}
	a.body = a.newBody()
	a.body.chunks, a.chunks = a.chunks, nil
}

func (a *adapter) newBody() *body {
	return a.w.newBody(a.limit, a.front.cfg.BareNewline == "normalize")
}

// settle says the reply to the last command, once go-smtp has answered it.
func (a *adapter) settle() {
	code, r := a.code, a.answer
	a.code, a.answer = 0, nil
	if c := a.chunks; c != nil { // nobody took it: it must not be taken for commands
		a.chunks = nil
		c.skip()
	}
	if code == 0 {
		return
	}
	switch {
	case code == 421: // go-smtp recovered from a panic
		a.crash()
	case a.body != nil:
		if c := a.body.chunks; c == nil || !c.over {
			a.reply(a.verdict(r))
		}
		a.body = nil
		_ = a.w.flush() // nothing that comes next may hold this reply back
	case r != nil:
		a.reply(r)
	case a.verb == "" || a.verb == "XCLIENT":
		a.w.say("220 " + a.w.host + " ESMTP")
	case a.verb == "EHLO" || a.verb == "HELO":
		a.hello(code)
	case a.verb == "STARTTLS": // go-smtp was told to reset
	case code == 502:
		a.w.refuse("503 5.5.1 Bad sequence of commands")
	case code/100 != 2:
		a.reply(nil)
	case a.verb == "MAIL":
		a.w.say("250 2.1.0 Sender ok")
	case a.verb == "RCPT":
		a.w.say("250 2.1.5 Recipient ok")
	default:
		a.w.say("250 2.0.0 Ok")
	}
}

// verdict is the final reply to a body. The flow knows how an upload ended; but it must
// not be possible to say 250 to a message that did not come whole and clean.
func (a *adapter) verdict(r *mail.Reply) *mail.Reply {
	b := a.body
	bareCR, bareLF, _ := b.Flaws()
	switch {
	case r == nil || !r.OK():
		return r
	case b.over():
		return &mail.Reply{Code: 552, Enhanced: [3]int{5, 3, 4}, Text: "Message exceeds the size limit"}
	case errors.Is(b.err, errUploadBroken):
		return &mail.Reply{Code: 451, Enhanced: [3]int{4, 4, 2}, Text: "Message did not arrive whole"}
	case !b.ended || b.err == nil:
		return nil
	case bareCR || bareLF:
		return &mail.Reply{Code: 550, Enhanced: [3]int{5, 5, 2}, Text: "Message has a CR or LF by itself"}
	}
	a.w.faults, a.w.idling = 0, 0
	return r
}

// reply says a reply of the flow on one line; nil stands for "not our best day".
func (a *adapter) reply(r *mail.Reply) {
	if r == nil {
		r = &mail.Reply{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: "Try again later"}
	}
	a.w.say(replyLine(r))
	switch {
	case r.Code == 421: // RFC 5321 3.8: it closes the channel
		a.w.die(errHungUp)
	case r.Code/100 == 5:
		a.w.fault()
	}
}

// maxReply is a reply line's length without CRLF (RFC 5321 4.5.3.1.5).
const maxReply = 510

// replyLine gives r as one line of printable ASCII.
func replyLine(r *mail.Reply) string {
	code := r.Code
	if code < 200 || code > 599 {
		code = 451
	}
	s := (&mail.Reply{Code: code, Enhanced: r.Enhanced}).String()
	return s + mail.Printable(r.Text, maxReply-len(s))
}

// next puts up the next line for go-smtp.
func (a *adapter) next() error {
	if a.shut {
		return io.EOF
	}
	if a.body != nil && a.code == 0 {
		// go-smtp reads the body that the session has taken: it gets an empty one.
		// The rest of the real one goes first, when the session did not want it.
		a.body.drain()
		a.put(".")
		return nil
	}
	a.settle()
	if line := a.pending; line != "" {
		a.pending = ""
		if a.command([]byte(line)) {
			return nil
		}
	}
	for {
		line, ok, err := a.w.line()
		if err != nil {
			_ = a.w.flush()
			return io.EOF
		}
		if ok && a.command(line) {
			return nil
		}
	}
}

func (a *adapter) abandon(cause error) {
	if tx := a.tx; tx != nil {
		a.tx = nil
		tx.abandon(cause)
	}
}

// end ends what the flow does for this connection, once.
func (a *adapter) end() {
	if a.ended {
		return
	}
	a.ended = true
	cause := a.w.die(errPanic) // go-smtp hangs up by itself for no other reason
	defer a.cancel(cause)
	defer a.guard(func() { a.talk.end(cause) })
	a.guard(func() { a.abandon(cause) })
}

// guard keeps a panic of the flow from ending the program.
func (a *adapter) guard(f func()) {
	defer func() {
		if cause := recover(); cause != nil {
			a.front.panicked(cause)
		}
	}()
	f()
}

// Close is called by go-smtp only, on the connection's goroutine, when it has read io.EOF
// or recovered from a panic.
func (a *adapter) Close() error {
	if a.shut {
		return nil
	}
	a.shut = true
	a.settle()
	_ = a.w.flush()
	a.end()
	a.w.hangup()
	a.done()
	return nil
}

func (a *adapter) LocalAddr() net.Addr              { return a.w.raw.LocalAddr() }
func (a *adapter) RemoteAddr() net.Addr             { return a.w.raw.RemoteAddr() }
func (a *adapter) SetDeadline(time.Time) error      { return nil } // deadlines are the wire's
func (a *adapter) SetReadDeadline(time.Time) error  { return nil }
func (a *adapter) SetWriteDeadline(time.Time) error { return nil }
