package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"postern/people"
	"postern/store"
)

const testPassword = "correct horse battery"

// A site is a server with real people behind it.
type site struct {
	*Server
	t      testing.TB
	people *people.Store
	clock  time.Time
	db     *store.DB
}

// closeStore makes everything beneath fail.
func (x *site) closeStore() { x.db.Close() }

func newSite(t testing.TB, origin string, change func(*people.Options)) *site {
	t.Helper()
	db, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	x := &site{t: t, clock: time.Now(), db: db}
	o := people.Options{DB: db, Hashing: people.Hashing{Memory: 64, Passes: 1, AtOnce: 2}, Origin: origin, Clock: func() time.Time { return x.clock }}
	if change != nil {
		change(&o)
	}
	if x.people, err = people.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	x.Server = New(Config{Desk: &apiDesk{}, People: x.people, Origin: origin, Log: quiet(), Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	return x
}

func (x *site) add(login string, role people.Role) *people.Person {
	x.t.Helper()
	boss := &people.Actor{Person: people.Person{Login: "boss", Role: people.Admin}, By: people.ByCommand}
	p, err := x.people.Add(x.t.Context(), boss, people.Person{Login: login, Role: role}, testPassword)
	if err != nil {
		x.t.Fatal(err)
	}
	return p
}

// A browser keeps cookies and sends what browsers send.
type browser struct {
	x       *site
	cookies map[string]*http.Cookie
	from    string
}

func (x *site) browser() *browser {
	return &browser{x: x, cookies: map[string]*http.Cookie{}, from: "192.0.2.1:1234"}
}

func (b *browser) send(r *http.Request) *httptest.ResponseRecorder {
	r.RemoteAddr = b.from
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	b.x.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if b.cookies[c.Name] = c; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return w
}

func (b *browser) get(path string) *httptest.ResponseRecorder {
	return b.send(httptest.NewRequestWithContext(context.Background(), "GET", path, nil))
}

func (b *browser) post(path string, fields ...string) *httptest.ResponseRecorder {
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	r := httptest.NewRequestWithContext(context.Background(), "POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", b.x.cfg.Origin)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.send(r)
}

func (b *browser) signIn(login string) *browser {
	b.x.t.Helper()
	if w := b.post("/sign-in", "login", login, "password", testPassword); w.Code != http.StatusSeeOther {
		b.x.t.Fatalf("sign in as %s: %d %s", login, w.Code, w.Body)
	}
	return b
}

// session is the cookie's value; "" when there is none.
func (b *browser) session() string {
	if c := b.cookies[b.x.cookieName(sessionCookie)]; c != nil {
		return c.Value
	}
	return ""
}

const httpsOrigin = "https://postern.example"

// W-06: what changes something comes from our own pages, or does nothing.
func TestW06OriginOfChanges(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	x.add("ann", people.Operator)
	in := x.browser().signIn("ann")
	token := tokenOf(in.session())
	_, secret, err := x.people.AddToken(t.Context(), &people.Actor{Person: people.Person{Login: "boss", Role: people.Admin}}, "ann", "t", nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	const form, json = "application/x-www-form-urlencoded", "application/json"
	body := `{"do":"release","ids":["A"]}`
	for _, c := range []struct {
		name, path, media, body string
		header                  [][2]string
		signedIn                bool
		status                  int
	}{
		{"our page", "/api/v1/acts", json, body, [][2]string{{"Origin", httpsOrigin}, {"Sec-Fetch-Site", "same-origin"}}, true, 200},
		{"our page in an old browser", "/api/v1/acts", json, body, [][2]string{{"Origin", httpsOrigin}}, true, 200},
		{"the fetch header alone", "/api/v1/acts", json, body, [][2]string{{"Sec-Fetch-Site", "same-origin"}}, true, 200},
		{"the token alone", "/api/v1/acts", json, body, [][2]string{{"X-CSRF-Token", token}}, true, 200},
		{"another's token", "/api/v1/acts", json, body, [][2]string{{"X-CSRF-Token", tokenOf("x")}}, true, 403},
		{"nothing", "/api/v1/acts", json, body, nil, true, 403},
		{"the address bar", "/api/v1/acts", json, body, [][2]string{{"Sec-Fetch-Site", "none"}}, true, 403},
		{"another site", "/api/v1/acts", json, body, [][2]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}}, true, 403},
		{"another site, with the token", "/api/v1/acts", json, body, [][2]string{{"Origin", "https://evil.example"}, {"X-CSRF-Token", token}}, true, 403},
		{"a sandboxed frame", "/api/v1/acts", json, body, [][2]string{{"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}}, true, 403},
		{"null alone", "/api/v1/acts", json, body, [][2]string{{"Origin", "null"}}, true, 403},
		{"a host below ours", "/api/v1/acts", json, body, [][2]string{{"Origin", "https://x.postern.example"}, {"Sec-Fetch-Site", "same-site"}}, true, 403},
		{"our host in clear", "/api/v1/acts", json, body, [][2]string{{"Origin", "http://postern.example"}}, true, 403},
		{"our host at another port", "/api/v1/acts", json, body, [][2]string{{"Origin", httpsOrigin + ":8443"}}, true, 403},
		{"two origins", "/api/v1/acts", json, body, [][2]string{{"Origin", httpsOrigin}, {"Origin", "https://evil.example"}}, true, 403},
		{"plain text from elsewhere", "/api/v1/acts", "text/plain", body, [][2]string{{"Origin", "https://evil.example"}}, true, 403},
		{"plain text", "/api/v1/acts", "text/plain", body, [][2]string{{"Origin", httpsOrigin}}, true, 415},
		{"no media type", "/api/v1/acts", "", body, [][2]string{{"Origin", httpsOrigin}}, true, 415},
		{"a form for the API", "/api/v1/acts", form, "do=release", [][2]string{{"Origin", httpsOrigin}}, true, 415},
		{"an upload", "/sign-out", "multipart/form-data; boundary=x", "--x--", [][2]string{{"Origin", httpsOrigin}}, true, 415},
		{"a token of the API", "/api/v1/acts", json, body, [][2]string{{"Authorization", "Bearer " + secret}}, false, 200},
		{"it and a cookie", "/api/v1/acts", json, body, [][2]string{{"Authorization", "Bearer " + secret}, {"Origin", "https://evil.example"}}, true, 200},
		{"a bad token beside a good cookie", "/api/v1/acts", json, body, [][2]string{{"Authorization", "Bearer x"}, {"Origin", httpsOrigin}}, true, 401},
		{"nobody", "/api/v1/acts", json, body, [][2]string{{"Origin", httpsOrigin}}, false, 401},
		{"a page for nobody", "/account/password", form, "a=b", [][2]string{{"Origin", httpsOrigin}}, false, 401},
		{"signing in from elsewhere", "/sign-in", form, "login=ann&password=correct+horse+battery", [][2]string{{"Origin", "https://evil.example"}}, false, 403},
		{"signing in from nowhere", "/sign-in", form, "login=ann&password=correct+horse+battery", nil, false, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(context.Background(), "POST", c.path, strings.NewReader(c.body))
			if c.media != "" {
				r.Header.Set("Content-Type", c.media)
			}
			for _, h := range c.header {
				r.Header.Add(h[0], h[1])
			}
			b := x.browser()
			if c.signedIn {
				b.cookies = in.cookies
			}
			if w := b.send(r); w.Code != c.status {
				t.Errorf("%d, want %d: %s", w.Code, c.status, w.Body)
			}
		})
	}
}

// W-06: the token in a form works where a browser tells no origin, also before anybody is signed in.
func TestW06FormToken(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	x.add("ann", people.Operator)
	b := x.browser()
	page := b.get("/sign-in").Body.String()
	_, after, _ := strings.Cut(page, `name="csrf" value="`)
	token, _, ok := strings.Cut(after, `"`)
	if !ok {
		t.Fatalf("no token in %s", page)
	}
	form := url.Values{"login": {"ann"}, "password": {testPassword}, "csrf": {token}}
	post := func() int {
		r := httptest.NewRequestWithContext(context.Background(), "POST", "/sign-in", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return b.send(r).Code
	}
	other := x.browser()
	other.cookies, b.cookies = b.cookies, map[string]*http.Cookie{}
	if code := post(); code != 403 {
		t.Errorf("a token without its cookie: %d", code)
	}
	b.cookies = other.cookies
	if code := post(); code != 303 {
		t.Errorf("%d", code)
	}
}

// W-10: every answer has the headers, whatever it is.
func TestW10Headers(t *testing.T) {
	for origin, hsts := range map[string]bool{httpsOrigin: true, "http://127.0.0.1:8025": false} {
		x := newSite(t, origin, nil)
		x.add("ann", people.Operator)
		in := x.browser().signIn("ann")
		for _, path := range []string{"/", "/sign-in", "/sign-in/none", "/setup", "/static/app.css", "/static/none", "/none", "/api/v1/me", "/api/v1/none", "/account", "/people"} {
			for _, b := range []*browser{in, x.browser()} {
				for _, method := range []string{"GET", "POST", "DELETE", "TRACE"} {
					r := httptest.NewRequestWithContext(context.Background(), method, path, nil)
					r.Header.Set("Origin", origin)
					h := b.send(r).Header()
					csp := h.Get("Content-Security-Policy")
					if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "base-uri 'none'") || strings.Contains(csp, "unsafe") {
						t.Errorf("%s %s: %s", method, path, csp)
					}
					if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" || h.Get("Cross-Origin-Opener-Policy") != "same-origin" ||
						h.Get("Cross-Origin-Resource-Policy") != "same-origin" || (h.Get("Strict-Transport-Security") != "") != hsts {
						t.Errorf("%s %s: %v", method, path, h)
					}
					if !strings.HasPrefix(path, "/static/") && h.Get("Cache-Control") != "no-store" {
						t.Errorf("%s %s may be kept: %s", method, path, h.Get("Cache-Control"))
					}
					if h.Get("Server") != "" || h.Get("Access-Control-Allow-Origin") != "" {
						t.Errorf("%s %s: %v", method, path, h)
					}
				}
			}
		}
	}
}

// W-17: X-Forwarded-For counts from the proxies that are named, and from its end.
func TestW17ForwardedFor(t *testing.T) {
	s := New(Config{Log: quiet(), Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::1/128")}})
	for _, c := range []struct{ peer, header, want string }{
		{"192.0.2.1:5", "", "192.0.2.1"},
		{"192.0.2.1:5", "198.51.100.7", "192.0.2.1"},
		{"10.0.0.1:5", "198.51.100.7", "198.51.100.7"},
		{"10.0.0.1:5", "127.0.0.1, 198.51.100.7", "198.51.100.7"},
		{"10.0.0.1:5", "198.51.100.7, 10.2.3.4", "198.51.100.7"},
		{"10.0.0.1:5", "evil, 10.2.3.4", "10.2.3.4"},
		{"10.0.0.1:5", "", "10.0.0.1"},
		{"10.0.0.1:5", "1.2.3.4:80", "10.0.0.1"},
		{"[::ffff:10.0.0.1]:5", "::ffff:198.51.100.7", "198.51.100.7"},
		{"[2001:db8::1]:5", "2001:db8:2::7%eth0", "2001:db8:2::7"},
		{"@", "198.51.100.7", "invalid IP"},
	} {
		r := httptest.NewRequestWithContext(context.Background(), "GET", "/", nil)
		r.RemoteAddr = c.peer
		if c.header != "" {
			r.Header.Set("X-Forwarded-For", c.header)
		}
		if got := client(s.withClient(r)).String(); got != c.want {
			t.Errorf("%s with %q: %s, want %s", c.peer, c.header, got, c.want)
		}
	}
}

// W-11: nobody sends us more than a megabyte.
func TestW11Body(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	if w := x.browser().post("/sign-in", "login", "x", "password", strings.Repeat("x", maxBody)); w.Code < 400 {
		t.Errorf("%d", w.Code)
	}
}

// What nobody may see without signing in is not shown, and where it stands is remembered.
func TestPagesAreClosed(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	for _, path := range []string{"/", "/log", "/people", "/account"} {
		if w := x.browser().get(path); w.Code != 303 || !strings.HasPrefix(w.Header().Get("Location"), "/sign-in") {
			t.Errorf("%s: %d %s", path, w.Code, w.Header().Get("Location"))
		}
	}
	r := httptest.NewRequestWithContext(context.Background(), "GET", "/log", nil)
	r.Header.Set("HX-Request", "true")
	if w := x.browser().send(r); w.Code != 401 || w.Header().Get("HX-Redirect") != "/sign-in" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	r = httptest.NewRequestWithContext(context.Background(), "GET", "/log?q=a%20b", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	if w := x.browser().send(r); w.Code != 200 || !strings.Contains(w.Body.String(), `content="0; url=/log?q=a%20b"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestLocalPath(t *testing.T) {
	for in, want := range map[string]string{
		"/log?q=a": "/log?q=a", "": "/", "log": "/", "//evil.example": "/", "/\\evil.example": "/", "https://evil.example/": "/", "/%2f/x": "/",
		"javascript:alert(1)": "/", "/sign-out": "/", "/api/v1/me": "/", "/a\r\nb": "/", "///x": "/", "/ok": "/ok",
	} {
		if got := localPath(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
