package web

import (
	"errors"
	"net/http"

	"postern/people"
)

// signInRoutes names the pages of who is not signed in yet, and of who is no more.
func (s *Server) signInRoutes() {
	s.mux.HandleFunc("GET /sign-in", s.signInPage)
	s.mux.HandleFunc("POST /sign-in", s.signIn)
	s.mux.HandleFunc("POST /sign-out", s.signOut)
}

// signInForm is what the page of signing in shows.
type signInForm struct {
	Login, Next, Wrong string
}

func (s *Server) signInPage(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if actor(r) != nil {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	s.show(w, r, http.StatusOK, "sign-in", screen{Title: "Sign in", Data: signInForm{Next: next}})
}

func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	f := signInForm{Login: r.PostFormValue("login"), Next: localPath(r.PostFormValue("next"))}
	g, err := s.cfg.People.SignIn(r.Context(), f.Login, r.PostFormValue("password"), s.visitor(r), s.cookie(r, sessionCookie))
	if err != nil {
		status, words, known := signInTrouble(err)
		if !known {
			s.failed(w, r, err)
			return
		}
		f.Wrong = words
		s.show(w, r, status, "sign-in", screen{Title: "Sign in", Data: f})
		return
	}
	s.grant(w, r, g, f.Next)
}

// grant gives the browser its session and sends it on.
func (s *Server) grant(w http.ResponseWriter, r *http.Request, g *people.Grant, next string) {
	s.setCookie(w, sessionCookie, g.Cookie)
	if g.Stage != people.Done {
		next = stagePath(g.Stage)
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
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

// signInTrouble says what went wrong to who tries to sign in; known is false for inner errors.
func signInTrouble(err error) (status int, words string, known bool) {
	var wait *people.WaitError
	var invalid *people.InvalidError
	switch {
	case errors.As(err, &wait):
		return http.StatusTooManyRequests, "Too many tries: " + wait.Error()[len("too many tries: "):] + ", then try again.", true
	case errors.Is(err, people.ErrBusy):
		return http.StatusServiceUnavailable, "Many sign in at this moment. Try again in some seconds.", true
	case errors.Is(err, people.ErrSignIn):
		return http.StatusUnauthorized, "Login or password is wrong.", true
	case errors.As(err, &invalid):
		return http.StatusUnprocessableEntity, invalid.Why, true
	}
	return 0, "", false
}

// failed answers for what nobody expected.
func (s *Server) failed(w http.ResponseWriter, r *http.Request, err error) {
	s.cfg.Log.Error("request failed", "request", requestID(r), "path", r.URL.Path, "error", err)
	s.refuse(w, r, &callError{http.StatusInternalServerError, "Something failed here. The log tells what, under the number " + requestID(r) + "."})
}
