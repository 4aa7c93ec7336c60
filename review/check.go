package review

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/people"
	"postern/quarantine"
)

// Bounds of an act.
const (
	mostIDs    = 500
	mostTo     = 100
	mostReason = 1000 // bytes
)

// permission is what somebody needs for a verb at all.
func (v Verb) permission() (people.Permission, bool) {
	switch v {
	case Release:
		return people.Release, true
	case Delete:
		return people.Delete, true
	case Spam, Unspam:
		return people.ReportSpam, true
	case Seen, Unseen, Take, Leave:
		return people.SeeMail, true
	case Ask:
		return people.Ask, true
	case Approve, Deny:
		return people.Approve, true
	}
	return 0, false
}

// undoable are the verbs that wait for Grace when the actor wants that: what they do cannot be
// taken back, or has been seen by others.
func (v Verb) undoable() bool { return v == Release || v == Delete || v == Spam }

// many are the verbs that can be done with everything that matches.
func (v Verb) many() bool {
	return v.undoable() || v == Unspam || v == Seen || v == Unseen || v == Take || v == Leave
}

// check says what is wrong with the form of an act, and gives each id once.
func (a *Act) check() error {
	_, known := a.Do.permission()
	switch {
	case !known:
		return &InputError{fmt.Sprintf("there is no act %q", a.Do)}
	case (len(a.IDs) == 0) == (a.Find == nil):
		return &InputError{"an act names messages, or says which are to be found: one of both"}
	case len(a.IDs) > mostIDs || len(a.Also) > mostIDs:
		return &InputError{fmt.Sprintf("an act names at most %d messages: use a query for more", mostIDs)}
	case a.Find != nil && !a.Do.many():
		return &InputError{fmt.Sprintf("%s is for messages by their ids", a.Do)}
	case len(a.To) > mostTo:
		return &InputError{fmt.Sprintf("at most %d recipients", mostTo)}
	case len(a.Reason) > mostReason:
		return &InputError{fmt.Sprintf("a reason has at most %d bytes", mostReason)}
	case !utf8.ValidString(a.Reason):
		return &InputError{"the reason is not valid UTF-8"}
	case len(a.To) > 0 && len(a.IDs) != 1:
		return &InputError{"recipients can be chosen for one message at a time"}
	case a.Allow != nil && (a.Do != Release || len(a.IDs) != 1):
		return &InputError{"an entry of the lists goes with the release of one message"}
	case a.Danger && len(a.IDs) != 1:
		return &InputError{"dangerous mail is released one message at a time"}
	}
	if a.Find != nil {
		return a.Find.check()
	}
	seen := map[string]bool{}
	a.IDs = slices.DeleteFunc(slices.Clone(a.IDs), func(id string) bool {
		dup := seen[id]
		seen[id] = true
		return dup
	})
	return nil
}

// wantsReason tells whether the site wants a reason for an act with these items.
func (d *Desk) wantsReason(a *Act, items ...*quarantine.Item) bool {
	if d.o.Reasons.Verbs[a.Do] {
		return true
	}
	if a.Do != Release && a.Do != Approve {
		return false
	}
	for _, it := range items {
		if slices.ContainsFunc(it.Copies, func(c quarantine.Copy) bool { return waits(c.State) && d.o.Reasons.Classes[c.Class] }) {
			return true
		}
	}
	return false
}

// reasonsFor are those of some verbs for which the site wants a reason with an item.
func (d *Desk) reasonsFor(verbs []Verb, it *quarantine.Item) (out []Verb) {
	for _, v := range verbs {
		if d.wantsReason(&Act{Do: v}, it) {
			out = append(out, v)
		}
	}
	return out
}

// reasoned is the error of an act without the reason that the site wants.
func (d *Desk) reasoned(a *Act, items ...*quarantine.Item) error {
	if strings.TrimSpace(a.Reason) == "" && d.wantsReason(a, items...) {
		return &InputError{fmt.Sprintf("a reason is wanted here: say why you %s it", a.Do)}
	}
	return nil
}

// forbidden is ErrForbidden with words for people.
func forbidden(words string) error { return fmt.Errorf("%w: %s", ErrForbidden, words) }
