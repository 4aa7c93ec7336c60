package filters

import (
	"io"
	"strings"

	gomessage "github.com/emersion/go-message"

	"postern/mail"
)

// Limits of the second reading: its cost grows with the square of the depth.
const (
	maxSecondBytes = 256 << 10
	maxSecondDepth = 20
	maxSecondParts = 200
)

// doubtful reports whether the form of the message has flaws that honest mail shows too, so
// that a second opinion tells something: clean mail needs none, and what is malformed is held
// anyway.
func (c *collector) doubtful() bool {
	if c.flaws.serious() || c.facts.Size > maxSecondBytes || c.facts.PartCount > maxSecondParts {
		return false
	}
	for _, x := range []defect{embeddedPart, boundaryAbsent, boundaryUnterminated, boundaryUnexpected, encodingUnknown, encodingOnMultipart, typeUnknown, base64Short} {
		if c.flaws.has(x) {
			return true
		}
	}
	return false
}

// secondReading walks the message with go-message, a parser that is strict where ours forgives,
// and notes when it does not see as many parts.
func (c *collector) secondReading(body *mail.Body) {
	r := body.Open()
	defer r.Close()
	leaves, err := countLeaves(io.LimitReader(r, maxSecondBytes))
	if err != nil || leaves != c.leaves {
		c.flaws.add(parsersDisagree)
	}
}

// countLeaves counts the parts without parts that go-message finds; it does not look into
// messages within, so one of them counts as one.
func countLeaves(r io.Reader) (n int, err error) {
	e, err := gomessage.Read(r)
	if err != nil && !gomessage.IsUnknownCharset(err) && !gomessage.IsUnknownEncoding(err) {
		return 0, err
	}
	err = e.Walk(func(path []int, part *gomessage.Entity, err error) error {
		if err != nil && !gomessage.IsUnknownCharset(err) && !gomessage.IsUnknownEncoding(err) {
			return err
		}
		if len(path) > maxSecondDepth {
			return io.ErrNoProgress
		}
		if t, _, _ := part.Header.ContentType(); !strings.HasPrefix(t, "multipart/") {
			n++
		}
		return nil
	})
	return n, err
}
