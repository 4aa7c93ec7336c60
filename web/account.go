package web

import (
	"net/http"
	"strconv"
	"time"

	"postern/people"
)

// accountRoutes names what everybody may do with the own account.
func (s *Server) accountRoutes() {
	s.mux.HandleFunc("GET /account", s.accountPage)
	s.mux.HandleFunc("POST /account/password", s.ownPassword)
	s.mux.HandleFunc("GET /account/totp", s.totpPage)
	s.mux.HandleFunc("GET /account/totp.png", s.picture)
	s.mux.HandleFunc("POST /account/totp", s.totp)
	s.mux.HandleFunc("POST /account/totp/remove", s.dropOwnTOTP)
	s.mux.HandleFunc("POST /account/sessions", s.endOwnSession)
	s.mux.HandleFunc("POST /account/digest", s.setDigest)
	s.mux.HandleFunc("POST /account/tokens", s.addToken)
	s.mux.HandleFunc("POST /account/tokens/remove", s.removeToken)
}

// accountView is the page of the own account.
type accountView struct {
	Person   *people.Person
	Sessions []*people.Session
	Tokens   []*people.Token
	Digest   *ownDigest // nil: none can be sent
	Scopes   []string
	Wrong    string
	Said     string
	Token    string // a new one, shown this once
	Forced   bool   // the second factor cannot be taken away
}

func (s *Server) accountPage(w http.ResponseWriter, r *http.Request) {
	said := map[string]string{"sessions": "Signed out there.", "token": "The token is worthless now.", "totp": "The second factor is gone.", "digest": "Digests come as you wish."}
	s.showAccount(w, r, http.StatusOK, accountView{Said: said[r.URL.Query().Get("done")]})
}

func (s *Server) showAccount(w http.ResponseWriter, r *http.Request, code int, v accountView) {
	ctx, who := r.Context(), actor(r)
	var err error
	if v.Person, err = s.cfg.People.Get(ctx, who, who.ID); err == nil {
		v.Sessions, err = s.cfg.People.Sessions(ctx, who, who.ID, s.cookie(r, sessionCookie))
	}
	if err == nil {
		v.Tokens, err = s.cfg.People.Tokens(ctx, who, who.ID)
	}
	if err == nil {
		v.Digest, err = s.showDigest(ctx, who)
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	v.Forced = who.Role == people.Admin && s.cfg.People.Ways().AdminTOTP
	for p := range people.Permission(people.All) {
		if who.May(p) {
			v.Scopes = append(v.Scopes, p.String())
		}
	}
	s.show(w, r, code, "account", screen{Title: "Your account", Area: "account", Data: v})
}

// accountTrouble shows the page with what was wrong, or fails.
func (s *Server) accountTrouble(w http.ResponseWriter, r *http.Request, err error) {
	code, words := trouble(err)
	if code == http.StatusInternalServerError || code == http.StatusForbidden {
		s.failed(w, r, err)
		return
	}
	if code == http.StatusUnauthorized {
		code, words = http.StatusUnprocessableEntity, "That is not your password."
	}
	s.showAccount(w, r, code, accountView{Wrong: words})
}

func (s *Server) ownPassword(w http.ResponseWriter, r *http.Request) {
	who, password := actor(r), r.PostFormValue("password")
	err := sameTwice(password, r.PostFormValue("again"))
	if err == nil {
		err = s.cfg.People.SetPassword(r.Context(), who, who.ID, r.PostFormValue("old"), password)
	}
	if err != nil {
		s.accountTrouble(w, r, err)
		return
	}
	s.setCookie(w, sessionCookie, "")
	http.Redirect(w, r, "/sign-in?done=password", http.StatusSeeOther)
}

// ownTOTP is the form of a second factor for who is signed in.
func (s *Server) ownTOTP(r *http.Request) (enrolForm, error) {
	p, err := s.cfg.People.Get(r.Context(), actor(r), actor(r).ID)
	if err != nil {
		return enrolForm{}, err
	}
	return enrolForm{Action: "/account/totp", Next: "/account", Password: p.Password}, nil
}

func (s *Server) totpPage(w http.ResponseWriter, r *http.Request) {
	f, err := s.ownTOTP(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.showEnrol(w, r, http.StatusOK, f)
}

func (s *Server) totp(w http.ResponseWriter, r *http.Request) {
	f, err := s.ownTOTP(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.confirmTOTP(w, r, f)
}

func (s *Server) dropOwnTOTP(w http.ResponseWriter, r *http.Request) {
	if err := s.cfg.People.DropTOTP(r.Context(), actor(r), actor(r).ID, r.PostFormValue("password")); err != nil {
		s.accountTrouble(w, r, err)
		return
	}
	s.setCookie(w, sessionCookie, "")
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
}

func (s *Server) endOwnSession(w http.ResponseWriter, r *http.Request) {
	if err := s.cfg.People.EndSession(r.Context(), actor(r), actor(r).ID, r.PostFormValue("id")); err != nil {
		s.accountTrouble(w, r, err)
		return
	}
	http.Redirect(w, r, "/account?done=sessions", http.StatusSeeOther)
}

func (s *Server) addToken(w http.ResponseWriter, r *http.Request) {
	days, err := strconv.Atoi(r.PostFormValue("days"))
	if err != nil || days < 1 || days > 366 {
		err = &people.InvalidError{Why: "A token lasts 1 to 366 days."}
	}
	scopes := []people.Permission{}
	for _, name := range r.PostForm["scope"] {
		p, wrong := people.ParsePermission(name)
		if wrong != nil {
			err = wrong
		}
		scopes = append(scopes, p)
	}
	if err == nil && len(scopes) == 0 {
		err = &people.InvalidError{Why: "Choose what the token may do."}
	}
	token := ""
	if err == nil {
		_, token, err = s.cfg.People.AddToken(r.Context(), actor(r), actor(r).ID, r.PostFormValue("name"), scopes, time.Duration(days)*24*time.Hour)
	}
	if err != nil {
		s.accountTrouble(w, r, err)
		return
	}
	s.showAccount(w, r, http.StatusOK, accountView{Token: token})
}

func (s *Server) removeToken(w http.ResponseWriter, r *http.Request) {
	if err := s.cfg.People.RemoveToken(r.Context(), actor(r), r.PostFormValue("id")); err != nil {
		s.accountTrouble(w, r, err)
		return
	}
	to := "/account?done=token"
	if person := r.PostFormValue("person"); person != "" {
		to = localPath("/people/" + person)
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}
