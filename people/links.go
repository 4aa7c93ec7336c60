package people

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"

	"postern/audit"
	"postern/mail"
	"postern/store"
)

// Signing in by a mailed link. What reads mail before people do opens links, and some of it sends
// the forms that it finds; so a link signs in only the browser that asked for it, which has a
// cookie that nobody else has. Elsewhere the link does nothing; who reads mail on another device
// types the code of the mail into the browser that asked.
const (
	linkLife  = 15 * time.Minute
	linkTries = 5      // of codes, for one link
	maxLinks  = 10_000 // that wait at a time
	codeSpace = 1e8    // eight digits
	sendFor   = 30 * time.Second
	sendMost  = 8 // at a time; more are not sent
)

// AskLink sends a link to an address if somebody who has it may sign in that way, and gives the
// cookie that the browser must keep. The answer is the same and as quick for every address.
func (s *Store) AskLink(ctx context.Context, address string, v Visitor) (cookie string, err error) {
	if !s.o.MailSignIn {
		return "", ErrForbidden
	}
	to, err := mail.ParseAddress(strings.ToLower(strings.TrimSpace(address)), true)
	if err != nil {
		return "", &InvalidError{"that is no mail address"}
	}
	here, now := place(v.From), s.now()
	if wait, ok := s.asksBy.take(here, now); !ok {
		return "", &WaitError{wait}
	}
	r, err := s.linked(ctx, to)
	send := err == nil && s.o.Mailer != nil && s.o.Internal != nil && s.o.Internal(to)
	if err != nil && !errors.Is(err, errNoLink) {
		return "", err
	}
	key := to.String()
	if r != nil && s.knows(ctx, r.ID, here) {
		key += "\x00" + here
	}
	if _, ok := s.asks.take(key, now); !ok {
		send = false // silently: the mails of before are there
	}
	browser, token, code := newSecret(), newSecret(), newCode()
	err = s.o.DB.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec("DELETE FROM people_links WHERE expires < ? OR hash IN (SELECT hash FROM people_links WHERE kind = 'mail' ORDER BY made DESC LIMIT -1 OFFSET ?)",
			now.UnixMicro(), maxLinks); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO people_links VALUES (?, 'mail', ?, ?, ?, 0, ?, ?)",
			hashSecret(token), to.String(), hashSecret(browser), hashCode(code, browser), now.UnixMicro(), now.Add(linkLife).UnixMicro())
		return err
	})
	if err != nil {
		return "", err
	}
	if send {
		s.send(to, token, code, v)
	}
	return browser, nil
}

// errNoLink says that whoever has an address signs in otherwise.
var errNoLink = errors.New("no sign-in by link")

// linked finds who signs in by a link to an address; nobody (nil) is made when the link is used.
func (s *Store) linked(ctx context.Context, to mail.Address) (*record, error) {
	r, err := s.byAddress(ctx, to)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err == nil && (r.Role != User || r.password != "") {
		return nil, errNoLink // who has a password, or more to say, needs more than a mailbox
	}
	return r, err
}

// byAddress finds the one person with a login or an address. Of several that share it, nobody.
func (s *Store) byAddress(ctx context.Context, a mail.Address) (*record, error) {
	r, err := s.find(ctx, "login = ?", a.String())
	if !errors.Is(err, ErrNotFound) {
		return r, err
	}
	var n int
	if err := s.o.DB.Reader().QueryRowContext(ctx, "SELECT count(*) FROM people_addresses WHERE address = ?", a.String()).Scan(&n); err != nil {
		return nil, fmt.Errorf("people: %w", err)
	}
	if n > 1 {
		return nil, errNoLink
	}
	return s.find(ctx, "id = (SELECT person FROM people_addresses WHERE address = ?)", a.String())
}

func newCode() string {
	n, err := rand.Int(rand.Reader, big.NewInt(codeSpace))
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return fmt.Sprintf("%08d", n)
}

// hashCode ties a code to its browser: with the database alone nobody finds it out.
func hashCode(code, browser string) []byte {
	h := sha256.Sum256([]byte(strings.NewReplacer(" ", "", "-", "").Replace(code) + "\n" + browser))
	return h[:]
}

// send mails a link, behind the answer. Close waits for it.
func (s *Store) send(to mail.Address, token, code string, v Visitor) {
	select {
	case s.sending <- struct{}{}:
	default:
		s.o.Log.Warn("people: too many links are being sent at once; one is not")
		return
	}
	text := "Somebody, most likely you, wants to sign in to Postern and see the mail that is held for " + to.String() + ".\n\n" +
		"In the same browser open\n\n  " + s.o.Origin + "/sign-in/link?token=" + url.QueryEscape(token) + "\n\n" +
		"or type there the code  " + code[:4] + " " + code[4:] + "\n\n" +
		"Both hold for 15 minutes, work once, and only in the browser in which it was asked for" + fromWords(v) + ".\n" +
		"If that was not you, do nothing, and tell nobody the code.\n"
	s.sends.Go(func() {
		defer func() { <-s.sending }()
		ctx, cancel := context.WithTimeout(context.Background(), sendFor)
		defer cancel()
		if err := s.o.Mailer.Send(ctx, to, "Sign in to Postern", text); err != nil {
			s.o.Log.Info("people: a link was not sent", "error", err)
		}
	})
}

func fromWords(v Visitor) string {
	if !v.From.IsValid() {
		return ""
	}
	return " (at " + v.From.String() + ")"
}

// Close waits for mails under way, half a minute at most. Call it before the database is closed.
func (s *Store) Close() {
	s.sends.Wait()
	if s.openID != nil {
		s.openID.client.CloseIdleConnections()
	}
}

// LinkHere tells whether a link holds in the browser with this cookie: nil, or ErrLink.
func (s *Store) LinkHere(ctx context.Context, token, cookie string) error {
	hash, browser := hashSecret(token), hashSecret(cookie)
	if hash == nil || browser == nil {
		return ErrLink
	}
	var n int
	err := s.o.DB.Reader().QueryRowContext(ctx, "SELECT count(*) FROM people_links WHERE hash = ? AND kind = 'mail' AND browser = ? AND expires > ?",
		hash, browser, s.now().UnixMicro()).Scan(&n)
	if err != nil {
		return fmt.Errorf("people: %w", err)
	}
	if n != 1 {
		return ErrLink
	}
	return nil
}

// UseLink signs in the browser that asked, by the token of the link or by the code of the mail.
// The errors are ErrLink, ErrSignIn for a wrong code, and WaitError.
func (s *Store) UseLink(ctx context.Context, token, code, cookie string, v Visitor, old string) (*Grant, error) {
	if !s.o.MailSignIn {
		return nil, ErrForbidden
	}
	address, err := s.redeem(ctx, token, code, cookie)
	if errors.Is(err, ErrLink) {
		return nil, err
	}
	if err != nil {
		return nil, s.noteSignIn(ctx, "", "link", v, err)
	}
	r, err := s.linked(ctx, address)
	if errors.Is(err, errNoLink) {
		return nil, s.noteSignIn(ctx, address.String(), "link", v, ErrSignIn)
	}
	if err == nil && r == nil && (s.o.Internal == nil || !s.o.Internal(address)) {
		return nil, s.noteSignIn(ctx, "", "link", v, ErrSignIn)
	}
	if err == nil && r == nil {
		r, err = s.newcomer(ctx, address, "", v)
	}
	if err != nil {
		return nil, err
	}
	g, err := s.begin(ctx, r, "link", s.stage(r), v, old)
	if err != nil || g.Stage != Done {
		return g, err
	}
	return s.admit(ctx, g, r.Login, "link", v)
}

// redeem uses up a link and gives its address.
func (s *Store) redeem(ctx context.Context, token, code, cookie string) (to mail.Address, err error) {
	browser := hashSecret(cookie)
	if browser == nil {
		return to, ErrLink
	}
	wrong := false
	err = s.o.DB.Write(ctx, func(tx *store.Tx) error {
		var hash, kept []byte
		var address string
		var tries int
		err := tx.Get("SELECT hash, address, code, tries FROM people_links WHERE kind = 'mail' AND browser = ? AND expires > ?", []any{browser, s.now().UnixMicro()}, &hash, &address, &kept, &tries)
		if errors.Is(err, sql.ErrNoRows) || err == nil && tries >= linkTries {
			return ErrLink
		}
		if err != nil {
			return err
		}
		ok := subtle.ConstantTimeCompare(hash, hashSecret(token)) == 1
		if token == "" {
			ok = subtle.ConstantTimeCompare(kept, hashCode(code, cookie)) == 1
		}
		if !ok {
			wrong = true // it counts, so this must not be undone
			_, err := tx.Exec("UPDATE people_links SET tries = tries + 1 WHERE hash = ?", hash)
			return err
		}
		if to, err = mail.ParseAddress(address, true); err != nil {
			return err
		}
		_, err = tx.Exec("DELETE FROM people_links WHERE kind = 'mail' AND address = ?", address)
		return err
	})
	if err == nil && wrong {
		err = ErrSignIn
	}
	return to, err
}

// newcomer makes a user of somebody who has proven to have an address inside.
func (s *Store) newcomer(ctx context.Context, a mail.Address, subject string, v Visitor) (*record, error) {
	p := Person{Login: a.String(), Role: User, Addresses: []mail.Address{a}}
	who := &Actor{Person: p, By: ByPage, From: v.From}
	if err := p.tidy(); err != nil {
		return nil, s.note(ctx, who, "person-add", p.Login, err)
	}
	err := s.noted(ctx, who, "person-add", p.Login, func(tx *store.Tx, l *audit.Line) error {
		l.After = asJSON(public(&p))
		return s.insert(tx, &p, "", subject)
	})
	if err != nil {
		return nil, err
	}
	return s.find(ctx, "id = ?", p.ID)
}
