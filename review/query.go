package review

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"postern/people"
	"postern/quarantine"
	"postern/rules"
	"postern/search"
)

// query compiles a Find for the actor's eyes: of copies out of sight it looks at nothing.
func (d *Desk) query(who *people.Actor, f Find) (quarantine.Query, error) {
	only := sight(who)
	q := quarantine.Query{State: stateFor(&f), Class: f.Class, Rule: f.Rule, Recipient: f.Recipient, Sender: f.Sender, Since: f.Since, Until: f.Until,
		Only: only, Limit: f.Limit, Cursor: f.Cursor, Marks: marksOf(who, only)}
	said, err := rules.ParseSearch(f.Query, HeldFields(), d.now())
	if err != nil {
		return q, queryError(f.Query, err)
	}
	q.Where = search.All(said, d.view(f.View), classesInSight(who))
	return q, nil
}

// HeldFields are what a query over held mail may look at.
func HeldFields() map[string]search.Field {
	f := quarantine.Fields()
	f["seen"] = search.Field{Type: search.Bool, Doc: "somebody has looked at it (of your colleagues, or you)", Example: "not seen"}
	f["mine"] = search.Field{Type: search.Bool, Doc: "you have it", Example: "mine"}
	f["asked"] = search.Field{Type: search.Bool, Doc: "a request for its release is open", Example: "asked"}
	f["assigned"] = search.Field{Type: search.Text, Doc: "who has it", Example: `assigned == "ana"`}
	return f
}

// marksOf are those of HeldFields that stand in tables of this room, as the actor sees them.
func marksOf(who *people.Actor, only []string) map[string]quarantine.Mark {
	m := map[string]quarantine.Mark{
		"seen":     {Table: "review_seen", Where: "m.whose = ?", Args: []any{whose(who)}},
		"mine":     {Table: "review_taken", Where: "m.by = ?", Args: []any{who.Login}, Few: true},
		"asked":    {Table: "review_requests", Where: "m.state = 'asked'", Few: true},
		"assigned": {Table: "review_taken", Value: "by"},
	}
	if only != nil {
		in, args := within("m.rcpt", only)
		m["asked"] = quarantine.Mark{Table: "review_requests", Where: "m.state = 'asked' AND " + in, Args: args, Few: true}
	}
	if !reviews(who) {
		m["mine"] = quarantine.Mark{Table: "review_taken", Where: "FALSE", Few: true}
		m["assigned"] = quarantine.Mark{Table: "review_taken", Where: "FALSE", Value: "by"}
	}
	return m
}

// sight is whose copies the actor sees, for quarantine.Query.Only and within.
func sight(who *people.Actor) []string {
	only, all := who.Sight()
	if all {
		return nil
	}
	if only == nil {
		only = []string{}
	}
	if who.Subaddress && who.Role == people.User {
		for _, a := range slices.Clone(only) {
			at := strings.LastIndexByte(a, '@')
			if at > 0 && !strings.Contains(a[:at], "+") {
				only = append(only, a[:at]+"+"+a[at:])
			}
		}
	}
	return only
}

// classesInSight are those of which a user sees own mail; nil: all.
func classesInSight(who *people.Actor) *search.Condition {
	if reviews(who) {
		return nil
	}
	var seen []string
	for _, class := range slices.Sorted(maps.Keys(who.Rights)) {
		if who.Right(class) >= people.RightSee {
			seen = append(seen, class)
		}
	}
	return search.OfText("class", search.In, seen...)
}

// stateFor is the state of copies that a Find looks for.
func stateFor(f *Find) quarantine.State {
	if f.State != "" {
		return quarantine.State(f.State)
	}
	switch f.View {
	case "released", "spam", "deleted":
		return quarantine.State(f.View)
	case "all":
		return quarantine.Any
	}
	return ""
}

// view is the condition of a view beside the state.
func (d *Desk) view(name string) *search.Condition {
	switch name {
	case "mine", "asked":
		return search.True(name)
	case "unseen":
		return search.No(search.True("seen"))
	case "expiring":
		return search.OfTime("expires", search.Less, d.now().Add(soon))
	}
	return nil
}

// queryError is what is wrong with a query, in a form that pages show at its place.
func queryError(text string, err error) error {
	var list rules.Errors
	if !errors.As(err, &list) || len(list) == 0 {
		return &QueryError{Text: text, Problem: err.Error()}
	}
	return &QueryError{Text: text, Column: cmp.Or(list[0].Column, 1), Problem: list[0].Msg, Hint: list[0].Hint}
}
