package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postern/mail"
)

// A handshakeError is a STARTTLS that failed.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "STARTTLS: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// openLink connects and greets, for who.
func openLink(ctx context.Context, h *serverHost, who guest, mode TLSMode) (*link, error) {
	dialer := net.Dialer{Timeout: h.group.cfg.Timeouts.Connect}
	sock, err := dialer.DialContext(ctx, h.network, h.addr)
	if err != nil {
		return nil, err
	}
	h.open.Add(1)
	l := &link{host: h, guest: who, sock: sock, conn: sock, r: bufio.NewReaderSize(sock, maxReplyLine)}
	if sc, ok := sock.(syscall.Conn); ok {
		l.raw, _ = sc.SyscallConn()
		l.peek = l.look
	}
	if err := l.greet(ctx, mode); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// greet goes from the banner to the last EHLO.
func (l *link) greet(ctx context.Context, mode TLSMode) error {
	defer l.guard(ctx)()
	if l.host.group.cfg.Forward == ForwardProxy {
		l.out = appendProxyHeader(l.out[:0], l.guest.addr, addrPort(l.sock.RemoteAddr()))
		if err := l.flush(); err != nil {
			return l.fail(ctx, "PROXY header", err)
		}
	}
	a, err := l.read(l.times().Reply)
	if err != nil {
		return l.fail(ctx, "greeting", err)
	}
	if a.code != 220 {
		return fmt.Errorf("greeting: %v", a.reply())
	}
	l.name, _, _ = strings.Cut(a.text, " ")
	if err := l.hello(ctx, l.host.group.cfg.Helo); err != nil {
		return err
	}
	switch {
	case mode == TLSNone:
	case l.ext.StartTLS:
		if err := l.startTLS(ctx); err != nil {
			return err
		}
	case mode == TLSRequire:
		return errors.New("STARTTLS is not offered, but required")
	}
	return l.introduce(ctx)
}

// A helloRefused is a refusal of EHLO and HELO.
type helloRefused struct {
	verb  string
	reply *mail.Reply
}

func (e *helloRefused) Error() string { return e.verb + ": " + e.reply.String() }

// hello says EHLO, or HELO to who does not know that, and forgets all that was
// offered before.
func (l *link) hello(ctx context.Context, name string) error {
	a, err := l.one(ctx, "EHLO "+name)
	if err != nil {
		return err
	}
	l.ext, l.size, l.chunking, l.xforward, l.xclient = mail.Extensions{}, false, false, nil, nil
	if a.code/100 == 5 {
		a, err = l.one(ctx, "HELO "+name)
		if err != nil {
			return err
		}
		if a.code != 250 {
			return &helloRefused{"HELO", a.reply()}
		}
		return nil
	}
	if a.code != 250 {
		return &helloRefused{"EHLO", a.reply()}
	}
	first, rest, _ := strings.Cut(a.text, "\n")
	if name, _, _ := strings.Cut(first, " "); name != "" {
		l.name = name
	}
	for line := range strings.SplitSeq(rest, "\n") {
		l.offer(strings.Fields(line))
	}
	return nil
}

// offer notes one line of the EHLO reply.
func (l *link) offer(words []string) {
	if len(words) == 0 {
		return
	}
	switch strings.ToUpper(words[0]) {
	case "SIZE": // RFC 1870 4: no number or 0 is no limit named
		l.size = true
		if len(words) > 1 {
			if n, err := strconv.ParseInt(words[1], 10, 64); err == nil && n > 0 {
				l.ext.Size = n
			}
		}
	case "8BITMIME":
		l.ext.EightBitMIME = true
	case "SMTPUTF8":
		l.ext.UTF8 = true
	case "DSN":
		l.ext.DSN = true
	case "REQUIRETLS": // RFC 8689 4.2.1: only where the certificate was verified
		c := &l.host.group.cfg
		l.ext.RequireTLS = l.tls != "" && c.TLS == TLSRequire && !c.TLSInsecure
	case "PIPELINING":
		l.ext.Pipelining = true
	case "CHUNKING":
		l.chunking = true
	case "STARTTLS":
		l.ext.StartTLS = true
	case "XCLIENT":
		l.ext.XClient = true
		l.xclient = upper(words[1:])
	case "XFORWARD":
		l.ext.XForward = true
		l.xforward = upper(words[1:])
	}
}

func upper(words []string) (out []string) {
	for _, w := range words {
		out = append(out, strings.ToUpper(w))
	}
	return out
}

// startTLS encrypts the connection. What was said in clear is forgotten: bytes that
// came behind the 220 and all that was offered (RFC 3207 4.2).
func (l *link) startTLS(ctx context.Context) error {
	l.out = append(l.out[:0], "STARTTLS\r\n"...)
	if err := l.flush(); err != nil {
		return &handshakeError{err}
	}
	a, err := l.read(l.times().Reply)
	if err != nil {
		return &handshakeError{err}
	}
	if a.code != 220 {
		return &handshakeError{errors.New(a.reply().String())}
	}
	t := tls.Client(l.sock, l.host.tls)
	if err := l.sock.SetDeadline(time.Now().Add(l.times().Reply)); err != nil {
		return &handshakeError{err}
	}
	if err := t.HandshakeContext(ctx); err != nil {
		return &handshakeError{err}
	}
	cs := t.ConnectionState()
	l.tls = tls.VersionName(cs.Version) + " " + tls.CipherSuiteName(cs.CipherSuite)
	l.conn = t
	l.r.Reset(t)
	if err := l.hello(ctx, l.host.group.cfg.Helo); err != nil {
		return err
	}
	l.ext.StartTLS = true // as the intersection over all servers sees it
	return nil
}

// one says one command and reads its reply, whatever it is.
func (l *link) one(ctx context.Context, line string) (answer, error) {
	verb, _, _ := strings.Cut(line, " ")
	l.out = append(append(l.out[:0], line...), "\r\n"...)
	if err := l.flush(); err != nil {
		return answer{}, l.fail(ctx, verb, err)
	}
	a, err := l.read(l.times().Reply)
	if err == nil && l.r.Buffered() > 0 {
		err = fmt.Errorf("%w: more than one reply", errBadReply)
	}
	if err != nil {
		return answer{}, l.fail(ctx, verb, err)
	}
	return a, nil
}
