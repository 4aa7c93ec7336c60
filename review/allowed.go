package review

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/lists"
	"postern/mail"
	"postern/people"
	"postern/quarantine"
)

// entry makes the entry of the lists that goes with a release, when the actor may make it.
func (d *Desk) entry(who *people.Actor, it *quarantine.Item, a *Allow) (*lists.Entry, error) {
	if !who.May(people.AllowSender) {
		return nil, forbidden("you may not let mail through from now on")
	}
	e, err := lists.ParseEntry(a.Entry)
	if err != nil {
		return nil, &InputError{err.Error()}
	}
	scope, err := lists.ParseScope(a.Scope)
	if err != nil {
		return nil, &InputError{err.Error()}
	}
	if e.Expired(d.now()) || !a.Until.IsZero() && !a.Until.After(d.now()) {
		return nil, &InputError{"that day is over"}
	}
	if err := inSight(who, scope); err != nil {
		return nil, err
	}
	if !reviews(who) && !ofMessage(&e, it) {
		return nil, forbidden("you may allow the sender of this message, not " + e.Value)
	}
	if err := e.Wide(d.o.Domains); err != nil {
		return nil, &InputError{err.Error()}
	}
	e.Allow, e.Scope, e.Until, e.Note, e.By = true, scope, a.Until, a.Note, who.Login
	return &e, nil
}

// inSight asks whether an entry may be for these recipients.
func inSight(who *people.Actor, scope string) error {
	switch {
	case scope == "":
		if whole(who) {
			return nil
		}
	case scope[0] == '@':
		if only, all := who.Sight(); all || slices.Contains(only, strings.ToLower(scope)) {
			return nil
		}
	default:
		to, err := mail.ParseAddress(scope, true)
		if err == nil && who.Sees(to) {
			return nil
		}
	}
	if !reviews(who) {
		return forbidden("an entry of yours is for your own addresses only")
	}
	return forbidden("an entry of yours is for your own domains only")
}

// ofMessage reports whether an entry names who sent the message, and nobody else.
func ofMessage(e *lists.Entry, it *quarantine.Item) bool {
	if e.Kind != lists.Address {
		return false
	}
	authors, _ := mail.ParseAuthors(it.From)
	return e.Value == lower(it.Envelope.Sender) || len(authors) == 1 && strings.EqualFold(authors[0].Address, e.Value)
}

// allow adds the entry once the message is released.
func (d *Desk) allow(ctx context.Context, who *people.Actor, it *quarantine.Item, a *Allow, words string) (string, error) {
	e, err := d.entry(who, it, a)
	if err == nil {
		_, err = d.o.Lists.Add(ctx, e)
	}
	if err != nil {
		return words, fmt.Errorf("%s; but the entry was not added: %w", words, err)
	}
	return fmt.Sprintf("%s; mail of %s is let through from now on for %s, when it is proven", words, e.Value, e.ScopeWords()), nil
}
