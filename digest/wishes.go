package digest

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/audit"
	"postern/mail"
	"postern/people"
	"postern/review"
	"postern/store"
)

// Every is how often somebody gets a digest.
type Every string

// The intervals. As is not one: it is the site's.
const (
	As      Every = ""
	Off     Every = "off"
	Instant Every = "instant" // soon after mail was held, but not more often than every ten minutes
	Hourly  Every = "hourly"
	Daily   Every = "daily"
	Weekly  Every = "weekly" // on Mondays
)

// Intervals are those that somebody may have.
func Intervals() []Every { return []Every{Off, Instant, Hourly, Daily, Weekly} }

// ErrInterval is the error for what is none.
var ErrInterval = errors.New("a digest comes instant, hourly, daily, weekly or off")

// slot is the last moment, now or before, at which digests of an interval are due.
func (d *Digests) slot(e Every, now time.Time) time.Time {
	now = now.In(d.o.Zone)
	year, month, date := now.Date()
	at := func(date int) time.Time {
		return time.Date(year, month, date, 0, int(d.o.At/time.Minute), 0, 0, d.o.Zone)
	}
	switch e {
	case Hourly:
		return now.Truncate(time.Hour) // zones that are off by half an hour get theirs at half past
	case Daily:
		if t := at(date); !t.After(now) {
			return t
		}
		return at(date - 1)
	case Weekly:
		monday := date - (int(now.Weekday())+6)%7
		if t := at(monday); !t.After(now) {
			return t
		}
		return at(monday - 7)
	}
	return now.Truncate(time.Minute)
}

// A reader is what is known of somebody who gets, or does not want, digests.
type reader struct {
	every Every
	sent  time.Time
}

func (d *Digests) reader(ctx context.Context, address string) (r reader, err error) {
	var sent int64
	err = d.o.DB.Reader().QueryRowContext(ctx, "SELECT every, sent FROM digest_readers WHERE address = ?", address).Scan(&r.every, &sent)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return r, fmt.Errorf("digests: %w", err)
	}
	if sent > 0 {
		r.sent = time.UnixMicro(sent)
	}
	return r, nil
}

// every is what holds for a reader.
func (d *Digests) every(r reader) Every {
	if r.every == As {
		return d.o.Default
	}
	return r.every
}

// address is where the digest of a person goes; "" when there is no such place.
func (d *Digests) address(who *people.Actor) string {
	for _, a := range who.Addresses {
		if d.o.Domains.Contains(a.Domain) {
			return strings.ToLower(a.String())
		}
	}
	return ""
}

// ErrNoAddress says that a person has no address to which a digest could go.
var ErrNoAddress = errors.New("no address inside that a digest could go to")

// Wish tells how often somebody gets a digest: what they chose, As when nothing, and what that
// comes to.
func (d *Digests) Wish(ctx context.Context, whose *people.Actor) (chosen, holds Every, err error) {
	address := d.address(whose)
	if address == "" {
		return As, Off, ErrNoAddress
	}
	r, err := d.reader(ctx, address)
	return r.every, d.every(r), err
}

// SetWish notes how often a person wants a digest; As is as the site has it. who is the person, or
// somebody who manages people. The wish and its line in the log of acts are written in one step.
func (d *Digests) SetWish(ctx context.Context, who, whose *people.Actor, e Every) error {
	address := d.address(whose)
	switch {
	case e != As && !slices.Contains(Intervals(), e):
		return ErrInterval
	case address == "":
		return ErrNoAddress
	}
	line := audit.Line{At: d.now(), Who: who.Login, By: who.By, Act: "digest", Object: address, Result: "done"}
	if who.From.IsValid() {
		line.From = who.From.String()
	}
	mine := slices.ContainsFunc(who.Addresses, func(a mail.Address) bool { return strings.EqualFold(a.String(), address) })
	if !mine && !who.May(people.ManagePeople) {
		line.Result = "refused"
		if d.o.Audit == nil {
			return review.ErrForbidden
		}
		return errors.Join(review.ErrForbidden, d.o.Audit.Refuse(ctx, line))
	}
	before, err := d.reader(ctx, address)
	if err != nil {
		return err
	}
	line.Before, _ = json.Marshal(before.every) // strings do
	line.After, _ = json.Marshal(e)
	return d.note(ctx, line, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO digest_readers VALUES (?, ?, ?, ?, 0)
			ON CONFLICT (address) DO UPDATE SET every = excluded.every, by_whom = excluded.by_whom, changed = excluded.changed`,
			address, string(e), who.Login, d.now().UnixMicro())
		return err
	})
}

// note writes a line into the log of acts, with what is done.
func (d *Digests) note(ctx context.Context, line audit.Line, do func(*store.Tx) error) (err error) {
	if d.o.Audit == nil {
		err = d.o.DB.Write(ctx, do)
	} else {
		err = d.o.Audit.NoteWith(ctx, line, do)
	}
	if err != nil {
		return fmt.Errorf("digests: %w", err)
	}
	return nil
}
