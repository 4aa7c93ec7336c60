package gateway

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"postern/mail"
)

// The served dialogue against a plain reference: the same bytes have to get the same replies and
// to make the same transactions, however they are cut into segments.

// pieces are what scripts are made of.
var pieces = []string{ // a constant table
	"EHLO me\r\n", "helo me\r\n", "EHLO\r\n", "EHLO \xc3\xa9\r\n", "MAIL FROM:<a@x.test>\r\n", "mail from:<>\r\n", "MAIL FROM:<b@x.test> SIZE=20 BODY=8BITMIME\r\n",
	"MAIL FROM:<c@x.test> SIZE=999999\r\n", "MAIL FROM:<\xc3\xa9@x.test> SMTPUTF8\r\n", "MAIL FROM:<\xff@x.test>\r\n", "MAIL FROM:<refused@x.test>\r\n", "MAIL FROM:<a@x.test> FOO\r\n",
	"RCPT TO:<b@y.test>\r\n", "RCPT TO:<c@y.test> NOTIFY=NEVER\r\n", "RCPT TO:<no@y.test>\r\n", "RCPT TO:<later@y.test>\r\n", "RCPT TO:<bye@y.test>\r\n", "RCPT TO:<postmaster>\r\n", "RCPT TO:<a%b@y.test>\r\n",
	"DATA\r\n", "data\r\n", "DATA x\r\n", "DATA\r\nSubject: x\r\n\r\nhello\r\n.\r\n", "DATA\r\n.\r\n", "Subject: x\r\n", "\r\n", ".\r\n", "..\r\n", ".x\r\n", "x\ny\r\n", "x\ry\r\n", "\r\n.\r\n", "\n.\r\n", "\r\n.\n", "\r\r\n.\r\n",
	"RSET\r\n", "RSET x\r\n", "NOOP\r\n", "noop x\r\n", "VRFY a\r\n", "HELP\r\n", "QUIT\r\n", "QUIT x\r\n", "EXPN a\r\n", "AUTH PLAIN\r\n", "XCLIENT ADDR=192.0.2.1\r\n", "xclient addr=IPV6:2001:db8::1 helo=x proto=smtp\r\n", "XCLIENT ADDR=1 PORT=1\r\n", "STARTTLS\r\n", "STARTTLS x\r\n",
	"BDAT 3 LAST\r\nabc", "BDAT 0 LAST\r\n", "bdat 5\r\nab\r\n\r", "BDAT 4 last\r\n\n.\r\n", "BDAT 3\r\n.\r\n", "BDAT 0\r\n", "BDAT 200\r\n", "BDAT 99999999\r\n", "BDAT 99999999999999999999\r\n", "BDAT -1\r\n", "BDAT 3 LAST X\r\n", "BDAT\r\n", "BDAT 0x10\r\n",
	"GET / HTTP/1.1\r\n", "FOO\r\n", "Host: x\r\n", "\x00\r\n", "NOOP\n", "NOOP \r", strings.Repeat("x", 600), strings.Repeat("y", 1100) + "\r\n", "MAIL", " ", "RCPT TO:<inj@y.test>",
}

// spellScript turns a script into what a client sends: numbers of pieces, or single characters.
func spellScript(script []byte) (in []byte) {
	for _, b := range script {
		if b < 0x80 {
			in = append(in, pieces[int(b)%len(pieces)]...)
		} else {
			in = append(in, b-0x80)
		}
	}
	return in
}

func FuzzDialogue(f *testing.F) {
	f.Add([]byte{0, 4, 12, 22, 41}, []byte{})
	f.Add([]byte{0, 4, 12, 13, 19, 24, 28, 26, 4, 12, 23, 41}, []byte{1, 2, 3})
	f.Add([]byte{1, 5, 14, 19, 15, 22, 0, 8, 12, 19, 29, 31}, []byte{7})
	f.Add([]byte{0, 4, 12, 19, 24, 4, 12}, []byte{})
	f.Add([]byte{0, 4, 12, 52, 12, 53, 4, 12, 50, 54, 37, 35, 45, 0, 4, 12, 46, 56, 31}, []byte{5})
	f.Add([]byte{0, 4, 12, 35, 12, 36, 45, 50, 50, 50, 50, 50}, []byte{0})
	f.Fuzz(func(t *testing.T, script, sizes []byte) {
		if len(script) <= 60 {
			checkDialogue(t, spellScript(script), sizes, false)
			checkDialogue(t, spellScript(script), sizes, true)
		}
	})
}

// What fuzzing would find in hours is in these pieces; each run of the tests tries many.
func TestS14_DialogueAgainstReference(t *testing.T) {
	r := newRand(t)
	accepted, ends := 0, map[string]int{}
	bdat := slices.IndexFunc(pieces, func(p string) bool { return strings.HasPrefix(p, "BDAT") })
	for range 4000 {
		script := []byte{0}
		for range r.IntN(25) {
			switch r.IntN(8) {
			case 0: // anything, much of which ends the session
				script = append(script, byte(r.IntN(len(pieces))))
			case 1: // a message
				script = append(script, 4, 12, 22)
			case 3: // one in chunks
				script = append(script, 4, 12, byte(bdat+r.IntN(6)), byte(bdat+r.IntN(6)), byte(bdat+r.IntN(4)))
			case 4: // another client
				script = append(script, byte(bdat-4-r.IntN(3)), 0)
			case 2: // one with an odd body
				script = append(script, 4, 12, 19, byte(24+r.IntN(11)), byte(24+r.IntN(11)))
			default:
				script = append(script, byte(r.IntN(23)))
			}
		}
		sizes := make([]byte, r.IntN(4))
		for i := range sizes {
			sizes[i] = byte(r.IntN(256))
		}
		m := checkDialogue(t, spellScript(script), sizes, r.IntN(3) > 0)
		accepted += len(m.messages)
		ends[m.codes[len(m.codes)-1]]++
	}
	for _, code := range []string{"221", "421", "500", "503", "521", "550", "552", "250", "4or5"} {
		if ends[code] < 5 {
			t.Errorf("too few scripts ended with %s: %v", code, ends)
		}
	}
	if accepted < 1000 {
		t.Errorf("only %d messages", accepted)
	}
}

var dialogueLimits = Limits{Errors: 8, Chatter: 15, Line: 512, MessageSize: 300, Recipients: 3}

func dialogueExtensions() mail.Extensions {
	return mail.Extensions{Size: 300, EightBitMIME: true, UTF8: true, DSN: true}
}

// A cutConn is a client that waits for the reply to DATA, and cuts all else as sizes says.
type cutConn struct {
	scriptedConn
	line []byte
}

func (c *cutConn) Read(p []byte) (int, error) {
	n := len(c.in)
	if len(c.sizes) > 0 {
		n = 1 + int(c.sizes[0])%8
		c.sizes = append(c.sizes[1:], c.sizes[0])
	}
	n = min(n, len(c.in), len(p))
	for i, b := range c.in[:n] {
		if c.line = append(c.line, b); b == '\n' {
			line := strings.TrimRight(strings.ToUpper(string(c.line)), " \r\n")
			c.line = c.line[:0]
			if strings.HasSuffix(line, "DATA") { // octets of a chunk may stand before it
				n = i + 1
				break
			}
		}
	}
	keep := c.sizes
	defer func() { c.sizes = keep }()
	c.sizes = nil
	rest := c.in[n:]
	c.in = c.in[:n]
	n, err := c.scriptedConn.Read(p)
	c.in = rest
	return n, err
}

func checkDialogue(t *testing.T, in, sizes []byte, extras bool) *reference {
	t.Helper()
	m := &reference{in: in, extras: extras, log: []string{"connect invalid IP"}}
	m.run()
	flow := &fakeFlow{changed: make(chan struct{}, 1)}
	flow.onBegin = func(from mail.Address, _ mail.Options) *mail.Reply {
		if from.Local == "refused" {
			return reply(550, [3]int{5, 7, 1}, "no")
		}
		return nil
	}
	flow.onRcpt = func(to mail.RcptTo) *mail.Reply {
		switch to.Address.Local {
		case "no":
			return reply(550, [3]int{5, 1, 1}, "no")
		case "later":
			return reply(451, [3]int{4, 1, 1}, "later")
		case "bye":
			return reply(421, [3]int{4, 3, 0}, "bye")
		}
		return nil
	}
	replies := splitReplies(t, converse(flow, extras, &cutConn{scriptedConn: scriptedConn{in: bytes.Clone(in), sizes: bytes.Clone(sizes)}}))
	for i, r := range replies {
		if i >= len(m.codes) || r[:3] != m.codes[i] && !(m.codes[i] == "4or5" && strings.Contains("451 552 550", r[:3])) {
			t.Fatalf("%q: reply %d is %q; want %v, got %q", in, i, r, m.codes, replies)
		}
	}
	if len(replies) != len(m.codes) {
		t.Fatalf("%q: %d replies, want %v: %q", in, len(replies), m.codes, replies)
	}
	var log, messages []string
	for _, e := range flow.events {
		if strings.HasPrefix(e, "mail") || strings.HasPrefix(e, "rcpt") || e == "data" || strings.HasPrefix(e, "connect") {
			log = append(log, e)
		}
	}
	for _, msg := range flow.messages {
		if msg.err.Error() != "EOF" || msg.flaws[0] || msg.flaws[1] {
			continue
		}
		envelope := msg.from.String()
		for _, to := range msg.to {
			envelope += " " + to.Address.String()
		}
		messages = append(messages, envelope+": "+msg.body)
	}
	if !slices.Equal(log, m.log) {
		t.Fatalf("%q: the flow saw %q, want %q", in, log, m.log)
	}
	if !slices.Equal(messages, m.messages) {
		t.Fatalf("%q: accepted %q, want %q", in, messages, m.messages)
	}
	if last := flow.events[len(flow.events)-1]; !strings.HasPrefix(last, "end: ") {
		t.Fatalf("%q: ended with %q", in, last)
	}
	return m
}

// converse hands one connection to go-smtp, without a network, and gives what was answered.
func converse(flow *fakeFlow, extras bool, c *cutConn) string {
	f := newFront(Config{Hostname: "gw.test", Limits: dialogueLimits, Chunking: extras}, slog.New(slog.DiscardHandler), flow.connect, dialogueExtensions)
	server := f.engine()
	inner := &handOver{addr: c.LocalAddr(), ch: make(chan *adapter), closed: make(chan struct{})}
	served, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(inner)
	}()
	ctx, cancel := context.WithCancelCause(context.Background())
	a := &adapter{w: newWire(c, "gw.test", &f.cfg.Limits), front: f, talk: flow.connect(ctx, mail.Client{}), cancel: cancel, done: func() { close(done) }}
	if extras {
		a.assume = func(a *adapter) bool { a.talk = flow.connect(ctx, a.client); return true }
	}
	inner.push(a)
	<-done
	inner.Close()
	<-served
	_ = server.Shutdown(context.Background())
	return c.out.String()
}

// splitReplies cuts what was answered into replies.
func splitReplies(t *testing.T, out string) (replies []string) {
	start := 0
	for pos := 0; pos < len(out); {
		n := strings.Index(out[pos:], "\r\n")
		if n < 4 {
			t.Fatalf("bad reply in %q", out)
		}
		last := out[pos+3] == ' '
		pos += n + 2
		if last {
			replies = append(replies, out[start:pos])
			start = pos
		}
	}
	if start != len(out) {
		t.Fatalf("half a reply in %q", out)
	}
	return replies
}
