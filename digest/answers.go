package digest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"postern/mail"
	"postern/quarantine"
	"postern/review"
)

// Bounds of telling answers.
const (
	answersAtOnce = 100
	answerTries   = 3       // failures in a row after which the rest waits
	answerFor     = 3 * day // after which nobody waits for one any more
	maxAnswer     = 1000
)

// answers writes to those who asked for a release what became of it: once, and only to people
// inside who get digests; all others see it on the pages.
func (d *Digests) answers(ctx context.Context) error {
	list, err := d.o.Desk.Untold(ctx, answersAtOnce)
	if err != nil {
		return err
	}
	if len(list) > 0 { // those that fail must not stand before the others for ever
		first := int(d.now().Unix()/60) % len(list)
		list = append(list[first:], list[:first]...)
	}
	failed := 0
	for i := range list {
		switch err := d.tell(ctx, &list[i]); {
		case err == nil:
			failed = 0
		case errors.Is(err, ErrRefused):
			d.o.Log.Warn("the answer to a request was refused", "to", list[i].For, "error", err)
		default:
			if failed++; failed == answerTries || ctx.Err() != nil {
				return err
			}
			continue // it is tried again
		}
		if err := d.o.Desk.Told(context.WithoutCancel(ctx), list[i].N); err != nil {
			return err
		}
	}
	return nil
}

// tell writes one; nil also when it is not to be told.
func (d *Digests) tell(ctx context.Context, a *review.Answered) error {
	to, err := parse(a.For)
	if err != nil || !d.o.Domains.Contains(to.Domain) || d.now().Sub(a.Decided.At) > answerFor {
		return nil
	}
	who, err := d.o.People.Owner(ctx, to, netip.Addr{})
	if err != nil {
		return err
	}
	r, err := d.reader(ctx, d.address(who))
	if err != nil || d.every(r) == Off {
		return err
	}
	it, err := d.o.Held.Get(ctx, a.Item)
	if err != nil && !errors.Is(err, quarantine.ErrNotFound) {
		return err
	}
	return d.o.Mailer.Post(ctx, d.answerLetter(to, who.Login, a, it))
}

// answerLetter is the mail; it is nil when the held message is gone.
func (d *Digests) answerLetter(to mail.Address, login string, a *review.Answered, it *quarantine.Item) *mail.Letter {
	l := &mail.Letter{To: to, Subject: "Denied: your request for a message"}
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if strings.EqualFold(a.By, login) {
		say("You asked for a message that is held for you.")
	} else {
		say("%s asked for a message that is held for you.", plain(a.By, maxName))
	}
	if it != nil {
		name, address, _ := author(it)
		say("\n  Subject: %s", plain(it.Subject, maxSubject))
		say("  From: %s", plain(name, maxName))
		if address != name {
			say("  Address: %s", plain(address, maxAddress))
		}
		say("  Received: %s", d.date(it.Received))
	}
	if a.State == "approved" {
		l.Subject = "Approved: your request for a message"
		say("\nIt is released and comes to you by itself.")
	} else {
		say("\nIt is not released.")
	}
	if answer := plain(a.Answer, maxAnswer); answer != "" {
		say("\nAnswer: %s", answer)
	}
	if d.o.Origin != "" && it != nil {
		say("\nShow: %s", d.o.Origin+"/m/"+url.PathEscape(a.Item))
	}
	l.Text = b.String()
	return l
}
