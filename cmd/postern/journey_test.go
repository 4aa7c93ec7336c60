package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp/totp"

	"postern/testkit"
)

// A journeyer is one person at a browser, in front of the whole program.
type journeyer struct {
	t   *testing.T
	ctx context.Context
	url string

	foreign string // a message that is not for the user
	spare   string // a code for the loss of the device
}

func (j *journeyer) open(path string) {
	j.t.Helper()
	ctx, cancel := context.WithTimeout(j.ctx, 30*time.Second)
	defer cancel()
	if strings.HasPrefix(path, "/") {
		path = j.url + path
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(path), chromedp.WaitReady("#main")); err != nil {
		j.t.Fatalf("%s: %v\n%s", path, err, j.text())
	}
}

func (j *journeyer) text() string {
	text, _ := chromedp.Run(j.ctx, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText"))
	return text
}

// until waits for a condition in the page.
func (j *journeyer) until(what, js string) {
	j.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		is, err := chromedp.Run(j.ctx, chromedp.Evaluate[bool](`document.readyState === "complete" && !!(`+js+")"))
		if is {
			return
		}
		if time.Now().After(end) {
			j.t.Fatalf("%s: not so (%v)\n%s", what, err, j.text())
		}
		if err := chromedp.Do(j.ctx, chromedp.Sleep(25*time.Millisecond)); err != nil { // nothing tells of every change of a page
			j.t.Fatal(err)
		}
	}
}

func (j *journeyer) says(what string) {
	j.t.Helper()
	j.until("the page says "+what, fmt.Sprintf("document.querySelector('main')?.innerText.includes(%q)", what))
}

// fill types into fields, named by their ids, in the order of the pairs.
func (j *journeyer) fill(pairs ...string) {
	j.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		j.eval(fmt.Sprintf(`document.getElementById(%q).value = ""`, pairs[i]))
		if err := chromedp.Do(j.ctx, chromedp.SendKeys(chromedp.ID(pairs[i]), pairs[i+1])); err != nil {
			j.t.Fatalf("%s: %v\n%s", pairs[i], err, j.text())
		}
	}
}

func (j *journeyer) click(css string) {
	j.t.Helper()
	ctx, cancel := context.WithTimeout(j.ctx, 20*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(css))); err != nil {
		j.t.Fatalf("click on %s: %v\n%s", css, err, j.text())
	}
}

func (j *journeyer) eval(js string) string {
	j.t.Helper()
	out, err := chromedp.Run(j.ctx, chromedp.Evaluate[string]("Promise.resolve("+js+").then(String)", chromedp.EvalAwaitPromise))
	if err != nil {
		j.t.Fatalf("%s: %v", js, err)
	}
	return out
}

const journeyRules = `rules:
  - name: parcels
    when: content.subject contains "parcel" and not lists.allowed
    class: spam
    do: quarantine
    because: "mail about parcels is looked at first"
  - name: contracts
    when: content.subject contains "contract"
    class: policy
    do: quarantine
    because: "contracts are looked at first"
`

// The way of issue 4 through the pages, in a real browser in front of the whole program, with a real
// Postfix behind it: from the first set-up to a rule that was made from a message.
func TestJourneyWholeProgram(t *testing.T) {
	inside := testkit.StartPostfix(t, testkit.PostfixOptions{Mailboxes: []string{"ana", "ben"}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := l.Addr().String()
	l.Close()
	s := newSite(t, inside.Addr, fmt.Sprintf("rules: rules\nweb: {listen: %q, mail_sign_in: true}\n", web))
	s.write(t, "rules/10-journey.yaml", journeyRules)
	g := s.serve(t)
	g.program.upstream.Probe(t.Context())
	j := &journeyer{t: t, ctx: testkit.Chromium(t, 4*time.Minute), url: "http://" + web}
	if err := chromedp.Do(j.ctx, chromedp.EmulateViewport(1280, 900)); err != nil {
		t.Fatal(err)
	}
	send := func(id, subject, body string, to string) {
		t.Helper()
		if code, said := swaks(t, g.addr, letter(id, subject, body), "--to", to); code != swaksDone {
			t.Fatalf("%s: exit %d\n%s", subject, code, said)
		}
	}

	j.setUp(g)
	j.releases(inside, send)
	j.releasesAndAllows(inside, send)
	j.deletesAll(send)
	j.asksAndApproves(s, inside, send)
	j.makesRule()
	j.accessible("/account", "/people", "/people/new", "/lists", "/rules", "/rules/history", "/log", "/overview", "/audit", "/?view=all")
	j.signOut()
	j.accessible("/sign-in")
}

// accessible lets axe-core look at pages, light and dark, wide and narrow: no violation of WCAG 2.2 A or AA.
func (j *journeyer) accessible(paths ...string) {
	j.t.Helper()
	axe, err := os.ReadFile("../../web/testdata/axe.min.js")
	if err != nil {
		j.t.Fatal(err)
	}
	for _, path := range paths {
		j.open(path)
		if err := chromedp.Do(j.ctx, chromedp.Evaluate[chromedp.Void](string(axe)+";0")); err != nil {
			j.t.Fatal(err)
		}
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{1280, 360} {
				_, err := chromedp.Call(j.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
				if err == nil {
					err = chromedp.Do(j.ctx, chromedp.EmulateViewport(width, 900))
				}
				if err != nil {
					j.t.Fatal(err)
				}
				if bad := j.eval(`axe.run(document, {runOnly: ["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa"], iframes: false}).then(r => r.violations.map(v => v.id + ": " + v.nodes.map(n => n.html).join(" | ")).join("\n"))`); bad != "" {
					j.t.Errorf("%s, %s, %d px: %s", path, scheme, width, bad)
				}
			}
		}
	}
	if err := chromedp.Do(j.ctx, chromedp.EmulateViewport(1280, 900)); err != nil {
		j.t.Fatal(err)
	}
}

// setUp makes the first account with the link of the log, and its second factor.
func (j *journeyer) setUp(g *running) {
	ctx, cancel := context.WithTimeout(j.ctx, 20*time.Second)
	defer cancel()
	r, err := g.log.wait(ctx, 1, "msg", "nobody is administrator yet", "link", "")
	if err != nil {
		j.t.Fatal(err)
	}
	j.open(r["link"].(string))
	j.accessible(r["link"].(string))
	j.fill("login", "root", "name", "Rosa Root", "password", "a long password here", "again", "a long password here")
	j.click("main button.main")
	j.until("the second factor is asked for", `document.querySelector("#code") && document.querySelector("main code")`)
	code, err := totp.GenerateCode(strings.ReplaceAll(j.eval(`document.querySelector("main code").innerText`), " ", ""), time.Now())
	if err != nil {
		j.t.Fatal(err)
	}
	j.fill("code", code)
	j.click("main button.main")
	j.says("Keep these codes")
	j.spare = regexp.MustCompile(`\w{4}-\w{4}-\w{4}-\w{4}`).FindString(j.text())
	j.open("/")
	j.says("Nothing waits for you")
}

// releases finds a message by a query, reads it, and releases it to the internal server.
func (j *journeyer) releases(inside *testkit.Postfix, send func(id, subject, body, to string)) {
	send("j1", "your parcel waits", "Look <b>here</b>.\r\n", "ana@example.org")
	send("j2", "the contract", "Please sign.\r\n", "ana@example.org")
	j.open("/")
	j.fill("q", `rule == "parcels" and rcpt.domain == "example.org"`+"\r")
	j.until("the query finds one", `location.search.includes("rule") && document.querySelectorAll(".row").length === 1 && document.querySelector(".row").innerText.includes("your parcel waits")`)
	j.foreign = j.eval(`document.querySelector(".row").dataset.id`)
	j.click(".row .subject")
	j.says("mail about parcels is looked at first")
	j.until("its text is shown", `document.querySelector("pre.text")?.innerText.includes("Look <b>here</b>.")`)
	j.click(`.tabs a[href$="tab=headers"]`)
	j.until("the hops", `document.querySelector(".hops, .fields")`)
	j.click(`form[data-act=release] button`)
	j.until("it can be undone", `document.querySelector("#undo")`)
	got := inside.WaitMessages("ana", 1)
	if !strings.Contains(string(got[0]), "your parcel waits") {
		j.t.Fatalf("released:\n%s", got[0])
	}
	j.open("/?view=released")
	j.says("released by root")
}

// releasesAndAllows lets such mail through from now on, after a look at what that would have let in.
func (j *journeyer) releasesAndAllows(inside *testkit.Postfix, send func(id, subject, body, to string)) {
	send("j3", "another parcel", "x\r\n", "ana@example.org")
	j.open("/?q=another")
	j.click(".row .subject")
	j.until("the message", `document.querySelector("#allow")`)
	j.click("#allow > summary")
	j.click("#allow button[formaction]")
	j.until("what it would have let in", `document.querySelector("#effect").innerText.includes("would have let in")`)
	j.click("#allow button.main")
	j.says("Undo")
	inside.WaitMessages("ana", 2)
	j.open("/audit")
	j.says("release")
	send("j4", "a third parcel", "x\r\n", "ana@example.org")
	if got := inside.WaitMessages("ana", 3); !strings.Contains(string(got[0])+string(got[1])+string(got[2]), "a third parcel") {
		j.t.Fatal("what was allowed does not arrive")
	}
}

// deletesAll deletes everything that matches, and takes it back.
func (j *journeyer) deletesAll(send func(id, subject, body, to string)) {
	for n := range 4 {
		send(fmt.Sprintf("d%d", n), fmt.Sprintf("contract number %d", n), "x\r\n", "ben@example.org")
	}
	j.open("/?q=number")
	j.until("four", `document.querySelectorAll(".row").length === 4`)
	j.click("#pick-page")
	j.click(`.bar button[value=delete]`)
	j.says("Delete: 4 messages?")
	j.click("form.card button.main")
	j.until("it can be undone", `document.querySelector("#undo-button")`)
	j.click("#undo-button")
	j.says("It is as it was before.")
	j.open("/?q=number")
	j.until("all four are there", `document.querySelectorAll(".row").length === 4`)
}

// asksAndApproves: a user signs in by a link in a mail, sees own mail only, asks; it is approved.
func (j *journeyer) asksAndApproves(s *site, inside *testkit.Postfix, send func(id, subject, body, to string)) {
	if code, out, errs := postern("user", "add", "ben@example.org", "--no-password", "-c", s.conf); code != 0 {
		j.t.Fatalf("user add: %d %s %s", code, out, errs)
	}
	j.signOut()
	j.fill("address", "ben@example.org")
	j.click(`form[action="/sign-in/ask"] button`)
	j.until("the code is asked for", `document.querySelector("#code")`)
	_, body, _ := strings.Cut(string(inside.WaitMessages("ben", 1)[0]), "\r\n\r\n")
	j.fill("code", regexp.MustCompile(`\b\d{4}[ -]?\d{4}\b`).FindString(body))
	j.click("main button.main")
	j.until("ben is in", `document.querySelector("header.top")`)
	j.open("/")
	j.until("own mail only", `document.querySelectorAll(".row").length === 4 && !document.querySelector("main").innerText.includes("ana@")`)
	foreign := j.eval(`fetch("/m/` + j.foreign + `").then(r => r.status)`)
	if foreign != "404" {
		j.t.Errorf("somebody else's message answers %s", foreign)
	}
	j.click(".row .subject")
	j.until("he may ask", `document.querySelector("#ask")`)
	j.click("#ask > summary")
	j.fill("ask-why", "I have to sign it today")
	j.click("#ask form button")
	j.until("he has asked", `document.querySelector("h1")?.innerText === "Done"`)

	j.signOut()
	j.fill("login", "root", "password", "a long password here")
	j.until("the form is filled in", `document.querySelector("#login").value === "root" && document.querySelector("#password").value === "a long password here"`)
	j.click("main button.main")
	j.until("the code is asked for", `document.querySelector("#code")`)
	j.fill("code", j.spare)
	j.click("main button.main")
	j.until("root is in", `document.querySelector("header.top")`)
	j.open("/requests")
	j.says("I have to sign it today")
	j.click("button[value=approve]")
	j.until("it is approved", `document.querySelector("h1")?.innerText === "Done"`)
	inside.WaitMessages("ben", 2)
}

func (j *journeyer) signOut() {
	j.click(`form[action="/sign-out"] button`)
	j.until("signed out", `document.querySelector("#login") && document.readyState === "complete"`)
}

// makesRule drafts a rule from a message, and puts it in force.
func (j *journeyer) makesRule() {
	j.open("/?q=number")
	j.click(".row .subject")
	j.until("the message", `document.querySelector("#more")`)
	j.click("#more > summary")
	j.click("#more a")
	j.until("the draft and what it would match", `document.querySelector("#text")?.value.includes("rules:") && document.querySelector("#trial").innerText.includes("It holds")`)
	name := regexp.MustCompile(`name: (\S+)`).FindStringSubmatch(j.eval(`document.querySelector("#text").value`))[1]
	j.fill("note", "from a message")
	j.click("button[value=apply]")
	j.says("is in force now")
	j.says(name)
}
