package web

import (
	"errors"
	"time"

	"postern/mail"
	"postern/people"
)

// A Person is one who may sign in, as programs see it.
type Person struct {
	ID        string    `json:"id"`
	Login     string    `json:"login"`
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	Addresses []string  `json:"addresses"`
	Domains   []string  `json:"domains,omitempty"`
	Password  bool      `json:"password"` // has one
	TOTP      bool      `json:"totp"`
	Made      time.Time `json:"made,omitzero"`
	Seen      time.Time `json:"seen,omitzero"`
}

// NewPerson is what makes or changes one.
type NewPerson struct {
	Login     string   `json:"login"`
	Name      string   `json:"name,omitempty"`
	Role      string   `json:"role"`
	Addresses []string `json:"addresses,omitempty"`
	Domains   []string `json:"domains,omitempty"`
	Password  string   `json:"password,omitempty"` // of a new one; "": none
}

func personShown(p *people.Person) Person {
	out := Person{ID: p.ID, Login: p.Login, Name: p.Name, Role: string(p.Role), Addresses: []string{}, Domains: p.Domains,
		Password: p.Password, TOTP: p.TOTP, Made: p.Made, Seen: p.Seen}
	for _, a := range p.Addresses {
		out.Addresses = append(out.Addresses, a.String())
	}
	return out
}

// person reads what a caller says about one.
func (n *NewPerson) person(id string) (people.Person, error) {
	p := people.Person{ID: id, Login: n.Login, Name: n.Name, Role: people.Role(n.Role), Domains: n.Domains}
	for _, s := range n.Addresses {
		a, err := mail.ParseAddress(s, true)
		if err != nil {
			return p, badCall("addresses: %q is no address", clip(s))
		}
		p.Addresses = append(p.Addresses, a)
	}
	return p, nil
}

// A Token is what a program signs in with.
type Token struct {
	ID      string    `json:"id"`
	Login   string    `json:"login"`
	Name    string    `json:"name"`
	Scopes  []string  `json:"scopes,omitempty"` // none: all that the person may
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
	Used    time.Time `json:"used,omitzero"`
	Token   string    `json:"token,omitempty"` // itself: only in the answer to the call that makes it
}

// NewToken is what makes one.
type NewToken struct {
	Name   string   `json:"name"`
	Scopes []string `json:"scopes,omitempty"`
	Days   int      `json:"days"` // how long it holds
}

// NewPassword is another password of one's own.
type NewPassword struct {
	Old string `json:"old"`
	New string `json:"new"`
}

// ResetPassword is another password of somebody else's; "" takes it away.
type ResetPassword struct {
	Password string `json:"password"`
}

func tokenShown(t *people.Token, secret string) Token {
	out := Token{ID: t.ID, Login: t.Login, Name: t.Name, Made: t.Made, Expires: t.Expires, Used: t.Used, Token: secret}
	for _, p := range t.Scopes {
		out.Scopes = append(out.Scopes, p.String())
	}
	return out
}

// addToken makes one for the caller, who is signed in: a token makes no tokens.
func addToken(c *call) (any, error) {
	n := c.body.(*NewToken)
	if n.Days < 1 || n.Days > 366 {
		return nil, badCall("days: from 1 to 366")
	}
	var scopes []people.Permission // nil: all that the caller may
	for _, s := range n.Scopes {
		p, err := people.ParsePermission(s)
		if err != nil {
			return nil, badCall("scopes: there is no permission %q", clip(s))
		}
		if !c.who.May(p) {
			return nil, c.desk.Refuse(c.ctx, c.who, "token-add", s)
		}
		scopes = append(scopes, p)
	}
	t, secret, err := c.people.AddToken(c.ctx, c.who, c.who.ID, n.Name, scopes, time.Duration(n.Days)*24*time.Hour)
	if err != nil {
		return nil, err
	}
	return tokenShown(t, secret), nil
}

// peopleCalls are about who may sign in.
func peopleCalls() []endpoint {
	return []endpoint{{
		method: "GET", path: "/me/tokens", name: "listTokens", does: "One's tokens.", open: true, answer: typeOf[[]Token](),
		call: func(c *call) (any, error) { return tokens(c, c.who.ID) },
	}, {
		method: "POST", path: "/me/tokens", name: "addToken", does: "Makes a token for oneself. It is shown in this answer alone.", open: true,
		body: typeOf[NewToken](), answer: typeOf[Token](), call: addToken,
	}, {
		method: "DELETE", path: "/me/tokens/{id}", name: "removeToken", does: "Ends a token.", open: true,
		call: func(c *call) (any, error) { return nil, c.people.RemoveToken(c.ctx, c.who, c.r.PathValue("id")) },
	}, {
		method: "GET", path: "/me/sessions", name: "listSessions", does: "Where one is signed in.", open: true, answer: typeOf[[]people.Session](),
		call: func(c *call) (any, error) {
			all, err := c.people.Sessions(c.ctx, c.who, c.who.ID, c.server.cookie(c.r, sessionCookie))
			return list(all), err
		},
	}, {
		method: "DELETE", path: "/me/sessions/{id}", name: "endSession", does: "Signs one out there.", open: true,
		call: func(c *call) (any, error) {
			return nil, c.people.EndSession(c.ctx, c.who, c.who.ID, c.r.PathValue("id"))
		},
	}, {
		method: "PUT", path: "/me/password", name: "setPassword", does: "Changes one's password, which ends all sessions.", open: true, body: typeOf[NewPassword](),
		call: func(c *call) (any, error) {
			n := c.body.(*NewPassword)
			if c.who.By == people.ByToken {
				return nil, c.desk.Refuse(c.ctx, c.who, "password", c.who.Login) // a stolen token must not lock its owner out
			}
			return nil, c.people.SetPassword(c.ctx, c.who, c.who.ID, n.Old, n.New)
		},
	}, {
		method: "GET", path: "/people", name: "listPeople", does: "Who may sign in.", needs: people.ManagePeople, answer: typeOf[[]Person](),
		call: func(c *call) (any, error) {
			all, err := c.people.List(c.ctx, c.who)
			out := []Person{}
			for _, p := range all {
				out = append(out, personShown(p))
			}
			return out, err
		},
	}, {
		method: "POST", path: "/people", name: "addPerson", does: "Adds a person.", needs: people.ManagePeople, body: typeOf[NewPerson](), answer: typeOf[Person](),
		call: func(c *call) (any, error) {
			n := c.body.(*NewPerson)
			p, err := n.person("")
			if err != nil {
				return nil, err
			}
			made, err := c.people.Add(c.ctx, c.who, p, n.Password)
			if err != nil {
				return nil, err
			}
			return personShown(made), nil
		},
	}, {
		method: "GET", path: "/people/{id}", name: "showPerson", does: "One person.", needs: people.ManagePeople, answer: typeOf[Person](),
		call: func(c *call) (any, error) {
			p, err := c.people.Get(c.ctx, c.who, c.r.PathValue("id"))
			if err != nil {
				return nil, err
			}
			return personShown(p), nil
		},
	}, {
		method: "PUT", path: "/people/{id}", name: "changePerson", does: "Changes a person: login, name, role, addresses and domains as given.", needs: people.ManagePeople,
		body: typeOf[NewPerson](), answer: typeOf[Person](),
		call: func(c *call) (any, error) {
			n := c.body.(*NewPerson)
			if n.Password != "" {
				return nil, badCall("password: people change their own; postern user passwd sets another's")
			}
			p, err := n.person(c.r.PathValue("id"))
			if err != nil {
				return nil, err
			}
			changed, err := c.people.Change(c.ctx, c.who, p)
			if err != nil {
				return nil, err
			}
			return personShown(changed), nil
		},
	}, {
		method: "DELETE", path: "/people/{id}", name: "removePerson", does: "Removes a person, with sessions and tokens.", needs: people.ManagePeople,
		call: func(c *call) (any, error) { return nil, c.people.Remove(c.ctx, c.who, c.r.PathValue("id")) },
	}, {
		method: "PUT", path: "/people/{id}/password", name: "resetPassword", does: "Gives somebody another password, which ends all their sessions.", needs: people.ManagePeople, body: typeOf[ResetPassword](),
		call: func(c *call) (any, error) {
			return nil, c.people.SetPassword(c.ctx, c.who, c.r.PathValue("id"), "", c.body.(*ResetPassword).Password)
		},
	}, {
		method: "DELETE", path: "/people/{id}/totp", name: "dropTotp", does: "Takes somebody's second factor away, for who lost it; not with a token.", needs: people.ManagePeople,
		call: func(c *call) (any, error) {
			return nil, c.people.DropTOTP(c.ctx, c.who, c.r.PathValue("id"), "")
		},
	}, {
		method: "GET", path: "/people/{id}/sessions", name: "sessionsOf", does: "Where somebody is signed in.", needs: people.ManagePeople, answer: typeOf[[]people.Session](),
		call: func(c *call) (any, error) {
			all, err := c.people.Sessions(c.ctx, c.who, c.r.PathValue("id"), "")
			return list(all), err
		},
	}, {
		method: "DELETE", path: "/people/{id}/sessions", name: "endSessions", does: "Signs somebody out everywhere.", needs: people.ManagePeople,
		call: func(c *call) (any, error) { return nil, c.people.EndSession(c.ctx, c.who, c.r.PathValue("id"), "") },
	}, {
		method: "GET", path: "/people/{id}/tokens", name: "tokensOf", does: "Somebody's tokens.", needs: people.ManagePeople, answer: typeOf[[]Token](),
		call: func(c *call) (any, error) { return tokens(c, c.r.PathValue("id")) },
	}}
}

// tokens are a person's, without their secrets.
func tokens(c *call, person string) ([]Token, error) {
	all, err := c.people.Tokens(c.ctx, c.who, person)
	out := []Token{}
	for _, t := range all {
		out = append(out, tokenShown(t, ""))
	}
	return out, err
}

// peopleStatus finds the answer to an error of package people; 0: it is none of those.
func peopleStatus(err error) (code int, words string) {
	var invalid *people.InvalidError
	switch {
	case errors.As(err, &invalid):
		return 400, invalid.Why
	case errors.Is(err, people.ErrNotFound):
		return 404, "There is no such thing, or not for you."
	case errors.Is(err, people.ErrForbidden):
		return 403, "You may not do that."
	case errors.Is(err, people.ErrSignIn):
		return 422, "The password is not yours."
	case errors.Is(err, people.ErrTaken):
		return 409, "The login is taken."
	case errors.Is(err, people.ErrLastAdmin):
		return 409, "Somebody has to be administrator of everything: make another one first."
	case errors.Is(err, people.ErrBusy):
		return 503, "Too many sign-ins at once: try again in a moment."
	}
	return 0, ""
}
