package web

import (
	"errors"
	"net/http"
	"net/url"

	"postern/people"
)

// issuerCookie is kept by a browser while it is at the issuer of OpenID Connect. It comes back with
// a link of another site, so this one cookie is SameSite=Lax.
const issuerCookie = "postern-oidc"

// toIssuer sends the browser to the issuer.
func (s *Server) toIssuer(w http.ResponseWriter, r *http.Request) {
	address, cookie, err := s.cfg.People.BeginOpenID(r.Context())
	if err != nil {
		s.failed(w, r, err)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: s.cookieName(issuerCookie), Value: cookie, Path: "/", MaxAge: 600, HttpOnly: true, Secure: s.secure(), SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, address, http.StatusSeeOther)
}

// fromIssuer takes the browser back. It changes something by GET, as OpenID Connect has it: state,
// nonce and PKCE tie the answer to the browser that asked.
func (s *Server) fromIssuer(w http.ResponseWriter, r *http.Request) {
	q, cookie := r.URL.Query(), s.cookie(r, issuerCookie)
	s.setCookie(w, issuerCookie, "")
	g, err := s.cfg.People.EndOpenID(r.Context(), cookie, q.Get("state"), q.Get("code"), s.visitor(r), s.cookie(r, sessionCookie))
	if errors.Is(err, people.ErrSignIn) {
		err = &people.InvalidError{Why: "The single sign-on did not let you in here: try again, or ask your administrator"}
	}
	if err != nil {
		s.again(w, r, "sign-in", "Sign in", &signInForm{Next: "/", Ways: s.cfg.People.Ways()}, err)
		return
	}
	s.setCookie(w, sessionCookie, g.Cookie)
	to := "/"
	if g.Stage != people.Done {
		to = stagePath(g.Stage) + "?next=" + url.QueryEscape("/")
	}
	s.show(w, r, http.StatusOK, "onward", screen{Title: "One moment", Data: to}) // a redirect would still count as coming from there, without the cookie
}
