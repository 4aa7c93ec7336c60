package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"postern/mail"
	"postern/store"
)

const (
	maxWords   = 4 << 10 // bytes of an entry that Text searches
	maxReplies = 1 << 10 // bytes of replies that Reply searches
	maxField   = 1 << 10
	compressAt = 8 << 10  // bytes of detail from which zstd pays: it begins by clearing its tables
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
	zip   *zstd.Encoder
	words strings.Builder
}

func (x *encoder) init() (err error) {
	x.zip, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
	return err
}

// plain is an Entry without what is written apart.
type plain Entry

type stored struct {
	*plain
	Reply storedReply `json:"reply"`
}

type storedReply struct {
	Code     int    `json:"code"`
	Enhanced [3]int `json:"enhanced"`
	Text     string `json:"text"`
}

func (x *encoder) row(e *Entry) (row, error) {
	p := plain(*e)
	p.Facts = nil // these are JSON already: not to be parsed and copied once more
	detail, err := json.Marshal(stored{&p, storedReply{e.Reply.Code, e.Reply.Enhanced, e.Reply.Text}})
	if err != nil {
		return row{}, fmt.Errorf("record %s: %w", e.ID, err)
	}
	detail = appendFacts(detail, e.Facts)
	if len(detail) >= compressAt {
		detail = x.zip.EncodeAll(detail, nil)
	}
	return row{e: e, sender: key(e.Envelope.Sender), domain: clean(strings.ToLower(e.Envelope.Sender.Domain), maxField),
		replies: x.replies(e), words: x.text(e), detail: detail}, nil
}

// appendFacts puts the facts before the closing brace.
func appendFacts(b []byte, facts map[string]json.RawMessage) []byte {
	if len(facts) == 0 {
		return b
	}
	b = append(b[:len(b)-1], `,"facts":{`...)
	for i, name := range slices.Sorted(maps.Keys(facts)) {
		if i > 0 {
			b = append(b, ',')
		}
		quoted, _ := json.Marshal(name) // a string never fails
		b = append(append(b, quoted...), ':')
		if raw := facts[name]; len(raw) > 0 {
			b = append(b, raw...)
		} else {
			b = append(b, "null"...)
		}
	}
	return append(b, '}', '}')
}

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
	return strings.ToLower(clean(b.String(), maxReplies))
}

func (x *encoder) text(e *Entry) string {
	b := &x.words
	b.Reset()
	b.WriteString(strings.ReplaceAll(clean(e.Subject, maxField), "\n", " ")) // Query.Subject looks in this line
	b.WriteByte('\n')
	b.WriteString(clean(e.From, maxField))
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
	return strings.ToLower(clean(b.String(), maxWords))
}

// clean bounds text and makes it valid UTF-8 without NUL.
func clean(s string, max int) string {
	if len(s) > max {
		s = s[:max]
		for i := 0; i < utf8.UTFMax && len(s) > 0 && !utf8.ValidString(s[len(s)-min(len(s), utf8.UTFMax):]); i++ {
			s = s[:len(s)-1]
		}
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func key(a mail.Address) string { return clean(strings.ToLower(a.String()), maxField) }

func (r *row) insert(tx *store.Tx) error {
	e := r.e
	seq, err := r.insertEntry(tx)
	if err != nil {
		return err
	}
	for n := range e.Outcomes {
		o := &e.Outcomes[n]
		_, err := tx.Exec("INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", seq, n, key(o.Recipient),
			clean(strings.ToLower(o.Recipient.Domain), maxField), o.Do, o.Rule, o.Class, o.Held)
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
			clean(e.MessageID, maxField), r.replies, r.words, r.detail)
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
	if bytes.HasPrefix(detail, []byte{0x28, 0xb5, 0x2f, 0xfd}) { // RFC 8878 3.1.1
		zip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDetail))
		if err != nil {
			return nil, err
		}
		defer zip.Close()
		if detail, err = zip.DecodeAll(detail, nil); err != nil {
			return nil, err
		}
	}
	var st stored
	st.plain = &plain{}
	if err := json.Unmarshal(detail, &st); err != nil {
		return nil, err
	}
	e := Entry(*st.plain)
	e.Reply = mail.Reply{Code: st.Reply.Code, Enhanced: st.Reply.Enhanced, Text: st.Reply.Text}
	return &e, nil
}
