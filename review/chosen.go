package review

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/mail"
	"postern/people"
	"postern/quarantine"
)

// chosen are the recipients whose copies are to be released, and those of further copies.
func (d *Desk) chosen(ctx context.Context, who *people.Actor, a *Act, it *quarantine.Item) (own []mail.Address, extra []mail.RcptTo, err error) {
	want := a.To
	if a.Do == Approve {
		open, err := d.open(ctx, it)
		if err != nil {
			return nil, nil, err
		}
		want = addressesOf(it, open)
		if len(want) == 0 {
			return nil, nil, nil
		}
	}
	for _, to := range want {
		switch {
		case slices.ContainsFunc(it.Copies, func(c quarantine.Copy) bool { return strings.EqualFold(lower(c.Recipient.Address), to.String()) }):
			own = append(own, to)
		case who.By == people.ByCommand && d.o.Domains.Contains(to.Domain):
			extra = append(extra, mail.RcptTo{Address: to})
		default:
			return nil, nil, &InputError{fmt.Sprintf("it is not held for %s", to)}
		}
	}
	if len(want) == 0 {
		if own, err = all(who, it); err != nil {
			return nil, nil, err
		}
	}
	for i := range it.Copies {
		c := &it.Copies[i]
		if named(own, c) && !mayRelease(who, c.Class) {
			return nil, nil, notBy(c.Class)
		}
	}
	return own, extra, d.meToo(who, a)
}

// all are the recipients of the copies that the actor may release; an error when it is none.
func all(who *people.Actor, it *quarantine.Item) (to []mail.Address, err error) {
	for i := range it.Copies {
		if c := &it.Copies[i]; mayRelease(who, c.Class) {
			to = append(to, c.Recipient.Address)
		}
	}
	if len(to) == 0 {
		err = notBy(it.Copies[0].Class)
	}
	return to, err
}

func notBy(class string) error {
	if locked(class) {
		return forbidden("only an administrator releases mail of the class " + class)
	}
	return forbidden("you may not release mail of the class " + class)
}

// meToo asks whether the actor can have a copy.
func (d *Desk) meToo(who *people.Actor, a *Act) error {
	if a.Copy && (len(who.Addresses) == 0 || !d.o.Domains.Contains(who.Addresses[0].Domain)) {
		return &InputError{"you have no address in the domains of this site that a copy could go to"}
	}
	return nil
}

func named(to []mail.Address, c *quarantine.Copy) bool {
	return slices.ContainsFunc(to, func(a mail.Address) bool { return lower(a) == lower(c.Recipient.Address) })
}

func copiesFor(it *quarantine.Item, to []mail.Address) (out []quarantine.Copy) {
	for _, c := range it.Copies {
		if named(to, &c) {
			out = append(out, c)
		}
	}
	return out
}

// addressesOf are the recipients of an item whose addresses in lower case these are.
func addressesOf(it *quarantine.Item, keys []string) (out []mail.Address) {
	for i := range it.Copies {
		if a := it.Copies[i].Recipient.Address; slices.Contains(keys, lower(a)) {
			out = append(out, a)
		}
	}
	return out
}
