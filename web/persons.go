package web

import (
	"net/http"
	"strings"

	"postern/mail"
	"postern/people"
	"postern/preview"
)

// peopleRoutes names what administrators do with accounts of others.
func (s *Server) peopleRoutes() {
	s.mux.HandleFunc("GET /people", s.peoplePage)
	s.mux.HandleFunc("GET /people/new", s.newPersonPage)
	s.mux.HandleFunc("POST /people/new", s.addPerson)
	s.mux.HandleFunc("GET /people/{id}", s.personPage)
	s.mux.HandleFunc("POST /people/{id}", s.changePerson)
	for name, do := range map[string]personAct{
		"password": func(r *http.Request, id string) error {
			if err := sameTwice(r.PostFormValue("password"), r.PostFormValue("again")); err != nil {
				return err
			}
			return s.cfg.People.SetPassword(r.Context(), actor(r), id, "", r.PostFormValue("password"))
		},
		"totp":     func(r *http.Request, id string) error { return s.cfg.People.DropTOTP(r.Context(), actor(r), id, "") },
		"sessions": func(r *http.Request, id string) error { return s.cfg.People.EndSession(r.Context(), actor(r), id, "") },
		"remove":   func(r *http.Request, id string) error { return s.cfg.People.Remove(r.Context(), actor(r), id) },
	} {
		s.mux.HandleFunc("POST /people/{id}/"+name, s.personAct(name, do))
	}
}

// personView is the page of one account.
type personView struct {
	Person    *people.Person
	New       bool
	Own       bool // one's own: password and sessions are on the account page
	Addresses string
	Domains   string
	Sessions  []*people.Session
	Tokens    []*people.Token
	Wrong     string
	Said      string
	Roles     []people.Role
	TOTP      bool // administrators need one
}

func (s *Server) peoplePage(w http.ResponseWriter, r *http.Request) {
	if !actor(r).May(people.ManagePeople) {
		s.forbid(w, r, "list-people", "")
		return
	}
	all, err := s.cfg.People.List(r.Context(), actor(r))
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "people", screen{Title: "People", Area: "people", Data: all})
}

func (s *Server) newPersonPage(w http.ResponseWriter, r *http.Request) {
	if !actor(r).May(people.ManagePeople) {
		s.forbid(w, r, "add-person", "")
		return
	}
	s.showNewPerson(w, r, http.StatusOK, personView{Person: &people.Person{Role: people.Operator}})
}

func (s *Server) showNewPerson(w http.ResponseWriter, r *http.Request, code int, v personView) {
	v.New, v.Roles = true, people.Roles()
	s.show(w, r, code, "person", screen{Title: "New account", Area: "people", Data: v})
}

func (s *Server) addPerson(w http.ResponseWriter, r *http.Request) {
	p, err := readPerson(r, "")
	if err == nil {
		err = sameTwice(r.PostFormValue("password"), r.PostFormValue("again"))
	}
	var made *people.Person
	if err == nil {
		made, err = s.cfg.People.Add(r.Context(), actor(r), p, r.PostFormValue("password"))
	}
	if err == nil {
		http.Redirect(w, r, "/people/"+made.ID, http.StatusSeeOther)
		return
	}
	code, words := trouble(err)
	if code == http.StatusInternalServerError || code == http.StatusForbidden {
		s.failed(w, r, err)
		return
	}
	s.showNewPerson(w, r, code, personView{Person: &p, Addresses: r.PostFormValue("addresses"), Domains: r.PostFormValue("domains"), Wrong: words})
}

// readPerson reads the form of an account.
func readPerson(r *http.Request, id string) (people.Person, error) {
	p := people.Person{ID: id, Login: r.PostFormValue("login"), Name: r.PostFormValue("name"), Role: people.Role(r.PostFormValue("role")),
		Domains: words(r.PostFormValue("domains"))}
	for _, text := range words(r.PostFormValue("addresses")) {
		a, err := mail.ParseAddress(text, true)
		if err != nil {
			return p, &people.InvalidError{Why: preview.VisibleName(clip(text)) + " is no address"}
		}
		p.Addresses = append(p.Addresses, a)
	}
	return p, nil
}

// words splits what stands in a field of several lines.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n,;", r) })
}

func (s *Server) personPage(w http.ResponseWriter, r *http.Request) {
	said := map[string]string{"change": "Changed.", "password": "The password is changed; all sessions are ended.", "totp": "The second factor is gone; all sessions are ended.",
		"sessions": "Signed out everywhere."}
	s.showPerson(w, r, http.StatusOK, personView{Said: said[r.URL.Query().Get("done")]})
}

func (s *Server) showPerson(w http.ResponseWriter, r *http.Request, code int, v personView) {
	ctx, who, id := r.Context(), actor(r), r.PathValue("id")
	if !who.May(people.ManagePeople) {
		s.forbid(w, r, "show-person", id)
		return
	}
	p, err := s.cfg.People.Get(ctx, who, id)
	if err == nil {
		v.Sessions, err = s.cfg.People.Sessions(ctx, who, p.ID, s.cookie(r, sessionCookie))
	}
	if err == nil {
		v.Tokens, err = s.cfg.People.Tokens(ctx, who, p.ID)
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if v.Person == nil {
		v.Person = p
		for _, a := range p.Addresses {
			v.Addresses += a.String() + "\n"
		}
		v.Domains = strings.Join(p.Domains, "\n")
	}
	v.Own, v.Roles, v.TOTP = p.ID == who.ID, people.Roles(), s.cfg.People.Ways().AdminTOTP
	s.show(w, r, code, "person", screen{Title: p.Login, Area: "people", Data: v})
}

func (s *Server) changePerson(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	p, err := readPerson(r, id)
	if err == nil {
		_, err = s.cfg.People.Change(r.Context(), actor(r), p)
	}
	s.personDone(w, r, "change", err)
}

type personAct func(r *http.Request, id string) error

// personAct does one thing with an account and shows it again.
func (s *Server) personAct(name string, do personAct) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := do(r, r.PathValue("id"))
		if err == nil && name == "remove" {
			http.Redirect(w, r, "/people", http.StatusSeeOther)
			return
		}
		s.personDone(w, r, name, err)
	}
}

func (s *Server) personDone(w http.ResponseWriter, r *http.Request, name string, err error) {
	if err == nil {
		http.Redirect(w, r, localPath("/people/"+r.PathValue("id")+"?done="+name), http.StatusSeeOther)
		return
	}
	code, words := trouble(err)
	if code == http.StatusInternalServerError || code == http.StatusForbidden || code == http.StatusNotFound {
		s.failed(w, r, err)
		return
	}
	s.showPerson(w, r, code, personView{Wrong: words})
}
