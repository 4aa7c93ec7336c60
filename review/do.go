package review

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"postern/audit"
	"postern/people"
	"postern/quarantine"
	"postern/store"
)

// Do carries out an act, or has it wait for its grace. An error says that nothing of it was or
// will be done; what became of single messages stands in Done.
func (d *Desk) Do(ctx context.Context, who *people.Actor, a Act) (*Done, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	object := ""
	if len(a.IDs) == 1 {
		object = a.IDs[0]
	}
	p, _ := a.Do.permission()
	if err := d.may(ctx, who, p, string(a.Do), object); err != nil {
		return nil, err
	}
	if err := d.mayAct(ctx, who, &a); err != nil {
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrForbidden) {
			return nil, d.refuse(ctx, who, string(a.Do), object, err)
		}
		return nil, err
	}
	if a.Find != nil {
		return d.doAll(ctx, who, a)
	}
	if a.Undoing && a.Do.undoable() {
		return d.schedule(ctx, who, a, Grace, len(a.IDs))
	}
	j, err := d.begin(ctx, who, a)
	if err != nil {
		return nil, err
	}
	return d.carryOut(ctx, j)
}

// mayAct asks whether the actor may do it: for one message exactly, for several each by itself
// when its turn comes.
func (d *Desk) mayAct(ctx context.Context, who *people.Actor, a *Act) error {
	if (a.Do == Take || a.Do == Leave) && !mayTake(who) {
		return ErrForbidden
	}
	if a.Danger && !who.May(people.ReleaseDangerous) {
		return forbidden("only an administrator releases dangerous mail")
	}
	if len(a.IDs) != 1 {
		if err := d.anyInSight(ctx, who, a); err != nil {
			return err
		}
		return d.reasoned(a)
	}
	it, err := d.item(ctx, who, a.IDs[0])
	if err != nil {
		return err
	}
	if err := d.reasoned(a, it); err != nil {
		return err
	}
	if a.Do == Release || a.Do == Approve {
		if _, _, err := d.chosen(ctx, who, a, it); err != nil {
			return err
		}
	}
	if a.Do == Ask && !slices.ContainsFunc(it.Copies, func(c quarantine.Copy) bool { return who.Right(c.Class) >= people.RightAsk }) {
		return forbidden("the site does not let you ask for mail of this class")
	}
	if a.Allow != nil {
		_, err = d.entry(who, it, a.Allow)
	}
	return err
}

// anyInSight refuses an act on several messages none of which the actor sees: of such acts nothing
// is kept.
func (d *Desk) anyInSight(ctx context.Context, who *people.Actor, a *Act) error {
	if len(a.IDs) == 0 {
		return nil
	}
	items, err := d.o.Quarantine.Some(ctx, a.IDs)
	if err == nil && !slices.ContainsFunc(items, func(it *quarantine.Item) bool { return own(who, it) }) {
		err = ErrNotFound
	}
	return err
}

// carryOut does an act with the messages it names, and notes it.
func (d *Desk) carryOut(ctx context.Context, j *job) (*Done, error) {
	done := &Done{Count: len(j.act.IDs), Items: make([]ItemDone, len(j.act.IDs)), State: stateDone}
	all := make([]carried, len(j.act.IDs))
	d.parallel(len(all), func(i int) { all[i] = d.carry(ctx, j.who, &j.act, j.act.IDs[i]) })
	for i := range all {
		done.Items[i] = all[i].ItemDone
		done.Tally.add(all[i].Result)
	}
	done.Words = done.Tally.words(j.act.Do)
	if len(all) == 1 {
		done.Words = all[0].Words
	}
	return done, d.finish(ctx, j, done.Tally, d.lineOf(j, all, done), done.Items...)
}

// lineOf is the one line that an act leaves.
func (d *Desk) lineOf(j *job, all []carried, done *Done) audit.Line {
	line := d.line(j.who, string(j.act.Do), j.id, done.Tally.line())
	line.Reason, line.Note = j.act.Reason, done.Words
	if len(all) == 1 {
		line.Object = all[0].ID
		line.Before, line.After = jsonOf(all[0].before), jsonOf(all[0].after)
		return line
	}
	var ids []string
	for i := range all {
		ids = append(ids, all[i].ID)
	}
	line.After = jsonOf(map[string]any{"act": j.id, "tally": done.Tally, "ids": ids})
	return line
}

// atOnce is how many messages one act works on at a time.
const atOnce = 8

func (d *Desk) parallel(n int, one func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			one(i)
		})
	}
	wg.Wait()
}

// carried is what became of one message, and what was changed.
type carried struct {
	ItemDone
	before, after map[string]any
}

// carryFor is how long one message may take: scanning and sending have limits of their own.
const carryFor = 15 * time.Minute

// carry does it with one message. Who asked may go away meanwhile: what has begun is ended.
func (d *Desk) carry(ctx context.Context, who *people.Actor, a *Act, id string) (c carried) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), carryFor)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	d.under.RLock()
	defer d.under.RUnlock()
	c.ID = id
	unlock := d.locks.lock(ctx, id)
	if unlock == nil {
		c.Result, c.Words = ResultFailed, "somebody else acts on it, and that takes long: try again"
		return c
	}
	defer unlock()
	it, err := d.item(ctx, who, id)
	if err == nil {
		c.before = statesOf(it)
		c.Result, c.Words, err = d.one(ctx, who, a, it)
	}
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrForbidden):
		c.Result, c.Words = ResultRefused, err.Error()
	case err != nil:
		c.Result, c.Words = ResultFailed, err.Error()
	}
	if after, err := d.item(ctx, who, id); err == nil {
		c.after = statesOf(after)
		if a.Allow != nil && c.Result == ResultDone {
			c.after["allow"] = a.Allow
		}
	}
	return c
}

// statesOf are the states of the copies by recipient.
func statesOf(it *quarantine.Item) map[string]any {
	out := map[string]any{}
	for i := range it.Copies {
		out[lower(it.Copies[i].Recipient.Address)] = it.Copies[i].State
	}
	return out
}

// one does it with one message in the actor's sight, whose turn it is.
func (d *Desk) one(ctx context.Context, who *people.Actor, a *Act, it *quarantine.Item) (result, words string, err error) {
	switch a.Do {
	case Release:
		return d.release(ctx, who, a, it)
	case Delete:
		return d.delete(ctx, who, a, it)
	case Spam:
		return d.spam(ctx, who, a, it)
	case Unspam:
		return d.unspam(ctx, who, a, it)
	case Ask:
		return d.askFor(ctx, who, a, it)
	case Approve:
		return d.approve(ctx, who, a, it)
	case Deny:
		return d.deny(ctx, who, a, it)
	}
	changed := false
	err = d.o.DB.Write(ctx, func(tx *store.Tx) (err error) {
		changed, err = d.mark(tx, who, a.Do, it.ID)
		return err
	})
	if !changed {
		return ResultAlready, "it was so already", err
	}
	return ResultDone, map[Verb]string{Seen: "marked as seen", Unseen: "marked as not seen", Take: "taken by " + who.Login, Leave: "left to others"}[a.Do], err
}

// words sum up an act on several messages.
func (t *Tally) words(v Verb) string {
	past := map[Verb]string{Release: "released", Delete: "deleted", Spam: "marked as spam", Unspam: "waiting again", Seen: "marked as seen", Unseen: "marked as not seen",
		Take: "taken", Leave: "left to others", Ask: "asked for", Approve: "approved", Deny: "denied"}[v]
	s := fmt.Sprintf("%d %s", t.Done, past)
	for _, p := range []struct {
		n    int
		text string
	}{{t.Already, "were so already"}, {t.Refused, "not allowed"}, {t.Failed, "failed"}, {t.Unclear, "perhaps delivered"}, {t.Left, "dangerous and left out"}} {
		if p.n > 0 {
			s += fmt.Sprintf(", %d %s", p.n, p.text)
		}
	}
	return s
}
