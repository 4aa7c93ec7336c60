package web

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"postern/filters"
	"postern/mail"
	"postern/people"
	"postern/preview/hostiletest"
	"postern/quarantine"
	"postern/review"
)

// hostileRow is what the Desk tells of a hostile message: nothing in it was made harmless.
func hostileRow(t *testing.T, n int, m hostiletest.Message, word string) review.Row {
	r, err := filters.ReadMessage(t.Context(), mail.BodyOf(m.Raw), filters.ReadingLimits{})
	if err != nil {
		t.Fatal(err)
	}
	row := review.Row{ID: sampleID(500 + n), Received: sampleTime().Add(-time.Hour), State: quarantine.Kept, Result: "held", Subject: r.Facts.Subject, Sender: word + "@" + hostiletest.Domain,
		Class: "spoof", Rule: word, Because: word, Size: int64(len(m.Raw)), Policy: word, By: word, Note: word, Assigned: word, Attachments: []string{word},
		Seen: &review.Mark{By: word, At: sampleTime()}, Auth: review.Auth{SPF: "fail", DKIM: "none", DMARC: "fail"}, May: []review.Verb{review.Release, review.Delete}, Mismatch: true}
	if len(r.Facts.From) > 0 {
		row.FromName, row.FromAddress = r.Facts.From[0].Name, r.Facts.From[0].Address
	}
	row.Envelope = mail.Envelope{ID: row.ID, Received: row.Received, Sender: mail.Address{Local: word, Domain: hostiletest.Domain},
		Client: mail.Client{Addr: netip.MustParseAddr("198.51.100.66"), Helo: word, TLS: word}}
	row.Copies = []quarantine.Copy{{Recipient: mail.RcptTo{Address: mail.Address{Local: word, Domain: "example.org"}}, Rule: word, Because: word, Class: "spoof", State: quarantine.Kept, Changed: row.Received}}
	return row
}

// The pages themselves over hostile mail, in a real browser: no script, no request to elsewhere, no
// navigation, on the list and on every tab (W-12, C-30 to C-32).
func TestW12_PagesOverHostileMail(t *testing.T) {
	b := newBed(t, people.Admin)
	b.desk.rows = nil
	all := hostiletest.Messages()
	tabs := []string{"text", "headers", "attachments", "links", "raw"}
	var paths []string
	for i, m := range all {
		field := strings.HasPrefix(m.Name, "field-")
		if field && i%2 != 0 || !field && i%8 != 0 { // all of them stand in the test below
			continue
		}
		row := hostileRow(t, i, m, hostiletest.Payload(i))
		b.desk.rows = append(b.desk.rows, row)
		b.desk.raw[row.ID] = string(m.Raw)
		tab := "html"
		if field {
			tab = tabs[i/2%len(tabs)]
		}
		paths = append(paths, "/m/"+row.ID+"?tab="+tab)
	}
	paths = append(paths, "/", "/log", "/requests", "/audit", "/overview")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.guard(w.Header(), r)
		b.ServeHTTP(w, r)
	}))
	defer srv.Close()
	w := hostiletest.NewWatch(t, srv.URL, "/static/|/api/v1/held/events", `/(?:m/[0-9A-Z]+(?:\?tab=[a-z]+|/frame)|log|requests|audit|overview)?$`)
	for _, p := range paths {
		w.Show(p, 40*time.Millisecond)
	}
	for _, bad := range w.Seen() {
		t.Error(bad)
	}
	if n := w.Documents(); n < len(paths)+20 {
		t.Errorf("%d documents for %d pages", n, len(paths))
	}
	if n := w.End(); n > 0 {
		t.Errorf("the browser's log names the domain %d times", n)
	}
	t.Logf("%d pages", len(paths))
}

// All of it on all tabs, without a browser: what a parser finds in a page is what its templates put
// there.
func TestW12_PagesHoldNothingOfHostileMail(t *testing.T) {
	b := newBed(t, people.Admin)
	for i, m := range hostiletest.Messages() {
		row := hostileRow(t, i, m, hostiletest.Payload(i))
		b.desk.rows = []review.Row{row}
		b.desk.raw[row.ID] = string(m.Raw)
		tabs := []string{"text", "html", "headers", "attachments", "links", "raw"}
		for _, tab := range []string{tabs[i%6], tabs[(i+3)%6]} {
			if bad := foreign(t, b.get("/m/"+row.ID+"?tab="+tab)); bad != "" {
				t.Errorf("%s, %s: %s", m.Name, tab, bad)
			}
		}
		if bad := foreign(t, b.get("/")); bad != "" {
			t.Errorf("%s, list: %s", m.Name, bad)
		}
	}
}

// foreign names something in a page that no template writes; "" when there is nothing.
func foreign(t *testing.T, page string) string {
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if slices.Contains([]string{"style", "object", "embed", "base", "video", "audio", "frame", "math", "template", "marquee", "img"}, n.Data) {
			return "<" + n.Data + ">"
		}
		for _, a := range n.Attr {
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "srcdoc", a.Key == "http-equiv":
				return n.Data + " " + a.Key + "=" + a.Val
			case (a.Key == "src" || a.Key == "href" || a.Key == "action" || a.Key == "formaction") && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "?"), strings.HasPrefix(a.Val, "//"):
				return n.Data + " " + a.Key + "=" + a.Val
			}
		}
		if n.Data == "script" && n.FirstChild != nil {
			return "a script in the page"
		}
	}
	return ""
}
