// Package preview makes of a message what people may look at without danger: its text, its HTML
// without anything live in it, its header, the way it came, its files and links. It sees a message
// through the walk that gathers the facts (package filters), so that people are shown what rules
// saw. It opens nothing that a message points to.
package preview

import (
	"context"
	"strings"
	"time"

	"postern/filters"
	"postern/mail"
)

// Options say what is known about a message besides its bytes, and how much of it to show. The zero
// value is usable.
type Options struct {
	Sender   string    // of the envelope; "" for the null sender, or unknown
	Received time.Time // when it came; zero: unknown
	Own      []string  // host names whose Received fields are to be trusted: ours and our relays'

	MaxText  int // bytes of the text view; 0: 256 KiB
	MaxHTML  int // bytes of HTML looked at; 0: 512 KiB
	MaxImage int // bytes of pictures inside of the HTML, together; 0: 4 MiB
}

func (o Options) orDefaults() Options {
	if o.MaxText <= 0 {
		o.MaxText = 256 << 10
	}
	if o.MaxHTML <= 0 {
		o.MaxHTML = 512 << 10
	}
	if o.MaxImage <= 0 {
		o.MaxImage = 4 << 20
	}
	return o
}

// A Message is what people see of one. All strings are valid UTF-8. In names, fields and addresses,
// characters that cannot be seen or that turn the text around stand as marks like ⟦U+202E⟧.
type Message struct {
	Subject     string       `json:"subject"`
	Date        string       `json:"date,omitempty"` // RFC 3339, as the sender says
	Text        Text         `json:"text"`
	HTML        HTML         `json:"html"`
	Addresses   Addresses    `json:"addresses"`
	Fields      []Field      `json:"fields"`
	FieldsCut   bool         `json:"fields_cut,omitempty"` // there are more
	Hops        []Hop        `json:"hops,omitempty"`       // the way it came, the last hop first, as the fields stand
	Attachments []Attachment `json:"attachments,omitempty"`
	Links       []Link       `json:"links,omitempty"`
	LinksCut    bool         `json:"links_cut,omitempty"` // there are more
	Defects     []Defect     `json:"defects,omitempty"`
	Size        int          `json:"size"` // bytes as received
}

// A Text is the default view.
type Text struct {
	Body     string `json:"body"`
	FromHTML bool   `json:"from_html,omitempty"` // there is no plain text: this was made of the HTML
	Cut      bool   `json:"cut,omitempty"`       // there is more
	Marked   bool   `json:"marked,omitempty"`    // it had invisible or turning characters; marks stand in their place
}

// A Defect is something about the form of the message that readers may disagree on.
type Defect struct {
	Word      string `json:"word"`
	Meaning   string `json:"meaning"`
	Malformed bool   `json:"malformed"` // readers may be deceived by it
}

// Read makes a preview of a finished message. Its cost in time and memory is bounded by the size
// of the message and by o. The error is that of a body which cannot be read, or of ctx.
func Read(ctx context.Context, body *mail.Body, o Options) (*Message, error) {
	o = o.orDefaults()
	h, err := body.Header()
	if err != nil {
		return nil, err
	}
	r, err := filters.ReadMessage(ctx, body, filters.ReadingLimits{Text: max(o.MaxText, o.MaxHTML), Image: o.MaxImage, Total: o.MaxText + 2*o.MaxHTML + 2*o.MaxImage})
	if err != nil {
		return nil, err
	}
	m := &Message{Subject: VisibleName(r.Facts.Subject), Date: r.Facts.Date, Size: r.Facts.Size}
	m.Fields, m.FieldsCut = readFields(h)
	m.Hops = readHops(h, o)
	m.Addresses = readAddresses(h, &r.Facts, o)
	m.Attachments = readAttachments(r)
	m.Defects = readDefects(&r.Facts)
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	b := builder{o: o, reading: r}
	b.readBody()
	m.Text, m.HTML = b.text, b.html
	m.Links, m.LinksCut = b.links(), b.cut || r.Facts.LinksCut
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return m, nil
}

func readDefects(f *filters.ContentFacts) []Defect {
	var out []Defect
	for _, d := range filters.DefectWords() {
		for _, w := range f.Defects {
			if w == d.Word {
				out = append(out, Defect{Word: d.Word, Meaning: d.Doc, Malformed: d.Malformed})
			}
		}
	}
	return out
}

// clip shortens s to at most n bytes of whole characters.
func clip(s string, n int) (string, bool) {
	if len(s) <= n {
		return s, false
	}
	return strings.ToValidUTF8(s[:n], ""), true
}
