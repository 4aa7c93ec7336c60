package gateway

import (
	"errors"
	"io"

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

// relay makes the message for one group.
func (t *transaction) relay(rcpts []*recipient, g group) (size int64, s *source, err error) {
	h, err := wholeHeader(t.body, t.header)
	if err != nil {
		return 0, nil, err
	}
	e := editsOf(g.effects)
	block := t.stamp(rcpts, g)
	return compose(t.body, h, append(block, e.add...), &e, t.g.cfg.removes)
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

// compose puts block on top of the received bytes and takes off the fields that remove or e
// names. What stays is the very bytes received.
func compose(b *mail.Body, h *mail.Header, block []byte, e *edits, remove func(*mail.Field) bool) (int64, *source, error) {
	s := &source{body: b.Open()}
	kept, from, at := [][]byte(nil), 0, 0
	tagged := len(e.tags) == 0
	for i := range h.Fields {
		f := &h.Fields[i]
		start := at
		at += len(f.Raw)
		var instead []byte
		switch {
		case remove(f) || e.removes(f):
		case len(e.tags) > 0 && f.Is("Subject"):
			tagged = true
			field, ok := e.subject(f)
			if !ok {
				continue
			}
			instead = field
		default:
			continue
		}
		if start > from {
			kept = append(kept, h.Raw[from:start])
		}
		if instead != nil {
			kept = append(kept, instead)
		}
		from = at
	}
	if !tagged {
		block = appendField(block, "Subject", e.tags[0])
	}
	if from > 0 {
		kept = append(kept, h.Raw[from:])
		s.skip = int64(len(h.Raw))
	}
	s.head = append(append(s.head, block), kept...)
	if first := s.firstOfMessage(h); first == ' ' || first == '\t' {
		// A line that continues nothing must not continue a field of ours.
		s.head[0] = append(s.head[0], "X-Postern-Note: the message began with a continuation line\r\n"...)
	}
	size := b.Size() - s.skip
	for _, p := range s.head {
		size += int64(len(p))
	}
	return size, s, nil
}

// firstOfMessage is the byte that follows our block.
func (s *source) firstOfMessage(h *mail.Header) byte {
	for _, p := range s.head[1:] {
		if len(p) > 0 {
			return p[0]
		}
	}
	if s.skip == 0 && len(h.Raw) > 0 {
		return h.Raw[0]
	}
	return 0
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
