package main

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/audit"
	"postern/mail"
	"postern/people"
	"postern/web"
)

// A user whom nobody made an account signs in by a link that comes through the internal server; an
// address that it does not know gets the same answer, and no account.
func TestSignInByMail(t *testing.T) {
	got := make(chan sampleMail, 9)
	inside, err := startSample("", func(step, arg string) string {
		if step == "RCPT" && arg != "ben@example.org" {
			return "550 5.1.1 no such user"
		}
		return ""
	}, func(m sampleMail) { got <- m })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inside.Close() })
	s := newSite(t, inside.addr, "web: {listen: \"127.0.0.1:0\", mail_sign_in: true}\n")
	g := s.serve(t)
	pages := httptest.NewServer(nil)
	defer pages.Close()
	g.program.cfg.Web.Origin = pages.URL
	gcfg, err := gatewayConfig(g.program.cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.program.signingIn(t.Context(), gcfg); err != nil {
		t.Fatal(err)
	}
	pages.Config.Handler = web.New(g.program.webConfig())
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Timeout: 20 * time.Second}
	send := func(path string, form url.Values) (code int, at string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "POST", pages.URL+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", pages.URL)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Request.URL.Path
	}
	for _, address := range []string{"nobody@example.org", "ben@elsewhere.example", "ben@example.org"} {
		if code, at := send("/sign-in/ask", url.Values{"address": {address}}); code != 200 || at != "/sign-in/asked" {
			t.Fatalf("%s: %d at %s", address, code, at)
		}
	}
	var m sampleMail
	select {
	case m = <-got:
	case <-time.After(20 * time.Second):
		t.Fatal("no mail came inside")
	}
	if len(m.Recipients) != 1 || !strings.Contains(m.Recipients[0], "ben@example.org") {
		t.Errorf("%+v", m)
	}
	code := regexp.MustCompile(`code {1,2}(\d{4} \d{4})`).FindSubmatch(m.Data)
	if code == nil {
		t.Fatalf("no code in\n%s", m.Data)
	}
	if status, at := send("/sign-in/link", url.Values{"code": {string(code[1])}}); status != 200 || at != "/" {
		t.Errorf("%d at %s", status, at)
	}
	boss := &people.Actor{Person: people.Person{Role: people.Admin}, By: people.ByCommand}
	all, err := g.program.people.List(t.Context(), boss)
	if err != nil || len(all) != 1 || all[0].Login != "ben@example.org" || all[0].Addresses[0] != (mail.Address{Local: "ben", Domain: "example.org"}) {
		t.Errorf("%+v %v", all, err)
	}
	acts, err := g.program.audit.List(t.Context(), audit.Query{})
	if err != nil || len(acts) != 2 || acts[0].Act != "sign-in" || acts[1].Act != "person-add" {
		t.Errorf("%+v %v", acts, err)
	}
}
