package digest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"postern/mail"
	"postern/quarantine"
	"postern/quarantine/quarantinetest"
)

var update = flag.Bool("update", false, "write golden files")

// golden compares with a file beside the tests.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s is not as it was (%v):\n%s", name, err, got)
	}
}

// hostileItems holds messages of each kind, whose every text wants to be more than text.
func (b *bed) hostileItems(t testing.TB) {
	t.Helper()
	for i, class := range []string{"spam", "policy", "attachment", "spoof", "undelivered", "virus", "malformed", "odd"} {
		b.clock.Add(time.Minute)
		b.holdAs(t, func(it *quarantine.Item) {
			it.Copies[0].Class = class
			it.Subject = fmt.Sprintf("Message %d of class %s", i+1, class)
			it.Copies[0].Because = "it is not from bank.example"
		}, "b@example.org")
	}
	hostile := []string{
		`<script>alert(1)</script><img src=http://evil.example/p.gif>`,
		"http://evil.example/login?user=b@example.org",
		"mailto:boss@evil.example?subject=pay",
		"\u202eevil\u202c\r\nBcc: everybody@example.org",
		`"><a href="https://evil.example">Release</a>`,
		"{{.Title}} {{range .}} %s%d%n",
		"مرحبا بالعالم",
		strings.Repeat("Wery long ", 500),
	}
	for _, s := range hostile {
		b.clock.Add(time.Minute)
		b.holdAs(t, func(it *quarantine.Item) {
			it.Subject, it.From = s, `"`+strings.ReplaceAll(s, `"`, `\"`)+`" <anna@partner.example>`
			it.Envelope.Sender = quarantinetest.Address("anna@partner.example")
			it.Copies[0].Class, it.Copies[0].Because = "policy", "the subject says "+s
		}, "b@example.org")
	}
}

func hostileDigest(t *testing.T, change ...func(*Options)) *mail.Letter {
	t.Helper()
	known := func(_ context.Context, it *quarantine.Item, _ mail.Address) bool {
		return it.Envelope.Sender.Domain == "partner.example"
	}
	b := newBed(t, append([]func(*Options){func(o *Options) { o.Known = known }}, change...)...)
	b.hostileItems(t)
	l, err := b.Show(t.Context(), quarantinetest.Address("b@example.org"), quarantinetest.Start())
	if err != nil || l == nil {
		t.Fatal(l, err)
	}
	return l
}

func TestDigestGolden(t *testing.T) {
	l := hostileDigest(t)
	golden(t, "digest.txt", l.Text)
	golden(t, "digest.html", l.HTML)
	bare := hostileDigest(t, func(o *Options) { o.Key, o.Origin = nil, "" })
	golden(t, "bare.txt", bare.Text)
}

// readHTML gives the words of the page in their order, links as the text has them, and where
// they lead.
func readHTML(t *testing.T, text string) (words string, links []string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	var walk func(n *html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
		if n.Type == html.ElementNode && n.Data == "head" {
			return
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
		if n.Type == html.ElementNode && n.Data == "a" {
			for _, a := range n.Attr {
				if a.Key == "href" {
					links = append(links, a.Val)
					b.WriteString(": " + a.Val)
				}
			}
		}
		if n.Type == html.ElementNode {
			b.WriteByte(' ')
		}
	}
	walk(doc)
	return strings.Join(strings.Fields(b.String()), " "), links
}

// Both parts say the same.
func TestDigestPartsAreEqual(t *testing.T) {
	for _, change := range []func(*Options){func(*Options) {}, func(o *Options) { o.Key = nil }, func(o *Options) { o.Origin = "" }, func(o *Options) { o.MaxItems = 3 }} {
		l := hostileDigest(t, change)
		var lines []string
		for line := range strings.SplitSeq(l.Text, "\n") {
			if strings.Trim(line, "-") != "" {
				lines = append(lines, line)
			}
		}
		text := strings.Join(strings.Fields(strings.Join(lines, " ")), " ")
		if words, _ := readHTML(t, l.HTML); words != text {
			at := 0
			for at < min(len(words), len(text)) && words[at] == text[at] {
				at++
			}
			t.Errorf("text: %.100q, HTML: %.100q", text[at:], words[at:])
		}
	}
}

// Nothing in a digest is alive but our own links, of which none holds a word of a stranger.
func TestDigestIsNotAlive(t *testing.T) {
	l := hostileDigest(t)
	_, links := readHTML(t, l.HTML)
	if len(links) < 25 {
		t.Errorf("%d links", len(links))
	}
	ours := func(s string) bool {
		return strings.HasPrefix(s, "https://quarantine.example.org/") || strings.HasPrefix(s, "mailto:release-") &&
			(strings.HasSuffix(s, "@reply.example.org?subject=Release") || strings.HasSuffix(s, "@reply.example.org?subject=Ask%20for%20release"))
	}
	for _, s := range links {
		if !ours(s) {
			t.Errorf("a link to %s", s)
		}
	}
	doc, _ := html.Parse(strings.NewReader(l.HTML))
	allowed := map[string]bool{"html": true, "head": true, "meta": true, "title": true, "body": true, "h1": true, "h2": true, "h3": true, "p": true, "div": true, "a": true}
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && !allowed[n.Data] {
			t.Errorf("an element %s", n.Data)
		}
		for _, a := range n.Attr {
			if !strings.Contains(" lang charset name content style dir href ", " "+a.Key+" ") || a.Key == "style" && strings.Contains(a.Val, "(") {
				t.Errorf("%s has %s=%q", n.Data, a.Key, a.Val)
			}
		}
	}
	for line := range strings.SplitSeq(l.Text, "\n") {
		label, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if label == "Show" || label == "Release" || label == "Ask for release" || label == "All that is held for you" {
			if !ours(value) {
				t.Errorf("a link to %s", value)
			}
			continue
		}
		if strings.Contains(line, "mx.example.org") { // our own name
			continue
		}
		for _, r := range alive() {
			if where := r.FindString(line); where != "" && strings.Trim(where, "0123456789:") != "" {
				t.Errorf("%q is alive in %q", where, line)
			}
		}
	}
	for _, secret := range []string{"virus", "malformed"} { // classes that a user does not see
		if strings.Contains(l.Text, "class "+secret) {
			t.Errorf("mail of class %s is told of", secret)
		}
	}
}

// Whoever may only ask is told so, and mail that expires soon has no address that outlives it.
func TestDigestOffersWhatOneMay(t *testing.T) {
	b := newBed(t)
	b.hold(t, "spam", "b@example.org")
	b.hold(t, "policy", "b@example.org")
	l, err := b.Show(t.Context(), quarantinetest.Address("b@example.org"), b.now())
	if err != nil || strings.Count(l.Text, "    Release: mailto:") != 1 || strings.Count(l.Text, "    Ask for release: mailto:") != 1 {
		t.Error(l, err)
	}
	for _, s := range strings.Split(l.Text, "mailto:")[1:] {
		local, _, _ := strings.Cut(s, "@")
		got, ok := b.o.Key.read(local)
		if !ok || got.until.After(b.now().Add(goodFor)) || got.until.Before(b.now().Add(goodFor-2*day)) {
			t.Errorf("%s: %v", local, got.until)
		}
	}
}
