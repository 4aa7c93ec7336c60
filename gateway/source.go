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
// taken off, the received body. Nothing is copied on the way.
type source struct {
	head [][]byte // yielded first
	skip int64    // bytes of the body that head stands for
	body *mail.Reader
}

// relay makes the message for one group. The caller closes the source.
func (t *transaction) relay(rcpts []*recipient, g group) (size int64, s *source, err error) {
	h, err := wholeHeader(t.body, t.header)
	if err != nil {
		return 0, nil, err
	}
	e := editsOf(g.effects)
	s = &source{}
	s.head, s.skip = compose(h, append(t.stamp(rcpts, g), e.add...), &e, t.g.cfg.removes)
	s.body = t.body.Open()
	size = t.body.Size() - s.skip
	for _, p := range s.head {
		size += int64(len(p))
	}
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
		p, err := s.body.Next()
		if err != nil {
			return nil, err
		}
		n := min(s.skip, int64(len(p)))
		if s.skip -= n; n < int64(len(p)) {
			return p[n:], nil
		}
	}
}

// Close gives the body's memory free; Next must not be called any more.
func (s *source) Close() { s.body.Close() }
