package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	netmail "net/mail"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/audit"
	"postern/quarantine"
	"postern/testkit"
)

// Digests and the answers to them, with a real Postfix as the mail server of the users.

// A digestSite is a gateway whose Postfix sends the reply domain to it, from another address than
// these tests have.
type digestSite struct {
	*site
	*running
	inside *testkit.Postfix
	web    string
}

// freePort gives an address on loopback that was free a moment ago.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

const digestRules = `
rules:
  - {name: bad, when: 'content.subject contains "virus"', do: quarantine, class: virus, because: "it has a virus"}
  - {name: lottery, when: 'content.subject contains "win"', do: quarantine, class: spam, because: "it is about winning at http://evil.example"}
  - {name: site, when: 'content.subject contains "policy"', do: quarantine, class: policy, because: "the site does not want it"}
`

func startDigestSite(t *testing.T) *digestSite {
	t.Helper()
	listen, pages := freePort(t), freePort(t)
	_, port, _ := net.SplitHostPort(listen)
	d := &digestSite{web: "http://" + pages}
	d.inside = testkit.StartPostfix(t, testkit.PostfixOptions{Main: map[string]string{
		"transport_maps":               "inline:{ reply.example.org=smtp:[127.0.0.1]:" + port + " }",
		"smtpd_recipient_restrictions": "permit_mynetworks, reject",
		"smtp_bind_address":            "127.0.0.2",
		"smtp_host_lookup":             "native",
		"minimal_backoff_time":         "1s", "maximal_backoff_time": "2s", "queue_run_delay": "1s",
	}})
	d.site = newSite(t, d.inside.Addr, fmt.Sprintf("rules: rules\ndigest: {interval: daily, reply_domain: reply.example.org, from_clients: [127.0.0.2]}\n"+
		"web: {listen: %q, rights: {virus: release, policy: ask}}\n", pages))
	text, err := os.ReadFile(d.conf)
	if err != nil {
		t.Fatal(err)
	}
	d.write(t, "postern.yaml", strings.Replace(string(text), `listen: ["127.0.0.1:0"]`, fmt.Sprintf("listen: [%q]", listen), 1))
	d.write(t, "rules/10.yaml", digestRules)
	d.running = d.serve(t)
	return d
}

// hold sends messages that are held, and gives their ids.
func (d *digestSite) hold(t *testing.T, subjects ...string) (ids []string) {
	t.Helper()
	for _, s := range subjects {
		x := mustDial(t, d.addr)
		if reply, _, err := x.mail("eve@friend.example", []string{"b@example.org"}, []byte(letter("b", s, "hello\r\n"))); err != nil || reply[0] != '2' {
			t.Fatal(reply, err)
		}
		x.conn.Close()
		ids = append(ids, d.heldWith(t, s)[0].ID)
	}
	return ids
}

// digest has one sent to b, and gives its parts.
func (d *digestSite) digest(t *testing.T, n int) (text, page string) {
	t.Helper()
	if code, out, errs := postern("digest", "send", "-c", d.conf, "--to", "b@example.org"); code != 0 || !strings.HasPrefix(out, "Sent, ") {
		t.Fatal(code, out, errs)
	}
	m, err := netmail.ReadMessage(bytes.NewReader(d.inside.WaitMessages("b", n)[n-1]))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(p)
		parts = append(parts, string(b))
	}
	if len(parts) != 2 {
		t.Fatalf("%d parts", len(parts))
	}
	return parts[0], parts[1]
}

// addressFor finds in a digest's text the address for a message with this subject.
func addressFor(t *testing.T, text, subject string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, subject)
	to := regexp.MustCompile(`mailto:(release-[a-z2-7]{56}@reply\.example\.org)\?subject=`).FindStringSubmatch(rest)
	if !ok || to == nil {
		t.Fatalf("no address for %q in\n%s", subject, text)
	}
	return to[1]
}

// answer sends a mail by the users' mail server, as a mail program does.
func (d *digestSite) answer(t *testing.T, from, to, fields string) {
	t.Helper()
	x := mustDial(t, d.inside.Addr)
	defer x.conn.Close()
	text := "Date: " + time.Now().Format(time.RFC1123Z) + "\r\nFrom: " + from + "\r\nTo: " + to + "\r\nSubject: Release\r\n" + fields + "\r\n\r\n"
	if reply, _, err := x.mail(from, []string{to}, []byte(text)); err != nil || reply[0] != '2' {
		t.Fatal(reply, err)
	}
}

func (d *digestSite) state(t *testing.T, id string) quarantine.State {
	t.Helper()
	it, err := d.program.quarantine.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return it.State
}

// acts counts the lines of an act in the log of acts, by result.
func (d *digestSite) acts(t *testing.T, act string) string {
	t.Helper()
	lines, err := d.program.audit.List(t.Context(), audit.Query{Act: act})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range lines {
		out = append(out, l.Who+" by "+l.By+" from "+l.From+": "+l.Result)
	}
	return strings.Join(out, "; ")
}

// A digest reaches the user, and the answer by the user's own mail server releases the message.
func TestDigestIsAnswered(t *testing.T) {
	t.Parallel()
	d := startDigestSite(t)
	ids := d.hold(t, "win the first", "win the second", "policy matter", "virus inside")
	text, _ := d.digest(t, 1)
	if strings.Contains(text, "http://evil.example") || !strings.Contains(text, "http[:]/ /evil[.]example") {
		t.Error(text)
	}
	if code, out, _ := postern("digest", "send", "-c", d.conf, "--to", "b@example.org"); code != 0 || !strings.Contains(out, "nothing was sent") {
		t.Error("a second digest of the same:", out)
	}
	first := addressFor(t, text, "win the first")

	d.answer(t, "b@example.org", first, "")
	got := d.inside.WaitMessages("b", 2)
	if !bytes.Contains(got[1], []byte("\r\nSubject: win the first\r\n")) || !bytes.Contains(got[1], []byte("X-Postern-Verdict: released")) {
		t.Fatalf("%s", got[1])
	}
	d.log.must(t, 1, "msg", "message", "result", "command")
	if d.state(t, ids[0]) != quarantine.Released || d.state(t, ids[1]) != quarantine.Kept {
		t.Error(d.state(t, ids[0]), d.state(t, ids[1]))
	}
	if got := d.acts(t, "release"); got != "b@example.org by mail from 127.0.0.2: done" {
		t.Error(got)
	}

	d.answer(t, "b@example.org", first, "") // again: told, not sent again
	d.log.must(t, 2, "msg", "message", "result", "command")
	if got := d.inside.WaitMessages("b", 3); len(got) != 3 || !bytes.Contains(got[2], []byte("was released already")) || !bytes.Contains(got[2], []byte("Return-Path: <>")) {
		t.Errorf("%d messages, the last:\n%s", len(got), got[2])
	}

	d.answer(t, "b@example.org", addressFor(t, text, "policy matter"), "")
	d.log.must(t, 3, "msg", "message", "result", "command")
	if d.state(t, ids[2]) != quarantine.Kept || d.acts(t, "ask") != "b@example.org by mail from 127.0.0.2: done" {
		t.Error(d.state(t, ids[2]), d.acts(t, "ask"))
	}
	if strings.Contains(d.log.String(), first[:30]) {
		t.Error("the log tells an address that works")
	}
}

// What is not the person's own answer releases nothing, whatever way it comes.
func TestDigestAnswersAreChecked(t *testing.T) {
	t.Parallel()
	d := startDigestSite(t)
	ids := d.hold(t, "win the first", "virus inside")
	text, _ := d.digest(t, 1)
	good := addressFor(t, text, "win the first")
	refused := func(n int, reply string) {
		t.Helper()
		if r := d.log.must(t, n, "msg", "message", "result", "refused"); !strings.HasPrefix(fmt.Sprint(r["reply"])+fmt.Sprint(r["refusal"]), reply) && !strings.Contains(fmt.Sprint(r), reply) {
			t.Errorf("%v, want %s", r, reply)
		}
	}

	x := mustDial(t, d.addr) // not from the mail server
	x.must(t, "MAIL FROM:<b@example.org>", "250")
	x.must(t, "RCPT TO:<"+good+">", "550 5.7.1 Relaying denied")
	x.must(t, "RSET", "250")
	x.conn.Close()
	d.log.must(t, 1, "msg", "message", "result", "refused")

	forged := strings.Replace(good, good[40:44], "aaaa", 1)
	d.answer(t, "b@example.org", forged, "")
	refused(2, "550 5.1.1")
	d.answer(t, "c@example.org", good, "") // who found it in a forwarded digest
	refused(3, "550 5.7.1 This address answers only")
	d.answer(t, "b@example.org", addressFor(t, text, "virus inside"), "")
	refused(4, "550 5.7.1 You may not")
	d.answer(t, "b@example.org", good, "Auto-Submitted: auto-replied\r\n")
	d.log.must(t, 1, "msg", "message", "result", "command")
	for _, id := range ids {
		if d.state(t, id) != quarantine.Kept {
			t.Errorf("%s is %s", id, d.state(t, id))
		}
	}
	for _, m := range d.inside.Messages("b") {
		if bytes.Contains(m, []byte("\r\nSubject: win the first\r\n")) && !bytes.Contains(m, []byte("MAILER-DAEMON")) {
			t.Errorf("it was delivered:\n%s", m)
		}
	}

	y := mustDial(t, d.inside.Addr) // and one mail to an address of ours and to somebody else
	defer y.conn.Close()
	if reply, _, err := y.mail("b@example.org", []string{good, "c@example.org"}, []byte(letter("b", "x", "x\r\n"))); err != nil || reply[0] != '2' {
		t.Fatal(reply, err)
	}
	d.inside.WaitMessages("c", 2) // the bounce from above, and this
}

// C-38: whatever a program does with the links of a digest, nothing is released: it fetches each
// in every way, and submits the forms that it is shown.
func TestDigestLinksAreSafeAgainstScanners(t *testing.T) {
	t.Parallel()
	d := startDigestSite(t)
	ids := d.hold(t, "win the first", "policy matter")
	text, page := d.digest(t, 1)
	links := map[string]bool{}
	for _, m := range regexp.MustCompile(`https?://[^\s"<>]+`).FindAllString(text+page, -1) {
		links[m] = true
	}
	if len(links) != 3 {
		t.Fatalf("links %v", links)
	}
	before := d.acts(t, "release") + d.acts(t, "ask") + d.acts(t, "delete")
	client := &http.Client{Timeout: 10 * time.Second}
	fetch := func(method, where string, form url.Values) (status int, body string) {
		r, err := http.NewRequestWithContext(t.Context(), method, where, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	forms := 0
	for link := range links {
		if !strings.HasPrefix(link, d.web+"/") {
			t.Errorf("a link to elsewhere: %s", link)
		}
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodDelete} {
			_, body := fetch(method, link, url.Values{"do": {"release"}, "id": ids})
			for _, f := range regexp.MustCompile(`(?s)<form[^>]*action="([^"]*)".*?</form>`).FindAllStringSubmatch(body, -1) {
				values := url.Values{}
				for _, in := range regexp.MustCompile(`name="([^"]*)"(?:[^>]*value="([^"]*)")?`).FindAllStringSubmatch(f[0], -1) {
					values.Set(in[1], in[2])
				}
				at, err := url.Parse(link)
				if err == nil {
					at, err = at.Parse(f[1])
				}
				if err != nil {
					t.Fatal(err)
				}
				fetch(http.MethodPost, at.String(), values)
				forms++
			}
		}
	}
	if forms == 0 {
		t.Error("no form was shown: is the page of signing in there?")
	}
	for _, id := range ids {
		if d.state(t, id) != quarantine.Kept {
			t.Errorf("%s is %s", id, d.state(t, id))
		}
	}
	if after := d.acts(t, "release") + d.acts(t, "ask") + d.acts(t, "delete"); after != before {
		t.Errorf("acts: %s", after)
	}
	if n := len(d.inside.Messages("b")); n != 1 {
		t.Errorf("%d messages in the mailbox", n)
	}
}

// A hundred answers at once release the message once.
func TestDigestAnswersAtOnce(t *testing.T) {
	t.Parallel()
	d := startDigestSite(t)
	d.hold(t, "win the first")
	text, _ := d.digest(t, 1)
	to := addressFor(t, text, "win the first")
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}} // as the mail server does
	var wg sync.WaitGroup
	var failed atomic.Int32
	for range 10 {
		wg.Go(func() {
			conn, err := from.DialContext(t.Context(), "tcp", d.addr)
			if err != nil {
				t.Error(err)
				return
			}
			x := &speaker{conn: conn, r: bufio.NewReader(conn)}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			if _, err := x.reply(); err != nil {
				t.Error(err)
			}
			if _, err := x.say("EHLO postfix.test"); err != nil {
				t.Error(err)
			}
			for range 10 {
				reply, _, err := x.mail("b@example.org", []string{to}, []byte("From: b@example.org\r\nDate: "+time.Now().Format(time.RFC1123Z)+"\r\n\r\n"))
				if err != nil || reply[0] != '2' {
					failed.Add(1)
					t.Log(reply, err)
				}
			}
		})
	}
	wg.Wait()
	n := 0
	all := d.inside.WaitMessages("b", 3) // the digest, the message, one confirmation
	for _, m := range all {
		if bytes.Contains(m, []byte("\r\nSubject: win the first\r\n")) {
			n++
		}
	}
	if n != 1 || len(all) != 3 || failed.Load() > 0 {
		t.Errorf("%d copies were delivered, %d answers failed", n, failed.Load())
	}
	if got := strings.Count(d.acts(t, "release"), "done"); got < 1 {
		t.Errorf("%d acts", got)
	}
}
