package web

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/people"
)

// W-05: the cookie is one that no other host and no script gets at.
func TestW05Cookie(t *testing.T) {
	for origin, name := range map[string]string{httpsOrigin: "__Host-postern", "http://127.0.0.1:8025": "postern"} {
		x := newSite(t, origin, nil)
		x.add("ann", people.Operator)
		w := x.browser().post("/sign-in", "login", "ann", "password", testPassword)
		cookies := w.Result().Cookies()
		if len(cookies) != 1 {
			t.Fatalf("%v", cookies)
		}
		c := cookies[0]
		if c.Name != name || !c.HttpOnly || c.Secure != strings.HasPrefix(origin, "https") || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 0 || len(c.Value) != 43 {
			t.Errorf("%+v", c)
		}
	}
}

// W-05: each sign-in has a session of its own, and what ended is worth nothing.
func TestW05Sessions(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	ann := x.add("ann", people.Operator)
	open := func(cookie string) bool {
		b := x.browser()
		b.cookies["s"] = &http.Cookie{Name: x.cookieName(sessionCookie), Value: cookie}
		return b.get("/api/v1/me").Code == 200
	}
	b := x.browser()
	b.cookies["s"] = &http.Cookie{Name: x.cookieName(sessionCookie), Value: strings.Repeat("A", 43)} // fixation
	delete(b.signIn("ann").cookies, "s")
	first := b.session()
	if first == strings.Repeat("A", 43) || !open(first) || open(strings.Repeat("A", 43)) {
		t.Error("a session that somebody else chose")
	}
	b.signIn("ann")
	second := b.session()
	if second == first || open(first) || !open(second) {
		t.Error("a sign-in kept the session before")
	}
	if w := b.post("/sign-out"); w.Code != 303 || open(second) || b.session() != "" {
		t.Errorf("after the sign-out: %d", w.Code)
	}
	boss := &people.Actor{Person: people.Person{Login: "boss", Role: people.Admin}, By: people.ByCommand}
	ends := map[string]func() error{
		"another role": func() error {
			ann.Role = people.Auditor
			_, err := x.people.Change(t.Context(), boss, *ann)
			return err
		},
		"another password": func() error { return x.people.SetPassword(t.Context(), boss, ann.ID, "", testPassword) },
		"half a day":       func() error { x.clock = x.clock.Add(12 * time.Hour); return nil },
		"removal":          func() error { return x.people.Remove(t.Context(), boss, ann.ID) },
	}
	for _, end := range []string{"another role", "another password", "half a day", "removal"} {
		b.signIn("ann")
		if !open(b.session()) {
			t.Fatal(end)
		}
		if err := ends[end](); err != nil {
			t.Fatal(err)
		}
		if open(b.session()) {
			t.Errorf("open after %s", end)
		}
	}
}

// W-09: a token counts in its header alone.
func TestW09TokenInHeaderOnly(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	ann := x.add("ann", people.Operator)
	boss := &people.Actor{Person: people.Person{Login: "boss", Role: people.Admin}, By: people.ByCommand}
	_, token, err := x.people.AddToken(t.Context(), boss, ann.ID, "t", nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path string, header ...string) int {
		r, err := http.NewRequestWithContext(t.Context(), "GET", path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		return x.browser().send(r).Code
	}
	for name, code := range map[string]int{
		"in the header":   ask("/api/v1/me", "Authorization", "bearer "+token) - 200,
		"in the query":    ask("/api/v1/me?token="+token) - 401,
		"as access_token": ask("/api/v1/me?access_token="+token) - 401,
		"as a cookie":     ask("/api/v1/me", "Cookie", "__Host-postern="+token) - 401,
		"as a password":   ask("/api/v1/me", "Authorization", "Basic "+token) - 401,
		"twice":           ask("/api/v1/me", "Authorization", "Bearer "+token, "Authorization", "Bearer "+token) - 401,
		"without prefix":  ask("/api/v1/me", "Authorization", "Bearer "+strings.TrimPrefix(token, people.TokenPrefix)) - 401,
		"for a page":      ask("/", "Authorization", "Bearer "+token) - 303,
	} {
		if code != 0 {
			t.Errorf("%s: off by %d", name, code)
		}
	}
	x.clock = x.clock.Add(time.Hour)
	if code := ask("/api/v1/me", "Authorization", "Bearer "+token); code != 401 {
		t.Errorf("after its end: %d", code)
	}
}

// A stream ends when whoever began it sees other mail now.
func TestW07StreamsEndWithSight(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	boss := &people.Actor{Person: people.Person{Login: "boss", Role: people.Admin}, By: people.ByCommand}
	for _, role := range []people.Role{people.User, people.Operator} {
		p := x.add(string(role)+"@example.org", role)
		_, token, err := x.people.AddToken(t.Context(), boss, p.ID, "t", nil, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		who, err := x.people.TokenActor(t.Context(), token, netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), "GET", "/api/v1/held/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r = withActor(r, who)
		if !x.still(r) {
			t.Errorf("%s: over before anything changed", role)
		}
		other := *p
		if role == people.User {
			other.Addresses = []mail.Address{{Local: "other", Domain: "example.org"}}
		} else {
			other.Domains = []string{"other.example"}
		}
		if _, err := x.people.Change(t.Context(), boss, other); err != nil {
			t.Fatal(err)
		}
		if x.still(r) {
			t.Errorf("%s: goes on with the sight of before", role)
		}
	}
}

// A stream asks whether whoever began it may still be there.
func TestW05StreamsEnd(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	x.add("ann", people.Operator)
	b := x.browser().signIn("ann")
	var asked *http.Request
	x.mux.HandleFunc("GET /stream", func(_ http.ResponseWriter, r *http.Request) { asked = r })
	b.get("/stream")
	if !x.still(asked) {
		t.Fatal("whoever is signed in is not there")
	}
	b.post("/sign-out")
	if x.still(asked) {
		t.Error("a stream goes on after the sign-out")
	}
	b.signIn("ann").get("/stream")
	for range 12 * 60 {
		x.clock = x.clock.Add(time.Minute)
		x.still(asked)
	}
	if x.still(asked) || b.get("/stream").Code == 200 {
		t.Error("an open page kept the session alive")
	}
}
