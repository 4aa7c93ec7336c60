package web

import (
	"context"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"postern/people"
)

// Whatever a stranger sends as cookie, token and origin: nobody is signed in, nothing is changed,
// and nothing fails.
func FuzzStrangers(f *testing.F) {
	for _, s := range [][4]string{
		{"__Host-postern=x", "Bearer postern_x", httpsOrigin, "/api/v1/me"}, {"postern=" + strings.Repeat("A", 43), "bearer", "null", "/"}, {"__Host-postern=\"", "Basic eDp5", "https://", "/people"},
		{"__Host-postern=a; __Host-postern=b", "", "", "/sign-in"}, {"=;=;", "Bearer  ", "https://postern.example:443", "/account/../api/v1/me"},
	} {
		f.Add(s[0], s[1], s[2], s[3])
	}
	x := newFuzzSite(f)
	f.Fuzz(func(t *testing.T, cookie, token, origin, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(u.Path, "/") {
			return
		}
		for _, method := range []string{"GET", "POST", "DELETE"} {
			r := httptest.NewRequestWithContext(context.Background(), method, "/", nil)
			r.URL = u
			r.Header["Cookie"], r.Header["Origin"] = []string{cookie}, []string{origin}
			if token != "" {
				r.Header["Authorization"] = []string{token}
			}
			w := httptest.NewRecorder()
			x.ServeHTTP(w, r)
			open := public(u.Path) && !strings.HasPrefix(u.Path, "/api/") || u.Path == "/api/v1/openapi.json"
			if w.Code >= 500 || w.Code == 200 && !open || method != "GET" && w.Code < 300 {
				t.Errorf("%s %s: %d %.200s", method, path, w.Code, w.Body)
			}
		}
	})
}

// newFuzzSite has one person, whom nobody may become.
func newFuzzSite(f *testing.F) *Server {
	x := newSite(f, httpsOrigin, nil)
	x.add("ann", people.Operator)
	return x.Server
}
