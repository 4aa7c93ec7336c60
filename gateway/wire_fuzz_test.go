package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

// A scriptedConn gives what a client sends in the fragments that sizes says, then EOF, and
// keeps what it is told.
type scriptedConn struct {
	in    []byte
	sizes []byte
	out   bytes.Buffer
}

func (c *scriptedConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := len(c.in)
	if len(c.sizes) > 0 {
		n = 1 + int(c.sizes[0])%8
		c.sizes = append(c.sizes[1:], c.sizes[0])
	}
	n = copy(p, c.in[:min(n, len(c.in))])
	c.in = c.in[n:]
	return n, nil
}
func (c *scriptedConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *scriptedConn) Close() error                     { return nil }
func (c *scriptedConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *scriptedConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *scriptedConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptedConn) SetWriteDeadline(time.Time) error { return nil }

// plainBody is the plain reference: it cuts d into lines that end in CRLF, up to ".CRLF".
func plainBody(d []byte) (body, rest []byte, bareCR, bareLF, whole bool) {
	for {
		line, after, found := bytes.Cut(d, []byte("\r\n"))
		if !found {
			return nil, nil, false, false, false
		}
		d = after
		if string(line) == "." {
			return body, d, bareCR, bareLF, true
		}
		if len(line) > 0 && line[0] == '.' {
			line = line[1:]
		}
		bareCR = bareCR || bytes.Contains(line, []byte("\r"))
		bareLF = bareLF || bytes.Contains(line, []byte("\n"))
		body = append(append(body, line...), "\r\n"...)
	}
}

// normalized turns each LF without a CR before it into CRLF, byte by byte.
func normalized(p []byte) []byte {
	var out []byte
	for i, c := range p {
		if c == '\n' && (i == 0 || p[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	return out
}

// Random bodies in random fragments: the same bytes, the same end, the same flaws as the
// plain reference.
func FuzzWire(f *testing.F) {
	for _, end := range falseEnds {
		f.Add([]byte("a"+end+"b\r\n.\r\nNOOP\r\n"), []byte{0, 3, 1}, false)
	}
	f.Add([]byte("..\r\n.\r\n"), []byte{}, true)
	f.Add([]byte("a\n\n.\nb\r\n..c\r\n.\r\n"), []byte{1}, true)
	f.Add([]byte("x\r\r\n.\r\nMAIL"), []byte{2}, false)
	f.Fuzz(func(t *testing.T, in, sizes []byte, normalize bool) {
		checkWire(t, in, sizes, normalize)
	})
}

func checkWire(t *testing.T, in, sizes []byte, normalize bool) {
	lim := DefaultLimits()
	c := &scriptedConn{in: bytes.Clone(in), sizes: bytes.Clone(sizes)}
	w := newWire(c, "gw.test", &lim)
	b := w.newBody(0, normalize)
	var got []byte
	var err error
	for err == nil {
		var p []byte
		if p, err = b.Next(); err == nil && len(p) == 0 {
			t.Fatal("an empty block")
		}
		got = append(got, p...)
	}
	rest := append(bytes.Clone(w.buf[w.r:w.e]), c.in...)
	body, wantRest, bareCR, bareLF, whole := plainBody(in)
	if whole != (err == io.EOF) || !whole && !errors.Is(err, errUploadBroken) {
		t.Fatalf("%q: %v, but whole is %v", in, err, whole)
	}
	if again, err2 := b.Next(); again != nil || err2 != err {
		t.Fatalf("after %v came %q, %v", err, again, err2)
	}
	if whole {
		if normalize {
			body, bareLF = normalized(body), false
		}
		gotCR, gotLF, gotNUL := b.Flaws()
		if !bytes.Equal(got, body) || !bytes.Equal(rest, wantRest) {
			t.Fatalf("%q:\n got %q, then %q\nwant %q, then %q", in, got, rest, body, wantRest)
		}
		if gotCR != bareCR || gotLF != bareLF || gotNUL != bytes.Contains(body, []byte{0}) {
			t.Fatalf("%q: flaws %v %v %v", in, gotCR, gotLF, gotNUL)
		}
	} else if line, ok, err := w.line(); ok || err == nil {
		t.Fatalf("%q: the line %q after a broken body", in, line)
	}
	w.hangup()
}

// What fuzzing would find in hours is in these pieces; each run of the tests tries many.
func TestWireAgainstPlainReader(t *testing.T) {
	pieces := []string{"\r", "\n", ".", "x", "\r\n", "\r\n.", "\r\n.\r\n", "\x00"}
	r := newRand(t)
	whole := 0
	for range 30_000 {
		var in []byte
		for range r.IntN(14) {
			in = append(in, pieces[r.IntN(len(pieces))]...)
		}
		sizes := make([]byte, r.IntN(4))
		for i := range sizes {
			sizes[i] = byte(r.IntN(256))
		}
		checkWire(t, in, sizes, r.IntN(2) == 0)
		if _, _, _, _, ok := plainBody(in); ok {
			whole++
		}
	}
	if whole < 1000 {
		t.Errorf("only %d were whole", whole)
	}
}

// FuzzDialogue sends scripts of commands and compares with a plain state machine: each whole
// line gets exactly one reply, of the class that the state asks for, and nothing after a
// broken body is carried out.
func FuzzDialogue(f *testing.F) {
	f.Add([]byte{0, 2, 3, 5, 9}, []byte{})
	f.Add([]byte{0, 2, 2, 3, 4, 3, 5, 6, 0, 3, 9}, []byte{1, 2, 3})
	f.Add([]byte{1, 2, 3, 10, 5, 11, 2}, []byte{7})
	f.Add([]byte{0, 2, 3, 12, 2, 3}, []byte{})
	f.Fuzz(func(t *testing.T, script, sizes []byte) {
		if len(script) > 60 {
			return
		}
		checkDialogue(t, script, sizes)
	})
}

func TestDialogueAgainstStateMachine(t *testing.T) {
	r := newRand(t)
	for range 3000 {
		script := make([]byte, r.IntN(25))
		for i := range script {
			script[i] = byte(r.IntN(256))
		}
		sizes := make([]byte, r.IntN(4))
		for i := range sizes {
			sizes[i] = byte(r.IntN(256))
		}
		checkDialogue(t, script, sizes)
	}
}

// A reference is the plain state machine.
type reference struct {
	greeted, mail bool
	rcpts         int
	want          []string // prefix of each reply
	log           []string // what the flow must see
	over          bool
}

func (m *reference) reset() { m.mail, m.rcpts = false, 0 }

// say returns what a step of the script sends, and notes what must come of it.
func (m *reference) say(step byte, n int) string {
	expect := func(ok bool, yes, no string) {
		if ok {
			m.want = append(m.want, yes)
		} else {
			m.want = append(m.want, no)
		}
	}
	switch step % 15 {
	case 0:
		expect(true, "250", "")
		m.greeted = true
		m.reset()
		return "EHLO me\r\n"
	case 1:
		expect(true, "250", "")
		m.greeted = true
		m.reset()
		return "helo me\r\n"
	case 2, 13:
		ok := m.greeted && !m.mail
		expect(ok, "250", "503")
		if ok {
			m.mail = true
			m.log = append(m.log, fmt.Sprintf("mail a%d@x.test", n))
		}
		return fmt.Sprintf("MAIL FROM:<a%d@x.test>\r\n", n)
	case 3, 14:
		expect(m.mail, "250", "503")
		if m.mail {
			m.rcpts++
			m.log = append(m.log, fmt.Sprintf("rcpt b%d@y.test", n))
		}
		return fmt.Sprintf("RCPT TO:<b%d@y.test>\r\n", n)
	case 4:
		expect(m.mail, "553", "503")
		return "RCPT TO:<b>\r\n"
	case 5, 12: // DATA; the body follows whether it was asked for or not, so only when it was
		expect(m.mail && m.rcpts > 0, "354", "503")
		if !m.mail || m.rcpts == 0 {
			return "DATA\r\n"
		}
		m.log = append(m.log, "data")
		m.reset()
		if step%15 == 12 { // broken off: the script ends in the body
			m.over = true
			return "DATA\r\n\x00half\r\nMAIL FROM:<inj@x.test>\r\nRSET\r\n"
		}
		m.want = append(m.want, "250")
		return "DATA\r\n\x00line\r\n..MAIL FROM:<inj@x.test>\r\n.\r\n"
	case 6:
		expect(true, "250", "")
		m.reset()
		return "RSET\r\n"
	case 7:
		expect(true, "250", "")
		return "NOOP x\r\n"
	case 8:
		expect(true, "252", "")
		return "VRFY x\r\n"
	case 9:
		expect(true, "221", "")
		m.over = true
		return "QUIT\r\nMAIL FROM:<inj@x.test>\r\n"
	case 10:
		expect(true, "501", "")
		return "RCPT TO:<\x01inj@y.test>\r\n"
	}
	expect(true, "500", "")
	return "FOO\r\n"
}

// A scriptedClient waits for what it was told at each NUL in what it sends, as a client
// does for 354.
type scriptedClient struct{ scriptedConn }

func (c *scriptedClient) Read(p []byte) (int, error) {
	if len(c.in) > 0 && c.in[0] == 0 {
		c.in = c.in[1:] // all that was said has left, or nobody would read
	}
	if i := bytes.IndexByte(c.in, 0); i > 0 {
		later := c.in[i:]
		c.in = c.in[:i:i]
		n, err := c.scriptedConn.Read(p)
		c.in = append(c.in, later...)
		return n, err
	}
	return c.scriptedConn.Read(p)
}

// converse hands one connection to go-smtp, without a network, and gives what was answered.
func converse(flow *fakeFlow, c *scriptedClient) string {
	f := newFront(Config{Hostname: "gw.test", Limits: Limits{Errors: -1}}, slog.New(slog.DiscardHandler), flow.connect, allExtensions)
	server := f.engine()
	inner := &handOver{addr: c.LocalAddr(), ch: make(chan *adapter), closed: make(chan struct{})}
	served, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(inner)
	}()
	ctx, cancel := context.WithCancelCause(context.Background())
	inner.push(&adapter{w: newWire(c, "gw.test", &f.cfg.Limits), front: f, talk: flow.connect(ctx, mail.Client{}), cancel: cancel, done: func() { close(done) }})
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

func newRand(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// checkDialogue runs a script without a network: the adapter is handed to go-smtp as it is.
func checkDialogue(t *testing.T, script, sizes []byte) {
	m := &reference{want: []string{"220"}}
	var in []byte
	for n, step := range script {
		if m.over {
			break
		}
		in = append(in, m.say(step, n)...)
	}
	if m.over && len(m.want) > 0 && m.want[len(m.want)-1] == "354" {
		m.want = append(m.want, "451")
	}
	flow := &fakeFlow{changed: make(chan struct{}, 1)}
	out := converse(flow, &scriptedClient{scriptedConn{in: in, sizes: bytes.Clone(sizes)}})
	replies := splitReplies(t, out)
	for i, r := range replies {
		if i >= len(m.want) || !strings.HasPrefix(r, m.want[i]) {
			t.Fatalf("script %v: reply %d is %q; want %v, got %q", script, i, r, m.want, replies)
		}
	}
	if len(replies) != len(m.want) {
		t.Fatalf("script %v: %d replies, want %d: %q", script, len(replies), len(m.want), replies)
	}
	var log []string
	for _, e := range flow.events {
		if strings.HasPrefix(e, "mail") || strings.HasPrefix(e, "rcpt") || e == "data" {
			log = append(log, e)
		}
	}
	if strings.Join(log, ";") != strings.Join(m.log, ";") {
		t.Fatalf("script %v: the flow saw %v, want %v", script, log, m.log)
	}
	if last := flow.events[len(flow.events)-1]; !strings.HasPrefix(last, "end: ") {
		t.Fatalf("script %v: ended with %q", script, last)
	}
}
