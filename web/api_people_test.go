package web

import (
	"net/http/httptest"
	"strings"
	"testing"

	"postern/people"
)

// What the page of an account does the API does, too.
func TestAPIOfAccounts(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	x.add("root", people.Admin)
	una := x.add("una@example.org", people.User)
	root, user := x.browser().signIn("root"), x.browser().signIn("una@example.org")
	call := func(b *browser, method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, apiRoot+path, strings.NewReader(body))
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		r.Header.Set("Origin", httpsOrigin)
		return b.send(r)
	}
	for _, c := range []struct {
		b            *browser
		method, path string
		body         string
		status       int
		says         string
	}{
		{user, "GET", "/people/" + una.ID + "/sessions", "", 403, ""},
		{user, "PUT", "/people/" + una.ID + "/password", `{"password":"a new long password"}`, 403, ""},
		{root, "GET", "/people/" + una.ID + "/sessions", "", 200, `"how":"password"`},
		{root, "GET", "/people/" + una.ID + "/tokens", "", 200, "[]"},
		{root, "GET", "/people/nobody/sessions", "", 404, ""},
		{root, "PUT", "/people/" + una.ID + "/password", `{"password":"short"}`, 400, ""},
		{root, "PUT", "/people/" + una.ID + "/password", `{"password":"a new long password"}`, 204, ""},
		{root, "GET", "/people/" + una.ID + "/sessions", "", 200, "[]"},
		{root, "DELETE", "/people/" + una.ID + "/totp", "", 204, ""},
		{root, "DELETE", "/people/" + una.ID + "/sessions", "", 204, ""},
		{root, "DELETE", "/people/nobody/sessions", "", 404, ""},
	} {
		if w := call(c.b, c.method, c.path, c.body); w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
	if w := user.get(apiRoot + "/me"); w.Code != 401 {
		t.Errorf("the session goes on: %d", w.Code)
	}
}
