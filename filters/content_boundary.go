package filters

import (
	"bytes"
	"strings"
)

// dashes judges a line that begins with two hyphens. done is false when it is no delimiter.
func (s *mimeWalk) dashes(p []byte, final bool) (n int, done bool) {
	i := bytes.IndexByte(p[s.known:], '\n')
	if i < 0 {
		if !final && len(p) <= maxBoundary+64 {
			s.known = len(p)
			return 0, true
		}
		if !final {
			return 0, false
		}
		i = len(p) - 1 - s.known
	}
	i += s.known
	line, rest := p[:i+1], p[i+1:]
	if len(line) > maxBoundary+64 {
		return 0, false
	}
	text := trimEOL(line)
	if k, end, ok := s.match(text); ok {
		s.delimiter(k, end, len(line))
		return len(line), true
	}
	// Somebody else's delimiter? Only with a part header right behind it.
	if len(rest) < len("content-") && bytes.IndexByte(rest, '\n') < 0 && !final {
		return 0, true
	}
	if !startsWithFold(rest, "content-") {
		if s.extends(text[2:]) {
			if len(rest) < maxFieldName && bytes.IndexByte(rest, '\n') < 0 && !final {
				return 0, true
			}
			if startsWithField(rest) {
				s.flaws.add(boundaryJunk)
			}
		}
		return 0, false
	}
	if s.spec == nil || s.isSpec {
		s.strange(string(text[2:]))
		if s.isSpec {
			return len(line), true
		}
	}
	return 0, false
}

// extends reports whether text begins with a boundary that is waited for: a reader that compares
// no more than that sees a delimiter.
func (s *mimeWalk) extends(text []byte) bool {
	for i := range s.levels {
		for _, b := range s.levels[i].bounds {
			if !s.levels[i].closed && len(text) > len(b) && string(text[:len(b)]) == b {
				return true
			}
		}
	}
	return false
}

// maxFieldName is how far the colon of a field is looked for behind a delimiter.
const maxFieldName = 64

// startsWithField reports whether p begins like a header field.
func startsWithField(p []byte) bool {
	i := bytes.IndexByte(p[:min(len(p), maxFieldName)], ':')
	return i > 0 && isToken(string(p[:i]))
}

func startsWithFold(p []byte, prefix string) bool {
	return len(p) >= len(prefix) && strings.EqualFold(string(p[:len(prefix)]), prefix)
}

// strange follows a delimiter that no header announced.
func (s *mimeWalk) strange(bound string) {
	bound = strings.TrimRight(bound, " \t")
	s.c.flaws.add(embeddedPart)
	for i := range s.levels {
		l := &s.levels[i]
		l.stray = true
		for _, b := range l.bounds {
			if strings.HasPrefix(bound, b) && !l.closed {
				s.flaws.add(boundaryJunk)
			}
		}
	}
	if s.isSpec {
		s.endBody()
		if s.push(level{bounds: []string{bound}, seen: true}) {
			s.part(len(s.levels) - 1)
		}
		return
	}
	if s.depth+1 >= maxDepth {
		s.limit()
		return
	}
	s.write(s.eol)
	s.eol = nil
	s.spec = &mimeWalk{c: s.c, flaws: &s.c.spare, depth: s.depth + 1, isSpec: true, bol: true,
		levels: []level{{bounds: []string{bound}, depth: s.depth, seen: true}}}
}

// match finds the multipart whose delimiter text is: the longest boundary wins, then the
// innermost. end tells whether it closes.
func (s *mimeWalk) match(text []byte) (k int, end, ok bool) {
	text = text[2:]
	best := -1
	for i := len(s.levels) - 1; i >= 0; i-- {
		for _, b := range s.levels[i].bounds {
			if s.c.compares++; s.c.compares > maxCompares {
				s.limit()
				return 0, false, false
			}
			if len(b) <= best || len(text) < len(b) || string(text[:len(b)]) != b {
				continue
			}
			rest := bytes.TrimRight(text[len(b):], " \t\r")
			if len(rest) == 0 || len(rest) == 2 && rest[0] == '-' && rest[1] == '-' {
				k, end, ok, best = i, len(rest) == 2, true, len(b)
			}
		}
	}
	return k, end, ok
}

// delimiter ends what is open below level k and begins its next part, or its epilogue. n is the
// length of its line.
func (s *mimeWalk) delimiter(k int, end bool, n int) {
	bodyEnd := s.at - int64(len(s.eol))
	s.next = s.at + int64(n)
	s.endBody()
	s.out.close(s.levels[k].depth, bodyEnd)
	s.pop(k + 1)
	l := &s.levels[k]
	if end {
		l.seen, l.closed = true, true
		s.leaf = s.strayLeaf()
		return
	}
	if l.closed {
		s.flaws.add(partAfterClose)
		l.closed = false
	}
	l.seen = true
	s.part(k)
}
