package preview

import (
	"sort"
	"strings"

	"postern/filters"
)

// An HTML is the rich view. It may only be shown in a frame with FrameHeaders and FrameSandbox.
type HTML struct {
	Document string   `json:"document,omitempty"` // a whole document; "" when there is none
	Why      string   `json:"why,omitempty"`      // why there is none, a sentence
	Cut      bool     `json:"cut,omitempty"`      // there is more
	Removed  []string `json:"removed,omitempty"`  // what was live in it: script, form, event handlers
	Remote   int      `json:"remote,omitempty"`   // pictures and the like that a mail program would have fetched
	Hosts    []string `json:"hosts,omitempty"`    // from where
}

// A builder makes the two views of the body.
type builder struct {
	o       Options
	reading *filters.Reading
	text    Text
	html    HTML
	anchors []Link
	remote  remotes
	cut     bool
}

func (b *builder) readBody() {
	var plain, rich []string
	within := 0
	for i := range b.reading.Parts {
		p := &b.reading.Parts[i]
		if p.Attached || len(p.Data) == 0 {
			continue
		}
		s := filters.DecodeText(p.Charset, string(p.Data))
		if p.Type == "text/html" || p.Type == "text/xhtml" {
			b.html.Cut = b.html.Cut || p.Cut
			rich = append(rich, s)
			continue
		}
		b.text.Cut = b.text.Cut || p.Cut
		if p.Within > within {
			s = "── a message inside of this one ──\n\n" + s
		}
		within = p.Within
		plain = append(plain, s)
	}
	b.readHTML(strings.Join(rich, "\n<hr>\n"))
	b.readText(strings.Join(plain, "\n\n"), rich)
}

// readHTML makes the rich view.
func (b *builder) readHTML(src string) {
	if strings.TrimSpace(src) == "" {
		b.html.Why = "the message has no HTML"
		return
	}
	var cut bool
	src, cut = clip(src, b.o.MaxHTML)
	w := &rewriter{room: b.o.MaxImage, pictures: map[string][]byte{}}
	for i := range b.reading.Parts {
		if p := &b.reading.Parts[i]; p.ContentID != "" && !p.Cut {
			w.pictures[strings.ToLower(p.ContentID)] = p.Data
		}
	}
	core, err := settle(src, w)
	b.anchors, b.remote = w.anchors, w.remote
	sort.Strings(w.removed)
	b.html.Removed, b.html.Remote, b.html.Hosts = w.removed, w.remote.count, w.remote.hosts
	b.html.Cut = b.html.Cut || cut || w.cut
	if err != nil {
		b.html.Why = "the HTML cannot be shown safely: " + err.Error()
		return
	}
	b.html.Document = document(core)
}

// readText makes the default view.
func (b *builder) readText(plain string, rich []string) {
	if strings.TrimSpace(plain) == "" {
		b.text.FromHTML = len(rich) > 0
		b.text.Cut = b.html.Cut
		src, _ := clip(strings.Join(rich, "\n<hr>\n"), b.o.MaxHTML)
		plain = textOf(src)
	}
	var cut bool
	plain, cut = clip(plain, b.o.MaxText)
	b.text.Cut = b.text.Cut || cut
	b.text.Body, b.text.Marked = VisibleText(plain)
}
