package filters

import (
	"context"
	"slices"
	"strings"

	"postern/mail"
)

// An Outline tells where the parts of a message lie, for who edits some and leaves the rest byte
// for byte. It comes from the walk that gathers the facts, so it sees what rules see.
type Outline struct {
	Sections []Section    // the message itself first, then its parts in order, down into messages within
	Loose    []Attachment // files outside of any part: before the first delimiter, behind the last one
	Doubt    string       // the defect for which readers may see other parts than these; "" when there is none
	Cut      bool         // a limit was reached: there may be files that are not listed
}

// A Section is one part, with offsets in the message as received.
type Section struct {
	Parent int   // index; -1 for the message itself
	Header int64 // where its header begins
	Body   int64 // where its body begins, behind the empty line
	End    int64 // where its body ends, before the line end that belongs to the delimiter

	Type, Charset, Encoding, Disposition string       // as declared, in lower case
	Named                                bool         // it has a file name
	Files                                []Attachment // what readers may find in it, in any reading: itself, members of an archive, files within text

	depth int
	open  bool
}

// structureDefects are those for which readers may divide a message otherwise.
const structureDefects = 1<<malformedHeader | 1<<hiddenField | 1<<typeConflict | 1<<typeMalformed | 1<<boundaryConflict | 1<<boundaryMissing |
	1<<boundaryOdd | 1<<boundaryLong | 1<<boundaryAbsent | 1<<boundaryMismatch | 1<<boundaryJunk | 1<<partAfterClose | 1<<embeddedPart | 1<<encodingConflict |
	1<<encodingOdd | 1<<encodingOnMultipart | 1<<partialMessage | 1<<nulByte | 1<<bareCR | 1<<mixedLineEnds | 1<<headerUnended | 1<<parsersDisagree | 1<<overLimits

// ReadOutline walks a finished message.
func ReadOutline(ctx context.Context, body *mail.Body) (*Outline, error) {
	out := &outliner{}
	c := newCollector()
	defer c.release()
	c.outline = out
	if err := c.readAll(ctx, &Input{Body: body}); err != nil {
		return nil, err
	}
	doubts := defects{c.flaws.bits & structureDefects}
	if words := doubts.words(); len(words) > 0 {
		out.Doubt = words[0]
	}
	out.Cut = c.facts.OverLimits
	return &out.Outline, nil
}

// An outliner takes down what a walk comes by. A nil one takes nothing.
type outliner struct {
	Outline
	current int
}

// open begins a section whose header has been read.
func (o *outliner) open(s *mimeWalk, e *entity) {
	if o == nil {
		return
	}
	x := Section{Parent: -1, Header: s.from, Body: s.next, depth: s.depth, open: true, Type: e.typ, Charset: strings.ToLower(e.charset),
		Encoding: e.cte, Disposition: e.disposition, Named: e.named}
	if len(o.Sections) > 0 {
		x.Parent = o.current
	}
	o.current = len(o.Sections)
	o.Sections = append(o.Sections, x)
}

// close ends the sections that lie deeper than depth.
func (o *outliner) close(depth int, at int64) {
	if o == nil {
		return
	}
	for o.current >= 0 && len(o.Sections) > 0 && o.Sections[o.current].depth > depth {
		x := &o.Sections[o.current]
		x.End, x.open = max(at, x.Body), false
		o.current = x.Parent
	}
}

// file adds what was found to the part in which it lies. In a multipart it lies between parts.
func (o *outliner) file(a *Attachment) {
	switch {
	case o == nil:
	case o.current < 0 || len(o.Sections) == 0 || strings.HasPrefix(o.Sections[o.current].Type, "multipart/"):
		o.Loose = append(o.Loose, *a)
	default:
		x := &o.Sections[o.current]
		x.Files = append(x.Files, *a)
	}
}

// Dangerous reports a program or a script, or an archive that holds one.
func (a *Attachment) Dangerous() bool {
	return a.Executable || slices.ContainsFunc(a.MemberExtensions, executableExtension)
}

// HasExtension reports whether one of its names, or of the names in it, ends in the extension,
// which is given in lower case without a dot.
func (a *Attachment) HasExtension(ext string) bool {
	return slices.Contains(a.MemberExtensions, ext) || slices.ContainsFunc(a.Names, func(name string) bool {
		name = savedName(name)
		i := strings.LastIndexByte(name, '.')
		return i >= 0 && extension(name[i+1:]) == ext
	})
}
