package preview

import (
	"strings"

	"golang.org/x/net/html"

	"postern/filters"
)

// blocks are elements that begin on a line of their own.
var blocks = set(`address article aside blockquote body br caption center dd details div dl dt fieldset figcaption figure footer form
	h1 h2 h3 h4 h5 h6 header hr li main nav ol option p pre section select table tbody tfoot thead title tr ul`)

// textOf makes a text of HTML: what people would read, hidden or not, with the target of a link
// behind it.
func textOf(src string) string {
	t := texter{z: html.NewTokenizer(strings.NewReader(src))}
	for {
		switch t.z.Next() {
		case html.ErrorToken:
			t.anchorEnds()
			return strings.TrimSpace(t.out.String())
		case html.TextToken:
			if !t.skip {
				t.text(t.z.Token().Data)
			}
			t.skip = false
		case html.StartTagToken, html.SelfClosingTagToken:
			t.start()
		case html.EndTagToken:
			name, _ := t.z.TagName()
			t.skip = false
			t.end(string(name))
		}
	}
}

type texter struct {
	z      *html.Tokenizer
	out    strings.Builder
	skip   bool
	pre    int
	lines  int  // line ends at the end of out
	blank  bool // a blank is due before the next word
	href   string
	anchor int // where its text begins in out
}

func (t *texter) text(s string) {
	if t.pre > 0 {
		t.out.WriteString(s)
		t.lines, t.blank = 0, false
		return
	}
	for i, word := range strings.Fields(s) {
		if (i > 0 || t.blank || s[0] <= ' ') && t.lines == 0 && t.out.Len() > 0 {
			t.out.WriteByte(' ')
		}
		t.out.WriteString(word)
		t.lines, t.blank = 0, false
	}
	if s != "" {
		t.blank = s[len(s)-1] <= ' '
	}
}

// line ends the line, with an empty one behind it when n is 2.
func (t *texter) line(n int) {
	if t.out.Len() == 0 {
		return
	}
	for ; t.lines < n; t.lines++ {
		t.out.WriteByte('\n')
	}
	t.blank = false
}

func (t *texter) start() {
	tok := t.z.Token()
	t.skip = swallowed[tok.Data] && tok.Data != "title"
	switch tok.Data {
	case "p", "h1", "h2", "h3", "h4", "h5", "h6":
		t.line(2)
	case "br":
		t.out.WriteByte('\n')
		t.lines, t.blank = min(t.lines+1, 2), false
	case "td", "th":
		t.blank = true
	case "li":
		t.line(1)
		t.text("• ")
	case "hr":
		t.line(1)
		t.text("────────")
		t.line(1)
	case "pre":
		t.line(1)
		t.pre++
	case "a", "area":
		t.anchorEnds()
		t.href, t.anchor = get(&tok, "href"), t.out.Len()
	case "img":
		if alt := strings.TrimSpace(get(&tok, "alt")); alt != "" {
			t.text(" [" + alt + "] ")
		}
	case "input", "button", "textarea":
		t.text(" [form field] ")
	default:
		if blocks[tok.Data] {
			t.line(1)
		}
	}
}

func (t *texter) end(name string) {
	switch name {
	case "a":
		t.anchorEnds()
	case "pre":
		t.pre = max(0, t.pre-1)
		t.line(1)
	case "p", "h1", "h2", "h3", "h4", "h5", "h6":
		t.line(2)
	default:
		if blocks[name] {
			t.line(1)
		}
	}
}

// anchorEnds writes where an anchor leads, unless its text says just that.
func (t *texter) anchorEnds() {
	href := strings.TrimSpace(t.href)
	t.href = ""
	if href == "" || strings.HasPrefix(href, "#") {
		return
	}
	shown := strings.TrimSpace(t.out.String()[min(t.anchor, t.out.Len()):])
	if shown == href || "http://"+shown == href || "https://"+shown == href || "mailto:"+shown == href {
		return
	}
	href, _ = clip(href, maxTarget)
	if h := unicodeHost(filters.URLHost(href)); strings.Contains(filters.URLHost(href), "xn--") {
		href += " = " + h
	}
	t.blank = true
	t.text(" <" + href + ">")
}

func get(t *html.Token, key string) string {
	for _, a := range t.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}
