package web

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"postern/people"
	"postern/quarantine"
	"postern/review"
)

// A visit is a browser at the pages over sample mail.
type visit struct {
	*bed
	ctx context.Context
	url string
}

func newVisit(t *testing.T, role people.Role, change func(*fakeDesk)) *visit {
	b := newBed(t, role)
	if change != nil {
		change(b.desk)
	}
	srv := httptest.NewServer(guarded(b))
	t.Cleanup(srv.Close)
	return &visit{b, chromium(t), srv.URL}
}

// guarded gives answers the headers that they have in the whole program.
func guarded(b *bed) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.guard(w.Header(), r)
		b.ServeHTTP(w, r)
	})
}

func (v *visit) open(path string) { look(v.t.(*testing.T), v.ctx, "light", 1280, 900, v.url+path) }

// keys types into the page; no field has the focus.
func (v *visit) keys(text string) {
	v.t.Helper()
	for _, k := range text {
		if err := chromedp.Do(v.ctx, chromedp.KeyEvent(string(k))); err != nil {
			v.t.Fatal(err)
		}
	}
}

// until waits for a condition in the page.
func (v *visit) until(what, js string) {
	v.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		is, err := chromedp.Run(v.ctx, chromedp.Evaluate[bool](`document.readyState === "complete" && !!(`+js+")"))
		if is {
			return
		}
		if time.Now().After(end) {
			text, _ := chromedp.Run(v.ctx, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText"))
			v.t.Fatalf("%s: not so (%v)\n%s", what, err, text)
		}
		if err := chromedp.Do(v.ctx, chromedp.Sleep(25*time.Millisecond)); err != nil { // nothing tells of every change of a page, and it may be on its way to another
			v.t.Fatal(err)
		}
	}
}

func (v *visit) eval(js string) string {
	v.t.Helper()
	out, err := chromedp.Run(v.ctx, chromedp.Evaluate[string]("String("+js+")"))
	if err != nil {
		v.t.Fatalf("%s: %v", js, err)
	}
	return out
}

func (v *visit) acts() []review.Act {
	v.desk.mu.Lock()
	defer v.desk.mu.Unlock()
	return slices.Clone(v.desk.done)
}

// A reviewer who never touches the mouse: moves, chooses, acts, undoes, opens, comes back.
func TestJourneyKeyboard(t *testing.T) {
	v := newVisit(t, people.Admin, nil)
	v.open("/")
	v.keys("jj")
	v.until("j j is at the second row", `document.activeElement.closest(".row")?.id === "r-`+sampleID(2)+`"`)
	v.keys("k")
	v.until("k goes back", `document.activeElement.closest(".row")?.id === "r-`+sampleID(1)+`"`)
	v.keys("d")
	v.until("the deleted row is marked and can be undone", `document.querySelector("#r-`+sampleID(1)+`.going") && document.querySelector("#undo")`)
	if a := v.acts(); len(a) != 1 || a[0].Do != review.Delete || !slices.Equal(a[0].IDs, []string{sampleID(1)}) || !a[0].Undoing {
		t.Fatalf("d asked for %+v", a)
	}
	v.until("the next row has the focus", `document.activeElement.closest(".row")?.id === "r-`+sampleID(2)+`"`)
	v.keys("u")
	v.until("u takes it back", `!document.querySelector(".going") && document.querySelector("#toast").innerText.includes("Undone")`)
	v.keys("x")
	v.keys("J")
	v.until("x and J choose two", `document.querySelectorAll(".row.picked").length >= 2`)
	v.keys("*")
	v.until("* chooses all that match", `document.querySelector("#pick-all").value === "1" && document.querySelector("#picked").innerText.includes("All")`)
	v.keys("s")
	v.until("many at once are asked about first", `document.querySelector("h1").innerText.includes("Report as spam: 12 messages")`)
	v.until("the dangerous ones are left out", `document.querySelectorAll("input[name=also]:not(:checked)").length === 2`)
	if err := chromedp.Do(v.ctx, chromedp.KeyEvent(kb.Enter)); err != nil { // the button has the focus
		t.Fatal(err)
	}
	v.until("it is done and can be undone", `document.querySelector("#undo-button")`)
	if a := v.acts(); len(a) != 2 || a[1].Find == nil || a[1].Expect != 12 || len(a[1].Also) != 0 {
		t.Fatalf("the form asked for %+v", a)
	}
	v.keys("u")
	v.until("u takes the many back", `document.querySelector("h1").innerText === "Undone"`)
	v.open("/")
	if err := chromedp.Do(v.ctx, chromedp.Click(chromedp.CSS("#pick-page"))); err != nil {
		t.Fatal(err)
	}
	v.until("the box at the top chooses all of the page", `document.querySelectorAll(".row.picked").length === 12 && document.querySelector("#pick-page").checked`)
	v.open("/")
	v.keys("j")
	if err := chromedp.Do(v.ctx, chromedp.KeyEvent(kb.Enter)); err != nil {
		t.Fatal(err)
	}
	v.until("Enter opens", `location.pathname === "/m/`+sampleID(1)+`" && document.readyState === "complete"`)
	v.keys("h")
	v.until("h shows the headers", `document.querySelector(".hops")`)
	v.keys("v")
	v.until("v shows the raw message", `document.querySelector("pre.raw")?.innerText.includes("Message-ID")`)
	v.keys("j")
	v.until("j goes to the next message", `location.pathname === "/m/`+sampleID(2)+`" && document.readyState === "complete"`)
	v.keys("r")
	v.until("r releases and goes on, the undo comes along", `location.pathname === "/m/`+sampleID(3)+`" && document.querySelector("#undo")`)
	v.keys("R")
	v.until("R opens release and allow", `document.querySelector("#allow[open]") && document.activeElement.id === "allow-who"`)
	if err := chromedp.Do(v.ctx, chromedp.KeyEvent(kb.Escape), chromedp.KeyEvent(kb.Escape)); err != nil {
		t.Fatal(err)
	}
	v.until("Escape closes it, then leaves", `location.pathname === "/" && document.readyState === "complete"`)
	v.until("the cursor is where it was", `document.activeElement.closest(".row")?.id === "r-`+sampleID(3)+`"`)
	v.keys("?")
	v.until("? helps", `document.querySelector("#keys[open]")`)
}

// The query box tells what is wrong while one types, with a caret below it, and completes fields.
func TestJourneyQuery(t *testing.T) {
	v := newVisit(t, people.Operator, nil)
	v.open("/")
	v.keys("/")
	v.until("/ goes to the box", `document.activeElement.id === "q"`)
	v.eval(`document.querySelector("#q").value = ""`) // keys of the protocol come as a character, too, whatever the page says
	v.keys("ru")
	v.until("fields are offered", `!document.querySelector("#words").hidden && document.querySelector("#words").innerText.includes("rule")`)
	if err := chromedp.Do(v.ctx, chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.Tab)); err != nil {
		t.Fatal(err)
	}
	v.until("Tab takes the field", `document.querySelector("#q").value === "rule "`)
	v.eval(`document.querySelector("#q").value = ""`)
	v.keys(`recieved > 1`)
	v.until("the error stands below the box, with a caret", `document.querySelector("#check")?.innerText.includes("did you mean received") && document.querySelector("#check pre").innerText.endsWith("^")`)
	v.eval(`document.querySelector("#q").value = ""`)
	v.keys("parcel")
	if err := chromedp.Do(v.ctx, chromedp.KeyEvent(kb.Enter)); err != nil {
		t.Fatal(err)
	}
	v.until("words find", `location.search.includes("q=parcel") && document.querySelectorAll(".row").length === 1`)
}

// Ten thousand rows: pages come as one reads on, and what is read stays where it is when new mail comes.
func TestJourneyLongList(t *testing.T) {
	v := newVisit(t, people.Operator, func(d *fakeDesk) {
		one := d.rows[0]
		d.rows = nil
		for i := range 10_000 {
			r := one
			r.ID = fmt.Sprintf("01KAQX7M2N00000000000%05d", i)
			r.Subject = fmt.Sprintf("Message number %d", i)
			d.rows = append(d.rows, r)
		}
	})
	v.open("/")
	v.until("the first page and the count", `document.querySelectorAll(".row").length >= 50 && document.querySelector("#total").innerText.includes("10")`)
	for n := 100; n <= 200; n += 50 {
		if err := chromedp.Do(v.ctx, chromedp.Evaluate[chromedp.Void](`document.querySelector(".more")?.scrollIntoView()`)); err != nil {
			t.Fatal(err)
		}
		v.until("more rows come", fmt.Sprintf(`document.querySelectorAll(".row").length >= %d`, n))
	}
	if v.eval(`new Set([...document.querySelectorAll(".row")].map(r => r.id)).size === document.querySelectorAll(".row").length`) != "true" {
		t.Error("a row came twice")
	}
	was := v.eval("scrollY")
	for range 3 {
		v.desk.arrived <- v.desk.rows[0]
	}
	v.until("news is told", `document.querySelector("#arrived a")?.textContent === "3 new: show"`)
	if is := v.eval("scrollY"); is != was {
		t.Errorf("the page moved from %s to %s", was, is)
	}
}

// Rules: an error stands at the caret while one types; a draft from a message says what it would do.
func TestJourneyRules(t *testing.T) {
	v := newVisit(t, people.Admin, nil)
	v.open("/m/" + sampleID(1))
	if err := chromedp.Do(v.ctx, chromedp.Click(chromedp.CSS("#more > summary")), chromedp.Click(chromedp.CSS(`#more a`))); err != nil {
		t.Fatal(err)
	}
	v.until("the draft and what it would do", `document.querySelector("#text")?.value.includes("mail-like-this") && document.querySelector("#trial").innerText.includes("12 newly held")`)
	if err := chromedp.Do(v.ctx, chromedp.SendKeys(chromedp.ID("text"), " sendr")); err != nil {
		t.Fatal(err)
	}
	v.until("the error comes while one types", `document.querySelector("#trial").innerText.includes("did you mean sender.domain")`)
	if err := chromedp.Do(v.ctx, chromedp.Click(chromedp.CSS("#trial a[data-line]"))); err != nil {
		t.Fatal(err)
	}
	v.until("its place leads to the caret", `(t => t === document.activeElement && t.value.slice(t.selectionStart).startsWith("sendr"))(document.querySelector("#text"))`)
	v.eval(`document.querySelector("#text").value = "rules: []"`)
	if err := chromedp.Do(v.ctx, chromedp.Click(chromedp.CSS(`button[value=apply]`))); err != nil {
		t.Fatal(err)
	}
	v.until("it is in force", `document.querySelector("h1").innerText === "Rules" && document.body.innerText.includes("Number 42 is in force")`)
}

// hostile are values that mail, and people who write rules, can put everywhere.
func hostile() []string {
	return []string{
		`<script>window.pwned=1</script>`, `"><script>window.pwned=1</script>`, `'><img src=x onerror=window.pwned=1>`, `"><svg onload=window.pwned=1>`, `</title><script>window.pwned=1</script>`,
		`</textarea><script>window.pwned=1</script>`, `" autofocus onfocus=window.pwned=1 x="`, `' onmouseover=window.pwned=1 '`, `javascript:window.pwned=1`, `{{constructor.constructor('window.pwned=1')()}}`,
		`${window.pwned=1}`, `<iframe srcdoc="<script>parent.pwned=1</script>">`, `<math><mtext></form><form><mglyph><style></math><img src onerror=window.pwned=1>`, `--><script>window.pwned=1</script>`,
		`" hx-on:load="window.pwned=1" x="`, `<div hx-get="/" hx-trigger="load" hx-on::after-request="window.pwned=1">`, `<a href="javascript:window.pwned=1">x</a>`, "\u202e<script>window.pwned=1</script>", "\x00<img src=x onerror=window.pwned=1>",
		`<style>@import'//evil.example'</style>`, `<meta http-equiv=refresh content="0;url=//evil.example">`, `<base href=//evil.example>`, strings.Repeat("A<b>", 4000),
	}
}

// W-12: what stands in mail, names and rules runs nowhere, with the headers and without them.
func TestW12_HostileValues(t *testing.T) {
	for _, guard := range []bool{true, false} {
		b := newBed(t, people.Admin)
		var h http.Handler = b
		if guard {
			h = guarded(b)
		}
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		ctx := chromium(t)
		for i, x := range hostile() {
			r := &b.desk.rows[0]
			r.Subject, r.FromName, r.FromAddress, r.Sender, r.Because, r.Rule, r.Class = x, x, x+"@evil.example", x+"@evil.example", x, x, "spam"
			r.Envelope.Client.Helo, r.Attachments, r.Assigned, r.Mismatch = x, []string{"application/" + x}, x, true
			r.Copies = []quarantine.Copy{{Recipient: r.Copies[0].Recipient, Because: x, Rule: x, Note: x, By: x, Class: "spam", State: quarantine.Kept}}
			r.Asked = &review.Request{By: x, For: x, Comment: x, Answer: x, State: "asked"}
			b.desk.views = []review.View{{Name: x, Find: review.Find{Query: x}}}
			b.who.Name = x
			b.desk.raw[r.ID] = "From: " + strings.ReplaceAll(x, "\x00", "") + " <a@evil.example>\r\nSubject: " + x + "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n" + x +
				"\r\n--b\r\nContent-Type: text/html; name=\"" + strings.ReplaceAll(x, `"`, `\"`) + "\"\r\nContent-Disposition: attachment\r\n\r\n" + x + "\r\n--b--\r\n"
			paths := []string{"/", "/m/" + r.ID + "?tab=html", "/requests", "/?q=" + strings.ReplaceAll(strings.ReplaceAll(x, "%", "%25"), " ", "+")}
			if i%4 == 0 {
				paths = append(paths, "/m/"+r.ID, "/m/"+r.ID+"?tab=headers", "/m/"+r.ID+"?tab=attachments", "/m/"+r.ID+"?tab=links", "/m/"+r.ID+"?tab=raw", "/m/"+r.ID+"/frame")
			}
			for _, path := range paths {
				limited, cancel := context.WithTimeout(ctx, 20*time.Second)
				err := chromedp.Do(limited, chromedp.Navigate(strings.Map(printable, srv.URL+path)), chromedp.WaitReady(chromedp.CSS("body")))
				cancel()
				if err != nil {
					t.Fatalf("%q at %s: %v", x, path, err)
				}
				if got, err := chromedp.Run(ctx, chromedp.Evaluate[string](`String(window.pwned) + " " + location.host`)); err != nil || got != "undefined "+strings.TrimPrefix(srv.URL, "http://") {
					t.Errorf("%q at %s: a script ran or the page went elsewhere: %s %v", x, path, got, err)
				}
			}
		}
	}
}

func printable(r rune) rune {
	if r < ' ' || r == '#' {
		return -1
	}
	return r
}
