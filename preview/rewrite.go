package preview

import (
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// Limits of rewriting.
const (
	maxOpen   = 100     // elements within one another
	maxOutput = 2 << 20 // bytes, besides pictures
)

// A rewriter writes HTML anew, tag by tag, from nothing but its lists. It builds no tree: the
// rules by which parsers repair trees multiply what is in them. What it does not know it leaves
// out, and shows the text inside.
type rewriter struct {
	pictures map[string][]byte // by Content-ID
	room     int               // bytes of pictures that may come in; 0: no limit of its own

	out  strings.Builder
	open []element
	used int // bytes of pictures
	cut  bool

	inner bool // of a document within a document

	anchors []Link
	anchor  int // of the open one, from 1
	removed []string
	remote  remotes
}

// An element is open: as it is written, and as it stood in the source.
type element struct{ name, source string }

func (w *rewriter) rewrite(src string) string {
	z := html.NewTokenizer(strings.NewReader(src))
	skip := false // what comes is the text of a script or the like
	for !w.cut {
		switch z.Next() {
		case html.ErrorToken:
			w.closeTo(0)
			return w.out.String()
		case html.TextToken:
			if !skip {
				w.text(z.Token().Data)
			} else {
				w.remote.styles(string(z.Raw()))
			}
			skip = false
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			skip = swallowed[t.Data]
			w.start(&t)
		case html.EndTagToken:
			skip = false
			name, _ := z.TagName()
			w.end(string(name))
		}
		w.cut = w.cut || w.out.Len()-2*w.used > maxOutput
	}
	w.closeTo(0)
	return w.out.String()
}

// text writes a text. In a table it needs a cell.
func (w *rewriter) text(s string) {
	if w.inTable() {
		if strings.TrimSpace(s) == "" {
			return
		}
		w.cell()
	}
	s, _ = VisibleText(s)
	if w.anchor > 0 {
		a := &w.anchors[w.anchor-1]
		if len(a.Text) < maxLinkText {
			a.Text += s[:min(len(s), maxLinkText)]
		}
	}
	w.out.WriteString(html.EscapeString(s))
}

func (w *rewriter) top() string {
	if len(w.open) == 0 {
		return ""
	}
	return w.open[len(w.open)-1].name
}

func (w *rewriter) inTable() bool { return w.top() == "table" || w.top() == "tbody" || w.top() == "tr" }

// cell opens what is missing between a table and its content.
func (w *rewriter) cell() {
	if w.top() == "table" || w.top() == "tbody" {
		w.push("tr", "tr", "")
	}
	w.push("td", "td", "")
}

func (w *rewriter) push(name, source, attrs string) {
	if name == "br" || name == "hr" || name == "img" {
		w.out.WriteString("<" + name + attrs + "/>")
		return
	}
	if len(w.open) >= maxOpen {
		return
	}
	w.open = append(w.open, element{name, source})
	w.out.WriteString("<" + name + attrs + ">")
}

// closeTo closes all but the outermost n elements.
func (w *rewriter) closeTo(n int) {
	for i := len(w.open) - 1; i >= n; i-- {
		w.out.WriteString("</" + w.open[i].name + ">")
		if w.open[i].name == "a" {
			w.anchor = 0
		}
	}
	w.open = w.open[:n]
}

// last finds the innermost open element that was one of the names, as far as the next of stop; -1:
// none.
func (w *rewriter) last(names []string, stop ...string) int {
	for i := len(w.open) - 1; i >= 0; i-- {
		if slices.Contains(names, w.open[i].source) {
			return i
		}
		if slices.Contains(stop, w.open[i].name) {
			break
		}
	}
	return -1
}

// start takes a start tag.
func (w *rewriter) start(t *html.Token) {
	w.note(t)
	name, style := t.Data, ""
	if s, ok := styled[name]; ok {
		name, style = s[0], s[1]
	}
	if !kept[name] {
		return
	}
	attrs, ok := w.attributes(t, name, style)
	if !ok { // a picture that is not there
		return
	}
	source := t.Data
	w.place(&name)
	if name == "div" && kept[source] { // a part of a table without one
		source = "div"
	}
	if name == "a" {
		w.link(t)
	}
	w.push(name, source, attrs)
}

// place closes and opens what must be before an element begins (a little of HTML 13.2.6.4).
func (w *rewriter) place(name *string) {
	if *name != "span" && *name != "a" && *name != "img" && *name != "br" {
		if i := w.last([]string{"p"}, "td", "th", "caption", "table"); i >= 0 {
			w.closeTo(i)
		}
	}
	switch *name {
	case "a":
		if i := w.last([]string{"a"}, "td", "th", "caption"); i >= 0 {
			w.closeTo(i)
		}
	case "li":
		if i := w.last([]string{"li"}, "ul", "ol", "td", "th", "table"); i >= 0 {
			w.closeTo(i)
		}
	case "dt", "dd":
		if i := w.last([]string{"dt", "dd"}, "dl", "td", "th", "table"); i >= 0 {
			w.closeTo(i)
		}
	case "caption", "tbody":
		w.within(name, "table")
		return
	case "tr":
		w.within(name, "tbody", "thead", "tfoot", "table")
		return
	case "td", "th":
		if i := w.last([]string{"tr"}, "table"); i >= 0 {
			w.closeTo(i + 1)
			return
		}
		if w.within(name, "tbody", "thead", "tfoot", "table"); *name != "div" {
			w.push("tr", "tr", "")
		}
		return
	}
	if w.inTable() {
		w.cell()
	}
}

// within closes what is open inside of the innermost of the parents; without one the element becomes a div.
func (w *rewriter) within(name *string, parents ...string) {
	i := w.last(parents, "table")
	if i < 0 {
		*name = "div"
		return
	}
	w.closeTo(i + 1)
}

// end takes an end tag. One that closes nothing is left out.
func (w *rewriter) end(name string) {
	var stop []string
	switch name {
	case "table", "tbody", "thead", "tfoot", "tr":
		stop = []string{"table"}
	default:
		stop = []string{"td", "th", "caption", "table"}
	}
	if i := w.last([]string{name}, stop...); i >= 0 {
		w.closeTo(i)
	}
}
