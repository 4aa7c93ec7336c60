package filters

import (
	"bytes"
	"crypto/sha256"
	"hash"
)

// A bodyHash hashes a body in canonical form while it arrives, in blocks of any size. Bytes
// are taken as they are: a CR or LF that stands alone is a byte like any other.
type bodyHash interface {
	write(p []byte)
	sum() []byte // ends the body; once
	reset()      // begins another
}

// A crlfHash hashes bytes and counts CRLFs that may turn out to be the end of the body.
type crlfHash struct {
	h       hash.Hash
	buf     [1024]byte // short pieces, collected
	n       int        // bytes in buf
	pending int        // CRLFs seen last, not yet hashed
	some    bool       // anything but CRLFs came
}

// crlfs is hashed for runs of CRLFs.
const crlfs = "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"

func newSimpleBody() bodyHash  { return &simpleBody{crlfHash: crlfHash{h: sha256.New()}} }
func newRelaxedBody() bodyHash { return &relaxedBody{crlfHash: crlfHash{h: sha256.New()}} }

func (b *simpleBody) reset()  { b.crlfHash.reset(); b.cr = false }
func (b *relaxedBody) reset() { b.crlfHash.reset(); b.blank, b.cr = false, false }

func (c *crlfHash) reset() {
	c.h.Reset()
	c.n, c.pending, c.some = 0, 0, false
}

// put hashes p behind what is pending.
func (c *crlfHash) put(p []byte) {
	c.settle()
	if len(p) > len(c.buf)/2 {
		c.flush()
		c.h.Write(p)
		return
	}
	c.room(len(p))
	c.n += copy(c.buf[c.n:], p)
}

func (c *crlfHash) putByte(b byte) {
	if c.pending > 0 || !c.some {
		c.settle()
	}
	if c.n == len(c.buf) {
		c.flush()
	}
	c.buf[c.n] = b
	c.n++
}

// settle hashes what is pending: more came behind it.
func (c *crlfHash) settle() {
	c.some = true
	for c.pending > 0 {
		n := min(c.pending, len(crlfs)/2)
		c.room(2 * n)
		c.n += copy(c.buf[c.n:], crlfs[:2*n])
		c.pending -= n
	}
}

func (c *crlfHash) room(n int) {
	if c.n+n > len(c.buf) {
		c.flush()
	}
}

func (c *crlfHash) flush() {
	c.h.Write(c.buf[:c.n])
	c.n = 0
}

// putLines hashes p but keeps the CRLFs at its end pending.
func (c *crlfHash) putLines(p []byte) {
	e, n := len(p), 0
	for e >= 2 && p[e-1] == '\n' && p[e-2] == '\r' {
		e -= 2
		n++
	}
	if e > 0 {
		c.put(p[:e])
	}
	c.pending += n
}

// end hashes the one CRLF that ends a body and gives the sum.
func (c *crlfHash) end(crlf bool) []byte {
	if crlf {
		c.room(2)
		c.n += copy(c.buf[c.n:], "\r\n")
	}
	c.flush()
	return c.h.Sum(nil)
}

// simpleBody is RFC 6376 3.4.3: empty lines at the end are one CRLF, which is always there.
type simpleBody struct {
	crlfHash
	cr bool // the last byte was a CR
}

func (b *simpleBody) write(p []byte) {
	if b.cr && len(p) > 0 {
		b.cr = false
		if p[0] == '\n' {
			b.pending++
			p = p[1:]
		} else {
			b.putByte('\r')
		}
	}
	if n := len(p); n > 0 && p[n-1] == '\r' {
		b.cr, p = true, p[:n-1]
	}
	b.putLines(p)
}

func (b *simpleBody) sum() []byte {
	if b.cr {
		b.putByte('\r')
	}
	return b.end(true)
}

// stepFar is how far to step behind white space that changed: the next is often near.
const stepFar = 24

// relaxedBody is RFC 6376 3.4.4: white space at the end of a line goes, within a line it is
// one blank; empty lines at the end go; a body that is not empty ends in CRLF.
type relaxedBody struct {
	crlfHash
	blank bool // white space came, not yet hashed
	cr    bool // a CR came behind it, not yet hashed
}

func (b *relaxedBody) write(p []byte) {
	next := nextEvents{}
	near := 0 // up to here it is cheaper to step than to search
	for i := 0; i < len(p); {
		if b.blank || b.cr || i < near {
			b.step(p[i])
			i++
			continue
		}
		at := next.after(p, i)
		b.putLines(p[i:at])
		i = at
		if rest := p[i:]; len(rest) > 2 && rest[0] == ' ' && rest[1] == '\r' && rest[2] == '\n' {
			b.pending++ // one blank at the end of a line: so do all lines of format=flowed end
			i += 3
			continue
		}
		if i < len(p) {
			b.step(p[i])
			i++
			near = i + stepFar
		}
	}
}

// step takes one byte at a place where white space may have to change.
func (b *relaxedBody) step(c byte) {
	if b.cr && c == '\n' {
		b.cr, b.blank = false, false
		b.pending++
		return
	}
	if b.cr {
		b.stay()
	}
	switch c {
	case '\r':
		b.cr = true
	case ' ', '\t':
		b.blank = true
	default:
		b.stay()
		b.putByte(c)
	}
}

// stay hashes the white space and the CR that turned out to be no line's end.
func (b *relaxedBody) stay() {
	if b.blank {
		b.putByte(' ')
	}
	if b.cr {
		b.putByte('\r')
	}
	b.blank, b.cr = false, false
}

func (b *relaxedBody) sum() []byte {
	if b.cr {
		b.stay()
	}
	return b.end(b.some)
}

// nextEvents remembers where the next white space that may have to change stands in a block,
// so that a block is searched once for each kind. Everything before is hashed as it lies.
type nextEvents struct{ tab, pair, eol int }

// after gives the first place from i on that step has to look at, or len(p).
func (n *nextEvents) after(p []byte, i int) int {
	if stale(i, n.tab) {
		n.tab = from(i, bytes.IndexByte(p[i:], '\t'), p)
	}
	if stale(i, n.pair) {
		n.pair = from(i, bytes.Index(p[i:], []byte("  ")), p)
	}
	if stale(i, n.eol) {
		n.eol = from(i, blankEnd(p[i:]), p)
	}
	at := min(n.tab, n.pair, n.eol)
	if at == len(p) && p[at-1] == '\r' {
		at-- // perhaps half a line's end
	}
	if at > i && p[at-1] == ' ' {
		at-- // a blank before a tab, or at the end of the block
	}
	return at
}

// stale reports whether what was found must be looked for again from i on.
func stale(i, found int) bool { return found < i || i == 0 }

// from gives the place in p of what was found k bytes behind i, len(p) for nothing.
func from(i, k int, p []byte) int {
	if k < 0 {
		return len(p)
	}
	return i + k
}

// blankEnd finds a line that ends with a blank, and gives the place of that, or -1. It goes from
// line to line: blanks are in every line.
func blankEnd(p []byte) int {
	for at := 0; ; at++ {
		k := bytes.IndexByte(p[at:], '\n')
		if k < 0 {
			return -1
		}
		if at += k; at >= 2 && p[at-1] == '\r' && p[at-2] == ' ' {
			return at - 2
		}
	}
}
