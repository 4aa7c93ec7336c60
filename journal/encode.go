package journal

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/klauspost/compress/s2"

	"postern/mail"
	"postern/store"
)

const (
	maxWords   = 4 << 10 // bytes of an entry that Text searches
	maxReplies = 1 << 10 // bytes of replies that Reply searches
	maxField   = 1 << 10
	compressed = 'S'     // first byte of a detail in S2 form; JSON begins with a brace
	compressAt = 2 << 10 // bytes of detail from which a compressed form is kept
	maxKept    = 1 << 20 // bytes of a buffer that is kept for the next detail
)

// A row is an entry as it is written.
type row struct {
	e              *Entry
	seq            int64 // its time in microseconds since 1970
	sender, domain string
	rules, classes string
	replies, words string
	detail         []byte
	walks          []*walk // that the detail names
}

// encoder makes rows; it is for one goroutine.
type encoder struct {
	column strings.Builder
	detail []byte
	packed []byte
	walks  walks
	err    error // the first of this detail
}

func (x *encoder) row(e *Entry) (row, error) {
	r := row{e: e, seq: e.Received.UnixMicro(), sender: key(e.Envelope.Sender),
		domain: store.Clean(strings.ToLower(e.Envelope.Sender.Domain), maxField)}
	if err := x.entry(&r); err != nil {
		return row{}, fmt.Errorf("record %s: %w", e.ID, err)
	}
	r.detail = x.pack()
	if cap(x.detail) > maxKept {
		x.detail, x.packed = nil, nil
	}
	r.replies, r.words = x.replyWords(e), x.searched(e)
	r.rules = x.set(e.Outcomes, func(o *Outcome) string { return o.Rule })
	r.classes = x.set(e.Outcomes, func(o *Outcome) string { return o.Class })
	return r, nil
}

// set lists, between spaces, each different word of the outcomes once.
func (x *encoder) set(outcomes []Outcome, word func(*Outcome) string) string {
	b := &x.column
	b.Reset()
	for i := range outcomes {
		w := word(&outcomes[i])
		if w == "" || strings.Contains(b.String(), " "+w+" ") {
			continue
		}
		if b.Len() == 0 {
			b.WriteByte(' ')
		}
		b.WriteString(w)
		b.WriteByte(' ')
	}
	return store.Clean(b.String(), maxWords)
}

// pack copies the detail, compressed when it is long. S2 takes a fifth of the time of the fastest
// zstd and leaves a third more, which is what a line a message is worth.
func (x *encoder) pack() []byte {
	if len(x.detail) < compressAt {
		return bytes.Clone(x.detail)
	}
	x.packed = s2.Encode(x.packed[:cap(x.packed)], x.detail)
	out := make([]byte, 1, 1+len(x.packed))
	out[0] = compressed
	return append(out, x.packed...)
}

func (x *encoder) replyWords(e *Entry) string {
	b := &x.column
	b.Reset()
	if e.Reply.Code != 0 {
		b.WriteString(e.Reply.String())
	}
	before := ""
	for i := range e.Outcomes {
		o := &e.Outcomes[i]
		if said := o.Reply + "\n" + o.Upstream; said != before && b.Len() < maxReplies {
			b.WriteByte('\n')
			b.WriteString(said)
			before = said
		}
	}
	return strings.ToLower(store.Clean(b.String(), maxReplies))
}

func (x *encoder) searched(e *Entry) string {
	b := &x.column
	b.Reset()
	b.WriteString(strings.ReplaceAll(store.Clean(e.Subject, maxField), "\n", " ")) // Query.Subject looks in this line
	b.WriteByte('\n')
	b.WriteString(store.Clean(e.From, maxField))
	b.WriteByte('\n')
	b.WriteString(e.Envelope.Sender.String())
	before := ""
	for i := range e.Outcomes {
		o := &e.Outcomes[i]
		if b.Len() > maxWords {
			break
		}
		b.WriteByte('\n')
		b.WriteString(o.Recipient.String())
		if o.Because != before {
			b.WriteByte('\n')
			b.WriteString(o.Because)
			before = o.Because
		}
	}
	return strings.ToLower(store.Clean(b.String(), maxWords))
}

func key(a mail.Address) string { return store.Clean(strings.ToLower(a.String()), maxField) }
