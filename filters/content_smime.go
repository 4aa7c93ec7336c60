package filters

import "bytes"

// A signedData takes an opaque signature (CMS signed-data, RFC 5652 5; RFC 8551 3.5.2) in DER or BER
// while it arrives, and gives the MIME entity in it to walk: mail programs show that, files and all.
// The elements before the content hold no octet strings, so there is no need for a stack. The first
// element that is not constructed says what it is: encrypted mail has octet strings of another kind.
type signedData struct {
	walk  *mimeWalk
	head  []byte // tag and length of an element, as far as they have come
	left  uint64 // bytes of the element under way
	octet bool   // they belong to an octet string
	kind  []byte // the object identifier
	known bool   // it is that of signed-data
	first []byte // the first bytes of the content
	begun bool   // the content has begun
	feeds bool   // it is a MIME entity
	done  bool   // the content has ended, or it is none
}

// isSigned reports whether the part may be one.
func (e *entity) isSigned() bool {
	return e.is("application/pkcs7-mime") || e.is("application/x-pkcs7-mime") || e.isNamed("p7m")
}

// signed begins one.
func (s *mimeWalk) signed() *signedData {
	w := s.child(&entity{typ: "message/rfc822"})
	if w == nil {
		return nil
	}
	return &signedData{walk: w}
}

func (d *signedData) take(p []byte) {
	for len(p) > 0 && !d.done {
		if d.left == 0 {
			d.head = append(d.head, p[0])
			p = p[1:]
			d.element()
			continue
		}
		n := int(min(uint64(len(p)), d.left))
		switch {
		case !d.known:
			d.kind = append(d.kind, p[:n]...)
		case d.octet:
			d.content(p[:n])
		}
		p = p[n:]
		if d.left -= uint64(n); d.left == 0 && !d.known {
			d.known = string(d.kind) == signedDataID
			d.done = !d.known
		}
	}
}

// signedDataID is the content of the object identifier of signed-data (RFC 5652 5.1).
const signedDataID = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"

// element begins an element when all of its head is there (X.690 8.1). Of a constructed one, what is
// in it comes next.
func (d *signedData) element() {
	h := d.head
	if h[0]&0x1f == 0x1f { // no such tag in CMS
		d.done = true
		return
	}
	if len(h) < 2 {
		return
	}
	size := uint64(h[1])
	if size >= 0x80 {
		n := int(size & 0x7f) // 0: indefinite
		if n > 7 {
			d.done = true
			return
		}
		if len(h) < 2+n {
			return
		}
		size = 0
		for _, b := range h[2:] {
			size = size<<8 | uint64(b)
		}
	}
	const octets, identifier, constructed, end = 0x04, 0x06, 0x20, 0x00
	d.head = h[:0]
	d.octet = h[0] == octets
	if d.begun && !d.octet && h[0] != octets|constructed && h[0] != end {
		d.done = true // behind the content
		return
	}
	if h[0]&constructed != 0 {
		return
	}
	if d.left = size; !d.known && (h[0] != identifier || size != uint64(len(signedDataID))) {
		d.done = true
	}
}

// content takes bytes of the content. What does not begin like a header is a signed file.
func (d *signedData) content(p []byte) {
	d.begun = true
	if !d.feeds {
		before := len(d.first)
		d.first = append(d.first, p[:min(len(p), maxFieldName-len(d.first))]...)
		if len(d.first) < maxFieldName && bytes.IndexByte(d.first, ':') < 0 {
			return
		}
		if d.feeds = startsWithField(d.first); !d.feeds {
			d.done = true
			return
		}
		d.walk.feed(d.first[:before])
	}
	d.walk.feed(p)
}

func (d *signedData) close() {
	if d.feeds {
		d.walk.close()
	}
}
