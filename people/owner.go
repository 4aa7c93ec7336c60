package people

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"postern/mail"
)

// Owner is who gets the mail to an address, acting by mail: with the rights of a user, whatever
// else the person may do elsewhere. Whom nobody has entered, or an address that several share, is
// a user with that one address.
func (s *Store) Owner(ctx context.Context, to mail.Address, from netip.Addr) (*Actor, error) {
	to.Local = strings.ToLower(to.Local)
	p := Person{Login: to.String(), Addresses: []mail.Address{to}}
	r, err := s.byAddress(ctx, to)
	if base, _, sub := strings.Cut(to.Local, "+"); errors.Is(err, ErrNotFound) && s.o.Subaddress && sub && base != "" {
		to.Local = base
		p = Person{Login: to.String(), Addresses: []mail.Address{to}}
		r, err = s.byAddress(ctx, to)
	}
	switch {
	case err == nil:
		if p = r.Person; len(p.Addresses) == 0 {
			p.Addresses = []mail.Address{to}
		}
	case !errors.Is(err, ErrNotFound) && !errors.Is(err, errNoLink):
		return nil, err
	}
	p.Role, p.Domains = User, nil
	return &Actor{Person: p, By: ByMail, From: from, Rights: s.o.Rights, Subaddress: s.o.Subaddress}, nil
}
