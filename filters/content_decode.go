package filters

import "encoding/binary"

// The decoders below turn an encoded stream into bytes, block by block, whatever stands in it:
// where readers differ they take the reading that shows most, and note what they had to forgive.
// All are linear and hold no more than a few bytes between blocks.

// A taker takes decoded bytes; they are valid until it returns.
type taker interface{ take(p []byte) }

// A decoder gives what it decodes to its taker.
type decoder interface {
	decode(p []byte, to taker)
	close(to taker) // no more input
}

// plain passes everything on (7bit, 8bit, binary).
type plain struct{}

func (plain) decode(p []byte, to taker) { to.take(p) }
func (plain) close(taker)               {}

const (
	b64Bad   = 0xff
	b64Space = 0xfe
	b64Pad   = 0xfd
)

// b64Value maps a byte to its six bits, or to one of the classes above.
var b64Value = func() (t [256]byte) {
	for i := range t {
		t[i] = b64Bad
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = byte(i)
	}
	for _, c := range " \t\r\n" {
		t[c] = b64Space
	}
	t['='] = b64Pad
	return t
}()

// A base64Decoder is lenient (RFC 2045 6.8): characters outside of the alphabet are skipped,
// padding ends a quantum wherever it stands and decoding goes on behind it.
type base64Decoder struct {
	flaws  *defects
	acc    uint32
	bits   int  // sextets in acc
	column int  // characters of this line
	odd    bool // a line that is no multiple of four was seen: only the last may be
	padded bool // padding was seen; data behind it is a second reading
	pads   int
	out    [3 * 1024]byte
}

func (d *base64Decoder) decode(p []byte, to taker) {
	n := 0
	for i := 0; i < len(p); {
		if d.bits == 0 && !d.padded {
			read, wrote := quanta(d.out[n:], p[i:])
			if read > 0 {
				d.line(read)
				i, n = i+read, n+wrote
				if i == len(p) {
					break
				}
			}
		}
		if n+8 > len(d.out) {
			to.take(d.out[:n])
			n = 0
		}
		n += d.slow(p[i], d.out[n:])
		i++
	}
	if n > 0 {
		to.take(d.out[:n])
	}
}

// quanta decodes whole quanta, two at a time and then one, up to the first character that is
// none of the alphabet or to the end of either slice.
func quanta(out, p []byte) (read, wrote int) {
	for len(p)-read >= 8 && len(out)-wrote >= 8 {
		q := p[read : read+8 : read+8]
		hi := b64Quad[0][q[0]] | b64Quad[1][q[1]] | b64Quad[2][q[2]] | b64Quad[3][q[3]]
		lo := b64Quad[0][q[4]] | b64Quad[1][q[5]] | b64Quad[2][q[6]] | b64Quad[3][q[7]]
		if (hi|lo)>>24 != 0 {
			break
		}
		binary.BigEndian.PutUint64(out[wrote:], uint64(hi)<<40|uint64(lo)<<16)
		read, wrote = read+8, wrote+6
	}
	for len(p)-read >= 4 && len(out)-wrote >= 3 {
		q := p[read : read+4 : read+4]
		v := b64Quad[0][q[0]] | b64Quad[1][q[1]] | b64Quad[2][q[2]] | b64Quad[3][q[3]]
		if v>>24 != 0 {
			break
		}
		out[wrote], out[wrote+1], out[wrote+2] = byte(v>>16), byte(v>>8), byte(v)
		read, wrote = read+4, wrote+3
	}
	return read, wrote
}

// b64Quad maps a byte at each of the four places of a quantum to its bits there; what is not of
// the alphabet sets a bit above the 24.
var b64Quad = func() (t [4][256]uint32) {
	for c, v := range b64Value {
		for i := range t {
			t[i][c] = 1 << 24
			if v < 64 {
				t[i][c] = uint32(v) << (18 - 6*i)
			}
		}
	}
	return t
}()

// line counts characters of the alphabet on the current line.
func (d *base64Decoder) line(n int) {
	if d.odd {
		d.flaws.add(base64Lines)
	}
	d.column += n
}

// slow takes one character and returns how many bytes it completed.
func (d *base64Decoder) slow(c byte, out []byte) int {
	switch v := b64Value[c]; v {
	case b64Space:
		if c == '\n' {
			// A reader that decodes line by line sees something else (RFC 2045 6.8 does not say).
			d.odd = d.odd || d.column%4 != 0
			d.column = 0
		}
		return 0
	case b64Pad:
		d.column++
		d.pads++
		if d.bits == 1 || d.bits == 0 && !d.padded || d.pads > 2 {
			d.flaws.add(base64Junk)
		}
		d.padded = true
		return d.flush(out)
	case b64Bad:
		d.flaws.add(base64Junk)
		return 0
	default:
		if d.padded {
			d.flaws.add(base64Padding)
			d.padded, d.pads = false, 0
		}
		d.line(1)
		d.acc = d.acc<<6 | uint32(v)
		if d.bits++; d.bits < 4 {
			return 0
		}
		out[0], out[1], out[2] = byte(d.acc>>16), byte(d.acc>>8), byte(d.acc)
		d.acc, d.bits = 0, 0
		return 3
	}
}

// flush writes what an unfinished quantum holds.
func (d *base64Decoder) flush(out []byte) int {
	n := 0
	switch d.bits {
	case 2:
		out[0] = byte(d.acc >> 4)
		n = 1
	case 3:
		out[0], out[1] = byte(d.acc>>10), byte(d.acc>>2)
		n = 2
	}
	d.acc, d.bits = 0, 0
	return n
}

func (d *base64Decoder) close(to taker) {
	if d.bits > 0 {
		d.flaws.add(base64Short)
	}
	if n := d.flush(d.out[:]); n > 0 {
		to.take(d.out[:n])
	}
}

// A qpDecoder decodes quoted-printable (RFC 2045 6.7). A bad escape is passed on as it stands;
// blanks at the end of a line are dropped.
type qpDecoder struct {
	flaws *defects
	bad   defect // what a bad escape is called
	hold  []byte // an escape, or blanks at the end of a line, still undecided
	out   [2048]byte
	n     int
}

func (d *qpDecoder) put(c byte, to taker) {
	if d.n == len(d.out) {
		to.take(d.out[:d.n])
		d.n = 0
	}
	d.out[d.n] = c
	d.n++
}

func (d *qpDecoder) release(to taker) {
	for _, c := range d.hold {
		d.put(c, to)
	}
	d.hold = d.hold[:0]
}

func (d *qpDecoder) decode(p []byte, to taker) {
	for i := 0; i < len(p); {
		if len(d.hold) == 0 {
			// A run without anything special.
			j := i
			for j < len(p) && p[j] != '=' && p[j] != ' ' && p[j] != '\t' {
				j++
			}
			for i < j {
				if d.n == len(d.out) {
					to.take(d.out[:d.n])
					d.n = 0
				}
				c := copy(d.out[d.n:], p[i:j])
				d.n += c
				i += c
			}
			if i == len(p) {
				break
			}
		}
		if d.step(p[i], to) {
			i++
		}
	}
	if d.n > 0 {
		to.take(d.out[:d.n])
		d.n = 0
	}
}

// maxQPHold bounds the blanks that wait for the end of their line.
const maxQPHold = 1000

// step takes c in front of or within something special; false means: look at c again.
func (d *qpDecoder) step(c byte, to taker) bool {
	if len(d.hold) == 0 || d.hold[0] != '=' { // blanks
		switch {
		case c == ' ' || c == '\t':
			if len(d.hold) >= maxQPHold {
				d.release(to)
			}
			d.hold = append(d.hold, c)
			return true
		case c == '\n' || c == '\r':
			d.hold = d.hold[:0]
			d.put(c, to)
			return true
		case len(d.hold) > 0:
			d.release(to)
			return false
		}
		d.hold = append(d.hold, c) // '='
		return true
	}
	if len(d.hold) == 1 || isBlank(d.hold[1]) || d.hold[1] == '\r' { // "=", "=  ", "=\r"
		switch {
		case c == '\n': // soft line break
			if isBlank(d.hold[len(d.hold)-1]) || len(d.hold) > 2 {
				d.flaws.add(qpBlanks)
			}
			d.hold = d.hold[:0]
			return true
		case (isBlank(c) || c == '\r') && len(d.hold) < maxQPHold:
			d.hold = append(d.hold, c)
			return true
		case len(d.hold) == 1 && hexValue(c) >= 0:
			d.hold = append(d.hold, c)
			return true
		}
		d.flaws.add(d.bad)
		d.release(to)
		return false
	}
	if hi, lo := hexValue(d.hold[1]), hexValue(c); lo >= 0 {
		d.hold = d.hold[:0]
		d.put(byte(hi<<4|lo), to)
		return true
	}
	d.flaws.add(d.bad)
	d.release(to)
	return false
}

func (d *qpDecoder) close(to taker) {
	if len(d.hold) > 1 && hexValue(d.hold[1]) >= 0 {
		d.flaws.add(d.bad)
		d.release(to)
	}
	d.hold = d.hold[:0]
	if d.n > 0 {
		to.take(d.out[:d.n])
		d.n = 0
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
