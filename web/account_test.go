package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"postern/people"
)

// The pages of accounts: everybody has the own one; others' are the administrator's.
func TestAccountPages(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	x.add("root", people.Admin)
	x.add("ann@example.org", people.User)
	root, ann := x.browser().signIn("root"), x.browser().signIn("ann@example.org")
	if w := ann.get("/account"); w.Code != 200 || !strings.Contains(w.Body.String(), "(this one)") || !strings.Contains(w.Body.String(), "ann@example.org") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, path := range []string{"/people", "/people/new", "/people/x"} {
		if w := ann.get(path); w.Code != 403 {
			t.Errorf("%s for a user: %d", path, w.Code)
		}
	}
	w := root.post("/people/new", "login", "eve@example.org", "name", "<b>Eve", "role", "user", "addresses", "eve@example.org\ninfo@example.org", "password", testPassword, "again", testPassword)
	eve := w.Header().Get("Location")
	if w.Code != 303 || !strings.HasPrefix(eve, "/people/") {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := root.get(eve); w.Code != 200 || !strings.Contains(w.Body.String(), "&lt;b&gt;Eve") || !strings.Contains(w.Body.String(), "info@example.org") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for name, fields := range map[string][]string{
		"taken": {"login", "ROOT", "role", "user"}, "no role": {"login", "y"}, "no address": {"login", "y", "role", "user", "addresses", "<script>"},
		"two passwords": {"login", "y", "role", "user", "password", "a", "again", "b"},
	} {
		if w := root.post("/people/new", fields...); w.Code < 400 || !strings.Contains(w.Body.String(), `role="alert"`) || strings.Contains(w.Body.String(), "<script>") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	hers := x.browser().signIn("eve@example.org")
	if w := ann.post(eve+"/remove", "x", "y"); w.Code != 403 {
		t.Errorf("%d", w.Code)
	}
	if w := root.post(eve, "login", "eve@example.org", "role", "auditor", "domains", "example.org"); w.Code != 303 || hers.get("/api/v1/me").Code != 401 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := root.get("/people"); !strings.Contains(w.Body.String(), "auditor") {
		t.Error(w.Body)
	}
	if w := root.post(eve+"/password", "password", testPassword+"!", "again", testPassword+"!"); w.Code != 303 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := hers.post("/sign-in", "login", "eve@example.org", "password", testPassword+"!"); w.Code != 303 {
		t.Errorf("%d", w.Code)
	}
	if w := root.post(eve+"/sessions", "x", "y"); w.Code != 303 || hers.get("/api/v1/me").Code != 401 {
		t.Errorf("%d", w.Code)
	}
	if w := root.post(eve+"/remove", "x", "y"); w.Code != 303 || root.get(eve).Code != 404 {
		t.Errorf("%d", w.Code)
	}
	// One's own password: the old one is needed, and every session ends.
	if w := ann.post("/account/password", "old", "wrong", "password", testPassword+"!", "again", testPassword+"!"); w.Code != 422 || ann.get("/account").Code != 200 {
		t.Errorf("%d", w.Code)
	}
	if w := ann.post("/account/password", "old", testPassword, "password", testPassword+"!", "again", testPassword+"!"); w.Code != 303 || ann.get("/account").Code == 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ann.post("/sign-in", "login", "ann@example.org", "password", testPassword+"!"); w.Code != 303 {
		t.Errorf("%d", w.Code)
	}
	// Tokens.
	w = ann.post("/account/tokens", "name", "a program", "days", "9", "scope", "see")
	token := regexp.MustCompile(`postern_[A-Za-z0-9_-]{43}`).FindString(w.Body.String())
	if w.Code != 200 || token == "" || strings.Contains(ann.get("/account").Body.String(), token) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for name, fields := range map[string][]string{"no scope": {"name", "x", "days", "1"}, "for ever": {"name", "x", "days", "9999", "scope", "see"}, "no name": {"days", "1", "scope", "see"}, "a wrong scope": {"name", "x", "days", "1", "scope", "god"}} {
		if w := ann.post("/account/tokens", fields...); w.Code != 422 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	// A second factor of one's own will.
	secret, _ := enrol(t, x, ann, "/account/totp", "password", testPassword+"!")
	if secret == "" || ann.get("/account").Code != 200 {
		t.Error("signed out by setting up the second factor")
	}
	if w := ann.post("/account/totp/remove", "password", testPassword+"!"); w.Code != 303 || ann.get("/account").Code == 200 {
		t.Errorf("%d", w.Code)
	}
	ann.post("/sign-in", "login", "ann@example.org", "password", testPassword+"!")
	id := regexp.MustCompile(`name="id" value="([0-9a-f]{16})"`).FindStringSubmatch(ann.get("/account").Body.String())
	if w := ann.post("/account/sessions", "id", id[1]); w.Code != 303 || ann.get("/account").Code == 200 {
		t.Errorf("%d", w.Code)
	}
}

// W-15: when what is beneath fails, a page says a number and nothing else.
func TestW15ErrorsTellNothing(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	x.add("ann", people.Operator)
	in := x.browser().signIn("ann")
	x.closeStore()
	for _, path := range []string{"/", "/account", "/people", "/api/v1/me", "/setup?token=" + strings.Repeat("A", 43)} {
		w := in.get(path)
		if w.Code < 500 || strings.Contains(w.Body.String(), "sql") || strings.Contains(w.Body.String(), "database") || strings.Contains(w.Body.String(), "/tmp") || strings.Contains(w.Body.String(), ".go") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := x.browser().post("/sign-in", "login", "ann", "password", testPassword); w.Code != 500 || !strings.Contains(w.Body.String(), "under the number") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	s := New(Config{People: x.people, Origin: httpsOrigin, Log: quiet()})
	s.mux.HandleFunc("GET /static/panic/now", func(http.ResponseWriter, *http.Request) { panic("the inside") })
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), "GET", "/static/panic/now", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "the inside") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
