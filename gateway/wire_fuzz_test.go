package gateway

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
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

func newRand(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
