package filters

import (
	"bytes"
	"encoding/binary"
)

// A rarList reads the headers of a RAR archive, version 4 or 5, and skips the data between them.
type rarList struct {
	memberList
	skip int64 // bytes to pass over
	five bool
	buf  []byte // the header being read
	done bool
}

// maxRarHeader bounds one header.
const maxRarHeader = 64 << 10

func (r *rarList) take(p []byte) {
	for len(p) > 0 && !r.done {
		if r.skip > 0 {
			n := min(r.skip, int64(len(p)))
			r.skip -= n
			p = p[n:]
			continue
		}
		need := r.need()
		if need > maxRarHeader || need <= 0 {
			r.odd, r.done = true, true
			return
		}
		n := min(need-len(r.buf), len(p))
		r.buf = append(r.buf, p[:n]...)
		p = p[n:]
		if len(r.buf) < need || r.need() > len(r.buf) {
			continue
		}
		if r.five {
			r.header5()
		} else {
			r.header4()
		}
		r.buf = r.buf[:0]
	}
}

func (r *rarList) close() { r.odd = r.odd || !r.done && (r.skip > 0 || len(r.buf) > 0) }

// need is how long the header is as far as it can be told; 0 when it is broken.
func (r *rarList) need() int {
	if !r.five {
		if len(r.buf) < 7 {
			return 7
		}
		return max(7, int(binary.LittleEndian.Uint16(r.buf[5:])))
	}
	if len(r.buf) < 7 { // checksum, size of at most three bytes: no header is shorter
		return 7
	}
	size, n := binary.Uvarint(r.buf[4:])
	if n <= 0 || n > 3 || size > maxRarHeader {
		return 0
	}
	return max(7, 4+n+int(size))
}

// header4 reads one header of RAR 1.5 to 4.
func (r *rarList) header4() {
	h := r.buf
	kind, flags := h[2], binary.LittleEndian.Uint16(h[3:])
	if flags&0x8000 != 0 && len(h) >= 11 || kind == 0x74 && len(h) >= 11 {
		r.skip = int64(binary.LittleEndian.Uint32(h[7:]))
	}
	switch kind {
	case 0x73: // archive header
		if flags&0x80 != 0 { // everything behind is encrypted
			r.encrypted, r.done = true, true
		}
	case 0x74: // file
		if len(h) < 32 {
			r.odd = true
			return
		}
		at := 32
		if flags&0x100 != 0 && len(h) >= 40 {
			r.skip += int64(binary.LittleEndian.Uint32(h[32:])&0x7fff) << 32
			at = 40
		}
		n := int(binary.LittleEndian.Uint16(h[26:]))
		if at+n > len(h) {
			r.odd = true
			n = len(h) - at
		}
		name := h[at : at+n]
		if i := bytes.IndexByte(name, 0); i >= 0 { // the rest is the same name in compressed UTF-16
			name = name[:i]
		}
		r.add(member{name: validUTF8(string(name)), size: int64(binary.LittleEndian.Uint32(h[11:])), encrypted: flags&4 != 0})
	case 0x7b:
		r.done = true
	}
}

// header5 reads one header of RAR 5.
func (r *rarList) header5() {
	h := r.buf[4:]
	next := func() uint64 {
		v, n := binary.Uvarint(h)
		if n <= 0 {
			r.odd = true
			h = nil
			return 0
		}
		h = h[n:]
		return v
	}
	next() // size
	kind, flags := next(), next()
	if flags&1 != 0 {
		next() // extra area
	}
	var data uint64
	if flags&2 != 0 {
		data = next()
	}
	r.skip = int64(min(data, 1<<40))
	switch kind {
	case 4: // encryption of the headers
		r.encrypted, r.done = true, true
	case 5:
		r.done = true
	case 2: // file
		fileFlags, size := next(), next()
		next() // attributes
		if fileFlags&2 != 0 {
			h = h[min(4, len(h)):]
		}
		if fileFlags&4 != 0 {
			h = h[min(4, len(h)):]
		}
		next() // compression
		next() // host system
		n := next()
		if n > uint64(len(h)) {
			r.odd = true
			n = uint64(len(h))
		}
		name, extra := h[:n], h[n:]
		// An encryption record in the extra area: size, type 1.
		encrypted := len(extra) > 1 && extra[1] == 1
		r.add(member{name: validUTF8(string(name)), size: int64(min(size, 1<<50)), encrypted: encrypted})
	}
}
