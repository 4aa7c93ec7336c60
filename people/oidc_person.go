package people

import (
	"context"
	"errors"

	"postern/store"
)

// personOf finds whom the issuer speaks of: who came by it before, else the one person with the
// verified address, else, if that is wanted, a new user.
func (s *Store) personOf(ctx context.Context, c claims, v Visitor) (*record, error) {
	subject := s.openID.o.Issuer + "\n" + c.Subject
	r, err := s.find(ctx, "subject = ?", subject)
	if errors.Is(err, ErrNotFound) {
		r, err = s.firstTime(ctx, c, subject, v)
	}
	if err != nil {
		return nil, err
	}
	if len(s.openID.o.Roles) == 0 {
		return r, nil
	}
	return s.groupRole(ctx, r, s.openID.role(c.groups), v)
}

func (s *Store) firstTime(ctx context.Context, c claims, subject string, v Visitor) (*record, error) {
	a, err := c.address()
	if err != nil {
		return nil, err
	}
	r, err := s.byAddress(ctx, a)
	if errors.Is(err, ErrNotFound) {
		if !s.openID.o.Create || s.o.Internal == nil || !s.o.Internal(a) {
			return nil, errors.New("nobody here has that address")
		}
		return s.newcomer(ctx, a, subject, v)
	}
	if err != nil {
		return nil, err
	}
	return r, s.o.DB.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec("UPDATE people SET subject = ? WHERE id = ? AND subject = ''", subject, r.ID)
		if err == nil && n == 0 {
			return errors.New("the address is that of somebody who comes by another account")
		}
		return err
	})
}

// groupRole gives a person the role of their groups, and back the own one when no group gives any.
func (s *Store) groupRole(ctx context.Context, r *record, role Role, v Visitor) (*record, error) {
	before := r.Role
	err := s.o.DB.Write(ctx, func(tx *store.Tx) error {
		var base Role
		if err := tx.Get("SELECT base_role FROM people WHERE id = ?", []any{r.ID}, &base); err != nil {
			return err
		}
		switch {
		case role == "" && base == "":
			return nil
		case role == "":
			r.Role, base = base, ""
		case base == "":
			r.Role, base = role, r.Role
		default:
			r.Role = role
		}
		if _, err := tx.Exec("UPDATE people SET role = ?, base_role = ? WHERE id = ?", r.Role, base, r.ID); err != nil || r.Role == before {
			return err
		}
		return endSessions(tx, r.ID)
	})
	if err != nil || r.Role == before {
		return r, err
	}
	who := s.actor(r, ByPage, v.From)
	return r, s.note(ctx, who, "person-change", r.Login, map[string]any{"role": before}, map[string]any{"role": r.Role, "by": "groups"}, nil)
}
