package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// maxBody bounds what anybody sends us (W-11).
const maxBody = 1 << 20

// ServeHTTP answers one request: what is checked here holds for every page and call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = s.withClient(withRequestID(r))
	s.guard(w.Header(), r)
	defer func() { s.recovered(w, r, recover()) }()
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if refused := s.checkOrigin(r); refused != nil {
		s.refuse(w, r, refused)
		return
	}
	if known := s.authenticate(w, r); known != nil {
		r = known
		if refused := s.hasty(r); refused != nil {
			w.Header().Set("Retry-After", "10")
			s.refuse(w, r, refused)
			return
		}
		s.route(w, r)
	}
}

// guard sets the headers of every answer (W-10). Nothing is loaded from elsewhere, no script or
// style stands in a page, and no other page may show ours. A route that shows content of mail
// puts a narrower policy in place.
func (s *Server) guard(h http.Header, r *http.Request) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // not no-referrer: with it browsers send "Origin: null" with our own forms
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store")
	if s.secure() {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// secure tells whether browsers reach us by TLS, here or at a proxy.
func (s *Server) secure() bool { return strings.HasPrefix(s.cfg.Origin, "https://") }

// recovered answers for a handler that panicked; the log knows where.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request, p any) {
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	s.cfg.Log.Error("a request panicked", "request", requestID(r), "path", r.URL.Path, "panic", p)
	s.refuse(w, r, &callError{http.StatusInternalServerError, "Something failed here. The log tells what, under the number " + requestID(r) + "."})
}

// refuse answers a request that goes no further, in the form that its caller reads.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, e *callError) {
	if isCall(r) {
		s.problem(w, r, e)
		return
	}
	sc := screen{Title: className(strings.ToLower(http.StatusText(e.status))), Data: e.words}
	if byHtmx(r) {
		s.part(w, r, e.status, "problem", "alert", sc)
		return
	}
	s.show(w, r, e.status, "problem", sc)
}

// isCall tells calls of the API from pages.
func isCall(r *http.Request) bool {
	return r.URL.Path == "/api" || strings.HasPrefix(r.URL.Path, "/api/")
}

// checkOrigin lets what changes something come from our own pages alone (W-06): by Origin, by
// Sec-Fetch-Site, or, from a browser that says neither, by the token of its form. Calls with a
// token of the API are no browser's doing. Cookies that are SameSite=Strict are the second wall.
func (s *Server) checkOrigin(r *http.Request) *callError {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	if err := s.checkMedia(r); err != nil {
		return err
	}
	if isCall(r) && r.Header.Get("Authorization") != "" {
		return nil // the cookie is not looked at then
	}
	elsewhere := &callError{http.StatusForbidden, "This request did not come from a page of Postern at " + s.cfg.Origin +
		". Where that is not how you reach it, web.origin in the configuration has to say so."}
	origins := r.Header.Values("Origin")
	if len(origins) > 1 || len(origins) == 1 && !s.own(origins[0], r) || s.cross.Check(r) != nil {
		return elsewhere
	}
	if len(origins) == 1 || r.Header.Get("Sec-Fetch-Site") == "same-origin" || s.formToken(r) {
		return nil
	}
	return elsewhere
}

// checkMedia refuses bodies that are neither a form of ours nor JSON: a page elsewhere can make a
// browser send text/plain without asking.
func (s *Server) checkMedia(r *http.Request) *callError {
	if r.ContentLength == 0 && r.Header.Get("Content-Type") == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	form, api := media == "application/x-www-form-urlencoded", isCall(r)
	if err == nil && (media == "application/json" || form && !api) {
		return nil
	}
	if o := r.Header.Get("Origin"); o != "" && !s.own(o, r) {
		return &callError{http.StatusForbidden, "This request did not come from a page of Postern."}
	}
	return &callError{http.StatusUnsupportedMediaType, "Send application/json, or a form of one of the pages."}
}

// own tells whether an origin is ours. On loopback every name of it is, with the port that was asked.
func (s *Server) own(origin string, r *http.Request) bool {
	if origin == s.cfg.Origin && origin != "" {
		return true
	}
	us, err := url.Parse(s.cfg.Origin)
	if err != nil || us.Scheme != "http" || !loopbackHost(us.Host) {
		return false
	}
	return origin == "http://"+r.Host && loopbackHost(r.Host)
}

func loopbackHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && a.IsLoopback()
}

// csrf is the token that forms carry: a hash of the browser's cookie, which no other site knows.
func (s *Server) csrf(r *http.Request) string {
	for _, name := range []string{sessionCookie, formCookie} {
		if v := s.cookie(r, name); v != "" {
			return tokenOf(v)
		}
	}
	if v, ok := r.Context().Value(formKey).(string); ok {
		return tokenOf(v)
	}
	return ""
}

func tokenOf(cookie string) string {
	h := sha256.Sum256([]byte("form of postern\n" + cookie))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// formToken tells whether a form, or the header that stands for it, has the token of its browser.
func (s *Server) formToken(r *http.Request) bool {
	got := r.Header.Get("X-CSRF-Token")
	if got == "" && !isCall(r) {
		got = r.PostFormValue("csrf")
	}
	ok := false
	for _, name := range []string{sessionCookie, formCookie} {
		if v := s.cookie(r, name); v != "" && subtle.ConstantTimeCompare([]byte(got), []byte(tokenOf(v))) == 1 {
			ok = true
		}
	}
	return ok
}

// trust lets the check of Sec-Fetch-Site know our own origin, which Host is not behind a proxy.
func (s *Server) trust(origin string) error {
	if origin == "" {
		return nil
	}
	return s.cross.AddTrustedOrigin(origin)
}
