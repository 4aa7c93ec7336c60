package filters

import (
	"bytes"
	"slices"
	"strings"

	"postern/mail"
)

// Limits of the structure of a message (requirements 0.2).
const (
	maxParts    = 1000
	maxDepth    = 50
	maxCompares = 4 << 20 // boundary comparisons in one message
)

// A level is an open multipart.
type level struct {
	bounds []string
	depth  int
	seen   bool // a delimiter came
	closed bool // the closing delimiter came
	stray  bool // a delimiter of somebody else came instead
	digest bool
	report bool
	msgs   int // messages around it, within the message
}

// A mimeWalk walks the structure of a message while it arrives. It is fed blocks of any size,
// looks only at the starts of lines, and follows every reading: the delimiters of all open
// multiparts count, and a line that looks like a delimiter with a part header behind it is
// followed too, in a second scanner, whatever the headers said.
type mimeWalk struct {
	c      *collector
	flaws  *defects
	levels []level
	depth  int
	msgs   int   // messages around what comes now
	leaf   *leaf // what takes the body that comes now
	inHead bool
	digest bool // the part whose header comes is one of a multipart/digest
	head   []byte
	bol    bool   // at the beginning of a line
	eol    []byte // a line end not yet given to leaf: it belongs to a delimiter that follows
	carry  []byte // bytes that cannot be judged before more come
	known  int    // how many of carry are known to be without a line end
	spec   *mimeWalk
	isSpec bool
	over   bool

	out  *outliner // takes down where the parts are; nil: nobody asks
	at   int64     // where what run looks at now stands in the message
	from int64     // where the header of the part begins
	next int64     // where what comes next begins: a header, or a body
}

var (
	lf   = []byte("\n")
	crlf = []byte("\r\n")
)

// feed takes the next bytes.
func (s *mimeWalk) feed(p []byte) {
	if len(s.carry) > 0 {
		s.carry = append(s.carry, p...)
		p = s.carry
	}
	p = s.run(p, false)
	s.carry = append(s.carry[:0], p...)
}

// close ends the message (or what is scanned like one).
func (s *mimeWalk) close() {
	s.run(s.carry, true)
	s.carry = s.carry[:0]
	s.give(nil, nil) // no delimiter followed: the last line end is the body's own
	s.endBody()
	s.out.close(-1, s.at)
	s.pop(0)
}

func (s *mimeWalk) run(p []byte, final bool) []byte {
	for len(p) > 0 && !s.over {
		n := 0
		if s.inHead {
			n = s.headLine(p, final)
		} else {
			n = s.body(p, final)
		}
		if n == 0 {
			return p
		}
		p = p[n:]
		s.at += int64(n)
		s.known = 0
	}
	return nil
}

// headLine takes one line of a part's header.
func (s *mimeWalk) headLine(p []byte, final bool) int {
	n := bytes.IndexByte(p[s.known:], '\n') + 1
	if n > 0 {
		n += s.known
	} else {
		if !final && len(p) < mail.DefaultHeaderLimits().Field {
			s.known = len(p)
			return 0
		}
		n = len(p)
	}
	line := p[:n]
	s.next = s.at + int64(n)
	if line[0] == '\n' || line[0] == '\r' && n == 2 && line[1] == '\n' {
		s.startBody()
		return n
	}
	if line[0] == '-' && n > 2 && line[1] == '-' {
		if k, end, ok := s.match(trimEOL(line)); ok {
			s.next = s.at
			s.startBody()
			s.delimiter(k, end, n)
			return n
		}
	}
	s.head = append(s.head, line...)
	if len(s.head) > mail.DefaultHeaderLimits().Bytes {
		s.flaws.add(overLimits)
		s.startBody()
	}
	return n
}

func trimEOL(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, lf), crByte)
}

// body takes bytes up to the next line that may be a delimiter.
func (s *mimeWalk) body(p []byte, final bool) int {
	if s.bol && p[0] == '-' {
		if len(p) == 1 && !final {
			return 0
		}
		if len(p) > 1 && p[1] == '-' {
			if n, done := s.dashes(p, final); done {
				return n
			}
		}
	}
	for from := 0; ; {
		i := bytes.IndexByte(p[from:], '\n')
		if i < 0 {
			n := len(p)
			if p[n-1] == '\r' && !final {
				n-- // its LF may belong to a delimiter
			}
			if n > 0 {
				s.bol = false
				s.give(p[:n], nil)
			}
			return n
		}
		from += i + 1
		if from == len(p) || p[from] == '-' && (from+1 == len(p) || p[from+1] == '-') {
			end := lf
			n := from - 1
			if n > 0 && p[n-1] == '\r' {
				end = crlf
				n--
			}
			s.give(p[:n], end)
			s.bol = true
			return from
		}
	}
}

// give hands body bytes on, with the line end that was held back before them; eol is held back
// in turn.
func (s *mimeWalk) give(p, eol []byte) {
	s.write(s.eol)
	s.write(p)
	s.eol = eol
}

func (s *mimeWalk) write(p []byte) {
	if len(p) == 0 {
		return
	}
	if s.leaf != nil {
		s.leaf.write(p)
	}
	if s.spec != nil {
		s.spec.feed(p)
	}
}

// part begins the header of a part of level k.
func (s *mimeWalk) part(k int) {
	if s.c.parts++; s.c.parts > maxParts {
		s.limit()
		return
	}
	s.depth, s.msgs = s.levels[k].depth+1, s.levels[k].msgs
	s.digest = s.levels[k].digest
	s.from = s.next
	s.inHead = true
	s.head = s.head[:0]
}

// pop closes the levels from k on.
func (s *mimeWalk) pop(k int) {
	for i := len(s.levels) - 1; i >= k; i-- {
		l := &s.levels[i]
		switch {
		case len(l.bounds) == 0:
		case !l.seen && l.stray:
			s.flaws.add(boundaryMismatch)
		case !l.seen:
			s.flaws.add(boundaryAbsent)
		case !l.closed:
			s.flaws.add(boundaryUnterminated)
		}
	}
	s.levels = s.levels[:min(k, len(s.levels))]
}

// push opens a multipart.
func (s *mimeWalk) push(l level) bool {
	if s.depth+1 > maxDepth || len(s.levels) >= maxDepth {
		s.limit()
		return false
	}
	l.depth, l.msgs = s.depth, s.msgs
	s.levels = append(s.levels, l)
	return true
}

// limit stops the walk: the message is over its limits, what follows is not looked at.
func (s *mimeWalk) limit() {
	s.c.flaws.add(overLimits)
	s.endLeaf()
	s.over = true
}

func (s *mimeWalk) endBody() {
	if s.inHead {
		s.next = s.at
		s.startBody()
	}
	s.eol = nil
	s.bol = true
	s.endLeaf()
}

func (s *mimeWalk) endLeaf() {
	if sp := s.spec; sp != nil {
		s.spec = nil
		sp.close()
	}
	if l := s.leaf; l != nil {
		s.leaf = nil
		l.finish()
	}
}

// startBody reads the header collected so far and decides what takes the body.
func (s *mimeWalk) startBody() {
	h := mail.ParseHeader(s.head, mail.DefaultHeaderLimits())
	if h.Over {
		s.flaws.add(overLimits)
	}
	checkFields(h, s.flaws)
	digest := s.digest
	s.digest = false
	s.enter(readEntity(h, s.flaws, digest))
}

// enter begins the body of e.
func (s *mimeWalk) enter(e entity) {
	s.inHead = false
	s.bol = true
	s.eol = nil
	s.c.unusual = s.c.unusual || e.unusual || s.seldom(&e)
	s.out.open(s, &e)
	encoded := len(e.encodings) > 1 || e.encodings[0] != encIdentity
	switch {
	case e.is("multipart/"):
		if encoded {
			s.flaws.add(encodingOnMultipart)
		}
		if len(e.boundaries) > 0 && !s.push(level{bounds: e.boundaries, digest: e.typ == "multipart/digest", report: e.typ == "multipart/report"}) {
			return
		}
		s.c.container(&e, s.depth)
		if encoded || len(e.boundaries) == 0 || len(e.types) > 0 || e.named {
			s.leaf = s.newLeaf(e)
		} else {
			s.leaf = s.strayLeaf()
		}
	case e.isMessage():
		if e.is("message/global") && !s.inReport() {
			s.flaws.add(globalMessage)
		}
		if s.depth+1 > maxDepth {
			s.limit()
			return
		}
		if encoded || len(e.types) > 0 {
			s.leaf = s.newLeaf(e)
			return
		}
		s.c.container(&e, s.depth)
		s.c.keeper.section(s)
		s.c.messageAttachment(&e)
		s.countLeaf()
		s.depth++
		s.msgs++
		s.from = s.next
		s.inHead = true
		s.head = s.head[:0]
	default:
		if e.is("message/partial") {
			s.flaws.add(partialMessage)
		}
		if e.is("message/external-body") {
			s.flaws.add(externalBody)
		}
		s.leaf = s.newLeaf(e)
	}
}

// seldom reports a type whose parts scanners of whole messages may pass over: clamd does not look
// behind the first part of multipart/signed, and not at all into multipart/parallel or a message/*
// that is the message itself.
func (s *mimeWalk) seldom(e *entity) bool {
	switch {
	case len(e.types) > 0:
		return true
	case strings.HasPrefix(e.typ, "multipart/"):
		return !slices.Contains(usualMultiparts, e.typ)
	case e.typ == "message/rfc822":
		return s.depth == 0
	}
	return strings.HasPrefix(e.typ, "message/") && !s.inReport()
}

var usualMultiparts = []string{"multipart/mixed", "multipart/alternative", "multipart/related", "multipart/report"}

// countLeaf counts what a parser sees as a part without parts that follows one reading only and
// does not look into messages.
func (s *mimeWalk) countLeaf() {
	if s.msgs == 0 && !s.isSpec {
		s.c.leaves++
	}
}

func (s *mimeWalk) inReport() bool {
	for i := range s.levels {
		if s.levels[i].report {
			return true
		}
	}
	return false
}
