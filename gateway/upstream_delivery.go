package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"postern/mail"
)

// A delivery is one transaction. Its connection is a cache of the envelope, not the
// truth: when it was lost, or stands for other recipients than are to be sent to, the
// envelope is said again.
type delivery struct {
	group   *serverGroup
	env     mail.Envelope
	link    *link         // nil when there is none
	parked  *serverHost   // where others may take link over, between two calls
	refused *mail.Reply   // to MAIL: it holds for all recipients
	open    bool          // MAIL was accepted on link
	have    []mail.RcptTo // accepted on link
	chunk   bool          // what comes is to be sent by BDAT, not after 354
}

// Rcpt offers one recipient, the first one together with MAIL.
func (d *delivery) Rcpt(ctx context.Context, to mail.RcptTo) error {
	if d.refused != nil {
		return d.refused
	}
	d.resume()
	defer d.pause()
	refusal, err := d.rcpt(ctx, to, false)
	if d.again(ctx, err) {
		refusal, err = d.rcpt(ctx, to, true)
	}
	switch {
	case err != nil:
		return err
	case refusal != nil:
		return refusal
	}
	d.have = append(d.have, to)
	return nil
}

func (d *delivery) rcpt(ctx context.Context, to mail.RcptTo, fresh bool) (*mail.Reply, error) {
	if err := d.connect(ctx, fresh); err != nil {
		return nil, err
	}
	if r := d.link.lacksFor(&to); r != nil {
		return r, nil
	}
	var cmds []command
	if !d.open {
		cmds = d.link.begin(&d.env, d.env.Options.Size)
	}
	cmds = append(cmds, command{line: d.link.rcptLine(&to), want: 250})
	answers, err := d.say(ctx, cmds)
	if err != nil {
		return nil, err
	}
	for i, a := range answers {
		if cmds[i].must && a.code >= 400 {
			d.refused = a.reply()
			return d.refused, nil
		}
	}
	d.open = true
	if a := answers[len(answers)-1]; a.code >= 400 {
		return a.reply(), nil
	}
	return nil, nil
}

// pause lets others have the connection while the client is heard; resume ends that.
func (d *delivery) pause() {
	if d.link != nil && !d.link.broken {
		d.parked = d.link.host
		d.parked.park(d)
	}
}

func (d *delivery) resume() {
	if d.parked != nil && !d.parked.claim(d) {
		d.link, d.open, d.have = nil, false, nil
	}
	d.parked = nil
}

// connect makes sure that there is a connection that knows what the envelope needs; a
// fresh one after one that looked good was not.
func (d *delivery) connect(ctx context.Context, fresh bool) error {
	if d.link != nil {
		return nil
	}
	l, err := d.group.connection(ctx, d.group.cfg.Forward.guest(d.env.Client), fresh)
	if err != nil {
		return err
	}
	if r := l.lacks(&d.env); r != nil {
		l.host.put(l)
		return r
	}
	d.link = l
	return nil
}

// say passes commands on; an error leaves no connection.
func (d *delivery) say(ctx context.Context, cmds []command) ([]answer, error) {
	l := d.link
	answers, err := l.say(ctx, cmds)
	if err != nil {
		d.drop()
		if timedOut(err) { // silent is as bad as not there: the next one is tried first
			l.host.setDown(err)
		}
		return nil, &serverError{l.host.addr, err, l.used}
	}
	l.host.answered()
	l.used, l.dirty = true, true
	if err := d.told(l, cmds, answers); err != nil {
		d.drop()
		return nil, &serverError{l.host.addr, err, true}
	}
	return answers, nil
}

// told looks what became of XFORWARD. Where it was taken before and now is not, the server
// would take the client of an earlier message for that of this one: a new connection has to be.
func (d *delivery) told(l *link, cmds []command, answers []answer) error {
	for i, a := range answers {
		switch {
		case !strings.HasPrefix(cmds[i].line, "XFORWARD"):
		case a.code < 400:
			l.told = true
		case l.host.noIPv6(d.env.Client.Addr), l.told:
			return fmt.Errorf("%w: XFORWARD: %v", errLinkDied, a.reply())
		default:
			l.xforward = nil // not again on this connection
			d.group.servers.log.Warn("internal server refuses XFORWARD", "address", l.host.addr, "reply", a.reply().String())
		}
	}
	return nil
}

// timedOut reports whether we waited in vain: not for a client of ours that went.
func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// drop closes the connection.
func (d *delivery) drop() {
	if d.link != nil {
		d.link.close()
	}
	d.link, d.open, d.have = nil, false, nil
}

// again reports whether err is that of a connection that was good before and was
// closed meanwhile: then a new one is worth one try.
func (d *delivery) again(ctx context.Context, err error) bool {
	var s *serverError
	return errors.As(err, &s) && s.used && errors.Is(err, errLinkDied) && ctx.Err() == nil
}

// A serverError says which server failed.
type serverError struct {
	addr string
	err  error
	used bool // on a connection that had worked before
}

func (e *serverError) Error() string { return "internal server " + e.addr + ": " + e.err.Error() }
func (e *serverError) Unwrap() error { return e.err }

// Send sends the message. When the envelope has to be said again for it and the server
// now refuses one of to, no content is sent at all: the replies are then that refusal
// for its recipient and a temporary one for those it would have taken. So a whole
// success is only when all replies are 2xx, and then all of them are the same.
func (d *delivery) Send(ctx context.Context, to []mail.RcptTo, size int64, src Source) ([]mail.Reply, error) {
	if len(to) == 0 {
		return nil, errors.New("no recipient to send to")
	}
	if d.refused != nil {
		return sameReply(d.refused, len(to)), nil
	}
	d.resume()
	refusals, err := d.ready(ctx, to, size, false)
	if d.again(ctx, err) {
		refusals, err = d.ready(ctx, to, size, true)
	}
	if err != nil || refusals != nil {
		return refusals, err
	}
	l := d.link
	a, err := d.transmit(ctx, src)
	if unsent := (*chunkError)(nil); errors.As(err, &unsent) {
		d.whole(ctx, err)
		src = unsent.message
		if refusals, err = d.ready(ctx, to, size, false); err != nil || refusals != nil {
			return refusals, err
		}
		l = d.link
		a, err = d.transmit(ctx, src)
	}
	d.open, d.have = false, nil
	if err != nil {
		d.drop()
		return nil, &serverError{l.host.addr, err, true}
	}
	return sameReply(a.reply(), len(to)), nil
}

func (d *delivery) transmit(ctx context.Context, src Source) (answer, error) {
	if d.chunk {
		return d.link.chunk(ctx, src)
	}
	return d.link.data(ctx, src)
}

// whole sees to it that a host gets no chunks any more, and closes the connection. When our time
// was over, the host is not to blame.
func (d *delivery) whole(ctx context.Context, err error) {
	h := d.link.host
	if ctx.Err() == nil && !h.whole.Swap(true) {
		d.group.servers.log.Warn("internal server offers CHUNKING, but does not take BDAT: it gets DATA from now on", "address", h.addr, "error", err)
	}
	d.drop()
}

// stands reports whether the server has taken the envelope for these recipients already.
func (d *delivery) stands(to []mail.RcptTo) bool {
	return d.link != nil && d.open && slices.Equal(d.have, to)
}

// chunks reports whether the message can be sent as one chunk at once: with the envelope unsaid
// there is an exchange to wait for anyway.
func (d *delivery) chunks(to []mail.RcptTo, size int64) bool {
	return d.link != nil && d.link.host.group.cfg.Chunking && size > 0 && size <= int64(maxChunk) && d.stands(to) && d.link.chunking && !d.link.host.whole.Load()
}

// still reports whether the server has said nothing since it took the envelope; else the
// connection is dropped.
func (d *delivery) still() bool {
	if d.link.quiet() {
		return true
	}
	d.drop()
	return false
}

// ready brings the connection to the 354 for these recipients, or returns their refusals. When
// the envelope stands and the server takes chunks, a small message needs no 354.
func (d *delivery) ready(ctx context.Context, to []mail.RcptTo, size int64, fresh bool) ([]mail.Reply, error) {
	if d.chunk = d.chunks(to, size) && d.still(); d.chunk {
		return nil, nil
	}
	if err := d.connect(ctx, fresh); err != nil {
		if r, ok := err.(*mail.Reply); ok {
			return sameReply(r, len(to)), nil
		}
		return nil, err
	}
	var cmds []command
	if !d.stands(to) {
		cmds = d.link.begin(&d.env, size)
		for i := range to {
			if r := d.link.lacksFor(&to[i]); r != nil {
				return refusedOne(to, i, r), nil
			}
			cmds = append(cmds, command{line: d.link.rcptLine(&to[i]), want: 250, must: true})
		}
	}
	first := len(cmds) - len(to) // index of the first RCPT, when there is one
	cmds = append(cmds, command{line: "DATA", want: 354, must: true})
	answers, err := d.say(ctx, cmds)
	if err != nil {
		return nil, err
	}
	return d.refusals(to, cmds, answers, first), nil
}

// refusals reads the answers to a whole envelope; nil means go on.
func (d *delivery) refusals(to []mail.RcptTo, cmds []command, answers []answer, first int) []mail.Reply {
	last := answers[len(answers)-1]
	began := len(answers) == len(cmds) && last.code == 354
	var replies []mail.Reply
	for i, a := range answers {
		if a.code < 400 || !cmds[i].must {
			continue
		}
		if i < first || i == len(cmds)-1 { // RSET, MAIL, DATA: all of them
			if replies == nil {
				replies = sameReply(a.reply(), len(to))
			}
			break
		}
		if replies == nil {
			replies = notSent(len(to))
		}
		replies[i-first] = *a.reply()
	}
	if replies != nil {
		d.open, d.have = false, nil
		if began { // it waits for content that must not come
			d.drop()
		}
	}
	return replies
}

func sameReply(r *mail.Reply, n int) []mail.Reply { return slices.Repeat([]mail.Reply{*r}, n) }

// notSent is for recipients that the server would have taken while it refused another.
func notSent(n int) []mail.Reply {
	return sameReply(replyNotSent, n)
}

func refusedOne(to []mail.RcptTo, i int, r *mail.Reply) []mail.Reply {
	replies := notSent(len(to))
	replies[i] = *r
	return replies
}

// Close gives the connection back, or closes it when it is in an unknown state.
func (d *delivery) Close() error {
	d.resume()
	if d.link != nil {
		d.link.host.put(d.link)
		d.link = nil
	}
	return nil
}
