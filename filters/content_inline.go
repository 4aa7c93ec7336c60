package filters

import "bytes"

// An inliner finds files within text: uuencode, yEnc and BinHex need no header to be understood
// by mail readers. It takes decoded text in blocks of any size and hands what it finds to the
// scanner as attachments.
type inliner struct {
	s     *mimeWalk
	line  []byte // an unfinished line that may matter
	skip  bool   // the rest of an overlong or uninteresting line
	kind  encoding
	file  *leaf  // open while inside a file
	maybe []byte // a "begin" line, until its next line proves it
	bin   binhexDecoder
	buf   []byte // decoded bytes of one line

	closed bool // too many were found
}

// maxInlineLine bounds a line of an encoded file.
const maxInlineLine = 4096

func (d *inliner) take(p []byte) {
	for len(p) > 0 && !d.closed {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			d.partial(p)
			return
		}
		line := p[:i]
		p = p[i+1:]
		if d.skip {
			d.skip = false
			continue
		}
		if len(d.line) > 0 {
			d.line = append(d.line, line...)
			line = d.line
		}
		d.whole(bytes.TrimSuffix(line, crByte))
		d.line = d.line[:0]
	}
}

var crByte = []byte{'\r'}

// partial keeps the unfinished line at the end of a block if it may matter.
func (d *inliner) partial(p []byte) {
	switch {
	case d.skip:
	case d.file == nil && len(d.maybe) == 0 && len(d.line) == 0 && !inlineStart(p[0]):
		d.skip = true
	case len(d.line)+len(p) > maxInlineLine:
		d.line, d.skip = d.line[:0], true
	default:
		d.line = append(d.line, p...)
	}
}

func inlineStart(c byte) bool { return c == 'b' || c == '=' || c == '(' || c == 'B' }

// whole takes one line without its end.
func (d *inliner) whole(line []byte) {
	if d.file != nil {
		d.inside(line)
		return
	}
	if len(d.maybe) > 0 {
		begin := d.maybe
		d.maybe = d.maybe[:0]
		if n, ok := uuLine(line, nil); ok && n >= 0 {
			if d.open(encUU, string(uuName(begin)), uuencoded); d.file != nil {
				d.inside(line)
			}
			return
		}
	}
	if len(line) < 6 || !inlineStart(line[0]) {
		return
	}
	switch {
	case uuName(line) != nil:
		d.maybe = append(d.maybe[:0], line[:min(len(line), maxNameBytes)]...)
	case bytes.HasPrefix(line, []byte("=ybegin ")):
		if i := bytes.Index(line, []byte(" name=")); i > 0 {
			d.open(encYEnc, string(line[i+6:]), yencoded)
		}
	case bytes.HasPrefix(line, []byte("(This file must be converted with BinHex")):
		d.bin = binhexDecoder{}
		d.open(encBinHex, "", binhexed)
	}
}

// uuName returns the name in a line "begin 644 name", else nil.
func uuName(line []byte) []byte {
	if len(line) < 8 || !bytes.EqualFold(line[:5], []byte("begin")) || line[5] != ' ' {
		return nil
	}
	rest := bytes.TrimLeft(line[6:], " ")
	n := 0
	for n < len(rest) && n < 16 && rest[n] >= '0' && rest[n] <= '7' {
		n++
	}
	if n < 1 || n == len(rest) || rest[n] != ' ' {
		return nil
	}
	return bytes.Trim(rest[n:], " \t\r")
}

func (d *inliner) open(kind encoding, name string, why defect) {
	if d.s.c.inlines++; d.s.c.inlines > maxFactAttachments {
		d.s.c.flaws.add(overLimits)
		d.closed = true
		return
	}
	d.s.flaws.add(why)
	d.kind = kind
	d.file = d.s.inlineLeaf(kind, name)
}

func (d *inliner) inside(line []byte) {
	switch d.kind {
	case encUU:
		if bytes.Equal(line, []byte("end")) {
			d.end()
			return
		}
		var out [64]byte
		n, ok := uuLine(line, out[:])
		if !ok {
			d.end()
			d.whole(line)
			return
		}
		d.file.take(out[:max(n, 0)])
	case encYEnc:
		if bytes.HasPrefix(line, []byte("=yend")) {
			d.end()
			return
		}
		if bytes.HasPrefix(line, []byte("=ypart")) {
			return
		}
		d.buf = yencLine(d.buf[:0], line)
		d.file.take(d.buf)
	case encBinHex:
		name, done := d.bin.line(line)
		d.file.take(d.bin.flush())
		if name != "" {
			d.file.ent.names.add(name, false)
		}
		if d.bin.over {
			d.s.c.flaws.add(overLimits)
		}
		if done || d.bin.over {
			d.end()
		}
	}
}

// uuLine decodes a line of uuencode into out (when it is given). n is -1 for an empty line.
// ok is false when the line is none.
func uuLine(line, out []byte) (n int, ok bool) {
	if len(line) == 0 {
		return -1, true
	}
	if line[0] < ' ' || line[0] > '`' {
		return 0, false
	}
	n = int(line[0]-' ') & 0x3f
	text := line[1:]
	need := (n*8 + 5) / 6
	if len(text) < need-3 && n > 0 && len(text) < (n+2)/3 || len(text) > (n+2)/3*4+8 {
		return 0, false
	}
	var acc uint32
	bits, w := 0, 0
	for i := 0; w < n && i < (n+2)/3*4; i++ {
		c := byte(' ')
		if i < len(text) {
			c = text[i]
		}
		if c < ' ' || c > '`' {
			return 0, false
		}
		acc = acc<<6 | uint32(c-' ')&0x3f
		if bits += 6; bits >= 8 {
			bits -= 8
			if out != nil {
				out[w] = byte(acc >> bits)
			}
			w++
		}
	}
	return n, true
}

// yencLine decodes a line and appends it to out.
func yencLine(out, line []byte) []byte {
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == '=' && i+1 < len(line) {
			i++
			c = line[i] - 64
		}
		out = append(out, c-42)
	}
	return out
}

func (d *inliner) end() {
	f := d.file
	d.file = nil
	f.finish()
}

// close ends the text.
func (d *inliner) close() {
	if len(d.line) > 0 && !d.skip && !d.closed {
		d.whole(bytes.TrimSuffix(d.line, crByte))
		d.line = d.line[:0]
	}
	if d.file != nil {
		d.end()
	}
}

// A lineDecoder decodes what a Content-Transfer-Encoding calls uuencode, yEnc or BinHex, with
// or without the lines around it.
type lineDecoder struct {
	flaws *defects
	kind  encoding
	line  []byte
	skip  bool
	buf   []byte
	bin   binhexDecoder
}

func (d *lineDecoder) decode(p []byte, to taker) {
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			if len(d.line)+len(p) > maxInlineLine {
				d.line, d.skip = d.line[:0], true
			}
			if !d.skip {
				d.line = append(d.line, p...)
			}
			return
		}
		line := p[:i]
		p = p[i+1:]
		if d.skip {
			d.skip = false
			continue
		}
		if len(d.line) > 0 {
			d.line = append(d.line, line...)
			line = d.line
		}
		d.whole(bytes.TrimSuffix(line, crByte), to)
		d.line = d.line[:0]
	}
}

func (d *lineDecoder) whole(line []byte, to taker) {
	switch d.kind {
	case encUU:
		var out [64]byte
		if uuName(line) == nil && !bytes.Equal(line, []byte("end")) {
			if n, ok := uuLine(line, out[:]); ok && n > 0 {
				to.take(out[:n])
			}
		}
	case encYEnc:
		if !bytes.HasPrefix(line, []byte("=y")) {
			d.buf = yencLine(d.buf[:0], line)
			to.take(d.buf)
		}
	case encBinHex:
		d.bin.line(line)
		to.take(d.bin.flush())
		if d.bin.over {
			d.flaws.add(overLimits)
		}
	}
}

func (d *lineDecoder) close(to taker) {
	if len(d.line) > 0 && !d.skip {
		d.whole(bytes.TrimSuffix(d.line, crByte), to)
	}
}
