package review

import (
	"cmp"
	"slices"
	"strings"

	"postern/mail"
	"postern/people"
	"postern/quarantine"
)

// dangerous are the classes that an act on everything leaves out unless it is told otherwise.
func dangerous(class string) bool {
	return class == "virus" || class == "malformed" || class == "attachment"
}

// locked are the classes that only an administrator releases (C-39).
func locked(class string) bool { return class == "virus" || class == "malformed" }

// whole reports whether the actor sees everybody's copies of every class.
func whole(who *people.Actor) bool {
	_, all := who.Sight()
	return all
}

// sees reports whether a copy is in the actor's sight.
func sees(who *people.Actor, c *quarantine.Copy) bool {
	return who.Sees(c.Recipient.Address) && who.Right(c.Class) >= people.RightSee
}

// own leaves the copies that the actor sees; the item is its own from then on, as if the others
// were not there. false: nothing is left.
func own(who *people.Actor, it *quarantine.Item) bool {
	if whole(who) {
		return len(it.Copies) > 0
	}
	all := len(it.Copies)
	it.Copies = slices.DeleteFunc(slices.Clone(it.Copies), func(c quarantine.Copy) bool { return !sees(who, &c) })
	if len(it.Copies) == 0 {
		return false
	}
	if len(it.Copies) < all {
		it.State = stateOf(it.Copies)
		it.By, it.Note = "", ""
		it.Changed = it.Copies[0].Changed
	}
	it.Envelope.Recipients = nil
	for i := range it.Copies {
		it.Envelope.Recipients = append(it.Envelope.Recipients, it.Copies[i].Recipient)
	}
	return true
}

// stateOf is that of some copies, as quarantine has it for all.
func stateOf(copies []quarantine.Copy) quarantine.State {
	order := []quarantine.State{quarantine.Releasing, quarantine.Kept, quarantine.Spam, quarantine.Released}
	for _, st := range order {
		if slices.ContainsFunc(copies, func(c quarantine.Copy) bool { return c.State == st }) {
			return st
		}
	}
	return quarantine.Deleted
}

// waits reports whether a copy is still there to be acted on.
func waits(st quarantine.State) bool { return st == quarantine.Kept || st == quarantine.Spam }

// reviews reports whether the actor looks at mail for others.
func reviews(who *people.Actor) bool { return who.Role != people.User }

// whose is whose marks the actor makes: see the schema.
func whose(who *people.Actor) string {
	if reviews(who) {
		return ""
	}
	return cmp.Or(who.ID, who.Login, "?")
}

// mayRelease tells whether the actor releases a copy of this class by right.
func mayRelease(who *people.Actor, class string) bool {
	return who.May(people.Release) && who.Right(class) >= people.RightRelease && (!locked(class) || who.May(people.ReleaseDangerous))
}

// verbs are what the actor may do with an item of which own has left the copies.
func (d *Desk) verbs(who *people.Actor, it *quarantine.Item, asked bool) []Verb {
	out := []Verb{}
	has := func(fits func(c *quarantine.Copy) bool) bool {
		return slices.ContainsFunc(it.Copies, func(c quarantine.Copy) bool { return fits(&c) })
	}
	add := func(v Verb, ok bool) {
		if ok {
			out = append(out, v)
		}
	}
	kept := has(func(c *quarantine.Copy) bool { return waits(c.State) })
	add(Release, has(func(c *quarantine.Copy) bool {
		return (waits(c.State) || c.State == quarantine.Releasing) && mayRelease(who, c.Class)
	}))
	add(Delete, kept && who.May(people.Delete))
	add(Spam, who.May(people.ReportSpam) && has(func(c *quarantine.Copy) bool { return c.State == quarantine.Kept }))
	add(Unspam, who.May(people.ReportSpam) && has(func(c *quarantine.Copy) bool { return c.State == quarantine.Spam }))
	add(Ask, !asked && who.May(people.Ask) && has(func(c *quarantine.Copy) bool { return mayAsk(who, c) }))
	add(Approve, asked && who.May(people.Approve))
	add(Deny, asked && who.May(people.Approve))
	add(Seen, who.May(people.SeeMail))
	add(Unseen, who.May(people.SeeMail))
	add(Take, mayTake(who))
	add(Leave, mayTake(who))
	return out
}

// mayAsk: who may release by right has no need to ask.
func mayAsk(who *people.Actor, c *quarantine.Copy) bool {
	return waits(c.State) && who.Right(c.Class) >= people.RightAsk && !mayRelease(who, c.Class)
}

// mayTake: who has a message is a matter among those who work on it.
func mayTake(who *people.Actor) bool { return reviews(who) && who.May(people.Delete) }

func lower(a mail.Address) string { return strings.ToLower(a.String()) }
