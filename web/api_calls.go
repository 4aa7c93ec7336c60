package web

import (
	"context"
	"reflect"
	"strconv"

	"postern/audit"
	"postern/people"
	"postern/review"
)

// findParams are what every list takes.
func findParams(more ...param) []param {
	return append([]param{
		{"query", "string", `Plain words, or an expression over the stored columns: rule == "spoof" and rcpt.domain == "a.example".`},
		{"class", "string", "Of the rule that decided."},
		{"rule", "string", "That decided."},
		{"recipient", "string", "An address, @domain, or a part of an address."},
		{"sender", "string", "The same, of the envelope; <> is the null sender."},
		{"since", "date-time", "Received at this moment or later."},
		{"until", "date-time", "Received before this moment."},
		{"limit", "integer", "Rows of a page: 50 when not given, at most 500."},
		{"cursor", "string", "What next was on the page before."},
	}, more...)
}

// find reads them.
func (c *call) find() (f review.Find, err error) {
	f = review.Find{Query: c.text("query"), View: c.text("view"), State: c.text("state"), Class: c.text("class"), Rule: c.text("rule"), Recipient: c.text("recipient"),
		Sender: c.text("sender"), Result: c.text("result"), Cursor: c.text("cursor")}
	if f.Since, err = c.moment("since"); err != nil {
		return f, err
	}
	if f.Until, err = c.moment("until"); err != nil {
		return f, err
	}
	f.Limit, err = c.number("limit", 0, 500)
	return f, err
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// endpoints is the list of all calls.
func endpoints() []endpoint {
	all := []endpoint{{
		method: "GET", path: "/me", name: "me", does: "Who one is here, and what one may do.", open: true, answer: typeOf[Me](),
		call: func(c *call) (any, error) { return me(c.who), nil },
	}}
	all = append(all, heldCalls()...)
	all = append(all, contentCalls()...)
	all = append(all, actCalls()...)
	all = append(all, listCalls()...)
	all = append(all, ruleCalls()...)
	all = append(all, siteCalls()...)
	all = append(all, digestCalls()...)
	return append(all, peopleCalls()...)
}

// Me is who makes the calls.
type Me struct {
	Login     string   `json:"login"`
	Name      string   `json:"name"`
	Role      string   `json:"role"`
	Addresses []string `json:"addresses,omitempty"`
	Domains   []string `json:"domains,omitempty"`
	May       []string `json:"may"`
}

func me(who *people.Actor) Me {
	m := Me{Login: who.Login, Name: who.Name, Role: string(who.Role), Domains: who.Domains, May: []string{}}
	for _, a := range who.Addresses {
		m.Addresses = append(m.Addresses, a.String())
	}
	for p := range people.Permission(people.All) {
		if who.May(p) {
			m.May = append(m.May, p.String())
		}
	}
	return m
}

// heldCalls look at messages.
func heldCalls() []endpoint {
	message := func(c *call) (any, error) { return c.desk.Message(c.ctx, c.who, c.r.PathValue("id")) }
	return []endpoint{{
		method: "GET", path: "/held", name: "listHeld", does: "Held mail, newest first.", needs: people.SeeMail, answer: typeOf[review.Page](),
		params: findParams(param{"view", "string", "mine, unseen, asked, expiring, released, deleted or all; what waits for somebody when not given."},
			param{"state", "string", "kept, releasing, released, deleted or any; with it the view is all."}),
		call: func(c *call) (any, error) {
			f, err := c.find()
			if err != nil {
				return nil, err
			}
			return within(c.ctx, c.server.patience, func(ctx context.Context) (*review.Page, error) { return c.desk.List(ctx, c.who, f) })
		},
	}, {
		method: "GET", path: "/held/{id}", name: "showHeld", does: "All about one held message.", needs: people.SeeMail, answer: typeOf[review.Message](), call: message,
	}, {
		method: "GET", path: "/held/{id}/draft", name: "draftRule", does: "A rule drafted from the message.", needs: people.DraftRules, answer: typeOf[review.Draft](),
		call: func(c *call) (any, error) { return c.desk.DraftRule(c.ctx, c.who, c.r.PathValue("id")) },
	}, {
		method: "GET", path: "/log", name: "searchLog", does: "What became of every message, newest first.", needs: people.ReadJournal, answer: typeOf[review.Page](),
		params: findParams(param{"result", "string", "delivered, held, mixed, refused, deferred, discarded, command or abandoned."}),
		call: func(c *call) (any, error) {
			f, err := c.find()
			if err != nil {
				return nil, err
			}
			return within(c.ctx, c.server.patience, func(ctx context.Context) (*review.Page, error) { return c.desk.Track(ctx, c.who, f) })
		},
	}, {
		method: "GET", path: "/log/{id}", name: "showLog", does: "All about one message.", needs: people.ReadJournal, answer: typeOf[review.Message](), call: message,
	}, {
		method: "GET", path: "/held/events", name: "watchHeld", does: "Newly held mail as it comes: server-sent events named held, each with a row.",
		needs: people.SeeMail, answer: typeOf[review.Row](), media: "text/event-stream", call: events,
	}}
}

// siteCalls are about all mail, or about who calls.
func siteCalls() []endpoint {
	return []endpoint{{
		method: "GET", path: "/overview", name: "overview", does: "Numbers of the last days.", needs: people.ReadOverview, answer: typeOf[review.Overview](),
		params: []param{{"days", "integer", "1, 7 (when not given) or 30."}},
		call: func(c *call) (any, error) {
			days, err := c.number("days", 7, 90)
			if err != nil {
				return nil, err
			}
			return c.desk.Overview(c.ctx, c.who, days)
		},
	}, {
		method: "GET", path: "/requests", name: "listRequests", does: "Requests for release.", needs: people.SeeMail, answer: typeOf[review.Page](),
		params: []param{{"state", "string", "asked (when not given), approved or denied."}, {"cursor", "string", "What next was on the page before."},
			{"limit", "integer", "Rows of a page."}},
		call: func(c *call) (any, error) {
			limit, err := c.number("limit", 0, 500)
			if err != nil {
				return nil, err
			}
			return c.desk.Requests(c.ctx, c.who, c.text("state"), c.text("cursor"), limit)
		},
	}, {
		method: "GET", path: "/views", name: "listViews", does: "One's saved views.", needs: people.SeeMail, answer: typeOf[[]review.View](),
		call: func(c *call) (any, error) {
			views, err := c.desk.Views(c.ctx, c.who)
			return list(views), err
		},
	}, {
		method: "PUT", path: "/views", name: "saveView", does: "Saves a view under its name.", needs: people.SeeMail, body: typeOf[review.View](),
		call: func(c *call) (any, error) { return nil, c.desk.SaveView(c.ctx, c.who, *c.body.(*review.View)) },
	}, {
		method: "DELETE", path: "/views/{name}", name: "dropView", does: "Removes a saved view.", needs: people.SeeMail,
		call: func(c *call) (any, error) { return nil, c.desk.DropView(c.ctx, c.who, c.r.PathValue("name")) },
	}, {
		method: "GET", path: "/audit", name: "audit", does: "Who did what, newest first.", needs: people.ReadAudit, answer: typeOf[[]audit.Line](),
		params: []param{{"before", "integer", "Lines with a smaller number."}, {"limit", "integer", "Lines: 50 when not given, at most 500."}},
		call: func(c *call) (any, error) {
			limit, err := c.number("limit", 0, 500)
			if err != nil {
				return nil, err
			}
			before := int64(0)
			if s := c.text("before"); s != "" {
				if before, err = strconv.ParseInt(s, 10, 64); err != nil || before < 0 {
					return nil, badCall("before: %q is no number of a line", clip(s))
				}
			}
			lines, err := c.desk.Audit(c.ctx, c.who, before, limit)
			return list(lines), err
		},
	}}
}

// list makes nothing an empty list, for programs.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
