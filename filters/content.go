package filters

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/mail"
)

// Caps of lists in the facts.
const (
	maxFactParts       = 256
	maxFactAttachments = 256
	maxFactAddresses   = 64
	maxFactValue       = 4 << 10

	maxWords  = 512 << 10 // bytes of names and extensions of all attachments
	wordBytes = 16        // that a word takes besides its own
)

// content gathers what the message contains, while it arrives.
func content() Filter {
	return Filter{Name: "content", Cost: Body, Doc: "What the message itself says and contains. Texts are decoded to UTF-8.",
		Stage: mail.Data, Facts: ContentFacts{}, OnFail: Unknown, Inline: true,
		Gather: func(ctx context.Context, in *Input) (any, error) {
			return readContent(ctx, in)
		}}
}

// readContent reads a message to its end.
func readContent(ctx context.Context, in *Input) (ContentFacts, error) {
	c := newCollector()
	defer c.release()
	if err := c.readAll(ctx, in); err != nil {
		return ContentFacts{}, err
	}
	return c.facts, nil
}

func (c *collector) readAll(ctx context.Context, in *Input) error {
	h, err := in.Body.Header()
	if err != nil {
		return err
	}
	r := in.Body.Open()
	defer r.Close()
	if !c.flat {
		c.unpack.ctx, c.unpack.body = ctx, in.Body
		defer c.unpack.closeAll()
	}
	err = c.read(h, in.Received, func() ([]byte, error) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return r.Next()
	})
	if err == nil {
		err = c.unpack.err
	}
	if err != nil {
		return err
	}
	if c.doubtful() {
		c.secondReading(in.Body)
	}
	c.finish()
	return nil
}

// read walks the message with the header h; next gives all of its bytes, block by block.
func (c *collector) read(h *mail.Header, received time.Time, next func() ([]byte, error)) error {
	c.header(h, received)
	s := &c.walk
	s.c, s.flaws, s.bol, s.out = c, &c.flaws, true, c.outline
	s.at, s.next = int64(len(h.Raw)), int64(len(h.Raw))
	checkFields(h, s.flaws)
	e := readEntity(h, s.flaws, false)
	c.facts.Type = clipUTF8(e.typ, 100)
	s.enter(e)
	for skip := len(h.Raw); ; {
		p, err := next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		c.lines.count(p)
		c.facts.Size += len(p)
		n := min(skip, len(p))
		skip -= n
		s.feed(p[n:])
	}
	s.close()
	return nil
}

// A collector gathers facts from the scanner and its children.
type collector struct {
	facts    ContentFacts
	flaws    defects
	spare    defects // of the second scanner: what stands there is no part for most readers
	lines    lineEnds
	parts    int
	compares int
	members  int
	unusual  bool
	leaves   int // parts without parts, as a parser counts that follows one reading
	inlines  int // files found within text
	words    int // bytes of names and extensions
	decoded  int // bytes, of all readings and all that lies within them
	textLeft int
	seen     map[Link]bool // links, once there are more than a few; URL and TextHost alone
	views    *viewList     // what decodedViews asks for
	outline  *outliner     // what ReadOutline asks for
	keeper   *keeper       // what ReadMessage and CopyFile ask for
	unpack   unpacker
	flat     bool     // archives are not looked into
	bufs     [][]byte // free ones
	walk     mimeWalk // of the message itself
}

// Readings of readings multiply: a message in a message, each encoded in two ways, is four, and
// so on; a run length is longer than it looks. Honest mail decodes to less than four times its
// size, however deep messages lie in messages (C-03).
const (
	maxDecodedTimes = 4
	maxDecodedMore  = 4 << 20
)

// mayDecode counts n more bytes; false when that is out of all proportion to the message.
func (c *collector) mayDecode(n int) bool {
	if c.decoded += n; c.decoded <= maxDecodedTimes*c.facts.Size+maxDecodedMore {
		return true
	}
	c.flaws.add(overLimits)
	return false
}

// collectorPool keeps collectors for their buffers: first bytes, text views, heads of parts.
var collectorPool = sync.Pool{New: func() any { return new(collector) }}

func newCollector() *collector {
	c := collectorPool.Get().(*collector)
	c.textLeft = maxTextTotal
	return c
}

// release gives c back; nobody must refer to it any more.
func (c *collector) release() {
	kept := collector{bufs: c.bufs}
	if cap(c.walk.carry) <= maxKept {
		kept.walk.carry = c.walk.carry[:0]
	}
	if cap(c.walk.head) <= maxKept {
		kept.walk.head = c.walk.head[:0]
	}
	*c = kept
	collectorPool.Put(c)
}

// maxKept is the longest carry or head that is kept.
const maxKept = 64 << 10

// buffer returns an empty buffer of at least sniffBytes.
func (c *collector) buffer() []byte {
	if n := len(c.bufs); n > 0 {
		b := c.bufs[n-1]
		c.bufs = c.bufs[:n-1]
		return b
	}
	return make([]byte, 0, sniffBytes)
}

// maxPooled is how many buffers are kept for the next part or message.
const maxPooled = 32

// giveBack takes a buffer back that nobody refers to any more.
func (c *collector) giveBack(b []byte) {
	if cap(b) >= sniffBytes && len(c.bufs) < maxPooled {
		c.bufs = append(c.bufs, b[:0])
	}
}

// keepText appends to a text view within the limits.
func (c *collector) keepText(view, p []byte) []byte {
	n := min(len(p), maxTextPart-len(view), c.textLeft)
	if n <= 0 {
		return view
	}
	if view == nil {
		view = c.buffer()
	}
	c.textLeft -= n
	return append(view, p[:n]...)
}

// container records a multipart or a message within.
func (c *collector) container(e *entity, depth int) {
	c.addPart(e, 0, depth)
	switch e.typ {
	case "multipart/signed":
		c.facts.Signed = true
	case "multipart/encrypted":
		c.facts.Encrypted = true
	}
}

// addPart gives the place of the part in the facts, good until the next one; nil when there is none left.
func (c *collector) addPart(e *entity, size, depth int) *Part {
	c.facts.PartCount++
	if len(c.facts.Parts) >= maxFactParts {
		return nil
	}
	c.facts.Parts = append(c.facts.Parts, Part{Type: clipUTF8(e.typ, 100), Charset: strings.ToLower(clipUTF8(e.charset, 40)), Encoding: clipUTF8(e.cte, 40),
		Disposition: e.disposition, Name: e.names.primary, Size: size, Depth: depth})
	return &c.facts.Parts[len(c.facts.Parts)-1]
}

func clipUTF8(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return validUTF8(s)
}

// messageAttachment lists a message within when it is attached under a name.
func (c *collector) messageAttachment(e *entity) {
	if e.named || e.disposition == "attachment" {
		c.attach(c.attachment(e, e.typ))
	}
}

// part records a finished leaf.
func (c *collector) part(l *leaf) {
	e := &l.ent
	first := l.reads[0].sink
	var p *Part
	if !l.inline && !(e.is("multipart/") && len(e.boundaries) > 0) {
		p = c.addPart(e, int(first.size), l.depth)
	}
	for i := range l.reads {
		k := l.reads[i].sink
		if k.text && len(k.view) > 0 {
			c.readText(k.view, e)
		}
		magic := binaryMagic(k.head)
		if magic && !l.attach {
			c.flaws.add(typeMismatch)
		}
		if !l.attach && !magic || i > 0 && !c.another(l, i) {
			continue
		}
		real := k.realType()
		if i == 0 && p != nil {
			p.RealType = real
		}
		c.keeper.reading(k)
		c.listFile(e, k, real, l.reads[i].enc)
	}
	c.keeper.part(l)
	for i := range l.reads {
		k := l.reads[i].sink
		c.giveBack(k.view)
		c.giveBack(k.head)
		k.view, k.head = nil, nil
	}
	switch e.typ {
	case "application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature":
		c.facts.Signed = true
	case "application/pkcs7-mime", "application/x-pkcs7-mime":
		c.facts.Encrypted = true // enveloped, or signed with the content inside
	}
}

// another reports whether reading i is worth an entry of its own.
func (c *collector) another(l *leaf, i int) bool {
	k := l.reads[i].sink
	return k.archive != nil && k.archive.list().seen > 0 || binaryMagic(k.head)
}

func (c *collector) attachment(e *entity, real string) Attachment {
	names := slices.Clone(e.names.names)
	a := Attachment{Name: clipUTF8(e.names.primary, maxNameBytes), Names: names, Extensions: extensions(names), Type: clipUTF8(e.typ, 100),
		RealType: real, Disposition: e.disposition}
	a.Executable = executableType(real) || slices.ContainsFunc(a.Extensions, executableExtension)
	return a
}

// listFile lists one reading of a leaf, with the members of the archive that it is.
func (c *collector) listFile(e *entity, k *sink, real string, enc encoding) {
	a := c.attachment(e, real)
	a.Size, a.SHA256, a.Encoding = int(k.size), k.sum(), encodingWords[enc]
	if k.archive == nil {
		c.attach(a)
		return
	}
	l := k.archive.list()
	a.Encrypted, a.Members, a.MemberExtensions = l.encrypted, l.seen, l.exts
	if len(l.exts) > 0 {
		slices.Sort(a.MemberExtensions)
	}
	if l.conflict {
		c.flaws.add(archiveConflict)
	}
	if l.odd {
		c.flaws.add(archiveOdd)
	}
	if l.over {
		c.flaws.add(overLimits)
	}
	c.attach(a)
	outer := a.Name
	if outer == "" {
		outer = a.RealType
	}
	for _, m := range l.members {
		if c.members++; c.members > maxMembers {
			return
		}
		me := entity{}
		me.names.flaws = &c.flaws
		me.names.add(m.name, false)
		ma := c.attachment(&me, m.real)
		ma.Size, ma.Encrypted, ma.Archive = int(max(m.size, 0)), m.encrypted, outer
		if m.inside != "" {
			ma.Archive += "/" + m.inside
		}
		c.keeper.inside(m.level + 1)
		c.list(ma)
	}
}

func (c *collector) attach(a Attachment) {
	if len(c.facts.Attachments)-min(c.members, maxMembers) >= maxFactAttachments {
		c.flaws.add(overLimits)
		return
	}
	c.list(a)
}

// list keeps a for the facts, as long as all their names and words take no more than they may.
func (c *collector) list(a Attachment) {
	for _, words := range [...][]string{a.Names, a.Extensions, a.MemberExtensions} {
		for _, w := range words {
			c.words += len(w) + wordBytes
		}
	}
	if c.words > maxWords {
		c.flaws.add(overLimits)
		return
	}
	c.facts.Attachments = append(c.facts.Attachments, a)
	c.outline.file(&a)
	c.keeper.file(&a)
}

// finish turns the defects into facts.
func (c *collector) finish() {
	c.lines.judge(&c.flaws)
	for _, x := range []defect{overLimits, nameControl} {
		if c.spare.has(x) {
			c.flaws.add(x)
		}
	}
	c.facts.Defects = c.flaws.words()
	c.facts.Malformed = c.flaws.serious()
	c.facts.Unusual = c.unusual || c.flaws.bits&formDefects != 0
	c.facts.OverLimits = c.flaws.has(overLimits)
}
