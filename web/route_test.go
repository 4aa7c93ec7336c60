package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"postern/people"
)

// What nobody answers, what is not allowed and what fails is told on a page of ours: with the
// navigation for who is signed in, plain for others, as a problem (RFC 9457) for programs.
func TestW15_ErrorsHaveAForm(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	x.add("ann", people.Admin)
	x.add("una@example.org", people.User)
	x.mux.HandleFunc("GET /boom", func(http.ResponseWriter, *http.Request) { panic("secret") })
	x.mux.HandleFunc("GET /bad-page", func(w http.ResponseWriter, r *http.Request) { x.show(w, r, 200, "list", screen{Data: 7}) })
	for _, c := range []struct {
		who, method, path string
		status            int
		words             string
	}{
		{"ann", "GET", "/nope", 404, "no such page"},
		{"ann", "GET", "/m/", 404, "no such page"},
		{"ann", "POST", "/nope", 404, "no such page"},
		{"ann", "DELETE", "/log", 405, "not for DELETE"},
		{"ann", "GET", "/act", 405, "but for POST"},
		{"ann", "GET", "/boom", 500, "under the number"},
		{"ann", "GET", "/bad-page", 500, "under the number"},
		{"una@example.org", "GET", "/audit", 403, "You may not do this"},
		{"", "GET", "/nope", 404, "no such page"},
		{"", "GET", "/sign-in/nope", 404, "no such page"},
		{"", "GET", "/favicon.ico", 404, "no such page"},
		{"", "GET", "/sign-innocent", 404, "no such page"},
		{"", "GET", "/setup/x", 404, "no such page"},
		{"", "DELETE", "/sign-in", 405, "not for DELETE"},
		{"", "GET", "/static/nope.js", 404, "no such file"},
		{"ann", "GET", "/api/v1/nope", 404, "no such call"},
		{"ann", "GET", "/api/v1/acts", 405, "not for GET, but for POST"},
		{"ann", "PUT", "/api/v1/held/A", 405, "not for PUT"},
		{"ann", "GET", "/api/v2/held", 404, "no such call"},
		{"ann", "GET", "/api", 404, "no such call"},
		{"", "GET", "/api/v1/nope", 404, "no such call"},
	} {
		b := x.browser()
		if c.who != "" {
			b.signIn(c.who)
		}
		r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, nil)
		r.Header.Set("Origin", httpsOrigin)
		w := b.send(r)
		body, media := w.Body.String(), w.Header().Get("Content-Type")
		api, nav := strings.HasPrefix(c.path, "/api"), strings.Contains(body, `aria-label="Main"`)
		switch {
		case w.Code != c.status || !strings.Contains(body, c.words) || strings.Contains(body, "secret"):
			t.Errorf("%s %s by %q: %d %s", c.method, c.path, c.who, w.Code, body)
		case api != (media == "application/problem+json") || !api && !strings.Contains(body, "<title>"):
			t.Errorf("%s %s: %s", c.method, c.path, media)
		case !api && nav != (c.who != ""):
			t.Errorf("%s %s by %q: navigation %v", c.method, c.path, c.who, nav)
		case (w.Header().Get("Allow") != "") != (c.status == 405) || w.Header().Get("Content-Security-Policy") == "":
			t.Errorf("%s %s: %v", c.method, c.path, w.Header())
		}
	}
	if w := x.browser().get("/log"); w.Code != 303 || !strings.HasPrefix(w.Header().Get("Location"), "/sign-in") {
		t.Errorf("a page that is there: %d", w.Code)
	}
}
