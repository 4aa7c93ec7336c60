package filters

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"slices"
)

// Limits of archives: members listed one by one, and members looked at. The extensions of all
// that were looked at are in Attachment.MemberExtensions, listed or not.
const (
	maxMembers    = 1000  // listed, of a message
	maxMemberSeen = 10000 // looked at, of an archive
	maxMemberExts = 256
)

// An archive lists the names inside of a file while the file goes by. It extracts nothing.
type archive interface {
	taker
	close()
	list() *memberList
}

// A member is one file inside of an archive.
type member struct {
	name      string
	size      int64
	encrypted bool
	real      string // by its first bytes, when they were looked at
	inside    string // the archives within the outermost one that it lies in, with slashes between
	level     int    // how many those are
}

type memberList struct {
	members   []member
	seen      int
	exts      []string
	encrypted bool
	conflict  bool // its two lists of names differ
	odd       bool // cut short, or broken
	over      bool
}

func (l *memberList) list() *memberList { return l }

func (l *memberList) add(m member) {
	if l.seen++; l.seen > maxMemberSeen {
		l.over = true
		return
	}
	l.encrypted = l.encrypted || m.encrypted
	for _, e := range extensions([]string{m.name}) {
		l.extension(e)
	}
	if len(l.members) < maxMembers {
		l.members = append(l.members, m)
	}
}

func (l *memberList) extension(e string) {
	switch {
	case slices.Contains(l.exts, e):
	case len(l.exts) >= maxMemberExts:
		l.over = true // rules do not see this one
	default:
		l.exts = append(l.exts, e)
	}
}

// newArchive returns the lister for what begins with head, or nil.
func newArchive(head []byte, e *entity) archive {
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")), bytes.HasPrefix(head, []byte("PK\x01\x02")),
		bytes.HasPrefix(head, []byte("PK00PK")), bytes.HasPrefix(head, []byte("PK\x07\x08")), e.isNamed("zip", "jar"):
		return &zipList{quiet: !bytes.HasPrefix(head, []byte("PK"))}
	case bytes.HasPrefix(head, []byte("MZ")): // perhaps one that unpacks itself
		return &zipList{quiet: true}
	case bytes.HasPrefix(head, []byte("Rar!\x1a\x07\x00")):
		return &rarList{skip: 7}
	case bytes.HasPrefix(head, []byte("Rar!\x1a\x07\x01\x00")):
		return &rarList{skip: 8, five: true}
	case bytes.HasPrefix(head, []byte{0x78, 0x9f, 0x3e, 0x22}):
		return &tnefList{skip: 6}
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b, 8}):
		return &gzipList{}
	case bytes.HasPrefix(head, []byte("%PDF-")):
		return &lockedDoc{marks: pdfMarks}
	case bytes.HasPrefix(head, []byte("\xd0\xcf\x11\xe0")):
		return &lockedDoc{marks: oleMarks}
	}
	return nil
}

// isNamed reports whether a name has one of the extensions.
func (e *entity) isNamed(exts ...string) bool {
	for _, x := range extensions(e.names.names) {
		for _, want := range exts {
			if x == want {
				return true
			}
		}
	}
	return false
}

// A zipList finds the headers of a zip archive by their signatures, local and central ones, so
// that what is hidden from readers of either is seen, and nothing has to be kept. Archives
// stored within the archive are seen the same way.
type zipList struct {
	memberList
	carry   []byte
	local   map[uint64]int // hashed names by local headers less those by central ones
	seed    maphash.Seed
	locals  int
	central int
	end     bool
	quiet   bool // perhaps no zip archive at all
}

const (
	zipLocal   = "PK\x03\x04"
	zipCentral = "PK\x01\x02"
	zipEnd     = "PK\x05\x06"
	// the fixed parts of the headers (APPNOTE 4.3.7, 4.3.12)
	zipLocalLen   = 30
	zipCentralLen = 46
)

func (z *zipList) take(p []byte) {
	if len(z.carry) > 0 {
		z.carry = append(z.carry, p[:min(len(p), zipCentralLen+maxNameBytes)]...)
		rest := z.scan(z.carry, false)
		// What is left and lies within p is found again there.
		if took := len(p) - min(len(p), zipCentralLen+maxNameBytes); took == 0 {
			z.carry = append(z.carry[:0], rest...)
			return
		}
		over := min(len(rest), zipCentralLen+maxNameBytes)
		p = p[zipCentralLen+maxNameBytes-over:]
		z.carry = z.carry[:0]
	}
	z.carry = append(z.carry[:0], z.scan(p, false)...)
}

func (z *zipList) close() {
	z.scan(z.carry, true)
	if z.quiet {
		z.odd = false
		return
	}
	if z.locals > 0 && z.central == 0 || z.locals+z.central > 0 && !z.end {
		z.odd = true
	}
	if z.locals > 0 && z.central > 0 {
		for _, n := range z.local {
			if n != 0 {
				z.conflict = true
			}
		}
	}
}

// scan looks for headers and returns what may be the beginning of one.
func (z *zipList) scan(p []byte, final bool) []byte {
	for {
		i := bytes.IndexByte(p, 'P')
		if i < 0 {
			return nil
		}
		p = p[i:]
		if len(p) < 4 {
			if len(p) > 1 && p[1] != 'K' {
				p = p[1:]
				continue
			}
			return p
		}
		if p[1] != 'K' {
			p = p[1:]
			continue
		}
		n := 0
		switch string(p[:4]) {
		case zipLocal:
			n = z.header(p, zipLocalLen, 6, 26, final)
		case zipCentral:
			n = z.header(p, zipCentralLen, 8, 28, final)
		case zipEnd:
			z.end = true
		}
		if n < 0 {
			return p
		}
		p = p[max(n, 2):]
	}
}

// header reads a local or central header: where the flags and the length of the name stand.
// It returns its length, or -1 when more bytes are needed.
func (z *zipList) header(p []byte, fixed, flags, nameLen int, final bool) int {
	if len(p) < fixed {
		if final {
			z.odd = true
			return len(p)
		}
		return -1
	}
	n := int(binary.LittleEndian.Uint16(p[nameLen:]))
	kept := min(n, maxNameBytes)
	if len(p) < fixed+kept && !final {
		return -1
	}
	kept = min(kept, len(p)-fixed)
	name := p[fixed : fixed+kept]
	flag := binary.LittleEndian.Uint16(p[flags:])
	if n > maxNameBytes {
		z.over = true
	}
	if z.local == nil {
		z.local, z.seed = make(map[uint64]int), maphash.MakeSeed()
	}
	key := maphash.Bytes(z.seed, name)
	if _, known := z.local[key]; !known && len(z.local) >= maxMemberSeen {
		z.over = true
		return fixed + kept
	}
	m := member{name: zipName(name), encrypted: flag&1 != 0}
	central := fixed == zipCentralLen
	if central {
		m.size = int64(binary.LittleEndian.Uint32(p[24:]))
		z.central++
		z.local[key]--
		if z.local[key] >= 0 { // listed by its local header
			if m.encrypted {
				z.encrypted = true
			}
			return fixed + kept
		}
	} else {
		m.size = int64(binary.LittleEndian.Uint32(p[22:]))
		z.locals++
		z.local[key]++
	}
	z.add(m)
	return fixed + kept
}

// zipName decodes a member's name by what it looks like, whatever flag bit 11 says.
func zipName(name []byte) string { return validUTF8(string(bytes.TrimRight(name, "\x00"))) }

// A gzipList has the one name that a gzip header may carry (RFC 1952 2.3).
type gzipList struct {
	memberList
	head []byte
	done bool
}

func (g *gzipList) take(p []byte) {
	if g.done {
		return
	}
	g.head = append(g.head, p[:min(len(p), sniffBytes-len(g.head))]...)
	if len(g.head) >= sniffBytes {
		g.read()
	}
}

func (g *gzipList) close() {
	if !g.done {
		g.read()
	}
}

func (g *gzipList) read() {
	g.done = true
	h := g.head
	if len(h) < 10 || h[3]&8 == 0 {
		return
	}
	flags := h[3]
	h = h[10:]
	if flags&4 != 0 { // extra field
		if len(h) < 2 || len(h) < 2+int(binary.LittleEndian.Uint16(h)) {
			return
		}
		h = h[2+int(binary.LittleEndian.Uint16(h)):]
	}
	if i := bytes.IndexByte(h, 0); i > 0 && i <= maxNameBytes {
		g.add(member{name: validUTF8(string(h[:i]))})
	}
}
