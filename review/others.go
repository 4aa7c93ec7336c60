package review

import (
	"context"

	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/store"
)

// Acts on one message beside its release.

// delete deletes the copies in sight that are still there.
func (d *Desk) delete(ctx context.Context, who *people.Actor, a *Act, it *quarantine.Item) (result, words string, err error) {
	to, left, err := d.targets(who, a, it, waits)
	if err != nil || len(to) == 0 {
		return left, "was " + string(it.State) + " already", err
	}
	if whole(who) && len(a.To) == 0 {
		err = d.o.Quarantine.Delete(ctx, it.ID, who.Login) // also the text of copies that were released
	} else {
		err = d.o.Quarantine.Delete(ctx, it.ID, who.Login, to...)
	}
	if err == nil {
		err = d.answer(ctx, who, it, denied, "deleted", to)
	}
	return ResultDone, "deleted", err
}

// spam notes that the copies in sight are spam, for those who learn from it.
func (d *Desk) spam(ctx context.Context, who *people.Actor, a *Act, it *quarantine.Item) (result, words string, err error) {
	to, left, err := d.targets(who, a, it, func(st quarantine.State) bool { return st == quarantine.Kept })
	if err != nil || len(to) == 0 {
		return left, "is " + string(it.State) + " already", err
	}
	if err := d.o.Quarantine.MarkSpam(ctx, it.ID, who.Login, to...); err != nil {
		return "", "", err
	}
	err = d.o.DB.Write(ctx, func(tx *store.Tx) error {
		for i := range it.Copies {
			c := &it.Copies[i]
			if !named(to, c) {
				continue
			}
			_, err := tx.Exec("INSERT INTO review_spam VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", it.ID, lower(c.Recipient.Address),
				it.SHA256, lower(it.Envelope.Sender), c.Rule, c.Class, who.Login, d.now().UnixMicro())
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = d.answer(ctx, who, it, denied, "it is spam", to)
	}
	return ResultDone, "marked as spam", err
}

// unspam takes that back.
func (d *Desk) unspam(ctx context.Context, who *people.Actor, a *Act, it *quarantine.Item) (result, words string, err error) {
	to, left, err := d.targets(who, a, it, func(st quarantine.State) bool { return st == quarantine.Spam })
	if err != nil || len(to) == 0 {
		return left, "is " + string(it.State) + " already", err
	}
	if err := d.o.Quarantine.UnmarkSpam(ctx, it.ID, who.Login, to...); err != nil {
		return "", "", err
	}
	err = d.o.DB.Write(ctx, func(tx *store.Tx) error {
		for _, rcpt := range to {
			if _, err := tx.Exec("DELETE FROM review_spam WHERE item = ? AND rcpt = ?", it.ID, lower(rcpt)); err != nil {
				return err
			}
		}
		return nil
	})
	return ResultDone, "waits again", err
}

// targets are the recipients of the copies in sight that are in such a state, or of those of them
// that are named; without one, left is the result.
func (d *Desk) targets(who *people.Actor, a *Act, it *quarantine.Item, fits func(quarantine.State) bool) (to []mail.Address, left string, err error) {
	left = ResultAlready
	for _, want := range a.To {
		if len(copiesFor(it, []mail.Address{want})) == 0 {
			return nil, "", &InputError{"it is not held for " + want.String()}
		}
	}
	for i := range it.Copies {
		c := &it.Copies[i]
		switch {
		case len(a.To) > 0 && !named(a.To, c):
		case fits(c.State):
			to = append(to, c.Recipient.Address)
		case c.State == quarantine.Releasing:
			left = ResultUnclear
		}
	}
	return to, left, nil
}

// askFor asks for the release of the copies that the actor may ask for.
func (d *Desk) askFor(ctx context.Context, who *people.Actor, a *Act, it *quarantine.Item) (result, words string, err error) {
	var to []string
	for i := range it.Copies {
		if c := &it.Copies[i]; mayAsk(who, c) && (len(a.To) == 0 || named(a.To, c)) {
			to = append(to, lower(c.Recipient.Address))
		}
	}
	if len(to) == 0 {
		return ResultFailed, "there is nothing to ask for: it is " + string(it.State) + ", or you may release it yourself", nil
	}
	var n int64
	err = d.o.DB.Write(ctx, func(tx *store.Tx) (err error) {
		n, err = d.ask(tx, who, it.ID, a.Reason, to)
		return err
	})
	if n == 0 {
		return ResultAlready, "a request is open already", err
	}
	return ResultDone, "asked for its release", err
}

// approve releases the copies that somebody asked for.
func (d *Desk) approve(ctx context.Context, who *people.Actor, a *Act, it *quarantine.Item) (result, words string, err error) {
	open, err := d.open(ctx, it)
	if err != nil {
		return "", "", err
	}
	if len(open) == 0 {
		return ResultAlready, "no request for it is open", nil
	}
	return d.release(ctx, who, a, it)
}

// deny answers the open requests for the copies in sight.
func (d *Desk) deny(ctx context.Context, who *people.Actor, a *Act, it *quarantine.Item) (result, words string, err error) {
	open, err := d.open(ctx, it)
	if err != nil {
		return "", "", err
	}
	if len(open) == 0 {
		return ResultAlready, "no request for it is open", nil
	}
	return ResultDone, "the request is denied", d.answer(ctx, who, it, denied, a.Reason, addressesOf(it, open))
}

// settled answers the requests for copies that have been released.
func (d *Desk) settled(ctx context.Context, who *people.Actor, a *Act, it *quarantine.Item, copies []quarantine.Copy) error {
	now, err := d.o.Quarantine.Get(ctx, it.ID)
	if err != nil {
		return err
	}
	var to []mail.Address
	for i := range now.Copies {
		c := &now.Copies[i]
		if c.State == quarantine.Released && len(copiesFor(&quarantine.Item{Copies: copies}, []mail.Address{c.Recipient.Address})) > 0 {
			to = append(to, c.Recipient.Address)
		}
	}
	answer := ""
	if a.Do == Approve {
		answer = a.Reason
	}
	return d.answer(ctx, who, it, approved, answer, to)
}

// answer decides the open requests for these copies.
func (d *Desk) answer(ctx context.Context, who *people.Actor, it *quarantine.Item, state, words string, to []mail.Address) error {
	keys := make([]string, len(to))
	for i, a := range to {
		keys[i] = lower(a)
	}
	open, err := d.open(ctx, it)
	if err != nil || len(open) == 0 {
		return err
	}
	return d.o.DB.Write(ctx, func(tx *store.Tx) error {
		_, err := d.decide(tx, who, it.ID, state, words, keys)
		return err
	})
}
