package gateway

import (
	"errors"
	"io"
	"strings"

	"postern/mail"
)

// maxRelayHeader bounds a header section that is relayed: within it every field is looked at.
const maxRelayHeader = 1 << 20

var errHeaderTooBig = errors.New("the header section is too big to be looked through")

// A source yields a message as it is relayed: our block, the received header less what was
// taken off, the received body but for its cuts. Nothing is copied on the way.
type source struct {
	head [][]byte // yielded first
	cuts []cut    // in their order
	body *mail.Reader
	rest []byte // what was read of the body and not yet yielded
	at   int64  // where it begins
}

// A cut is a run of received bytes that something else stands for.
type cut struct {
	from, to int64
	in       []byte
}

// relay makes the message for one group. The caller closes the source.
func (t *transaction) relay(rcpts []*recipient, g group) (size int64, s *source, err error) {
	h, err := wholeHeader(t.body, t.header)
	if err != nil {
		return 0, nil, err
	}
	e := editsOf(g.effects)
	s = &source{}
	if p := t.planned(g.effects); p != nil {
		s.cuts = p.apply(&e, g.original)
	}
	var skip int64
	s.head, skip = compose(h, append(t.stamp(rcpts, g), e.add...), &e, t.g.cfg.removes)
	if skip > 0 {
		s.cuts = append([]cut{{to: skip}}, s.cuts...)
	}
	size = t.body.Size()
	for _, p := range s.head {
		size += int64(len(p))
	}
	for _, c := range s.cuts {
		size += int64(len(c.in)) - (c.to - c.from)
	}
	s.body = t.body.Open()
	return size, s, nil
}

// wholeHeader reads the header again when the usual limits did not show all of it.
func wholeHeader(b *mail.Body, h *mail.Header) (*mail.Header, error) {
	if !h.Over {
		return h, nil
	}
	raw := make([]byte, min(b.Size(), maxRelayHeader))
	src := b.Open()
	defer src.Close()
	if _, err := io.ReadFull(src, raw); err != nil {
		return nil, err
	}
	end := mail.HeaderEnd(raw, 0)
	if end < 0 && b.Size() > maxRelayHeader {
		return nil, errHeaderTooBig
	}
	if end < 0 {
		end = len(raw)
	}
	return mail.ParseHeader(raw[:end:end], mail.HeaderLimits{}), nil
}

// compose puts block on top of a received header and takes off the fields that remove or e
// names. It gives the pieces, and how many received bytes they stand for: none when the header
// stays as it came. What stays is the very bytes received.
func compose(h *mail.Header, block []byte, e *edits, remove func(*mail.Field) bool) (head [][]byte, skip int64) {
	from, at, tagged := 0, 0, len(e.tags) == 0
	head = append(head, block)
	for i := range h.Fields {
		f := &h.Fields[i]
		start := at
		at += len(f.Raw)
		var instead []byte
		if !remove(f) && !e.removes(f) {
			if len(e.tags) == 0 || !f.Is("Subject") {
				continue
			}
			tagged = true
			var changed bool
			if instead, changed = e.subject(f); !changed {
				continue
			}
		}
		if start > from {
			head = append(head, h.Raw[from:start])
		}
		if instead != nil {
			head = append(head, instead)
		}
		from = at
	}
	if !tagged {
		head[0] = appendField(head[0], "Subject", strings.Join(e.tags, " "))
	}
	next := h.Raw
	if from > 0 {
		head, skip = append(head, h.Raw[from:]), int64(len(h.Raw))
		next = head[1]
		if len(next) == 0 && len(head) > 2 {
			next = head[2]
		}
	}
	if len(next) > 0 && (next[0] == ' ' || next[0] == '\t') { // what continues nothing must not continue a field of ours
		head[0] = append(head[0], "X-Postern-Note: the message began with a continuation line\r\n"...)
	}
	return head, skip
}

// Next yields the next block.
func (s *source) Next() ([]byte, error) {
	for len(s.head) > 0 {
		p := s.head[0]
		if s.head = s.head[1:]; len(p) > 0 {
			return p, nil
		}
	}
	for {
		if len(s.cuts) > 0 && s.at == s.cuts[0].from {
			if in := s.cut(); len(in) > 0 {
				return in, nil
			}
			continue
		}
		if len(s.rest) == 0 {
			var err error
			if s.rest, err = s.body.Next(); err != nil {
				return nil, err
			}
		}
		n := int64(len(s.rest))
		if len(s.cuts) > 0 {
			n = min(n, s.cuts[0].from-s.at)
		}
		p := s.rest[:n]
		s.rest = s.rest[n:]
		s.at += n
		return p, nil
	}
}

// cut passes over the first cut and gives what stands for it.
func (s *source) cut() []byte {
	c := s.cuts[0]
	s.cuts = s.cuts[1:]
	n := c.to - c.from
	k := min(n, int64(len(s.rest)))
	s.rest = s.rest[k:]
	s.body.Skip(n - k)
	s.at = c.to
	return c.in
}

// Close gives the body's memory free; Next must not be called any more.
func (s *source) Close() { s.body.Close() }
