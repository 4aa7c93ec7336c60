package preview

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// checkDocument parses a document back as a browser would and looks for anything live.
func checkDocument(t testing.TB, doc string) {
	t.Helper()
	body, ok := strings.CutPrefix(doc, frameHead)
	if !ok {
		t.Fatal("the document does not begin as it should")
	}
	root, err := html.Parse(strings.NewReader(doc))
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	if bad := liveIn(root); bad != "" {
		t.Fatalf("%s in\n%s", bad, body)
	}
}

// liveIn names what a browser would run, fetch or follow; "" when there is nothing.
func liveIn(n *html.Node) string {
	if n.Type == html.ElementNode {
		if n.Namespace != "" || !kept[n.Data] && !slices.Contains([]string{"html", "head", "body", "meta", "title", "style"}, n.Data) {
			return "<" + n.Data + ">"
		}
		if n.Parent != nil && n.Parent.Data != "head" && (n.Data == "meta" || n.Data == "style" || n.Data == "title") {
			return "<" + n.Data + "> in the body"
		}
		for _, a := range n.Attr {
			v := strings.ToLower(a.Val)
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "id", a.Key == "name" && n.Data != "meta", a.Key == "srcset", a.Key == "href":
				return a.Key + "=" + a.Val
			case a.Key == "src" && !strings.HasPrefix(v, "data:image/png;base64,") && !strings.HasPrefix(v, "data:image/jpeg;base64,") && !strings.HasPrefix(v, "data:image/gif;base64,") && !strings.HasPrefix(v, "data:image/webp;base64,"):
				return a.Key + "=" + a.Val
			case a.Key == "class" && !strings.HasPrefix(v, "pv"):
				return a.Key + "=" + a.Val
			case a.Key == "style" && (strings.ContainsAny(v, `\"'/*@{}<`) || strings.Contains(v, "url") || strings.Contains(v, "position")):
				return a.Key + "=" + a.Val
			case a.Key != "src" && a.Key != "alt" && strings.Contains(v, ":") && a.Key != "style":
				return a.Key + "=" + a.Val
			}
		}
	}
	if n.Type == html.CommentNode {
		return "a comment"
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if bad := liveIn(c); bad != "" {
			return bad
		}
	}
	return ""
}

func TestSanitiseKeepsWhatIsHarmless(t *testing.T) {
	for src, want := range map[string]string{
		"a<b>c</b>d":                        `a<span style="font-weight:bold">c</span>d`,
		"<p>a<p>b":                          `<div style="margin:1em 0">a</div><div style="margin:1em 0">b</div>`,
		"<ul><li>a<li>b</ul>":               "<ul><li>a</li><li>b</li></ul>",
		"<table><td>a<td>b<tr><td>c":        "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>",
		"<table>text<p>x</table>y":          `<table><tr><td>text<div style="margin:1em 0">x</div></td></tr></table>y`,
		"<td>a</td>":                        "<div>a</div>",
		`<a href="http://a.example/">x</a>`: `<a href="http://a.example/">x</a>`,
		`<a href="javascript:alert(1)">x`:   "<a>x</a>",
		`<font color=RED>x</font>`:          `<span style="color:red">x</span>`,
		`<div style="color: Red; background:url(x); position:fixed; COLOR:#fff">x`: `<div style="color:#fff">x</div>`,
		`<td bgcolor=#000>x`: `<div style="color:#fff">x</div>`, `<div style="background:#FFE;color:blue">x`: `<div style="background-color:#ffe;color:blue">x</div>`,
		`<p style="background:#123">x`:                        `<div style="margin:1em 0;background-color:#123;color:#fff">x</div>`,
		`<img src=x alt="a <b>">`:                             "[a &lt;b&gt;]",
		`<svg><a href=x>t</a><script>alert(1)</script></svg>`: "<a>t</a>",
		"<plaintext>a<b>":                                     "<pre>a&lt;b&gt;</pre>",
		"<!-- x --><![CDATA[y]]>z":                            "z",
	} {
		got, err := Sanitise(src)
		if err != nil || got != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", src, err, got, want)
		}
	}
}

// What makes trees of parsers explode stays as long as it was.
func TestSanitiseDoesNotMultiply(t *testing.T) {
	var fonts strings.Builder
	for i := range 300 {
		fonts.WriteString("<font size=" + strings.Repeat("1", i%7+1) + " color=#" + strings.Repeat("a", i%5+1) + ">")
	}
	for name, src := range map[string]string{
		"fonts":   "<p>" + fonts.String() + strings.Repeat("</p><p>x", 20000),
		"depth":   strings.Repeat("<div>", 100_000),
		"tables":  strings.Repeat("<table><tr><td>", 50_000),
		"anchors": strings.Repeat("<a href=http://a.example/><b>", 20_000),
		"lists":   strings.Repeat("<ul><li>", 50_000),
		"open":    strings.Repeat("<", 500_000),
		"attrs":   "<div " + strings.Repeat("style=color:red ", 30_000) + ">",
		"style":   `<div style="` + strings.Repeat("color:red;", 50_000) + `">`,
		"ends":    strings.Repeat("<div>", 99) + strings.Repeat("</p>", 100_000),
	} {
		out, err := Sanitise(src)
		if err != nil || len(out) > 20*len(src) {
			t.Errorf("%s: %v, %d bytes of %d", name, err, len(out), len(src))
		}
	}
}

// FuzzSanitise: what comes out is stable, and nothing in it is live.
func FuzzSanitise(f *testing.F) {
	for _, s := range []string{"<p>a<b>c</p>d", `<a href="http://a.example/?q=1&amp;r#x">b</a>`, "<svg><style><img src=x onerror=alert(1)>", "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
		`<div style="color:red;x:url(http://a)">`, "<table><td>a<tr>b<caption>c", "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">", "<img src=\"data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=\">", "<textarea></textarea><xmp></div>", "&#x202e;&lt;script&gt;\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 64<<10 {
			return
		}
		once, err := Sanitise(src)
		if err != nil {
			return
		}
		twice, err := Sanitise(once)
		if err != nil || twice != once {
			t.Fatalf("%v\n%q\n%q", err, once, twice)
		}
		checkDocument(t, document(once))
	})
}

// Addresses of styles that never end cost no more than the styles are long.
func TestStylesThatNeverEnd(t *testing.T) {
	r := &remotes{}
	begin := time.Now()
	r.styles(strings.Repeat("url(", 4<<20))
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("took %v", d)
	}
}
