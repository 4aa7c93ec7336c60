package web

import (
	"errors"
	"net/http"

	"postern/people"
)

// askedCookie is kept by the browser that asked for a link: without it the link does nothing.
const askedCookie = "postern-asked"

// askLink has a link sent, if there is somebody to send it to. The answer is the same for everybody.
func (s *Server) askLink(w http.ResponseWriter, r *http.Request) {
	cookie, err := s.cfg.People.AskLink(r.Context(), r.PostFormValue("address"), s.visitor(r))
	if err != nil {
		s.again(w, r, "sign-in", "Sign in", &signInForm{Next: "/", Ways: s.cfg.People.Ways()}, err)
		return
	}
	s.setCookie(w, askedCookie, cookie)
	http.Redirect(w, r, "/sign-in/asked", http.StatusSeeOther)
}

func (s *Server) askedPage(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, "asked", screen{Title: "Look into your mail", Data: signInForm{}})
}

// linkPage shows a button and does nothing (C-38). In any browser but the one that asked there is
// not even that.
func (s *Server) linkPage(w http.ResponseWriter, r *http.Request) {
	if s.onward(w, r) {
		return
	}
	token := r.URL.Query().Get("token")
	err := s.cfg.People.LinkHere(r.Context(), token, s.cookie(r, askedCookie))
	if errors.Is(err, people.ErrLink) {
		s.show(w, r, http.StatusOK, "link-elsewhere", screen{Title: "Not in this browser"})
		return
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "link", screen{Title: "Sign in", Data: token})
}

// link signs in, by the link's token or by the code that stands beside it in the mail.
func (s *Server) link(w http.ResponseWriter, r *http.Request) {
	token, code := r.PostFormValue("token"), r.PostFormValue("code")
	g, err := s.cfg.People.UseLink(r.Context(), token, code, s.cookie(r, askedCookie), s.visitor(r), s.cookie(r, sessionCookie))
	if errors.Is(err, people.ErrSignIn) {
		err = &people.InvalidError{Why: "That is not the code in the newest mail. After five wrong ones you have to ask for another."}
	}
	if err != nil {
		s.again(w, r, "asked", "Look into your mail", &signInForm{}, err)
		return
	}
	s.setCookie(w, askedCookie, "")
	s.grant(w, r, g, "/")
}

// setUpForm is what the page of the first administrator shows.
type setUpForm struct {
	Key, Login, Name, Wrong string
}

func (s *Server) setUpPage(w http.ResponseWriter, r *http.Request) {
	f := setUpForm{Key: r.URL.Query().Get("token"), Login: "admin"}
	if err := s.cfg.People.SetUpHolds(r.Context(), f.Key); err != nil {
		s.failed(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "setup", screen{Title: "The first administrator", Data: f})
}

func (s *Server) setUp(w http.ResponseWriter, r *http.Request) {
	f := setUpForm{Key: r.PostFormValue("key"), Login: r.PostFormValue("login"), Name: r.PostFormValue("name")}
	password := r.PostFormValue("password")
	var g *people.Grant
	err := sameTwice(password, r.PostFormValue("again"))
	if err == nil {
		g, err = s.cfg.People.SetUp(r.Context(), f.Key, f.Login, f.Name, password, s.visitor(r), s.cookie(r, sessionCookie))
	}
	if errors.As(err, new(*people.InvalidError)) {
		code, words := trouble(err)
		f.Wrong = words
		s.show(w, r, code, "setup", screen{Title: "The first administrator", Data: f})
		return
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.grant(w, r, g, "/")
}

func sameTwice(password, again string) error {
	if password != again {
		return &people.InvalidError{Why: "These are two different passwords."}
	}
	return nil
}

// enrolForm is what the page of a new second factor shows.
type enrolForm struct {
	Secret   string
	Action   string // where the form goes
	Picture  string
	Password bool // is asked for again
	Next     string
	Wrong    string
	Codes    []string // for a lost device: shown once, when all is done
}

func (s *Server) enrolPage(w http.ResponseWriter, r *http.Request) {
	if s.atStage(w, r, people.Enrol) {
		s.showEnrol(w, r, http.StatusOK, enrolForm{Action: "/sign-in/set-up", Next: localPath(r.URL.Query().Get("next"))})
	}
}

func (s *Server) showEnrol(w http.ResponseWriter, r *http.Request, code int, f enrolForm) {
	secret, err := s.cfg.People.NewTOTP(r.Context(), s.cookie(r, sessionCookie))
	if err != nil {
		s.failed(w, r, err)
		return
	}
	f.Secret, f.Picture = secret.Text, f.Action+".png"
	s.show(w, r, code, "totp", screen{Title: "Set up a second factor", Area: "account", Data: f})
}

// picture is the QR code that goes with the page.
func (s *Server) picture(w http.ResponseWriter, r *http.Request) {
	secret, err := s.cfg.People.NewTOTP(r.Context(), s.cookie(r, sessionCookie))
	if err != nil {
		s.failed(w, r, err)
		return
	}
	b, err := secret.PNG()
	if err != nil {
		s.failed(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "image/png")
	_, _ = w.Write(b)
}

func (s *Server) enrol(w http.ResponseWriter, r *http.Request) {
	if s.atStage(w, r, people.Enrol) {
		s.confirmTOTP(w, r, enrolForm{Action: "/sign-in/set-up", Next: localPath(r.PostFormValue("next"))})
	}
}

// confirmTOTP puts the second factor in force and shows the codes for a lost device.
func (s *Server) confirmTOTP(w http.ResponseWriter, r *http.Request, f enrolForm) {
	g, codes, err := s.cfg.People.ConfirmTOTP(r.Context(), s.cookie(r, sessionCookie), r.PostFormValue("password"), r.PostFormValue("code"), s.visitor(r))
	if code, words := trouble(err); err != nil && (code == http.StatusUnprocessableEntity || errors.Is(err, people.ErrSignIn) || code == http.StatusTooManyRequests) {
		if f.Wrong = words; errors.Is(err, people.ErrSignIn) {
			f.Wrong = "That is not your password."
		}
		s.showEnrol(w, r, code, f)
		return
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.setCookie(w, sessionCookie, g.Cookie)
	f.Codes = codes
	s.show(w, r, http.StatusOK, "totp-codes", screen{Title: "Keep these codes", Area: "account", Data: f})
}
