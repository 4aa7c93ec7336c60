package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"postern/people"
)

// signInRoutes names the pages of who is not signed in yet, and of who is no more.
func (s *Server) signInRoutes() {
	s.mux.HandleFunc("GET /sign-in", s.signInPage)
	s.mux.HandleFunc("POST /sign-in", s.signIn)
	s.mux.HandleFunc("GET /sign-in/code", s.codePage)
	s.mux.HandleFunc("POST /sign-in/code", s.code)
	s.mux.HandleFunc("GET /sign-in/set-up", s.enrolPage)
	s.mux.HandleFunc("GET /sign-in/set-up.png", s.picture)
	s.mux.HandleFunc("POST /sign-in/set-up", s.enrol)
	s.mux.HandleFunc("POST /sign-in/ask", s.askLink)
	s.mux.HandleFunc("GET /sign-in/asked", s.askedPage)
	s.mux.HandleFunc("GET /sign-in/link", s.linkPage)
	s.mux.HandleFunc("POST /sign-in/link", s.link)
	s.mux.HandleFunc("GET /sign-in/oidc", s.toIssuer)
	s.mux.HandleFunc("GET /sign-in/oidc/back", s.fromIssuer)
	s.mux.HandleFunc("GET /setup", s.setUpPage)
	s.mux.HandleFunc("POST /setup", s.setUp)
	s.mux.HandleFunc("POST /sign-out", s.signOut)
	s.accountRoutes()
	s.peopleRoutes()
}

// signInForm is what the pages of signing in show.
type signInForm struct {
	Login, Next, Wrong, Said string
	Ways                     people.Ways
}

func (s *Server) signInPage(w http.ResponseWriter, r *http.Request) {
	if s.onward(w, r) {
		return
	}
	f := signInForm{Next: localPath(r.URL.Query().Get("next")), Ways: s.cfg.People.Ways()}
	if actor(r) != nil {
		http.Redirect(w, r, f.Next, http.StatusSeeOther)
		return
	}
	if r.URL.Query().Get("done") == "password" {
		f.Said = "Your password is changed, and you are signed out everywhere. Sign in with the new one."
	}
	s.show(w, r, http.StatusOK, "sign-in", screen{Title: "Sign in", Data: f})
}

func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	f := signInForm{Login: r.PostFormValue("login"), Next: localPath(r.PostFormValue("next")), Ways: s.cfg.People.Ways()}
	g, err := s.cfg.People.SignIn(r.Context(), f.Login, r.PostFormValue("password"), s.visitor(r), s.cookie(r, sessionCookie))
	if err != nil {
		s.again(w, r, "sign-in", "Sign in", &f, err)
		return
	}
	s.grant(w, r, g, f.Next)
}

// again shows the form of a sign-in once more, and what was wrong.
func (s *Server) again(w http.ResponseWriter, r *http.Request, page, title string, f *signInForm, err error) {
	code, words := trouble(err)
	if code == http.StatusInternalServerError {
		s.failed(w, r, err)
		return
	}
	f.Wrong = words
	s.show(w, r, code, page, screen{Title: title, Data: *f})
}

// grant gives the browser its session and sends it on.
func (s *Server) grant(w http.ResponseWriter, r *http.Request, g *people.Grant, next string) {
	s.setCookie(w, sessionCookie, g.Cookie)
	if g.Stage != people.Done {
		next = stagePath(g.Stage) + "?next=" + url.QueryEscape(next)
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// atStage tells whether the browser's sign-in waits for this step; else it is sent where it belongs.
func (s *Server) atStage(w http.ResponseWriter, r *http.Request, stage people.Stage) bool {
	if x := session(r); x != nil && x.Stage == stage {
		return true
	}
	to := "/"
	if session(r) == nil {
		to = "/sign-in"
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return false
}

func (s *Server) codePage(w http.ResponseWriter, r *http.Request) {
	if s.atStage(w, r, people.Code) {
		s.show(w, r, http.StatusOK, "code", screen{Title: "Second factor", Data: signInForm{Next: localPath(r.URL.Query().Get("next"))}})
	}
}

func (s *Server) code(w http.ResponseWriter, r *http.Request) {
	if !s.atStage(w, r, people.Code) {
		return
	}
	f := signInForm{Next: localPath(r.PostFormValue("next"))}
	g, err := s.cfg.People.Second(r.Context(), s.cookie(r, sessionCookie), r.PostFormValue("code"), s.visitor(r))
	if errors.Is(err, people.ErrSignIn) {
		err = &people.InvalidError{Why: "That is not the code of now, or it was used already. Wait for the next one."}
	}
	if err != nil {
		s.again(w, r, "code", "Second factor", &f, err)
		return
	}
	s.grant(w, r, g, f.Next)
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	if err := s.cfg.People.SignOut(r.Context(), s.cookie(r, sessionCookie), client(r)); err != nil {
		s.failed(w, r, err)
		return
	}
	s.setCookie(w, sessionCookie, "")
	w.Header().Set("Clear-Site-Data", `"cache"`)
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
}

// visitor is what people keep of where a request comes from.
func (s *Server) visitor(r *http.Request) people.Visitor {
	return people.Visitor{From: client(r), Agent: r.UserAgent()}
}

// trouble says what went wrong with signing in or with people; 500 is what nobody may know.
func trouble(err error) (status int, words string) {
	var wait *people.WaitError
	var invalid *people.InvalidError
	switch {
	case errors.As(err, &wait):
		return http.StatusTooManyRequests, strings.ToUpper(wait.Error()[:1]) + wait.Error()[1:] + ", then try again."
	case errors.Is(err, people.ErrBusy):
		return http.StatusServiceUnavailable, "Many sign in at this moment. Try again in some seconds."
	case errors.Is(err, people.ErrSignIn):
		return http.StatusUnauthorized, "Login or password is wrong."
	case errors.As(err, &invalid):
		return http.StatusUnprocessableEntity, strings.ToUpper(invalid.Why[:1]) + strings.TrimSuffix(invalid.Why[1:], ".") + "."
	case errors.Is(err, people.ErrTaken):
		return http.StatusConflict, "Somebody has this login already."
	case errors.Is(err, people.ErrLastAdmin):
		return http.StatusConflict, "Somebody has to be administrator of everything: make another one first."
	case errors.Is(err, people.ErrNobody):
		return http.StatusUnauthorized, "You are not signed in any more."
	case errors.Is(err, people.ErrForbidden):
		return http.StatusForbidden, "You may not do that."
	case errors.Is(err, people.ErrNotFound):
		return http.StatusNotFound, "There is no such person or thing."
	case errors.Is(err, people.ErrLink):
		return http.StatusGone, "This link does not hold any more: it is used up or too old."
	}
	return http.StatusInternalServerError, ""
}

// failed answers for what goes no further; what nobody expected is told to the log alone (W-15).
func (s *Server) failed(w http.ResponseWriter, r *http.Request, err error) {
	code, words := trouble(err)
	if code == http.StatusInternalServerError {
		s.cfg.Log.Error("request failed", "request", requestID(r), "path", r.URL.Path, "error", err)
		words = "Something failed here. The log tells what, under the number " + requestID(r) + "."
	}
	s.refuse(w, r, &callError{code, words})
}
