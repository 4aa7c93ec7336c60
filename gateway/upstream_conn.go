package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"postern/mail"
)

// A link is one connection to an internal server, for one goroutine at a time. It
// answers nothing itself: each method says what the server said, or an error after
// which the link is broken and can only be closed.
type link struct {
	host     *serverHost
	sock     net.Conn        // the socket
	raw      syscall.RawConn // the same, to look at what has arrived
	peek     func(uintptr)   // look
	peeked   [1]byte
	there    bool     // what look has found
	conn     net.Conn // the socket, or TLS over it
	r        *bufio.Reader
	out      []byte    // commands on their way
	until    time.Time // when what is being done must be over; zero: no such time
	ext      mail.Extensions
	size     bool     // SIZE is offered, perhaps without a limit
	chunking bool     // BDAT is offered
	proven   bool     // and was answered on this connection
	xforward []string // attributes of XFORWARD that are offered
	xclient  []string // attributes of XCLIENT that were offered before it was said
	guest    guest    // the client that it is for; zero: for any
	told     bool     // XFORWARD was taken on it
	name     string   // as it calls itself
	tls      string   // version and cipher; "" in clear
	since    time.Time
	used     bool // a transaction was begun on it: a server may have closed it meanwhile
	dirty    bool // MAIL was said since the last end of a transaction
	broken   bool
	closed   bool
}

// errLinkDied is wrapped when the connection was closed, with or without 421: another
// one may do.
var errLinkDied = errors.New("connection closed")

func (l *link) times() *ServerTimeouts { return &l.host.group.cfg.Timeouts }

// guard ends what is done on the socket when ctx ends; the function returned stops that.
func (l *link) guard(ctx context.Context) func() {
	l.until, _ = ctx.Deadline()
	ctx = cancelled(ctx)
	stop := func() bool { return true }
	if t, ok := ctx.(*tether); ok {
		stop = t.onEnd(l.shut)
	} else if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, l.shut)
	}
	return func() {
		if !stop() {
			l.broken = true
		}
	}
}

func (l *link) shut() { l.sock.Close() }

// fail breaks the link and says why: that ctx ended, rather than that the socket was
// closed for it.
func (l *link) fail(ctx context.Context, doing string, err error) error {
	l.broken = true
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case died(err):
		err = fmt.Errorf("%w: %w", errLinkDied, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func died(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// flush writes l.out.
func (l *link) flush() error {
	return l.block(l.out)
}

// deadline is limit from now, or when what guard was given ends before.
func (l *link) deadline(limit time.Duration) time.Time {
	at := time.Now().Add(limit)
	if !l.until.IsZero() && l.until.Before(at) {
		return l.until
	}
	return at
}

// read waits for one reply.
func (l *link) read(limit time.Duration) (answer, error) {
	if err := l.conn.SetReadDeadline(l.deadline(limit)); err != nil {
		return answer{}, err
	}
	a, err := readAnswer(l.r)
	if err == nil && a.code == 421 { // RFC 5321 3.8: it closes
		l.broken = true
	}
	return a, err
}

// A command is one line without its CRLF. A group of commands ends early when a must
// command was refused, as far as the rest has not been written.
type command struct {
	line string
	want int // the positive reply: 354, or 250 for all of 25x
	must bool
}

// maxPipelined bounds the commands written before their replies are read, so that
// neither side can fill the other's buffers (RFC 2920 3.1).
const maxPipelined = 100

// say writes commands, all at once where the server takes that, and reads their
// replies, each of them as wanted or a refusal (4xx, 5xx). Fewer replies than commands
// come back when a must command was refused.
func (l *link) say(ctx context.Context, cmds []command) ([]answer, error) {
	defer l.guard(ctx)()
	step := 1
	if l.ext.Pipelining {
		step = maxPipelined
	}
	answers := make([]answer, 0, len(cmds))
	for len(cmds) > 0 {
		group := cmds[:min(step, len(cmds))]
		cmds = cmds[len(group):]
		l.out = l.out[:0]
		for _, c := range group {
			if strings.ContainsAny(c.line, "\r\n\x00") {
				return nil, fmt.Errorf("%q cannot be said", mail.Printable(c.line, 100))
			}
			l.out = append(append(l.out, c.line...), "\r\n"...)
		}
		if err := l.flush(); err != nil {
			return nil, l.fail(ctx, verbOf(group[0]), err)
		}
		stop := false
		for _, c := range group {
			a, err := l.read(l.times().Reply)
			if err == nil {
				err = c.judge(a)
			}
			if err != nil {
				return nil, l.fail(ctx, verbOf(c), err)
			}
			answers = append(answers, a)
			stop = stop || c.must && a.code >= 400
		}
		if l.r.Buffered() > 0 {
			return nil, l.fail(ctx, verbOf(group[len(group)-1]), fmt.Errorf("%w: more replies than commands", errBadReply))
		}
		if stop {
			break
		}
	}
	return answers, nil
}

func verbOf(c command) string {
	verb, _, _ := strings.Cut(c.line, ":")
	return verb
}

// judge tells whether a can answer c at all.
func (c command) judge(a answer) error {
	switch {
	case a.code == 421, a.code >= 400 && c.line == "RSET":
		return fmt.Errorf("%w: %v", errLinkDied, a.reply())
	case a.code >= 400, a.code == c.want, c.want == 250 && a.code/10 == 25:
		return nil
	}
	return fmt.Errorf("%w: %d to this", errBadReply, a.code)
}

// quiet reports whether nothing has arrived that nobody asked for, the end of the
// connection included. It does not wait, but for TLS records without content.
func (l *link) quiet() bool {
	if l.broken || l.r.Buffered() > 0 {
		return false
	}
	overTLS := l.conn != l.sock
	if overTLS && !l.silent(-time.Second) { // what TLS has read already
		return false
	}
	if !l.pending() {
		return true
	}
	return overTLS && l.silent(50*time.Millisecond)
}

// silent reports whether nothing can be read for so long.
func (l *link) silent(wait time.Duration) bool {
	if l.sock.SetReadDeadline(time.Now().Add(wait)) != nil {
		return false
	}
	_, err := l.r.Peek(1)
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// pending reports whether the socket has bytes, its end or an error to read.
func (l *link) pending() bool {
	return l.raw != nil && (l.raw.Control(l.peek) != nil || l.there)
}

// look is what pending does on the socket.
func (l *link) look(fd uintptr) {
	_, _, err := syscall.Recvfrom(int(fd), l.peeked[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	l.there = err != syscall.EAGAIN
}

// quit says goodbye to a connection between transactions, without waiting for an
// answer, and closes it. After half a message it only closes: what a server has seen
// of it must never look finished.
func (l *link) quit() {
	if !l.broken && l.sock.SetWriteDeadline(time.Now().Add(time.Second)) == nil {
		_, _ = l.conn.Write([]byte("QUIT\r\n"))
	}
	l.close()
}

func (l *link) close() {
	l.broken = true
	if !l.closed {
		l.closed = true
		l.host.open.Add(-1)
		_ = l.sock.Close()
	}
}

// block writes one block, within its own time.
func (l *link) block(p []byte) error {
	if err := l.conn.SetWriteDeadline(l.deadline(l.times().Write)); err != nil {
		return err
	}
	_, err := l.conn.Write(p)
	return err
}
