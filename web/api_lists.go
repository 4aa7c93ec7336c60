package web

import (
	"postern/lists"
	"postern/people"
	"postern/review"
)

// NewEntries are for the lists.
type NewEntries struct {
	Entries []review.NewEntry `json:"entries"`
}

// EntryNames name entries of the lists.
type EntryNames struct {
	Entries []review.EntryName `json:"entries"`
}

// listCalls are about who is allowed and denied.
func listCalls() []endpoint {
	return []endpoint{{
		method: "GET", path: "/lists", name: "entries", does: "What is allowed and denied, for whom, until when, and why.", needs: people.AllowSender, answer: typeOf[[]lists.Entry](),
		params: []param{{"text", "string", "Words that stand in an entry, its recipients, note or author."}, {"expired", "boolean", "Also what is not in force any more: true."}},
		call: func(c *call) (any, error) {
			entries, err := c.desk.Entries(c.ctx, c.who, c.text("text"), c.text("expired") == "true")
			return list(entries), err
		},
	}, {
		method: "POST", path: "/lists", name: "addEntries", does: "Allows or denies addresses, domains, networks or mailing lists: all of them or, after an error, none.",
		needs: people.AllowSender, body: typeOf[NewEntries](), answer: typeOf[[]lists.Entry](),
		call: func(c *call) (any, error) {
			entries, err := c.desk.AddEntries(c.ctx, c.who, c.body.(*NewEntries).Entries)
			return list(entries), err
		},
	}, {
		method: "POST", path: "/lists/remove", name: "removeEntries", does: "Takes entries away, and answers with those that were there.",
		needs: people.AllowSender, body: typeOf[EntryNames](), answer: typeOf[[]lists.Entry](),
		call: func(c *call) (any, error) {
			entries, err := c.desk.RemoveEntries(c.ctx, c.who, c.body.(*EntryNames).Entries)
			return list(entries), err
		},
	}}
}
