package review

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"postern/mail"
	"postern/people"
	"postern/quarantine"
)

// release sends copies to their recipients: looked at again by the scanner, claimed so that nobody
// else sends them, sent, and noted.
func (d *Desk) release(ctx context.Context, who *people.Actor, a *Act, it *quarantine.Item) (result, words string, err error) {
	own, extra, err := d.chosen(ctx, who, a, it)
	if err != nil {
		return "", "", err
	}
	if err := d.reasoned(a, it); err != nil {
		return ResultRefused, err.Error(), nil
	}
	copies := copiesFor(it, own)
	if result, words := gone(copies, a); result != "" && len(extra) == 0 {
		return result, words, d.settled(ctx, who, a, it, copies)
	}
	body, err := d.content(ctx, it.ID)
	if err != nil {
		return "", "", err
	}
	defer body.Close()
	danger, err := d.scan(ctx, who, a, it, copies, body)
	if err != nil {
		return ResultFailed, "not released: " + err.Error(), nil
	}
	return d.send(ctx, who, a, it, copies, extra, body, danger)
}

// gone says why nothing is left to be sent; "" when something is.
func gone(copies []quarantine.Copy, a *Act) (result, words string) {
	state := stateOf(copies)
	switch {
	case state == quarantine.Released:
		return ResultAlready, "was released already"
	case state == quarantine.Deleted:
		return ResultFailed, "was deleted already"
	case state == quarantine.Releasing && !a.Again && !slices.ContainsFunc(copies, func(c quarantine.Copy) bool { return waits(c.State) }):
		return ResultUnclear, busy
	}
	return "", ""
}

const busy = "it is being released, or a crash interrupted that: perhaps delivered. Ask the recipient before it is sent again"

// content reads the held message whole, which also proves it undamaged. Close the body.
func (d *Desk) content(ctx context.Context, id string) (*mail.Body, error) {
	c, err := d.o.Quarantine.Content(ctx, id)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	body := mail.NewSpool(d.o.SpoolDir, 0, 0).New()
	if _, err := io.Copy(body, c); err != nil {
		body.Close()
		return nil, err
	}
	body.Finish(nil)
	return body, nil
}

// scan looks at a message again before it goes anywhere (C-39). danger says what makes it
// dangerous all the same, when somebody who may released it knowing that.
func (d *Desk) scan(ctx context.Context, who *people.Actor, a *Act, it *quarantine.Item, copies []quarantine.Copy, body *mail.Body) (danger string, err error) {
	for i := range copies {
		if c := &copies[i]; locked(c.Class) {
			danger = c.Class
		}
	}
	if d.o.Scanner == nil {
		if danger == "virus" {
			return "", errors.New("there is no virus scanner that could look at it again")
		}
		return danger, nil
	}
	said, err := d.o.Scanner.Scan(ctx, &it.Envelope, body)
	found := said.Found
	if danger == "virus" && found == "" {
		found = said.Unsure // nobody can say that it is gone
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("the virus scanner gives no answer (%w)", err)
	case found == "":
		return danger, nil
	case !who.May(people.ReleaseDangerous):
		return "", fmt.Errorf("the virus scanner found %s", found)
	case !a.Danger || strings.TrimSpace(a.Reason) == "":
		return "", fmt.Errorf("the virus scanner found %s: to release it all the same an administrator says so, and why", found)
	}
	d.o.Log.Warn("mail that the virus scanner objects to is released", "id", it.ID, "found", found, "by", who.Login, "reason", a.Reason)
	return "virus " + found, nil
}

// send claims the copies, sends them, and notes what became of each.
func (d *Desk) send(ctx context.Context, who *people.Actor, a *Act, it *quarantine.Item, copies []quarantine.Copy, extra []mail.RcptTo, body *mail.Body, danger string) (result, words string, err error) {
	var to []mail.RcptTo
	if open := claimable(copies, a.Again); len(open) > 0 {
		claimed, why, err := d.claim(ctx, who, a, it, open)
		if err != nil || why != "" {
			return ResultUnclear, why, err
		}
		for i := range claimed {
			to = append(to, claimed[i].Recipient)
		}
	}
	mine := len(to)
	to = append(to, extra...)
	if a.Copy && mine > 0 {
		to = append(to, mail.RcptTo{Address: who.Addresses[0]})
	}
	sent := d.o.Sender.Send(ctx, it, to, body, danger)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteFor) // however long that took
	defer cancel()
	if err := d.noteFates(ctx, it.ID, to[:mine], sent); err != nil {
		return "", "", err
	}
	result, words = tell(to, sent)
	if danger != "" {
		words += "; marked in its header as dangerous: " + danger
	}
	if err := d.settled(ctx, who, a, it, copies); err != nil {
		return result, words, err
	}
	if a.Allow != nil && result == ResultDone {
		words, err = d.allow(ctx, who, it, a.Allow, words)
	}
	return result, words, err
}

// claimable are the recipients whose copies can be claimed.
func claimable(copies []quarantine.Copy, again bool) (to []mail.Address) {
	for i := range copies {
		if c := &copies[i]; waits(c.State) || again && c.State == quarantine.Releasing {
			to = append(to, c.Recipient.Address)
		}
	}
	return to
}

// claim takes copies from kept to releasing; why is given when somebody was quicker.
func (d *Desk) claim(ctx context.Context, who *people.Actor, a *Act, it *quarantine.Item, to []mail.Address) (claimed []quarantine.Copy, why string, err error) {
	if a.Again {
		var perhaps []mail.Address
		for i := range it.Copies {
			if c := &it.Copies[i]; c.State == quarantine.Releasing && named(to, c) {
				perhaps = append(perhaps, c.Recipient.Address)
			}
		}
		if len(perhaps) > 0 {
			if err := d.o.Quarantine.FinishRelease(ctx, it.ID, false, "perhaps delivered before; sent again", perhaps...); err != nil {
				return nil, "", err
			}
		}
	}
	claimed, err = d.o.Quarantine.StartRelease(ctx, it.ID, who.Login, to...)
	if errors.Is(err, quarantine.ErrState) {
		return nil, busy, nil
	}
	return claimed, "", err
}

// noteFates puts what became of claimed copies into the quarantine. What is unclear stays
// releasing: perhaps delivered.
func (d *Desk) noteFates(ctx context.Context, id string, to []mail.RcptTo, sent []Sent) error {
	for i := range to {
		first, tells := alike(to, sent, i)
		fate, reply := sent[tells].Fate, sent[tells].Reply
		if !first || fate == Unclear {
			continue
		}
		note := "the internal server could not be asked: " + reply
		if fate == Delivered || fate == Turned {
			note = "the internal server said: " + reply
		}
		if err := d.o.Quarantine.FinishRelease(ctx, id, fate == Delivered, note, to[i].Address); err != nil {
			return fmt.Errorf("%s was sent to %s (%s), but that could not be noted: %w", id, to[i].Address, fate, err)
		}
	}
	return nil
}

// alike looks at recipients that are one but for upper and lower case, whose copies change
// together: whether the i-th is the first of them, and which tells what became of all. What was
// delivered to one, or perhaps was, must not be sent again.
func alike(to []mail.RcptTo, sent []Sent, i int) (first bool, tells int) {
	tells = i
	for j := range to {
		switch {
		case lower(to[j].Address) != lower(to[i].Address):
		case j < i:
			return false, tells
		case sent[j].Fate == Delivered, sent[j].Fate == Unclear && sent[tells].Fate != Delivered:
			tells = j
		}
	}
	return true, tells
}

// tell puts fates into words.
func tell(to []mail.RcptTo, sent []Sent) (result, words string) {
	var said, not []string
	result = ResultDone
	for i := range to {
		address := to[i].Address.String()
		switch sent[i].Fate {
		case Delivered:
			said = append(said, "released to "+address)
			continue
		case Turned:
			not = append(not, fmt.Sprintf("the internal server refused %s: %s", address, sent[i].Reply))
		case Unclear:
			not = append(not, fmt.Sprintf("sent to %s, but the internal server's answer is lost (%s): perhaps delivered", address, sent[i].Reply))
			result = ResultUnclear
		default:
			not = append(not, fmt.Sprintf("not sent to %s: %s", address, sent[i].Reply))
		}
		if result == ResultDone {
			result = ResultFailed
		}
	}
	return result, strings.Join(append(said, not...), "; ")
}
