package people

import (
	"context"
	"errors"
	"slices"
	"strings"

	"postern/audit"
	"postern/store"
)

// personOf finds whom the issuer speaks of: who came by it before, else the one person with the
// verified address, else, if that is wanted, a new user.
func (s *Store) personOf(ctx context.Context, c claims, v Visitor) (*record, error) {
	r, err := s.find(ctx, "subject = ?", s.openID.subject(c.Subject))
	if errors.Is(err, ErrNotFound) {
		r, err = s.firstTime(ctx, c, v)
	}
	if err != nil {
		return nil, err
	}
	if len(s.openID.o.Roles) == 0 {
		return r, nil
	}
	return s.groupRole(ctx, r, s.openID.role(c.groups), v)
}

// subject is under which name a person of the issuer is kept.
func (x *openID) subject(name string) string { return x.o.Issuer + "\n" + name }

func (s *Store) firstTime(ctx context.Context, c claims, v Visitor) (*record, error) {
	a, err := c.address()
	if err != nil {
		return nil, err
	}
	r, err := s.byAddress(ctx, a)
	if errors.Is(err, ErrNotFound) {
		if !s.openID.o.Create || s.o.Internal == nil || !s.o.Internal(a) {
			return nil, errors.New("nobody here has that address")
		}
		return s.newcomer(ctx, a, s.openID.subject(c.Subject), v)
	}
	if err != nil {
		return nil, err
	}
	if !s.openID.mayTake(r, c.groups) {
		return nil, errors.New("the address is that of an " + string(r.Role) + ", whose account nobody has linked: see web.oidc.link_staff")
	}
	return r, s.link(ctx, s.actor(r, ByPage, v.From), r, c.Subject)
}

// mayTake tells whether the account of somebody who comes for the first time is found by the
// verified address. Whoever gets hold of an address must not become more than a user by it: for
// others an administrator has to have said so, or groups to which such a role is given.
func (x *openID) mayTake(r *record, groups []string) bool {
	given := slices.Index(Roles(), x.role(groups))
	return r.Role == User || x.o.LinkStaff || given >= 0 && given <= slices.Index(Roles(), r.Role)
}

// LinkOpenID says by which name (the claim sub) the issuer speaks of a person; "" for none. The
// person's sessions end.
func (s *Store) LinkOpenID(ctx context.Context, who *Actor, person, subject string) error {
	r, err := s.find(ctx, "id = ? OR login = ?", person, person)
	switch {
	case !who.May(ManagePeople):
		err = ErrForbidden
	case err != nil:
	case s.openID == nil:
		err = &InvalidError{"web.oidc names no issuer"}
	case len(subject) > 255 || strings.ContainsFunc(subject, unprintable):
		err = &InvalidError{"a subject has at most 255 characters, all of which can be seen"}
	}
	if err != nil {
		return s.note(ctx, who, "person-link", person, err)
	}
	return s.link(ctx, who, r, subject)
}

// link is written with its line. Nobody is linked to a subject that another has.
func (s *Store) link(ctx context.Context, who *Actor, r *record, subject string) error {
	return s.noted(ctx, who, "person-link", r.Login, func(tx *store.Tx, l *audit.Line) error {
		l.After = asJSON(map[string]string{"subject": subject})
		if subject == "" {
			_, err := tx.Exec("UPDATE people SET subject = '' WHERE id = ?", r.ID)
			return errors.Join(err, endSessions(tx, r.ID))
		}
		var n int
		key := s.openID.subject(subject)
		if err := tx.Get("SELECT count(*) FROM people WHERE subject = ? AND id != ?", []any{key, r.ID}, &n); err != nil {
			return err
		}
		if n > 0 {
			return &InvalidError{"somebody else is linked to that subject"}
		}
		changed, err := tx.Exec("UPDATE people SET subject = ? WHERE id = ? AND (subject = '' OR ?)", key, r.ID, who.ID != r.ID)
		if err == nil && changed == 0 {
			err = &InvalidError{"the address is that of somebody who comes by another account"}
		}
		if err != nil || who.ID == r.ID {
			return err
		}
		return endSessions(tx, r.ID)
	})
}

// groupRole gives a person the role of their groups, and back the own one when no group gives any.
func (s *Store) groupRole(ctx context.Context, r *record, role Role, v Visitor) (*record, error) {
	var base Role
	err := s.o.DB.Reader().QueryRowContext(ctx, "SELECT base_role FROM people WHERE id = ?", r.ID).Scan(&base)
	if err != nil {
		return nil, err
	}
	before, own := r.Role, base
	switch {
	case role == "" && base == "":
		return r, nil
	case role == "":
		role, base = base, ""
	case base == "":
		base = r.Role
	}
	if role == before && base == own {
		return r, nil
	}
	err = s.noted(ctx, s.actor(r, ByPage, v.From), "person-change", r.Login, func(tx *store.Tx, l *audit.Line) error {
		l.Before, l.After = asJSON(map[string]any{"role": before}), asJSON(map[string]any{"role": role, "by": "groups"})
		n, err := tx.Exec("UPDATE people SET role = ?, base_role = ? WHERE id = ? AND role = ? AND base_role = ?", role, base, r.ID, before, own)
		if err == nil && n == 0 {
			err = errors.New("the account was changed meanwhile")
		}
		if err != nil || role == before {
			return err
		}
		return endSessions(tx, r.ID)
	})
	if err != nil {
		return nil, err
	}
	r.Role = role
	return r, nil
}
