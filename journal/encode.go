package journal

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

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
	detail         []byte  // empty when it stands in a pack
	pack           *pack   // nil: none
	place          int     // in the pack, from 1 on
	proven         bool    // who sent it: see proves
	walks          []*walk // that the detail names
}

// encoder makes rows; it is for one goroutine.
type encoder struct {
	column []byte
	detail []byte
	names  []string // of facts
	packer packer
	walks  walks
	err    error // the first of this detail
}

// row fills in a row, but for its detail, which comes with the next seal of the packer at the
// latest.
func (x *encoder) row(r *row, e *Entry) error {
	*r = row{e: e, seq: e.Received.UnixMicro(), sender: key(e.Envelope.Sender),
		domain: store.Clean(strings.ToLower(e.Envelope.Sender.Domain), maxField)}
	if err := x.entry(r); err != nil {
		return fmt.Errorf("record %s: %w", e.ID, err)
	}
	r.replies, r.words = x.replyWords(e), x.searched(e)
	r.rules = x.set(e.Outcomes, func(o *Outcome) string { return o.Rule })
	r.classes = x.set(e.Outcomes, func(o *Outcome) string { return o.Class })
	r.proven = proven(e)
	return nil
}

// put hands the detail of a row on; its place in time is settled.
func (x *encoder) put(r *row) {
	x.packer.add(r, x.detail)
	if cap(x.detail) > maxKept {
		x.detail = nil
	}
}

// set lists, between spaces, each different word of the outcomes once.
func (x *encoder) set(outcomes []Outcome, word func(*Outcome) string) string {
	b := x.column[:0]
	for i := range outcomes {
		w := word(&outcomes[i])
		if w == "" || bytes.Contains(b, []byte(" "+w+" ")) {
			continue
		}
		if len(b) == 0 {
			b = append(b, ' ')
		}
		b = append(append(b, w...), ' ')
	}
	x.column = b
	return store.Clean(string(b), maxWords)
}

func (x *encoder) replyWords(e *Entry) string {
	b := x.column[:0]
	if e.Reply.Code != 0 {
		b = append(b, e.Reply.String()...)
	}
	var before *Outcome
	for i := range e.Outcomes {
		o := &e.Outcomes[i]
		if (before == nil || o.Reply != before.Reply || o.Upstream != before.Upstream) && len(b) < maxReplies {
			b = append(append(append(append(b, '\n'), o.Reply...), '\n'), o.Upstream...)
			before = o
		}
	}
	return x.lowered(b, maxReplies)
}

func (x *encoder) searched(e *Entry) string {
	b := append(x.column[:0], strings.ReplaceAll(store.Clean(e.Subject, maxField), "\n", " ")...) // Query.Subject looks in this line
	b = append(append(b, '\n'), store.Clean(e.From, maxField)...)
	b = append(append(b, '\n'), e.Envelope.Sender.String()...)
	before := ""
	for i := range e.Outcomes {
		o := &e.Outcomes[i]
		if len(b) > maxWords {
			break
		}
		b = append(append(b, '\n'), o.Recipient.String()...)
		if o.Because != before {
			b = append(append(b, '\n'), o.Because...)
			before = o.Because
		}
	}
	return x.lowered(b, maxWords)
}

// lowered is the column b in lower case, fit for the store; b is kept for the next.
func (x *encoder) lowered(b []byte, most int) string {
	if x.column = b; cap(b) > maxKept {
		x.column = nil
	}
	plain := len(b) <= most
	for i := 0; plain && i < len(b); i++ {
		if plain = 0 < b[i] && b[i] < utf8.RuneSelf; 'A' <= b[i] && b[i] <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	if plain {
		return string(b)
	}
	return strings.ToLower(store.Clean(string(b), most))
}

func key(a mail.Address) string { return store.Clean(strings.ToLower(a.String()), maxField) }
