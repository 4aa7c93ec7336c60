package preview

import (
	"slices"
	"strings"

	"golang.org/x/net/html"

	"postern/filters"
)

// remotes count what a mail program would fetch when it shows the message.
type remotes struct {
	count int
	hosts []string
	urls  map[string]bool
	list  []string
}

const (
	maxRemoteHosts = 50
	maxStyled      = 20_000 // places in one style that are looked at
)

// fetching are attributes whose value is fetched without a click.
var fetching = set("src srcset poster background data code codebase lowsrc dynsrc imagesrcset manifest archive classid icon")

// note takes down what of a tag is live or would be fetched.
func (w *rewriter) note(t *html.Token) {
	if live[t.Data] && !slices.Contains(w.removed, t.Data) {
		w.removed = append(w.removed, t.Data)
	}
	for _, a := range t.Attr {
		key := strings.TrimPrefix(a.Key, "xlink:")
		switch {
		case strings.HasPrefix(key, "on"):
			if !slices.Contains(w.removed, "event handlers") {
				w.removed = append(w.removed, "event handlers")
			}
		case key == "style":
			w.remote.styles(a.Val)
		case key == "srcset" || key == "imagesrcset":
			for _, part := range strings.Split(a.Val[:min(len(a.Val), 8<<10)], ",") {
				u, _, _ := strings.Cut(strings.TrimSpace(part), " ")
				w.remote.add(u)
			}
		case key == "srcdoc" && !w.inner:
			inner := rewriter{inner: true}
			inner.rewrite(a.Val)
			for _, u := range inner.remote.list {
				w.remote.add(u)
			}
		case fetching[key], key == "href" && slices.Contains([]string{"link", "base", "image", "use", "feimage", "script"}, t.Data):
			w.remote.add(a.Val)
		}
	}
}

// styles counts the addresses in CSS.
func (r *remotes) styles(css string) {
	low := strings.ToLower(css)
	for _, word := range []string{"url(", "@import", "image-set("} {
		for rest, at, n := low, 0, 0; r.count < maxLinks && n < maxStyled; n++ {
			i := strings.Index(rest, word)
			if i < 0 {
				break
			}
			at += i + len(word)
			rest = low[at:]
			u := strings.TrimLeft(css[min(at, len(css)):min(at+maxTarget, len(css))], " \t\r\n\"'")
			if end := strings.IndexAny(u, "\"')\n; "); end >= 0 {
				u = u[:end]
			}
			r.add(u)
		}
	}
}

func (r *remotes) add(u string) {
	u = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(strings.TrimSpace(u))
	host := filters.URLHost(u)
	if host == "" || r.urls[u] {
		return
	}
	if r.urls == nil {
		r.urls = map[string]bool{}
	}
	r.count++
	if len(r.urls) < maxLinks {
		r.urls[u] = true
		r.list = append(r.list, u)
	}
	if len(r.hosts) < maxRemoteHosts && !slices.Contains(r.hosts, host) {
		r.hosts = append(r.hosts, host)
	}
}

func (r *remotes) has(u string) bool { return r.urls[u] }
