package review

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/lists"
	"postern/people"
)

// mostEntries bounds a change of the lists.
const mostEntries = 500

// A NewEntry is what somebody wants on the lists.
type NewEntry struct {
	Entry           string    `json:"entry"`          // as lists.ParseEntry reads it
	Action          string    `json:"action"`         // allow or deny
	For             string    `json:"for,omitempty"`  // as lists.ParseScope reads it; "": everybody
	Until           time.Time `json:"until,omitzero"` // not in force from this moment on; zero: for ever
	Note            string    `json:"note,omitempty"`
	Unauthenticated bool      `json:"unauthenticated,omitempty"` // allow without proof who sent it: administrators only
	Wide            bool      `json:"wide,omitempty"`            // although it is likely a mistake: administrators only
}

// An EntryName names one entry of the lists.
type EntryName struct {
	Entry string `json:"entry"`
	For   string `json:"for,omitempty"`
}

// Entries lists what is allowed and denied for recipients in the actor's sight, and for everybody;
// each word of text stands in an entry, its scope, note or author.
func (d *Desk) Entries(ctx context.Context, who *people.Actor, text string, expired bool) ([]*lists.Entry, error) {
	if err := d.may(ctx, who, people.AllowSender, "entries", ""); err != nil {
		return nil, err
	}
	all, err := d.o.Lists.List(ctx, lists.Query{Expired: expired})
	if err != nil {
		return nil, err
	}
	words := strings.Fields(strings.ToLower(text))
	return slices.DeleteFunc(all, func(e *lists.Entry) bool {
		if inSight(who, e.Scope) != nil && (e.Scope != "" || !reviews(who)) {
			return true
		}
		in := strings.ToLower(strings.Join([]string{e.Value, e.ScopeWords(), e.Note, e.By, string(e.Kind)}, " "))
		return slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(in, w) })
	}), nil
}

// AddEntries puts entries on the lists, all or none, in the place of those that are the same.
func (d *Desk) AddEntries(ctx context.Context, who *people.Actor, list []NewEntry) ([]*lists.Entry, error) {
	if err := d.may(ctx, who, people.AllowSender, "list-add", ""); err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > mostEntries {
		return nil, &InputError{fmt.Sprintf("from 1 to %d entries at once", mostEntries)}
	}
	made := make([]*lists.Entry, len(list))
	var err error
	for i := range list {
		if made[i], err = d.newEntry(who, &list[i]); err != nil {
			if errors.Is(err, ErrForbidden) {
				return nil, d.refuse(ctx, who, "list-add", list[i].Entry, err)
			}
			return nil, err
		}
	}
	before, err := d.o.Lists.Add(ctx, made...)
	line := d.line(who, "list-add", made[0].Value, lineDone)
	if err != nil {
		line.Result, line.Note = lineFailed, err.Error()
	}
	line.Before, line.After = jsonOf(before), jsonOf(made)
	return made, errors.Join(err, d.note(ctx, line))
}

// newEntry reads one, and asks whether the actor may make it.
func (d *Desk) newEntry(who *people.Actor, n *NewEntry) (*lists.Entry, error) {
	e, err := lists.ParseEntry(n.Entry)
	if err != nil {
		return nil, &InputError{err.Error()}
	}
	if e.Scope, err = lists.ParseScope(n.For); err != nil {
		return nil, &InputError{err.Error()}
	}
	e.Allow = n.Action == "allow"
	switch {
	case n.Action != "allow" && n.Action != "deny":
		return nil, &InputError{fmt.Sprintf("%q is neither allow nor deny", n.Action)}
	case n.Unauthenticated && !e.Allow:
		return nil, &InputError{"nobody has to prove what is denied"}
	case !n.Until.IsZero() && !n.Until.After(d.now()):
		return nil, &InputError{"that day is over"}
	case len(n.Note) > mostReason:
		return nil, &InputError{fmt.Sprintf("a note has at most %d bytes", mostReason)}
	case (n.Unauthenticated || n.Wide) && who.Role != people.Admin:
		return nil, forbidden("only an administrator lets mail through without proof, or makes an entry this wide")
	case !reviews(who) && e.Kind != lists.Address && (e.Allow || e.Kind != lists.Domain):
		return nil, forbidden("you may allow addresses, and deny addresses and domains")
	}
	if err := inSight(who, e.Scope); err != nil {
		return nil, err
	}
	if err := e.Wide(d.o.Domains); err != nil && !n.Wide {
		return nil, &InputError{err.Error()}
	}
	e.Unauthenticated = n.Unauthenticated && e.Kind != lists.Network
	e.Until, e.Note, e.By = n.Until, n.Note, who.Login
	return &e, nil
}

// RemoveEntries takes entries away and returns them; what is not there, or not in sight, is none.
func (d *Desk) RemoveEntries(ctx context.Context, who *people.Actor, names []EntryName) (removed []*lists.Entry, err error) {
	if err := d.may(ctx, who, people.AllowSender, "list-remove", ""); err != nil {
		return nil, err
	}
	if len(names) == 0 || len(names) > mostEntries {
		return nil, &InputError{fmt.Sprintf("from 1 to %d entries at once", mostEntries)}
	}
	for _, n := range names {
		e, bad := lists.ParseEntry(n.Entry)
		scope, worse := lists.ParseScope(n.For)
		if bad != nil || worse != nil {
			return nil, &InputError{errors.Join(bad, worse).Error()}
		}
		if no := inSight(who, scope); no != nil {
			return nil, d.refuse(ctx, who, "list-remove", n.Entry, no)
		}
		var gone *lists.Entry
		if gone, err = d.o.Lists.Remove(ctx, e.Value, scope); errors.Is(err, lists.ErrNotFound) {
			err = nil
			continue
		}
		if err != nil {
			break
		}
		removed = append(removed, gone)
	}
	if len(removed) == 0 && err == nil {
		return nil, ErrNotFound
	}
	line := d.line(who, "list-remove", names[0].Entry, lineDone)
	line.Before = jsonOf(removed)
	if err != nil {
		line.Result, line.Note = lineFailed, err.Error()
	}
	return removed, errors.Join(err, d.note(ctx, line))
}
