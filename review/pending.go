package review

import (
	"context"
	"database/sql"

	"postern/mail"
	"postern/people"
	"postern/quarantine"
)

// mostWaiting is how many acts on everything a list looks at that can still be undone.
const mostWaiting = 5

// pendings reads which acts on the messages can still be undone.
func (d *Desk) pendings(ctx context.Context, who *people.Actor, ids []string, into map[string]*Pending) error {
	in, args := among("i.item", ids)
	return d.each(ctx, `SELECT i.item, a.id, a.do, a.login, a.person, a.due FROM review_acts a CROSS JOIN review_act_items i
		WHERE a.state = 'waiting' AND i.act = a.id AND `+in, args, func(rows *sql.Rows) error {
		var item, person string
		var p Pending
		if err := rows.Scan(&item, &p.ID, &p.Do, &p.By, &person, (*micro)(&p.Due)); err != nil {
			return err
		}
		if reviews(who) || person == who.ID { // a user learns nothing of others, who may have other copies
			into[item] = &p
		}
		return nil
	})
}

// pendingAll adds those acts on everything that would pick a copy which is shown.
func (d *Desk) pendingAll(ctx context.Context, who *people.Actor, items []*quarantine.Item, into map[string]*Pending) error {
	type waiting struct {
		Pending
		by  people.Actor
		act Act
	}
	var list []*waiting
	err := d.each(ctx, "SELECT id, do, login, due, actor, act FROM review_acts WHERE state = 'waiting' AND many = 1 LIMIT ?", []any{mostWaiting}, func(rows *sql.Rows) error {
		w := &waiting{}
		err := rows.Scan(&w.ID, &w.Do, &w.By, (*micro)(&w.Due), jsonColumn{&w.by}, jsonColumn{&w.act})
		if reviews(who) || w.by.ID == who.ID {
			list = append(list, w)
		}
		return err
	})
	for _, w := range list {
		if err != nil {
			return err
		}
		q, bad := d.query(&w.by, *w.act.Find)
		if bad != nil {
			continue
		}
		var picked map[string][]mail.Address
		picked, err = d.o.Quarantine.Matching(ctx, q, items)
		for _, it := range items {
			if len(copiesFor(it, picked[it.ID])) > 0 && (!w.act.Do.undoable() || !perilous(it)) {
				into[it.ID] = &w.Pending
			}
		}
	}
	return err
}
