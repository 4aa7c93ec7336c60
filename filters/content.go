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

// ContentFacts are what the message itself says and contains. Texts are decoded to UTF-8; lists
// are capped, and content.over_limits tells when something was left out for a limit.
type ContentFacts struct {
	Error string `expr:"error" json:"error,omitempty" doc:"Why the content could not be read; empty when it could."`

	Size            int                 `expr:"size" json:"size" doc:"Bytes of the message as received."`
	Subject         string              `expr:"subject" json:"subject" doc:"First Subject, decoded."`
	SubjectRaw      string              `expr:"subject_raw" json:"subject_raw,omitempty" doc:"First Subject as it stands in the header, when it differs from the decoded one."`
	SubjectCharset  string              `expr:"subject_charset" json:"subject_charset,omitempty" doc:"Charset of the first encoded word in the subject, in lower case."`
	From            []From              `expr:"from" json:"from,omitempty" doc:"Every mailbox that any reader may take for an author."`
	FromFields      int                 `expr:"from_fields" json:"from_fields" doc:"How many fields may be taken for From; 1 in good mail."`
	FromOK          bool                `expr:"from_ok" json:"from_ok" doc:"There is one From field with one mailbox that everybody reads alike."`
	ReplyTo         []From              `expr:"reply_to" json:"reply_to,omitempty" doc:"Mailboxes of Reply-To."`
	To              []From              `expr:"to" json:"to,omitempty" doc:"Mailboxes of To, at most 64."`
	Cc              []From              `expr:"cc" json:"cc,omitempty" doc:"Mailboxes of Cc, at most 64."`
	Date            string              `expr:"date" json:"date,omitempty" doc:"Date in RFC 3339 form, empty when it is missing or cannot be read."`
	DateSkewSeconds int                 `expr:"date_skew_seconds" json:"date_skew_seconds" doc:"Seconds by which Date is ahead of the time of receipt; negative for the past; 0 without a Date."`
	MessageID       string              `expr:"message_id" json:"message_id,omitempty" doc:"Message-ID as it stands."`
	ListID          string              `expr:"list_id" json:"list_id,omitempty" doc:"List-Id between its angle brackets (RFC 2919)."`
	ReceivedHops    int                 `expr:"received_hops" json:"received_hops" doc:"Number of Received fields."`
	Header          map[string]string   `expr:"header" json:"header,omitempty" doc:"First field of each name (in lower case), decoded, at most 4 KiB."`
	Headers         map[string][]string `expr:"headers" json:"headers,omitempty" doc:"All fields of each name (in lower case), decoded, at most 4 KiB each."`
	Duplicates      []string            `expr:"duplicates" json:"duplicates,omitempty" doc:"Names of fields that may stand once and stand more than once."`

	Type        string       `expr:"type" json:"type" doc:"Declared type of the message, in lower case: text/plain, multipart/mixed."`
	Parts       []Part       `expr:"parts" json:"parts,omitempty" doc:"The parts in order, containers too, at most 256."`
	PartCount   int          `expr:"part_count" json:"part_count" doc:"Number of parts."`
	Attachments []Attachment `expr:"attachments" json:"attachments,omitempty" doc:"Every part with a name, a disposition of attachment or a type other than text; files found within text; members of archives, with archive set."`
	Links       []Link       `expr:"links" json:"links,omitempty" doc:"What the text and the HTML point to, each once, at most 1000."`
	LinksCut    bool         `expr:"links_cut" json:"links_cut,omitempty" doc:"There are more links than listed."`
	Text        string       `expr:"text" json:"text,omitempty" doc:"Beginning of the plain text parts, decoded, at most 16 KiB."`
	HTML        string       `expr:"html" json:"html,omitempty" doc:"Beginning of the HTML parts as source, decoded, at most 16 KiB."`
	GTUBE       bool         `expr:"gtube" json:"gtube,omitempty" doc:"The test string of spam filters is in a text part."`

	Signed    bool `expr:"signed" json:"signed,omitempty" doc:"Signed by S/MIME or PGP; the signature is not verified."`
	Encrypted bool `expr:"encrypted" json:"encrypted,omitempty" doc:"Encrypted by S/MIME or PGP: nobody on the way can look inside."`

	Defects    []string `expr:"defects" json:"defects,omitempty" doc:"Words for what is wrong with the form of the message."`
	Unusual    bool     `expr:"unusual" json:"unusual,omitempty" doc:"The form is one that scanners of whole messages may not follow: decoded parts should be scanned too."`
	Malformed  bool     `expr:"malformed" json:"malformed,omitempty" doc:"A defect is one that readers may be deceived by; the built-in policy holds such mail."`
	OverLimits bool     `expr:"over_limits" json:"over_limits,omitempty" doc:"A limit was reached, so that not all of the message was looked at."`
}

// From is one mailbox.
type From struct {
	Name    string `expr:"name" json:"name,omitempty" doc:"Display name, decoded."`
	Address string `expr:"address" json:"address" doc:"Address in its canonical form."`
	Domain  string `expr:"domain" json:"domain" doc:"Domain in lower case and A-labels, empty when the address has none."`

	NameDomain string `expr:"name_domain" json:"name_domain,omitempty" doc:"Domain of an address that the display name shows, when it is not the mailbox's own."`
}

// A Part is one part of a message as its header declares it.
type Part struct {
	Type        string `expr:"type" json:"type" doc:"Declared type, in lower case."`
	Charset     string `expr:"charset" json:"charset,omitempty" doc:"Declared charset, in lower case."`
	Encoding    string `expr:"encoding" json:"encoding,omitempty" doc:"Content-Transfer-Encoding as declared, in lower case."`
	Disposition string `expr:"disposition" json:"disposition,omitempty" doc:"Inline, attachment or what was declared."`
	Name        string `expr:"name" json:"name,omitempty" doc:"File name, empty without one."`
	Size        int    `expr:"size" json:"size" doc:"Decoded bytes; 0 for containers."`
	Depth       int    `expr:"depth" json:"depth" doc:"How deep it lies; 0 is the message itself."`
}

// An Attachment is a file in a message, or inside of an archive in it.
type Attachment struct {
	Name             string   `expr:"name" json:"name" doc:"File name as a good mail reader shows it."`
	Names            []string `expr:"names" json:"names,omitempty" doc:"Every name that some reader may see or save it under, at most 16."`
	Extensions       []string `expr:"extensions" json:"extensions,omitempty" doc:"Last and last but one extension of every name, in lower case without dot."`
	Type             string   `expr:"type" json:"type,omitempty" doc:"Declared type, in lower case."`
	RealType         string   `expr:"real_type" json:"real_type,omitempty" doc:"Type by the first bytes of the content."`
	Executable       bool     `expr:"executable" json:"executable,omitempty" doc:"A program or script by its first bytes or the extension of one of its names."`
	Size             int      `expr:"size" json:"size" doc:"Decoded bytes."`
	SHA256           string   `expr:"sha256" json:"sha256,omitempty" doc:"SHA-256 of the decoded bytes, in hex."`
	Encoding         string   `expr:"encoding" json:"encoding,omitempty" doc:"How it was encoded: base64, quoted-printable, uuencode, yenc, binhex, or empty."`
	Disposition      string   `expr:"disposition" json:"disposition,omitempty" doc:"Inline, attachment or what was declared."`
	Archive          string   `expr:"archive" json:"archive,omitempty" doc:"Name of the archive it lies in; empty for a part of the message."`
	Encrypted        bool     `expr:"encrypted" json:"encrypted,omitempty" doc:"An archive with encrypted members, or such a member."`
	Members          int      `expr:"members" json:"members,omitempty" doc:"Number of files in the archive."`
	MemberExtensions []string `expr:"member_extensions" json:"member_extensions,omitempty" doc:"Extensions of all files in the archive, also of those not listed."`
}

// A Link is a URL in the text.
type Link struct {
	URL      string `expr:"url" json:"url" doc:"The URL as it stands, at most 512 bytes."`
	Host     string `expr:"host" json:"host,omitempty" doc:"Its host in lower case and A-labels."`
	TextHost string `expr:"text_host" json:"text_host,omitempty" doc:"Host that the text of the link shows, when it is another one."`
}

// Caps of lists in the facts.
const (
	maxFactParts       = 256
	maxFactAttachments = 256
	maxFactAddresses   = 64
	maxFactValue       = 4 << 10

	maxWords  = 512 << 10 // bytes of names and extensions of all attachments
	wordBytes = 16        // that a word takes besides its own
)

// Abridged gives the facts without the text, for the journal: it outlives the message, and is
// no place for what people wrote.
func (f ContentFacts) Abridged() any {
	f.Text, f.HTML = "", ""
	return f
}

// content gathers what the message contains, while it arrives.
func content() Filter {
	return Filter{Name: "content", Stage: mail.Data, Facts: ContentFacts{}, OnFail: Unknown, Inline: true,
		Gather: func(ctx context.Context, in *Input) (any, error) {
			f, err := readContent(ctx, in)
			if err != nil {
				return ContentFacts{}, err
			}
			return *f, nil
		}}
}

// readContent reads a message to its end.
func readContent(ctx context.Context, in *Input) (*ContentFacts, error) {
	h, err := in.Body.Header()
	if err != nil {
		return nil, err
	}
	r := in.Body.Open()
	defer r.Close()
	c := newCollector()
	defer c.release()
	err = c.read(h, in.Received, func() ([]byte, error) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return r.Next()
	})
	if err != nil {
		return nil, err
	}
	if c.doubtful() {
		c.secondReading(in.Body)
	}
	c.finish()
	return &c.facts, nil
}

// read walks the message with the header h; next gives all of its bytes, block by block.
func (c *collector) read(h *mail.Header, received time.Time, next func() ([]byte, error)) error {
	c.header(h, received)
	s := &mimeWalk{c: c, flaws: &c.flaws, bol: true}
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
	seen     map[string]bool // links
	views    *viewList       // what decodedViews asks for
	bufs     [][]byte        // free ones
	pool     *[][]byte
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

// bufferPool keeps buffers for first bytes and text views between messages.
var bufferPool = sync.Pool{New: func() any { return new([][]byte) }}

func newCollector() *collector {
	pool := bufferPool.Get().(*[][]byte)
	return &collector{textLeft: maxTextTotal, pool: pool, bufs: *pool}
}

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

func (c *collector) release() {
	*c.pool = c.bufs
	bufferPool.Put(c.pool)
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

func (c *collector) addPart(e *entity, size, depth int) {
	c.facts.PartCount++
	if len(c.facts.Parts) < maxFactParts {
		c.facts.Parts = append(c.facts.Parts, Part{Type: clipUTF8(e.typ, 100), Charset: strings.ToLower(clipUTF8(e.charset, 40)), Encoding: clipUTF8(e.cte, 40),
			Disposition: e.disposition, Name: e.names.primary, Size: size, Depth: depth})
	}
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
	if !l.inline && !(e.is("multipart/") && len(e.boundaries) > 0) {
		c.addPart(e, int(first.size), l.depth)
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
		c.listFile(e, k, l.reads[i].enc)
	}
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
func (c *collector) listFile(e *entity, k *sink, enc encoding) {
	a := c.attachment(e, k.realType())
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
		ma := c.attachment(&me, "")
		ma.Size, ma.Encrypted, ma.Archive = int(m.size), m.encrypted, outer
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
