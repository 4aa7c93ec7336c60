package preview

import (
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"

	"postern/filters"
)

// Limits of links.
const (
	maxLinks    = 1000
	maxLinkText = 200
	maxTarget   = 2 << 10
)

// A Link is something that the message points to. Show it as text: nothing in a preview can be
// followed.
type Link struct {
	Text     string `json:"text,omitempty"`    // what the reader sees
	Target   string `json:"target"`            // where it leads
	Host     string `json:"host,omitempty"`    // the host there, in A-labels; "" when there is none
	Unicode  string `json:"unicode,omitempty"` // the host as people read it, when that differs
	TextHost string `json:"text_host,omitempty"`
	Mismatch bool   `json:"mismatch,omitempty"` // the text shows another host
	Scheme   string `json:"scheme,omitempty"`   // of a target that a browser would not open as a page: javascript, data, file
	Fetched  bool   `json:"fetched,omitempty"`  // a mail program would fetch it when it shows the message
}

// newLink judges a target and what is shown for it.
func newLink(text, target string) Link {
	target = strings.Trim(target, " \x00\t\r\n\f")
	l := Link{Text: VisibleName(strings.Join(strings.Fields(text), " ")), Host: filters.URLHost(target)}
	t, _ := clip(target, maxTarget)
	l.Target = VisibleName(t)
	l.Unicode = otherWriting(l.Host)
	if h := filters.ShownHost(strings.TrimSpace(text)); h != "" && strings.TrimPrefix(h, "www.") != strings.TrimPrefix(l.Host, "www.") {
		l.TextHost, l.Mismatch = h, true
	}
	// Browsers pass over tabs and line ends, also within the scheme (WHATWG URL 4.4).
	bare := strings.Map(func(r rune) rune {
		if r <= ' ' {
			return -1
		}
		return r
	}, target[:min(len(target), 100)])
	if scheme, _, ok := strings.Cut(bare, ":"); ok && !strings.ContainsAny(scheme, "/?#.") {
		if s := strings.ToLower(scheme); !slices.Contains([]string{"http", "https", "mailto", "tel", "cid"}, s) {
			l.Scheme = VisibleName(s)
		}
	}
	return l
}

func otherWriting(host string) string {
	if u := unicodeHost(host); u != host {
		return u
	}
	return ""
}

// linkTarget gives the target of an anchor as it comes out.
func linkTarget(v string, anchor bool) (string, bool) {
	if !anchor || len(v) > maxTarget {
		return "", false
	}
	u, err := url.Parse(strings.TrimSpace(v))
	if err != nil || u.Opaque != "" && u.Scheme != "mailto" || (u.Scheme == "http" || u.Scheme == "https") && u.Host == "" {
		return "", false
	}
	switch u.Scheme {
	case "http", "https", "mailto":
		return u.String(), true
	}
	return "", false
}

func unescapeURL(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}

// link opens an anchor in the list.
func (w *rewriter) link(t *html.Token) {
	w.anchor = 0
	for _, a := range t.Attr {
		if a.Key == "href" && strings.TrimSpace(a.Val) != "" && !strings.HasPrefix(strings.TrimSpace(a.Val), "#") && len(w.anchors) < maxLinks {
			w.anchors = append(w.anchors, Link{Target: a.Val})
			w.anchor = len(w.anchors)
			return
		}
	}
}

// links joins what the HTML and the text point to, each once. What rules saw and this did not, such
// as the target of a form, is in it too.
func (b *builder) links() []Link {
	var out []Link
	seen := map[[2]string]bool{}
	targets := map[string]bool{}
	add := func(l Link) {
		key := [2]string{l.Target, l.Text}
		switch {
		case seen[key]:
		case len(out) >= maxLinks:
			b.cut = true
		default:
			seen[key], targets[l.Target] = true, true
			out = append(out, l)
		}
	}
	for _, l := range b.anchors {
		add(newLink(l.Text, l.Target))
	}
	for _, f := range b.reading.Facts.Links {
		l := newLink("", f.URL)
		l.Fetched = b.remote.has(f.URL)
		if f.TextHost != "" && !l.Mismatch {
			l.TextHost, l.Mismatch = f.TextHost, true
		}
		if !targets[l.Target] {
			add(l)
		}
	}
	return out
}
