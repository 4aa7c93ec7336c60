package filters

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"
	"strings"

	"github.com/gabriel-vasile/mimetype"

	"postern/mail"
)

// sniffBytes is how much of a part its real type is told from.
const sniffBytes = 3072

// A leaf is a part without parts. It is decoded in every reading at once.
type leaf struct {
	s       *mimeWalk
	ent     entity
	depth   int
	attach  bool // listed as attachment whatever its bytes say
	stray   bool // text outside of any part: only files inside it matter
	inline  bool // found within text
	reads   []leafReading
	onlyRun [1]leafReading
}

// A leafReading is a leaf in one encoding.
type leafReading struct {
	enc  encoding
	dec  decoder
	sink *sink
}

// newLeaf begins a part with the readings that its header allows.
func (s *mimeWalk) newLeaf(e entity) *leaf {
	l := &leaf{s: s, ent: e, depth: s.depth}
	text := e.is("text/") || e.typ == ""
	if !e.is("multipart/") || len(e.boundaries) == 0 {
		s.countLeaf()
	}
	l.attach = e.named || strings.HasPrefix(e.disposition, "attachment") || !strings.HasPrefix(e.typ, "text/") || len(e.types) > 0 && !text
	l.reads = l.onlyRun[:0]
	for _, enc := range e.encodings {
		r := leafReading{enc: enc, dec: s.decoder(enc, text)}
		r.sink = &sink{l: l, text: text && !l.hiddenText(), hashed: l.attach}
		s.c.keeper.count(r.sink)
		if text || enc == encIdentity && !l.attach {
			r.sink.files = &inliner{s: s}
		}
		if e.isMessage() || e.is("multipart/") && len(e.boundaries) > 0 && enc != encIdentity {
			r.sink.message = s.child(&e)
		} else if e.isNamed("eml", "mht", "mhtml", "nws") {
			r.sink.message = s.saved()
		} else if e.isSigned() {
			r.sink.signed = s.signed()
		}
		l.reads = append(l.reads, r)
	}
	return l
}

// hiddenText reports text that no reader shows: that of the second scanner.
func (l *leaf) hiddenText() bool { return l.s.isSpec }

// child scans what an encoded message or multipart decodes to.
func (s *mimeWalk) child(e *entity) *mimeWalk {
	if s.c.parts++; s.depth+1 >= maxDepth || s.c.parts > maxParts {
		s.flaws.add(overLimits)
		return nil
	}
	c := &mimeWalk{c: s.c, flaws: s.flaws, depth: s.depth + 1, msgs: s.msgs + 1, isSpec: s.isSpec, bol: true}
	if e.isMessage() {
		c.inHead = true
	} else {
		c.levels = append(c.levels, level{bounds: e.boundaries, depth: s.depth, seen: true})
	}
	return c
}

// saved scans a message that is attached as a file: who opens it has the files in it. The form of
// what some program has saved is not the sender's, so it is no defect.
func (s *mimeWalk) saved() *mimeWalk {
	c := s.child(&entity{typ: "message/rfc822"})
	if c != nil {
		c.flaws, c.isSpec = &s.c.spare, true
	}
	return c
}

// strayLeaf takes preambles and epilogues.
func (s *mimeWalk) strayLeaf() *leaf {
	l := &leaf{s: s, stray: true, depth: s.depth}
	l.reads = append(l.onlyRun[:0], leafReading{dec: plain{}, sink: &sink{l: l, files: &inliner{s: s}}})
	return l
}

// inlineLeaf begins a file found within text.
func (s *mimeWalk) inlineLeaf(enc encoding, name string) *leaf {
	e := entity{typ: "application/octet-stream", encodings: []encoding{enc}, named: true}
	e.names.flaws = s.flaws
	e.names.add(name, false)
	l := &leaf{s: s, ent: e, depth: s.depth, attach: true, inline: true}
	l.reads = append(l.onlyRun[:0], leafReading{enc: enc, dec: plain{}, sink: &sink{l: l, hashed: true}})
	s.c.keeper.count(l.reads[0].sink)
	return l
}

func (s *mimeWalk) decoder(enc encoding, text bool) decoder {
	switch enc {
	case encBase64:
		return &base64Decoder{flaws: s.flaws}
	case encQP:
		bad := qpBad
		if text {
			bad = qpBadText
		}
		return &qpDecoder{flaws: s.flaws, bad: bad}
	case encUU, encYEnc, encBinHex:
		return &lineDecoder{flaws: s.flaws, kind: enc}
	}
	return plain{}
}

func (l *leaf) write(p []byte) {
	for i := range l.reads {
		l.reads[i].dec.decode(p, l.reads[i].sink)
	}
}

// take implements taker, for files found within text.
func (l *leaf) take(p []byte) { l.reads[0].sink.take(p) }

// finish ends the part and records it.
func (l *leaf) finish() {
	for i := range l.reads {
		r := &l.reads[i]
		r.dec.close(r.sink)
		r.sink.finish()
	}
	if l.stray {
		return
	}
	l.s.c.part(l)
}

// A sink takes the decoded bytes of one reading. It holds the first of them for the type, a
// bounded text view, and whatever a listing of archive members needs.
type sink struct {
	l       *leaf
	text    bool
	hashed  bool
	size    int64
	head    []byte
	hash    hash.Hash
	view    []byte
	files   *inliner
	message *mimeWalk
	signed  *signedData
	archive archive // decided after the first bytes
	decided bool
	packed  *mail.Body // all of an archive, to look into
	seen    []byte     // all of it, when views are asked for
}

// archiveBytes is how many bytes tell which lister an archive needs.
const archiveBytes = 8

func (k *sink) take(p []byte) {
	if len(p) == 0 {
		return
	}
	if !k.l.s.c.mayDecode(len(p)) {
		k.l.s.c.keeper.lose(k)
		return
	}
	before := len(k.head)
	k.size += int64(len(p))
	most := archiveBytes // enough to see what is no text; not more, however it is cut into blocks
	if k.hashed {
		most = sniffBytes
	}
	if room := most - before; room > 0 {
		if k.head == nil && k.hashed {
			k.head = k.l.s.c.buffer()
		}
		k.head = append(k.head, p[:min(room, len(p))]...)
	}
	if k.hashed {
		if k.hash == nil {
			k.hash = sha256.New()
		}
		k.hash.Write(p)
	}
	if k.text {
		k.view = k.l.s.c.keepText(k.view, p)
	}
	if k.l.s.c.views != nil && !k.l.stray {
		k.seen = k.l.s.c.views.keep(k.seen, p)
	}
	if k.l.s.c.keeper != nil {
		k.l.s.c.keeper.take(k, p)
	}
	if k.files != nil {
		k.files.take(p)
	}
	if k.message != nil {
		k.message.feed(p)
	}
	if k.signed != nil {
		k.signed.take(p)
	}
	if !k.decided && len(k.head) >= archiveBytes {
		k.decide()
		if k.archive != nil && before > 0 {
			k.pack(k.head[:before])
		}
	}
	if k.archive != nil {
		k.pack(p)
	}
}

func (k *sink) decide() {
	k.decided = true
	if !k.hashed {
		return
	}
	k.archive = newArchive(k.head, &k.l.ent)
	if u := &k.l.s.c.unpack; u.body != nil && (container(k.head) != "" || calledArchive(k.l.ent.names.names...)) {
		if k.packed = u.keep(); k.archive == nil {
			k.archive = &plainList{}
		}
	}
}

// pack takes bytes of an archive.
func (k *sink) pack(p []byte) {
	k.archive.take(p)
	if k.packed != nil {
		k.l.s.c.unpack.write(k.packed, p)
	}
}

func (k *sink) finish() {
	if k.files != nil {
		k.files.close()
	}
	if k.message != nil {
		k.message.close()
	}
	if k.signed != nil {
		k.signed.close()
	}
	if k.archive != nil {
		k.archive.close()
	}
	if k.packed != nil {
		k.l.s.c.unpack.top(k.packed, k.archive, k.l.ent.names.primary)
	}
	if !k.l.stray {
		k.deeper()
	}
	if len(k.seen) > 0 {
		k.l.s.c.views.list = append(k.l.s.c.views.list, k.seen)
	}
}

// realType tells the type from the first bytes.
func (k *sink) realType() string {
	if k.size == 0 {
		return ""
	}
	m := mimetype.Detect(k.head).String()
	m, _, _ = strings.Cut(m, ";")
	return m
}

func (k *sink) sum() string {
	if k.hash == nil {
		if k.size > 0 {
			return ""
		}
		k.hash = sha256.New()
	}
	return hex.EncodeToString(k.hash.Sum(nil))
}

// binaryMagic reports whether what is declared as text begins like a program, an archive or a
// document.
func binaryMagic(head []byte) bool {
	s := string(head[:min(len(head), archiveBytes)])
	return slices.ContainsFunc(magics, func(m string) bool { return strings.HasPrefix(s, m) })
}

var magics = []string{"PK\x03\x04", "%PDF-", "\x7fELF", "Rar!\x1a", "\xd0\xcf\x11\xe0", "7z\xbc\xaf", "MZ\x90\x00", "MZP\x00", "\x1f\x8b\x08", "MSCF\x00", "L\x00\x00\x00\x01\x14", "\x78\x9f\x3e\x22"}
