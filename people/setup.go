package people

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"postern/audit"
	"postern/store"
)

// SetUpFile holds, in the data folder, the link by which the first administrator is made.
const SetUpFile = "setup-link"

const setUpLife = 24 * time.Hour

// ErrLink is a link that does not hold: it is used up, too old, or was never given.
var ErrLink = errors.New("this link does not hold any more")

// SetUpLink gives the address under which the first administrator is made, while there is none; ""
// as soon as there is one. It holds for a day and works once; a start after that makes another.
// The one copy of it is in SetUpFile, for the owner of the data folder alone.
func (s *Store) SetUpLink(ctx context.Context) (string, error) {
	file := filepath.Join(s.o.DB.Dir(), SetUpFile)
	if done, err := s.isSetUp(ctx); err != nil || done {
		return "", errors.Join(err, s.dropSetUp(ctx, file, err == nil))
	}
	if b, err := os.ReadFile(file); err == nil {
		_, token, _ := strings.Cut(strings.TrimSpace(string(b)), "token=")
		if s.SetUpHolds(ctx, token) == nil {
			return s.setUpURL(token), nil
		}
	}
	token, now := newSecret(), s.now()
	err := s.o.DB.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec("DELETE FROM people_links WHERE kind = 'set-up'"); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO people_links VALUES (?, 'set-up', '', x'', x'', 0, ?, ?)", hashSecret(token), now.UnixMicro(), now.Add(setUpLife).UnixMicro())
		return err
	})
	if err == nil {
		err = writePrivate(file, s.setUpURL(token)+"\n")
	}
	if err != nil {
		return "", fmt.Errorf("set-up link: %w", err)
	}
	return s.setUpURL(token), nil
}

func (s *Store) setUpURL(token string) string { return s.o.Origin + "/setup?token=" + token }

// writePrivate writes a file that its owner alone may read, in the place of whatever is there.
func writePrivate(file, text string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// isSetUp tells whether there is an administrator.
func (s *Store) isSetUp(ctx context.Context) (bool, error) {
	var n int
	err := s.o.DB.Reader().QueryRowContext(ctx, "SELECT count(*) FROM people WHERE role = 'admin'").Scan(&n)
	if err != nil {
		return false, fmt.Errorf("people: %w", err)
	}
	return n > 0, nil
}

// dropSetUp removes what is left of a set-up.
func (s *Store) dropSetUp(ctx context.Context, file string, done bool) error {
	if _, err := os.Lstat(file); !done || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := s.o.DB.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("DELETE FROM people_links WHERE kind = 'set-up'")
		return err
	})
	return errors.Join(err, os.Remove(file))
}

// SetUpHolds tells whether a set-up link may be used: nil, or ErrLink.
func (s *Store) SetUpHolds(ctx context.Context, token string) error {
	hash := hashSecret(token)
	if hash == nil {
		return ErrLink
	}
	var n int
	err := s.o.DB.Reader().QueryRowContext(ctx, "SELECT count(*) FROM people_links WHERE hash = ? AND kind = 'set-up' AND expires > ? AND NOT EXISTS (SELECT 1 FROM people WHERE role = 'admin')",
		hash, s.now().UnixMicro()).Scan(&n)
	if err != nil {
		return fmt.Errorf("people: %w", err)
	}
	if n != 1 {
		return ErrLink
	}
	return nil
}

// SetUp makes the first administrator and signs the browser in. The link is worth nothing then.
func (s *Store) SetUp(ctx context.Context, token, login, name, password string, v Visitor, old string) (*Grant, error) {
	p := Person{Login: login, Name: name, Role: Admin}
	who := &Actor{Person: Person{Login: "set-up link"}, By: ByPage, From: v.From}
	if err := s.setUp(ctx, who, token, &p, password); err != nil {
		return nil, err
	}
	if err := os.Remove(filepath.Join(s.o.DB.Dir(), SetUpFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.o.Log.Warn("people: the set-up link is used up, but its file is still there", "error", err)
	}
	r, err := s.find(ctx, "id = ?", p.ID)
	if err != nil {
		return nil, err
	}
	g, err := s.begin(ctx, r, "set-up", s.stage(r), v, old)
	if err != nil || g.Stage != Done {
		return g, err
	}
	return s.admit(ctx, g, r.Login, "set-up", v)
}

func (s *Store) setUp(ctx context.Context, who *Actor, token string, p *Person, password string) error {
	if err := s.SetUpHolds(ctx, token); err != nil {
		return err // anybody may try one: a line for each would fill the log
	}
	err := p.tidy()
	if err == nil {
		err = checkPassword(password)
	}
	var hash string
	if err == nil {
		hash, err = s.passwords.hash(ctx, password)
	}
	if err != nil {
		return s.note(ctx, who, "set-up", p.Login, err)
	}
	return s.noted(ctx, who, "set-up", p.Login, func(tx *store.Tx, l *audit.Line) error {
		n, err := tx.Exec("DELETE FROM people_links WHERE hash = ? AND kind = 'set-up' AND expires > ? AND NOT EXISTS (SELECT 1 FROM people WHERE role = 'admin')",
			hashSecret(token), s.now().UnixMicro())
		if err != nil {
			return err
		}
		if n != 1 {
			return ErrLink
		}
		l.After = asJSON(public(p))
		return s.insert(tx, p, hash, "")
	})
}
