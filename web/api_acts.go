package web

import (
	"context"
	"net/http"

	"postern/people"
	"postern/review"
)

// Reason is why somebody acts, where the site wants to know.
type Reason struct {
	Reason string `json:"reason,omitempty"`
}

// An Entry is what release and allow would put on the lists.
type Entry struct {
	review.Allow
}

// A Name is what a test is called.
type Name struct {
	Name string `json:"name"`
}

// A Pinned is a test as it was written beside the rules.
type Pinned struct {
	Test string `json:"test"`
}

// needed is what an act needs at the least; the desk asks the rest.
func needed(v review.Verb) (people.Permission, bool) {
	switch v {
	case review.Release:
		return people.Release, true
	case review.Delete:
		return people.Delete, true
	case review.Spam, review.Unspam:
		return people.ReportSpam, true
	case review.Ask:
		return people.Ask, true
	case review.Approve, review.Deny:
		return people.Approve, true
	case review.Seen, review.Unseen, review.Take, review.Leave:
		return people.SeeMail, true
	}
	return 0, false
}

// act checks that there is such a verb and that the actor may.
func (c *call) act() (review.Act, error) {
	a := *c.body.(*review.Act)
	p, ok := needed(a.Do)
	switch {
	case !ok:
		return a, badCall("do: %q is no act", clip(string(a.Do)))
	case !c.who.May(p):
		object := ""
		if len(a.IDs) == 1 {
			object = a.IDs[0]
		}
		return a, c.desk.Refuse(c.ctx, c.who, string(a.Do), object)
	case len(a.IDs) == 0 && a.Find == nil:
		return a, badCall("say with which messages: ids, or find for all that match")
	case len(a.IDs) > 0 && a.Find != nil:
		return a, badCall("ids or find, not both")
	case len(a.IDs) > 500:
		return a, badCall("at most 500 ids; find picks any number")
	}
	return a, nil
}

// actCalls change something.
func actCalls() []endpoint {
	return []endpoint{{
		method: "POST", path: "/acts", name: "act", does: "Does something with some messages, or with all that match. It is done when the call returns, unless undoing is wanted.",
		needs: people.SeeMail, body: typeOf[review.Act](), answer: typeOf[review.Done](),
		call: func(c *call) (any, error) {
			a, err := c.act()
			if err != nil {
				return nil, err
			}
			return c.desk.Do(c.ctx, c.who, a)
		},
	}, {
		method: "POST", path: "/acts/summary", name: "summary", does: "Tells what an act would do, and does nothing.",
		needs: people.SeeMail, body: typeOf[review.Act](), answer: typeOf[review.Summary](),
		call: func(c *call) (any, error) {
			a, err := c.act()
			if err != nil {
				return nil, err
			}
			return within(c.ctx, 2*c.server.patience, func(ctx context.Context) (*review.Summary, error) { return c.desk.Summary(ctx, c.who, a) })
		},
	}, {
		method: "DELETE", path: "/acts/{id}", name: "undo", does: "Takes back an act that is not carried out yet.", needs: people.SeeMail,
		call: func(c *call) (any, error) { return nil, c.desk.Undo(c.ctx, c.who, c.r.PathValue("id")) },
	},
		one(review.Release, "releaseHeld", "Sends one message to the recipients it was held for."),
		one(review.Delete, "deleteHeld", "Deletes one message."),
		one(review.Spam, "reportSpam", "Says that one message is spam."),
		one(review.Ask, "askRelease", "Asks for the release of one message."),
		{
			method: "POST", path: "/held/{id}/would-allow", name: "wouldAllow", does: "Tells what an entry of the lists would have let in during the last 30 days.",
			needs: people.AllowSender, body: typeOf[Entry](), answer: typeOf[review.Effect](),
			call: func(c *call) (any, error) {
				return c.desk.WouldAllow(c.ctx, c.who, c.r.PathValue("id"), c.body.(*Entry).Allow)
			},
		}, {
			method: "POST", path: "/held/{id}/pin", name: "pinTest", does: "Writes a test beside the rules that expects the verdict of this message.",
			needs: people.ApplyRules, body: typeOf[Name](), answer: typeOf[Pinned](),
			call: func(c *call) (any, error) {
				text, err := c.desk.PinTest(c.ctx, c.who, c.r.PathValue("id"), c.body.(*Name).Name)
				if err != nil {
					return nil, err
				}
				return Pinned{text}, nil
			},
		}}
}

// one is an act with a single message.
func one(v review.Verb, name, does string) endpoint {
	p, _ := needed(v)
	return endpoint{method: "POST", path: "/held/{id}/" + string(v), name: name, act: string(v), does: does, needs: p, body: typeOf[Reason](), answer: typeOf[review.Done](),
		call: func(c *call) (any, error) {
			return c.desk.Do(c.ctx, c.who, review.Act{Do: v, IDs: []string{c.r.PathValue("id")}, Reason: c.body.(*Reason).Reason})
		}}
}

// A Version is what came of putting rules in force.
type Version struct {
	N     int64         `json:"n,omitempty"` // 0: not in force
	Trial *review.Trial `json:"trial,omitempty"`
}

// Back is which version of the rules shall be in force again.
type Back struct {
	N    int64  `json:"n"`
	Note string `json:"note,omitempty"`
}

// ruleCalls are about the rules.
func ruleCalls() []endpoint {
	number := func(c *call) (int64, error) { return pathNumber(c.r.PathValue("n")) }
	return []endpoint{{
		method: "GET", path: "/rules", name: "rules", does: "The rules in force, and how they fare.", needs: people.ReadRules, answer: typeOf[review.Rulebook](),
		call: func(c *call) (any, error) { return c.desk.Rulebook(c.ctx, c.who) },
	}, {
		method: "GET", path: "/rules/history", name: "ruleHistory", does: "Every set of rules that was in force, newest first.", needs: people.ReadRules, answer: typeOf[[]review.RuleVersion](),
		call: func(c *call) (any, error) {
			versions, err := c.desk.RuleHistory(c.ctx, c.who)
			return list(versions), err
		},
	}, {
		method: "GET", path: "/rules/history/{n}", name: "ruleVersion", does: "The files of one of them.", needs: people.ReadRules, answer: typeOf[[]review.RuleFile](),
		call: func(c *call) (any, error) {
			n, err := number(c)
			if err != nil {
				return nil, err
			}
			files, err := c.desk.RuleVersion(c.ctx, c.who, n)
			return list(files), err
		},
	}, {
		method: "POST", path: "/rules/try", name: "tryRules", does: "Checks a draft: errors, warnings, tests, and with days what would have become of past mail.",
		needs: people.DraftRules, params: []param{{"days", "integer", "Of past mail; 0 (when not given) for none, at most 30."},
			{"errors_only", "boolean", "true: only what is wrong with it, quick enough to ask while somebody types; neither tests nor past mail."}},
		body: typeOf[review.Draft](), answer: typeOf[review.Trial](),
		call: func(c *call) (any, error) {
			days, err := c.number("days", 0, 30)
			if err != nil {
				return nil, err
			}
			only, err := c.yes("errors_only")
			if err != nil {
				return nil, err
			}
			if only {
				days = review.OnlyErrors
			}
			return c.desk.TryRules(c.ctx, c.who, *c.body.(*review.Draft), days)
		},
	}, {
		method: "POST", path: "/rules/apply", name: "applyRules", does: "Puts a draft in force, if it holds and its tests pass; else it answers 422 with the trial.", needs: people.ApplyRules,
		body: typeOf[review.Draft](), answer: typeOf[Version](),
		call: func(c *call) (any, error) {
			d := c.body.(*review.Draft)
			if d.Base == "" {
				return nil, badCall("base: say which version the draft was made from, as GET /rules has it")
			}
			trial, n, err := c.desk.ApplyRules(c.ctx, c.who, *d)
			if err != nil {
				return nil, err
			}
			if n == 0 { // nothing is in force: no program may take it for done
				writeJSON(c.w, "application/json", http.StatusUnprocessableEntity, Version{Trial: trial})
				return written{}, nil
			}
			return Version{N: n, Trial: trial}, nil
		},
	}, {
		method: "POST", path: "/rules/rollback", name: "rollBack", does: "Puts an earlier set of rules in force again.", needs: people.ApplyRules,
		body: typeOf[Back](), answer: typeOf[Version](),
		call: func(c *call) (any, error) {
			b := c.body.(*Back)
			n, err := c.desk.RollBack(c.ctx, c.who, b.N, b.Note)
			if err != nil {
				return nil, err
			}
			return Version{N: n}, nil
		},
	}}
}
