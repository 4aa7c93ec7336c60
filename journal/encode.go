package journal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/klauspost/compress/s2"

	"postern/mail"
	"postern/store"
)

const (
	maxWords   = 4 << 10 // bytes of an entry that Text searches
	maxReplies = 1 << 10 // bytes of replies that Reply searches
	maxField   = 1 << 10
	compressed = 'S'      // first byte of a detail in S2 form; JSON begins with a brace
	compressAt = 2 << 10  // bytes of detail from which a compressed form is kept
	maxKept    = 1 << 20  // bytes of a buffer that is kept for the next detail
	maxDetail  = 64 << 20 // bytes of detail that are read back
)

// A row is an entry as it is written.
type row struct {
	e              *Entry
	sender, domain string
	replies, words string
	detail         []byte
}

// encoder makes rows; it is for one goroutine.
type encoder struct {
	words  strings.Builder
	detail bytes.Buffer
	packed []byte
}

// plain is an Entry without what is written apart.
type plain Entry

type stored struct {
	*plain
	Reply    storedReply `json:"reply"`
	Outcomes []Outcome   `json:"outcomes,omitempty"`
}

type storedReply struct {
	Code     int    `json:"code"`
	Enhanced [3]int `json:"enhanced"`
	Text     string `json:"text"`
}

func (x *encoder) row(e *Entry) (row, error) {
	p := plain(*e)
	p.Facts = nil
	x.detail.Reset()
	if err := x.json(stored{plain: &p, Reply: storedReply{e.Reply.Code, e.Reply.Enhanced, e.Reply.Text}}); err != nil {
		return row{}, fmt.Errorf("record %s: %w", e.ID, err)
	}
	// What is JSON already is put in as it is, not parsed and copied once more.
	if err := x.outcomes(e.Outcomes); err != nil {
		return row{}, fmt.Errorf("record %s: %w", e.ID, err)
	}
	x.facts(e.Facts)
	x.detail.WriteByte('}')
	detail := x.pack()
	if x.detail.Cap() > maxKept {
		x.detail, x.packed = bytes.Buffer{}, nil
	}
	return row{e: e, sender: key(e.Envelope.Sender), domain: store.Clean(strings.ToLower(e.Envelope.Sender.Domain), maxField),
		replies: x.replies(e), words: x.text(e), detail: detail}, nil
}

// json writes an object but for its closing brace.
func (x *encoder) json(object any) error {
	if err := json.NewEncoder(&x.detail).Encode(object); err != nil {
		return err
	}
	x.detail.Truncate(x.detail.Len() - len("}\n"))
	return nil
}

func (x *encoder) outcomes(list []Outcome) error {
	b := &x.detail
	b.WriteString(`,"outcomes":[`)
	for i, o := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		walk := o.Rules
		o.Rules = nil
		if len(walk) > 0 && !json.Valid(walk) {
			return errors.New("the rules of an outcome are no JSON")
		}
		if err := x.json(&o); err != nil {
			return err
		}
		if len(walk) > 0 {
			b.WriteString(`,"rules":`)
			b.Write(walk)
		}
		b.WriteByte('}')
	}
	b.WriteByte(']')
	return nil
}

func (x *encoder) facts(facts map[string]json.RawMessage) {
	if len(facts) == 0 {
		return
	}
	b := &x.detail
	b.WriteString(`,"facts":{`)
	for i, name := range slices.Sorted(maps.Keys(facts)) {
		if i > 0 {
			b.WriteByte(',')
		}
		quoted, _ := json.Marshal(name) // a string never fails
		b.Write(quoted)
		b.WriteByte(':')
		if raw := facts[name]; len(raw) > 0 {
			b.Write(raw)
		} else {
			b.WriteString("null")
		}
	}
	b.WriteByte('}')
}

// pack copies the detail, compressed when it is long. S2 takes a fifth of the time of the fastest
// zstd and leaves a third more, which is what a line a message is worth.
func (x *encoder) pack() []byte {
	detail := x.detail.Bytes()
	if len(detail) < compressAt {
		return bytes.Clone(detail)
	}
	x.packed = s2.Encode(x.packed[:cap(x.packed)], detail)
	out := make([]byte, 1, 1+len(x.packed))
	out[0] = compressed
	return append(out, x.packed...)
}

// unpack is its inverse.
func unpack(detail []byte) ([]byte, error) {
	if len(detail) == 0 || detail[0] != compressed {
		return detail, nil
	}
	if n, err := s2.DecodedLen(detail[1:]); err != nil || n > maxDetail {
		return nil, fmt.Errorf("a detail of %d bytes: %w", n, cmp.Or(err, errTooLong))
	}
	return s2.Decode(nil, detail[1:])
}

var errTooLong = errors.New("too long")

func (x *encoder) replies(e *Entry) string {
	b := &x.words
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

func (x *encoder) text(e *Entry) string {
	b := &x.words
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

func (r *row) insert(tx *store.Tx) error {
	e := r.e
	seq, err := r.insertEntry(tx)
	if err != nil {
		return err
	}
	for n := range e.Outcomes {
		o := &e.Outcomes[n]
		_, err := tx.Exec("INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", seq, n, key(o.Recipient),
			store.Clean(strings.ToLower(o.Recipient.Domain), maxField), o.Do, o.Rule, o.Class, o.Held)
		if err != nil {
			return err
		}
	}
	return nil
}

// sameTime is how far a row may be moved on, in microseconds.
const sameTime = 1_000_000

func (r *row) insertEntry(tx *store.Tx) (seq int64, err error) {
	e := r.e
	seq = e.Received.UnixMicro()
	for range 2 {
		n, err := tx.Exec("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (seq) DO NOTHING",
			seq, e.ID, e.Result, e.Envelope.Client.Addr.String(), r.sender, r.domain,
			store.Clean(e.MessageID, maxField), r.replies, r.words, r.detail)
		if err != nil || n == 1 {
			return seq, err
		}
		// The first free place behind it, without walking over the taken ones in Go.
		err = tx.Get(`SELECT min(a.seq) + 1 FROM entries a WHERE a.seq BETWEEN ? AND ?
			AND NOT EXISTS (SELECT 1 FROM entries b WHERE b.seq = a.seq + 1)`, []any{seq, seq + sameTime}, &seq)
		if err != nil {
			return 0, err
		}
	}
	return 0, errors.New("no place left at its time")
}

// decode reads an entry back.
func decode(detail []byte) (*Entry, error) {
	detail, err := unpack(detail)
	if err != nil {
		return nil, err
	}
	var st stored
	st.plain = &plain{}
	if err := json.Unmarshal(detail, &st); err != nil {
		return nil, err
	}
	e := Entry(*st.plain)
	e.Outcomes = st.Outcomes
	e.Reply = mail.Reply{Code: st.Reply.Code, Enhanced: st.Reply.Enhanced, Text: st.Reply.Text}
	return &e, nil
}
