package review

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"postern/audit"
	"postern/people"
	"postern/quarantine"
)

// acts are what people did with a message. Who does not see all of it learns what became of the
// own copies, and what they did themselves.
func (d *Desk) acts(ctx context.Context, who *people.Actor, m *Message) ([]Event, error) {
	out := ownDeeds(who, m)
	err := d.each(ctx, `SELECT a.do, a.person, a.login, a.act, i.result, i.words, i.at FROM review_act_items i CROSS JOIN review_acts a
		WHERE i.item = ? AND a.id = i.act AND a.state <> 'undone' AND i.result <> ''`, []any{m.ID}, func(rows *sql.Rows) error {
		var verb, person, login, result, words string
		var act Act
		var at time.Time
		if err := rows.Scan(&verb, &person, &login, jsonColumn{&act}, &result, &words, (*micro)(&at)); err != nil {
			return err
		}
		if whole(who) || person == who.ID && login == who.Login {
			out = append(out, Event{At: at, Kind: "person", What: words, Who: login, Why: act.Reason})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	lines, err := d.o.Audit.List(ctx, audit.Query{Object: m.ID, Limit: 200})
	for _, l := range lines {
		if _, isAct := Verb(l.Act).permission(); isAct && l.Result != lineRefused {
			continue // told above
		}
		if whole(who) || l.Who == who.Login {
			out = append(out, Event{At: l.At, Kind: "person", What: join(l.Act, l.Result), Who: l.Who, Why: join(l.Reason, l.Note)})
		}
	}
	return out, err
}

// ownDeeds are told by the copies themselves, for those who do not see all of a message: who did
// it may have seen other copies, too.
func ownDeeds(who *people.Actor, m *Message) (out []Event) {
	if whole(who) {
		return nil
	}
	for i := range m.Copies {
		c := &m.Copies[i]
		if c.By != "" && c.By != who.Login && c.State != quarantine.Kept {
			out = append(out, Event{At: c.Changed, Kind: "person", Who: c.By, What: fmt.Sprintf("%s for <%s>", c.State, c.Recipient.Address), Why: c.Note})
		}
	}
	return out
}
