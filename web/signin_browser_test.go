package web

import (
	"context"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp/totp"

	"postern/people"
)

// A person at a real browser signs in for the first time, and every page on the way can be used by
// somebody who does not see, or sees little.
func TestSignInJourney(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	origin := "http://" + srv.Listener.Addr().String()
	x := newSite(t, origin, func(o *people.Options) {
		o.AdminTOTP, o.MailSignIn, o.Mailer = true, true, &outbox{sent: make(chan struct{}, 100)}
		o.OpenID = &people.OpenID{Issuer: "http://127.0.0.1:1", ClientID: "x"}
	})
	x.cfg.Desk = newFakeDesk()
	t.Cleanup(x.people.Close)
	srv.Config.Handler = x
	srv.Start()
	t.Cleanup(srv.Close)
	link, err := x.people.SetUpLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	axe, err := os.ReadFile("testdata/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	v := &sitting{t, chromium(t), string(axe)}

	v.open(origin + "/")
	v.is("/sign-in", "Sign in")
	v.open(origin + "/sign-in/asked")
	v.is("/sign-in/asked", "Look into your mail")
	v.open(origin + "/sign-in/link?token=x")
	v.is("/sign-in/link", "Not in this browser")
	v.open(link)
	v.is("/setup", "The first administrator")
	v.fill("#login", "root", "#name", "Root of Everything", "#password", testPassword, "#again", testPassword)
	v.submit("/setup")
	v.is("/sign-in/set-up", "Set up a second factor")
	secret := regexp.MustCompile(`[A-Z2-7]{32}`).FindString(v.text())
	v.fill("#code", "000000")
	v.submit("/sign-in/set-up")
	v.is("/sign-in/set-up", "That is not the code of now")
	code, err := totp.GenerateCode(secret, x.clock)
	if err != nil {
		t.Fatal(err)
	}
	v.fill("#code", code)
	v.submit("/sign-in/set-up")
	v.is("/sign-in/set-up", "Keep these codes")
	recovery := regexp.MustCompile(`[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}`).FindString(v.text())
	v.open(origin + "/account")
	v.is("/account", "Where you are signed in")
	v.open(origin + "/people/new")
	v.is("/people/new", "New account")
	v.fill("#login", "eve@example.org", "#name", "Eve", "#password", testPassword, "#again", testPassword)
	v.submit("/people/new")
	v.is("/people/", "eve@example.org")
	v.open(origin + "/people")
	v.is("/people", "Root of Everything")
	v.submit("/sign-out")
	v.is("/sign-in", "Sign in")
	v.open(origin + "/people")
	v.fill("#login", "root", "#password", testPassword)
	v.submit("/sign-in")
	v.is("/sign-in/code", "Second factor")
	v.fill("#code", recovery)
	v.submit("/sign-in/code")
	v.is("/people", "Root of Everything")
}

// A sitting is a browser with a person at it.
type sitting struct {
	t   *testing.T
	ctx context.Context
	axe string
}

func (v *sitting) do(actions ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	if err := chromedp.Do(v.ctx, actions...); err != nil {
		v.t.Fatal(err)
	}
}

func (v *sitting) open(url string) {
	v.t.Helper()
	v.do(chromedp.Navigate(url), chromedp.WaitReady("#main"))
}

func (v *sitting) fill(pairs ...string) {
	v.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		v.do(chromedp.SetValue(pairs[i], pairs[i+1]))
	}
}

// submit sends the form of an address and waits for the page behind it.
func (v *sitting) submit(action string) {
	v.t.Helper()
	v.do(chromedp.Evaluate[chromedp.Void]("window.before = true; void 0"), chromedp.Click(`form[action="`+action+`"] button`))
	for {
		gone, err := chromedp.Run(v.ctx, chromedp.Evaluate[bool]("!window.before && document.readyState == 'complete'"))
		if err == nil && gone {
			return
		}
		if v.ctx.Err() != nil {
			v.t.Fatal(v.ctx.Err())
		}
	}
}

func (v *sitting) text() string {
	v.t.Helper()
	text, err := chromedp.Run(v.ctx, chromedp.Evaluate[string]("document.body.innerText"))
	if err != nil {
		v.t.Fatal(err)
	}
	return text
}

// is checks where the browser is, what it shows, and that everybody can use that.
func (v *sitting) is(path, says string) {
	v.t.Helper()
	at, err := chromedp.Run(v.ctx, chromedp.Evaluate[string]("location.pathname"))
	if err != nil || !strings.HasPrefix(at, path) || !strings.Contains(v.text(), says) {
		v.t.Fatalf("at %s instead of %s (%v), which shows\n%s", at, path, err, v.text())
	}
	v.do(chromedp.Evaluate[chromedp.Void](v.axe + ";0"))
	for _, view := range []struct {
		scheme string
		width  int64
	}{{"light", 1360}, {"dark", 360}} {
		wear(v.t, v.ctx, view.scheme, view.width, 900)
		for _, problem := range violations(v.t, v.ctx) {
			v.t.Errorf("%s, %s: %s", path, view.scheme, problem)
		}
		if wide, err := chromedp.Run(v.ctx, chromedp.Evaluate[int]("document.documentElement.scrollWidth - document.documentElement.clientWidth")); err != nil || wide > 0 {
			v.t.Errorf("%s, %d px: the page is %d px wider than the window (%v)", path, view.width, wide, err)
		}
	}
}
