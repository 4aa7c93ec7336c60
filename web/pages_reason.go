package web

import "postern/review"

// A whyField is a field for the reason of an act.
type whyField struct {
	ID     string // of the field in the page
	Wanted bool   // the site wants one
}

// why makes the field for an act with a message.
func why(r rowView, verb, id string) whyField { return whyField{id, r.Why(verb)} }

// A singleAct is an act with one message, on its page: a button, or where the site wants a reason
// a panel that asks for it.
type singleAct struct {
	Row                  rowView
	Do, Label, Key, Open string // Open: the panel that stands open
}

func single(r rowView, verb, key, open string) singleAct {
	label := verbName(review.Verb(verb))
	if verb == string(review.Spam) {
		label = "Spam"
	}
	return singleAct{r, verb, label, key, open}
}
