package filters

import (
	"context"
	"errors"
	"io"
	"strings"

	"postern/mail"
)

// ReadingLimits bound what ReadMessage keeps in memory of the decoded content; zero stands for the
// defaults.
type ReadingLimits struct {
	Text  int // bytes of one text part
	Image int // bytes of one picture that has a Content-ID
	Total int // of all

	Flat bool // archives are not looked into, and their files may be left out
}

func (l ReadingLimits) orDefaults() ReadingLimits {
	for _, d := range []struct {
		p *int
		n int
	}{{&l.Text, 1 << 20}, {&l.Image, 2 << 20}, {&l.Total, 8 << 20}} {
		if *d.p <= 0 {
			*d.p = d.n
		}
	}
	return l
}

// A Reading is a message as people read it. It comes from the walk that gathers the facts, so that
// people are shown what rules saw.
type Reading struct {
	Facts ContentFacts
	Parts []ReadingPart // texts and pictures, in the order in which they end
	Files []ReadingFile // as in Facts.Attachments
}

// A ReadingPart is a part without parts, decoded.
type ReadingPart struct {
	Type, Charset string // as declared, in lower case
	ContentID     string // without its angle brackets
	Attached      bool   // mail programs list it as a file, they do not show it as text
	Within        int    // how many messages lie around it; 0 is the message itself
	Data          []byte
	Cut           bool // there is more
}

// A ReadingFile is an attachment with its place.
type ReadingFile struct {
	Attachment
	Place Place
	Level int // how many archives it lies in
}

// A Place tells CopyFile where a file is.
type Place struct {
	leaf       int   // count of the leaf readings in the walk, from 1
	start, end int64 // in the message as received, when leaf is 0
}

// Ok reports whether the file can be copied out of the message. A member of an archive cannot.
func (p Place) Ok() bool { return p.leaf > 0 || p.end > p.start }

// ReadMessage reads a finished message.
func ReadMessage(ctx context.Context, body *mail.Body, limits ReadingLimits) (*Reading, error) {
	k := &keeper{limits: limits.orDefaults(), sinks: map[*sink]*keptSink{}}
	c := newCollector()
	defer c.release()
	c.keeper, c.outline, c.flat = k, &outliner{}, limits.Flat
	if err := c.readAll(ctx, &Input{Body: body}); err != nil {
		return nil, err
	}
	k.Facts = c.facts
	for i := range k.Files {
		if f := &k.Files[i]; f.Place.end < 0 {
			s := c.outline.Sections[f.Place.start]
			f.Place, f.Size = Place{start: s.Body, end: s.End}, int(s.End-s.Body)
		}
	}
	return &k.Reading, nil
}

// What CopyFile says when the place is none in this message, and when the file is larger than the
// message can honestly make it.
var (
	ErrNoFile  = errors.New("filters: there is no such file in the message")
	ErrTooMuch = errors.New("filters: the file decodes to more than its message may")
)

// CopyFile writes one file of a finished message, decoded, to w. It reads the message once more
// and keeps none of it in memory.
func CopyFile(ctx context.Context, body *mail.Body, at Place, w io.Writer) error {
	if !at.Ok() {
		return ErrNoFile
	}
	if at.leaf == 0 {
		r := body.Open()
		defer r.Close()
		if at.end > body.Size() {
			return ErrNoFile
		}
		r.Skip(at.start)
		_, err := io.CopyN(w, withContext{ctx, r}, at.end-at.start)
		return err
	}
	k := &keeper{copied: at.leaf, to: w, sinks: map[*sink]*keptSink{}}
	c := newCollector()
	defer c.release()
	c.keeper, c.flat = k, true
	err := c.readAll(ctx, &Input{Body: body})
	switch {
	case k.err != nil:
		return k.err
	case err != nil:
		return err
	case at.leaf > len(k.sinks):
		return ErrNoFile
	}
	return nil
}

type withContext struct {
	ctx context.Context
	r   io.Reader
}

func (c withContext) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// A keeper keeps what people look at while a walk comes by. A nil one keeps nothing.
type keeper struct {
	Reading
	limits ReadingLimits
	used   int
	sinks  map[*sink]*keptSink
	place  Place
	level  int

	copied int // the reading that is written to to
	to     io.Writer
	err    error
}

// A keptSink is one reading of a leaf.
type keptSink struct {
	number int // of all readings in the walk, from 1
	data   []byte
	more   bool // there was more
}

// count gives a reading of a leaf its number.
func (k *keeper) count(s *sink) {
	if k != nil {
		k.sinks[s] = &keptSink{number: len(k.sinks) + 1}
	}
}

// take keeps decoded bytes of a sink.
func (k *keeper) take(s *sink, p []byte) {
	x := k.sinks[s]
	if x == nil { // outside of any part
		return
	}
	if k.to != nil {
		if x.number == k.copied && k.err == nil {
			_, k.err = k.to.Write(p)
		}
		return
	}
	most := k.most(&s.l.ent)
	if s.l.inline || s.l.s.isSpec || s != s.l.reads[0].sink {
		most = 0
	}
	n := max(0, min(len(p), most-len(x.data), k.limits.Total-k.used))
	k.used += n
	x.data = append(x.data, p[:n]...)
	x.more = x.more || n < len(p)
}

// lose notes that bytes of a sink were left out for a limit.
func (k *keeper) lose(s *sink) {
	if k == nil {
		return
	}
	if x := k.sinks[s]; x != nil {
		x.more = true
		if x.number == k.copied && k.err == nil {
			k.err = ErrTooMuch
		}
	}
}

func (k *keeper) most(e *entity) int {
	switch {
	case strings.HasPrefix(e.typ, "text/") && !attachedText(e):
		return k.limits.Text
	case strings.HasPrefix(e.typ, "image/") && len(e.id) > 0:
		return k.limits.Image
	}
	return 0
}

// attachedText reports text that is a file for most readers.
func attachedText(e *entity) bool {
	return strings.HasPrefix(e.disposition, "attachment") || e.named && e.disposition != "inline" ||
		e.typ != "text/plain" && e.typ != "text/html" && e.typ != "text/xhtml"
}

// part notes a finished leaf.
func (k *keeper) part(l *leaf) {
	if k == nil || k.to != nil || l.inline || l.s.isSpec || l.ent.is("multipart/") && len(l.ent.boundaries) > 0 || len(k.Parts) >= maxFactParts {
		return
	}
	first := k.sinks[l.reads[0].sink]
	e := &l.ent
	k.Parts = append(k.Parts, ReadingPart{Type: clipUTF8(e.typ, 100), Charset: strings.ToLower(clipUTF8(e.charset, 40)),
		ContentID: clipUTF8(strings.Trim(mail.Unfold(e.id), " \t<>"), 255), Attached: !strings.HasPrefix(e.typ, "text/") || attachedText(e),
		Within: l.s.msgs, Data: first.data, Cut: first.more})
}

// inside says how many archives the next file lies in.
func (k *keeper) inside(level int) {
	if k != nil {
		k.level = level
	}
}

// reading says of which reading the next file is.
func (k *keeper) reading(s *sink) {
	if k != nil {
		k.place = Place{leaf: k.sinks[s].number}
	}
}

// section says that the next file is a message within, which lies there as it is. Only the walk of
// the message itself knows where.
func (k *keeper) section(s *mimeWalk) {
	if k == nil {
		return
	}
	if k.place = (Place{}); s.out != nil && s.out.current >= 0 {
		k.place = Place{start: int64(s.out.current), end: -1}
	}
}

// file notes a listed file; members of archives have no place of their own.
func (k *keeper) file(a *Attachment) {
	if k == nil || k.to != nil {
		return
	}
	f := ReadingFile{Attachment: *a, Level: k.level}
	if k.level = 0; f.Level == 0 {
		f.Place = k.place
	}
	k.Files = append(k.Files, f)
}
