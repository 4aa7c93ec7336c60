package web

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"postern/people"
)

// Cookies. With TLS their names begin with __Host-: no other host and no page in clear can set them.
const (
	sessionCookie = "postern"      // the session
	formCookie    = "postern-form" // of who is not signed in: what the tokens of forms are made from
)

// maxCookie bounds what is looked at.
const maxCookie = 200

func (s *Server) cookieName(name string) string {
	if s.secure() {
		return "__Host-" + name
	}
	return name // browsers take no Secure cookie in clear; that there is no TLS is allowed on loopback alone, or by web.insecure
}

// cookie reads one; "" when there is none, or several, of which one would be somebody else's.
func (s *Server) cookie(r *http.Request, name string) string {
	all := r.CookiesNamed(s.cookieName(name))
	if len(all) != 1 || len(all[0].Value) > maxCookie {
		return ""
	}
	return all[0].Value
}

// setCookie gives the browser a cookie until it is closed; "" takes it away.
func (s *Server) setCookie(w http.ResponseWriter, name, value string) {
	c := &http.Cookie{Name: s.cookieName(name), Value: value, Path: "/", HttpOnly: true, Secure: s.secure(), SameSite: http.SameSiteStrictMode}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// public tells which paths are for who is not signed in. All others are not, whoever adds them:
// calls of the API say so by themselves.
func public(path string) bool {
	for _, p := range []string{"/static/", "/api/", "/sign-in/"} {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return path == "/sign-in" || path == "/sign-out" || path == "/setup"
}

// authenticate finds out who makes a request. It answers by itself, and returns nil, when the
// request goes no further.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) *http.Request {
	if strings.HasPrefix(r.URL.Path, "/static/") {
		return r
	}
	who, session, err := s.identify(r)
	if err != nil && !errors.Is(err, people.ErrNobody) {
		s.cfg.Log.Error("people cannot be looked up", "request", requestID(r), "error", err)
		s.refuse(w, r, &callError{http.StatusServiceUnavailable, "Nobody can be signed in at the moment. The log tells why, under the number " + requestID(r) + "."})
		return nil
	}
	if session != nil {
		r = r.WithContext(context.WithValue(r.Context(), sessionKey, session))
	}
	if who != nil {
		return withActor(r, who)
	}
	if !s.answered(r) {
		return r // signing in would not help
	}
	if !public(r.URL.Path) {
		s.askToSignIn(w, r, session)
		return nil
	}
	if r.Method == http.MethodGet && !isCall(r) && s.csrf(r) == "" {
		var b [32]byte
		rand.Read(b[:])
		value := base64.RawURLEncoding.EncodeToString(b[:])
		s.setCookie(w, formCookie, value)
		r = r.WithContext(context.WithValue(r.Context(), formKey, value))
	}
	return r
}

// identify asks people who it is: by a token of the API where one is sent, else by the cookie.
func (s *Server) identify(r *http.Request) (*people.Actor, *people.Session, error) {
	if s.cfg.People == nil {
		return nil, nil, people.ErrNobody
	}
	if given := r.Header.Values("Authorization"); len(given) > 0 && isCall(r) {
		scheme, token, _ := strings.Cut(given[0], " ")
		if len(given) > 1 || !strings.EqualFold(scheme, "Bearer") || len(token) > maxCookie {
			return nil, nil, people.ErrNobody
		}
		who, err := s.cfg.People.TokenActor(r.Context(), token, client(r))
		return who, nil, err
	}
	cookie := s.cookie(r, sessionCookie)
	if cookie == "" {
		return nil, nil, people.ErrNobody
	}
	return s.cfg.People.Session(r.Context(), cookie, client(r))
}

// still tells whether who made a request could make it again now: streams ask, since a sign-out or
// another role must end them. It does not count as use of the session.
func (s *Server) still(r *http.Request) bool {
	was := actor(r)
	if was == nil || s.cfg.People == nil {
		return was != nil
	}
	var who *people.Actor
	var err error
	if was.By == people.ByToken {
		who, _, err = s.identify(r)
	} else {
		who, err = s.cfg.People.Look(r.Context(), s.cookie(r, sessionCookie), client(r))
	}
	return err == nil && who.ID == was.ID && who.Role == was.Role && sameSight(who, was)
}

// sameSight tells whether two see the same mail.
func sameSight(a, b *people.Actor) bool {
	x, all := a.Sight()
	y, every := b.Sight()
	return all == every && slices.Equal(x, y)
}

// session is that of a request; nil when there is none.
func session(r *http.Request) *people.Session {
	x, _ := r.Context().Value(sessionKey).(*people.Session)
	return x
}

// askToSignIn sends somebody to where signing in goes on.
func (s *Server) askToSignIn(w http.ResponseWriter, r *http.Request, session *people.Session) {
	if s.onward(w, r) {
		return
	}
	to := "/sign-in"
	if session != nil {
		to = stagePath(session.Stage)
	} else if r.Method == http.MethodGet && !byHtmx(r) && r.URL.RequestURI() != "/" {
		to += "?next=" + url.QueryEscape(r.URL.RequestURI())
	}
	if byHtmx(r) {
		w.Header().Set("HX-Redirect", to)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.refuse(w, r, &callError{http.StatusUnauthorized, "You are not signed in any more. Nothing was changed."})
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// stagePath is the page where a sign-in of some stage goes on.
func stagePath(stage people.Stage) string {
	switch stage {
	case people.Code:
		return "/sign-in/code"
	case people.Enrol:
		return "/sign-in/set-up"
	}
	return "/"
}

// onward answers a link on another site, such as webmail, with a page that goes to the same place
// by itself: with that second step browsers send the cookie, which is SameSite=Strict.
func (s *Server) onward(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Site") != "cross-site" || r.Header.Get("Sec-Fetch-Mode") != "navigate" || s.cookie(r, sessionCookie) != "" {
		return false
	}
	s.show(w, r, http.StatusOK, "onward", screen{Title: "One moment", Data: localPath(r.URL.RequestURI())})
	return true
}

// localPath keeps a path on this site; anything else becomes "/".
func localPath(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") ||
		strings.ContainsAny(to, "\\\r\n\t") || strings.HasPrefix(u.Path, "/sign-") || strings.HasPrefix(u.Path, "/api/") || len(to) > 2000 {
		return "/"
	}
	return u.RequestURI()
}
