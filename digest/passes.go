package digest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"postern/people"
	"postern/store"
)

// Bounds of sending.
const (
	lookEvery  = time.Minute
	instantGap = 10 * time.Minute // between two digests of one person
	lookBack   = 8 * day          // the most that one digest covers
	atStart    = 3 * day          // by how much mail may be received before a sweep at the start keeps it
	toldFor    = 16 * day         // longer than lookBack and all tries
	maxTries   = 12
	firstRetry = 5 * time.Minute
	lastRetry  = 4 * time.Hour
)

// Run sends digests when they are due, until ctx ends. There is one Run for a data folder.
func (d *Digests) Run(ctx context.Context) {
	for late := atStart; ; late = lateBy {
		if err := d.Tick(ctx, late); err != nil && ctx.Err() == nil {
			d.o.Log.Error("digests", "error", err)
		}
		t := time.NewTimer(lookEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// Tick does what is due now: it looks for whom there are news, notes who is owed a digest, sends
// what is owed, and tells those who asked for a release what became of it. late is by how much a message may have been received before it was held.
func (d *Digests) Tick(ctx context.Context, late time.Duration) error {
	now := d.now()
	for _, e := range Intervals() {
		if e == Off {
			continue
		}
		if err := d.pass(ctx, e, now, late); err != nil {
			return fmt.Errorf("%s digests: %w", e, err)
		}
	}
	return errors.Join(d.pay(ctx), d.answers(ctx))
}

// pass notes who with this interval is owed a digest, when the time for it has come. The first
// time ever only the clock is set: nobody gets what was held before digests were wanted.
func (d *Digests) pass(ctx context.Context, e Every, now time.Time, late time.Duration) error {
	var at int64
	err := d.o.DB.Reader().QueryRowContext(ctx, "SELECT at FROM digest_passes WHERE every = ?", string(e)).Scan(&at)
	last := time.UnixMicro(at).UTC()
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && last.After(now.Add(time.Hour)): // the clock was put back
		return d.owe(ctx, e, now, time.Time{}, nil)
	case err != nil:
		return err
	}
	if !d.slot(e, now).After(last) {
		return nil
	}
	wanted, err := d.wanted(ctx, e)
	if err != nil || !wanted && now.Sub(last) < overlap { // nothing to be written every minute
		return err
	}
	if oldest := now.Add(-lookBack); last.Before(oldest) {
		last = oldest
	}
	var whose map[string]reader
	if wanted {
		if whose, err = d.readers(ctx, e, last.Add(-overlap), late); err != nil {
			return err
		}
	}
	return d.owe(ctx, e, now, last, whose)
}

// readers finds who with this interval has mail that was held since a moment, by where it goes.
func (d *Digests) readers(ctx context.Context, e Every, since time.Time, late time.Duration) (map[string]reader, error) {
	all, err := d.o.Held.Addressees(ctx, since.Add(-late), since)
	if err != nil {
		return nil, err
	}
	whose := map[string]reader{}
	for _, a := range all {
		if !d.o.Domains.Contains(a.Domain) {
			continue
		}
		who, err := d.o.People.Owner(ctx, a, netip.Addr{})
		if err != nil {
			return nil, err
		}
		address := d.address(who)
		if _, known := whose[address]; known || address == "" {
			continue
		}
		r, err := d.reader(ctx, address)
		if err != nil {
			return nil, err
		}
		if d.every(r) == e {
			whose[address] = r
		}
	}
	return whose, nil
}

// wanted reports whether anybody may have this interval.
func (d *Digests) wanted(ctx context.Context, e Every) (yes bool, err error) {
	if d.o.Default == e {
		return true, nil
	}
	err = d.o.DB.Reader().QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM digest_readers WHERE every = ?)", string(e)).Scan(&yes)
	return yes, err
}

// owe notes, in one step, that it was looked until now and who gets a digest.
func (d *Digests) owe(ctx context.Context, e Every, now, since time.Time, whose map[string]reader) error {
	return d.o.DB.Write(ctx, func(tx *store.Tx) error {
		for address, r := range whose {
			next := now
			if wait := r.sent.Add(instantGap); wait.After(next) {
				next = wait
			}
			_, err := tx.Exec(`INSERT INTO digest_owed VALUES (?, ?, 0, ?)
				ON CONFLICT (address) DO UPDATE SET since = min(since, excluded.since)`, address, since.UnixMicro(), next.UnixMicro())
			if err != nil {
				return err
			}
		}
		if _, err := tx.Exec("DELETE FROM digest_told WHERE at < ?", now.Add(-toldFor).UnixMicro()); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO digest_passes VALUES (?, ?) ON CONFLICT (every) DO UPDATE SET at = excluded.at", string(e), now.UnixMicro())
		return err
	})
}

// A debt is a digest that somebody is owed.
type debt struct {
	address string
	since   time.Time
	tries   int
}

// pay sends the digests that are owed. When the internal server cannot be asked the rest waits.
func (d *Digests) pay(ctx context.Context) error {
	for {
		b, err := d.claim(ctx)
		if err != nil || b == nil {
			return err
		}
		if err := d.send(ctx, b); err != nil {
			if !errors.Is(err, ErrRefused) {
				return err
			}
			d.o.Log.Warn("a digest was refused", "to", b.address, "error", err)
		}
	}
}

// claim takes up a digest that is owed; nil when none is. That it was tried is noted before, so
// that whatever breaks after it is not tried again at once.
func (d *Digests) claim(ctx context.Context) (*debt, error) {
	b := &debt{}
	now := d.now()
	var due bool
	err := d.o.DB.Reader().QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM digest_owed WHERE next <= ?)", now.UnixMicro()).Scan(&due)
	if err != nil || !due {
		return nil, err
	}
	var since int64
	err = d.o.DB.Write(ctx, func(tx *store.Tx) error {
		err := tx.Get("SELECT address, since, tries FROM digest_owed WHERE next <= ? ORDER BY next, address LIMIT 1", []any{now.UnixMicro()}, &b.address, &since, &b.tries)
		if err != nil {
			return err
		}
		wait := min(firstRetry<<b.tries, lastRetry)
		b.tries++
		_, err = tx.Exec("UPDATE digest_owed SET tries = ?, next = ? WHERE address = ?", b.tries, now.Add(wait).UnixMicro(), b.address)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	b.since = time.UnixMicro(since).UTC()
	return b, err
}

// send writes and sends one digest, and notes what it told. Somebody for whom there is nothing
// new gets none.
func (d *Digests) send(ctx context.Context, b *debt) error {
	who, err := d.whoAt(ctx, b.address)
	if err != nil {
		return err
	}
	list, more, err := d.news(ctx, who, b.since.Add(-overlap))
	if err != nil {
		return err
	}
	r, err := d.reader(ctx, b.address)
	if err != nil {
		return err
	}
	if d.every(r) == Off || len(list) == 0 {
		return d.paid(ctx, b, nil)
	}
	l, err := d.letter(ctx, who, list, more, b.since)
	if err != nil {
		return err
	}
	err = d.o.Mailer.Post(ctx, l)
	switch {
	case errors.Is(err, ErrRefused), err != nil && b.tries >= maxTries:
		d.o.Counted("digest", "failed")
		return errors.Join(err, d.paid(ctx, b, list))
	case err != nil:
		d.o.Counted("digest", "deferred")
		return err
	}
	d.o.Counted("digest", "sent")
	return d.paid(ctx, b, list)
}

// paid notes that a digest is not owed any more, and what stood in it.
func (d *Digests) paid(ctx context.Context, b *debt, list []*news) error {
	now := d.now().UnixMicro()
	return d.o.DB.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		for _, n := range list {
			if _, err := tx.Exec("INSERT INTO digest_told VALUES (?, ?, ?) ON CONFLICT DO NOTHING", b.address, n.item.ID, now); err != nil {
				return err
			}
		}
		if len(list) > 0 {
			_, err := tx.Exec("INSERT INTO digest_readers VALUES (?, '', '', ?, ?) ON CONFLICT (address) DO UPDATE SET sent = excluded.sent", b.address, now, now)
			if err != nil {
				return err
			}
		}
		_, err := tx.Exec("DELETE FROM digest_owed WHERE address = ?", b.address)
		return err
	})
}

// whoAt is the person whose digests go to an address.
func (d *Digests) whoAt(ctx context.Context, address string) (*people.Actor, error) {
	a, err := parse(address)
	if err != nil {
		return nil, err
	}
	return d.o.People.Owner(ctx, a, netip.Addr{})
}
