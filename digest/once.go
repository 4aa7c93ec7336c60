package digest

import (
	"context"
	"fmt"
	"time"

	"postern/mail"
)

func parse(address string) (mail.Address, error) {
	a, err := mail.ParseAddress(address, true)
	if err != nil {
		return a, fmt.Errorf("%q: %w", address, err)
	}
	return a, nil
}

// Show writes the digest that somebody would get now, of what was held since a moment and stands
// in none yet; nil when there is nothing. Nothing is sent, and nothing noted.
func (d *Digests) Show(ctx context.Context, to mail.Address, since time.Time) (*mail.Letter, error) {
	who, err := d.whoAt(ctx, to.String())
	if err != nil {
		return nil, err
	}
	if d.address(who) == "" {
		return nil, ErrNoAddress
	}
	list, more, err := d.news(ctx, who, since)
	if err != nil {
		return nil, err
	}
	return d.letter(ctx, who, list, more, since)
}

// Send sends it at once, whatever interval the person has. It tells how many messages were new;
// when there were none, nothing is sent.
func (d *Digests) Send(ctx context.Context, to mail.Address, since time.Time) (n int, err error) {
	who, err := d.whoAt(ctx, to.String())
	if err != nil {
		return 0, err
	}
	address := d.address(who)
	if address == "" {
		return 0, ErrNoAddress
	}
	list, more, err := d.news(ctx, who, since)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	l, err := d.letter(ctx, who, list, more, since)
	if err != nil {
		return 0, err
	}
	if err := d.o.Mailer.Post(ctx, l); err != nil {
		return 0, err
	}
	return len(list), d.paid(ctx, &debt{address: address}, list)
}
