package people

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/audit"
	"postern/store"
)

// A WaitError says that guesses come too fast: nothing was looked at.
type WaitError struct{ Wait time.Duration }

func (e *WaitError) Error() string {
	return fmt.Sprintf("too many tries: wait %s", max(e.Wait, time.Second).Round(time.Second))
}

// Ways are how people may sign in here.
type Ways struct {
	Mail      bool // by a mailed link
	OpenID    bool // by OpenID Connect
	AdminTOTP bool // administrators need a second factor
}

// Ways tells them.
func (s *Store) Ways() Ways {
	return Ways{Mail: s.o.MailSignIn && s.o.Mailer != nil, OpenID: s.openID != nil, AdminTOTP: s.o.AdminTOTP}
}

// SignIn begins a session by login and password; old is the cookie that the browser had, which
// ends. The errors are ErrSignIn whatever was wrong, WaitError and ErrBusy.
func (s *Store) SignIn(ctx context.Context, login, password string, v Visitor, old string) (*Grant, error) {
	login = strings.ToLower(strings.TrimSpace(login))
	r, err := s.checkSignIn(ctx, login, password, v)
	if err != nil {
		return nil, s.noteSignIn(ctx, login, "password", v, err)
	}
	g, err := s.begin(ctx, r, "password", s.stage(r), v, old)
	if err != nil {
		return nil, s.noteSignIn(ctx, login, "password", v, err)
	}
	if g.Stage != Done {
		return g, nil // the line is written when the second factor is there, or wrong
	}
	return s.admit(ctx, g, login, "password", v)
}

// admit notes that somebody is signed in. Nobody is when that cannot be noted.
func (s *Store) admit(ctx context.Context, g *Grant, login, how string, v Visitor) (*Grant, error) {
	if err := s.noteSignIn(ctx, login, how, v, nil); err != nil {
		return nil, err
	}
	return g, nil
}

// noteSignIn notes a sign-in, or a try. Tries that were not looked at are too many to note.
func (s *Store) noteSignIn(ctx context.Context, login, how string, v Visitor, err error) error {
	var wait *WaitError
	if errors.As(err, &wait) || errors.Is(err, ErrBusy) {
		return err
	}
	who := &Actor{By: ByPage, From: v.From}
	if _, unknown := s.find(ctx, "login = ?", login); unknown == nil {
		who.Login = login // what is no login may be a password in the wrong field: it is not kept
	}
	return s.note(ctx, who, signInAct, how, err)
}

// checkSignIn compares the password. One hash is computed for every try that is looked at.
func (s *Store) checkSignIn(ctx context.Context, login, password string, v Visitor) (*record, error) {
	r, err := s.find(ctx, "login = ?", login)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	kept := ""
	if r != nil {
		kept = r.password
	}
	keys, wait := s.allow(ctx, r, login, v)
	if wait > 0 {
		return nil, &WaitError{wait}
	}
	ok, err := s.passwords.check(ctx, password, kept)
	if err != nil {
		keys.give(s.now())
		return nil, err
	}
	if !ok || r == nil {
		return nil, ErrSignIn
	}
	keys.give(s.now())
	if s.passwords.stale(kept) {
		s.renew(ctx, r, password)
	}
	return r, nil
}

// tried are the limits that a try was counted against.
type tried []struct {
	l   *limiter
	key string
}

func (t tried) give(now time.Time) {
	for _, x := range t {
		x.l.give(x.key, now)
	}
}

// allow counts a try. Who tries from where that person has signed in before is counted apart, so
// that guesses from elsewhere lock nobody out.
func (s *Store) allow(ctx context.Context, r *record, login string, v Visitor) (tried, time.Duration) {
	here, now := place(v.From), s.now()
	if r != nil && s.knows(ctx, r.ID, here) {
		key := login + "\x00" + here
		if wait, ok := s.accounts.take(key, now); !ok {
			return nil, wait
		}
		return tried{{s.accounts, key}}, 0
	}
	if wait, ok := s.clients.take(here, now); !ok {
		return nil, wait
	}
	if wait, ok := s.accounts.take(login, now); !ok {
		return nil, wait // the client's try is spent: it was for nothing, as the next will be
	}
	return tried{{s.clients, here}, {s.accounts, login}}, 0
}

func (s *Store) knows(ctx context.Context, person, place string) bool {
	var n int
	err := s.o.DB.Reader().QueryRowContext(ctx, "SELECT count(*) FROM people_places WHERE person = ? AND place = ?", person, place).Scan(&n)
	return err == nil && n > 0
}

// renew keeps a password at the cost that is asked for now.
func (s *Store) renew(ctx context.Context, r *record, password string) {
	hash, err := s.passwords.hash(ctx, password)
	if err == nil {
		err = s.o.DB.Write(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec("UPDATE people SET password = ? WHERE id = ? AND password = ?", hash, r.ID, r.password)
			return err
		})
	}
	if err != nil {
		s.o.Log.Warn("people: a password keeps its old form", "error", err)
	}
}

// stage is what a sign-in still lacks after the first proof.
func (s *Store) stage(r *record) Stage {
	switch {
	case r.totp != "":
		return Code
	case r.Role == Admin && s.o.AdminTOTP:
		return Enrol
	}
	return Done
}

// SetPassword gives a person another password and ends all of the person's sessions. For one's own
// the old one is needed; an empty new one takes the password away, which only others may do.
func (s *Store) SetPassword(ctx context.Context, who *Actor, person, old, password string) error {
	login := s.loginOf(ctx, person)
	r, hash, err := s.maySetPassword(ctx, who, person, old, password)
	if err != nil {
		return s.note(ctx, who, "password", login, err)
	}
	return s.noted(ctx, who, "password", login, func(tx *store.Tx, _ *audit.Line) error {
		n, err := tx.Exec("UPDATE people SET password = ? WHERE id = ?", hash, r.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrNotFound
		}
		return endSessions(tx, r.ID)
	})
}

func (s *Store) maySetPassword(ctx context.Context, who *Actor, person, old, password string) (r *record, hash string, err error) {
	own := person == who.ID
	if !own && !who.May(ManagePeople) || who.By == ByToken && own {
		return nil, "", ErrForbidden
	}
	if r, err = s.find(ctx, "id = ?", person); err != nil {
		return nil, "", err
	}
	if own {
		if password == "" {
			return nil, "", &InvalidError{"a new password is missing"}
		}
		if err := s.confirm(ctx, r, old, Visitor{From: who.From}); err != nil {
			return nil, "", err
		}
	}
	hash, err = s.newPassword(ctx, password)
	return r, hash, err
}

// confirm asks for the password again. Who has none, and came in by a link, has proven enough.
func (s *Store) confirm(ctx context.Context, r *record, password string, v Visitor) error {
	if r.password == "" {
		return nil
	}
	_, err := s.checkSignIn(ctx, r.Login, password, v)
	return err
}
