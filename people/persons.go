package people

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/audit"
	"postern/store"

	"github.com/oklog/ulid/v2"
)

// A record is a person with what others must not see.
type record struct {
	Person
	password string
	totp     string
	step     int64 // of the last code that was taken
}

const selectPeople = `SELECT id, login, name, role, domains, password, totp, totp_step, made, seen,
	(SELECT json_group_array(address) FROM (SELECT address FROM people_addresses WHERE person = people.id ORDER BY n)) FROM people`

// A scanner is a row.
type scanner interface{ Scan(dest ...any) error }

func readRecord(row scanner) (*record, error) {
	r := &record{}
	var domains, addresses string
	var made, seen int64
	err := row.Scan(&r.ID, &r.Login, &r.Name, &r.Role, &domains, &r.password, &r.totp, &r.step, &made, &seen, &addresses)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("people: %w", err)
	}
	if err := errors.Join(json.Unmarshal([]byte(domains), &r.Domains), json.Unmarshal([]byte(addresses), &r.Addresses)); err != nil {
		return nil, fmt.Errorf("people: %s: %w", r.ID, err) // fewer domains would mean a wider sight: nobody comes in with half a row
	}
	r.Password, r.TOTP = r.password != "", r.totp != ""
	r.Made, r.Seen = time.UnixMicro(made).UTC(), microTime(seen)
	return r, nil
}

func microTime(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.UnixMicro(t).UTC()
}

// find reads the person for whom a condition holds; ErrNotFound when there is none.
func (s *Store) find(ctx context.Context, where string, args ...any) (*record, error) {
	return readRecord(s.o.DB.Reader().QueryRowContext(ctx, selectPeople+" WHERE "+where, args...))
}

// List gives all people in the order of their logins.
func (s *Store) List(ctx context.Context, who *Actor) ([]*Person, error) {
	if !who.May(ManagePeople) {
		return nil, ErrForbidden
	}
	rows, err := s.o.DB.Reader().QueryContext(ctx, selectPeople+" ORDER BY login")
	if err != nil {
		return nil, fmt.Errorf("people: %w", err)
	}
	defer rows.Close()
	var all []*Person
	for rows.Next() {
		r, err := readRecord(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, &r.Person)
	}
	return all, rows.Err()
}

// Get gives one person by id or login. Everybody may look at themselves.
func (s *Store) Get(ctx context.Context, who *Actor, id string) (*Person, error) {
	if !who.May(ManagePeople) && id != who.ID && id != who.Login {
		return nil, ErrForbidden
	}
	r, err := s.find(ctx, "id = ? OR login = ?", id, strings.ToLower(id))
	if err != nil {
		return nil, err
	}
	return &r.Person, nil
}

// Add makes a person. Without a password they sign in by a link or by OpenID Connect.
func (s *Store) Add(ctx context.Context, who *Actor, p Person, password string) (*Person, error) {
	hash, err := s.mayAdd(ctx, who, &p, password)
	if err != nil {
		return nil, s.note(ctx, who, "person-add", p.Login, err)
	}
	err = s.noted(ctx, who, "person-add", p.Login, func(tx *store.Tx, l *audit.Line) error {
		l.After = asJSON(public(&p))
		return s.insert(tx, &p, hash, "")
	})
	if err != nil {
		return nil, err
	}
	return &p, nil
}

func (s *Store) mayAdd(ctx context.Context, who *Actor, p *Person, password string) (hash string, err error) {
	if !who.May(ManagePeople) {
		return "", ErrForbidden
	}
	if err := p.tidy(); err != nil {
		return "", err
	}
	return s.newPassword(ctx, password)
}

// newPassword is the hash of a new one; "" for none.
func (s *Store) newPassword(ctx context.Context, password string) (string, error) {
	if password == "" {
		return "", nil
	}
	if err := checkPassword(password); err != nil {
		return "", err
	}
	return s.passwords.hash(ctx, password)
}

// insert writes a new person and sets its id.
func (s *Store) insert(tx *store.Tx, p *Person, hash, subject string) error {
	p.ID, p.Made, p.Password = strings.ToLower(ulid.Make().String()), s.now(), hash != ""
	if err := free(tx, p); err != nil {
		return err
	}
	if _, err := tx.Exec("INSERT INTO people (id, login, name, role, domains, password, totp, totp_step, subject, made, seen) VALUES (?, ?, ?, ?, ?, ?, '', 0, ?, ?, 0)",
		p.ID, p.Login, p.Name, p.Role, domainsJSON(p), hash, subject, p.Made.UnixMicro()); err != nil {
		return err
	}
	return writeAddresses(tx, p)
}

// free tells whether nobody else has the login.
func free(tx *store.Tx, p *Person) error {
	var n int
	if err := tx.Get("SELECT count(*) FROM people WHERE login = ? AND id != ?", []any{p.Login, p.ID}, &n); err != nil {
		return err
	}
	if n > 0 {
		return ErrTaken
	}
	return nil
}

func writeAddresses(tx *store.Tx, p *Person) error {
	if _, err := tx.Exec("DELETE FROM people_addresses WHERE person = ?", p.ID); err != nil {
		return err
	}
	for i, a := range p.Addresses {
		if _, err := tx.Exec("INSERT INTO people_addresses VALUES (?, ?, ?)", p.ID, i, a.String()); err != nil {
			return err
		}
	}
	return nil
}

func domainsJSON(p *Person) string {
	if len(p.Domains) == 0 {
		return "[]"
	}
	return string(asJSON(p.Domains))
}

// Change gives a person (by ID) another login, name, role, addresses and domains. Another role or
// other domains end the person's sessions.
func (s *Store) Change(ctx context.Context, who *Actor, p Person) (*Person, error) {
	err := p.tidy()
	if !who.May(ManagePeople) {
		err = ErrForbidden
	}
	if err != nil {
		return nil, s.note(ctx, who, "person-change", p.ID, err)
	}
	err = s.noted(ctx, who, "person-change", p.ID, func(tx *store.Tx, l *audit.Line) error {
		old, err := change(tx, &p)
		if err == nil {
			l.Object, l.Before, l.After = old.Login, asJSON(public(&old.Person)), asJSON(public(&p))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &p, nil
}

func change(tx *store.Tx, p *Person) (*record, error) {
	old, err := get(tx, p.ID)
	if err != nil {
		return nil, err
	}
	p.Password, p.TOTP, p.Made, p.Seen = old.Password, old.TOTP, old.Made, old.Seen
	if err := free(tx, p); err != nil {
		return nil, err
	}
	if _, err := tx.Exec("UPDATE people SET login = ?, name = ?, role = ?, domains = ?, base_role = '' WHERE id = ?", p.Login, p.Name, p.Role, domainsJSON(p), p.ID); err != nil {
		return nil, err
	}
	if err := writeAddresses(tx, p); err != nil {
		return nil, err
	}
	if p.Role != old.Role || domainsJSON(p) != domainsJSON(&old.Person) {
		if err := endSessions(tx, p.ID); err != nil {
			return nil, err
		}
	}
	return old, adminLeft(tx, &old.Person)
}

// get reads a person inside a transaction.
func get(tx *store.Tx, id string) (*record, error) {
	rows, err := tx.Query(selectPeople+" WHERE id = ?", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, errors.Join(rows.Err(), ErrNotFound)
	}
	return readRecord(rows)
}

// adminLeft refuses a change of old that leaves nobody who may change it back.
func adminLeft(tx *store.Tx, old *Person) error {
	if old.Role != Admin || len(old.Domains) > 0 {
		return nil
	}
	var n int
	if err := tx.Get("SELECT count(*) FROM people WHERE role = 'admin' AND domains = '[]'", nil, &n); err != nil {
		return err
	}
	if n == 0 {
		return ErrLastAdmin
	}
	return nil
}

// Remove removes a person with all sessions and tokens.
func (s *Store) Remove(ctx context.Context, who *Actor, id string) error {
	if !who.May(ManagePeople) {
		return s.note(ctx, who, "person-remove", id, ErrForbidden)
	}
	return s.noted(ctx, who, "person-remove", id, func(tx *store.Tx, l *audit.Line) error {
		old, err := get(tx, id)
		if err != nil {
			return err
		}
		l.Object, l.Before = old.Login, asJSON(public(&old.Person))
		if _, err := tx.Exec("DELETE FROM people WHERE id = ?", id); err != nil { // the rest goes along
			return err
		}
		return adminLeft(tx, &old.Person)
	})
}

// keeps tells whether sessions and tokens of a person are the actor's to end: one's own, unless one
// comes with a token that is for something else.
func (a *Actor) keeps(person string) bool {
	return a.May(ManagePeople) || person == a.ID && (a.By != ByToken || a.Scopes == nil)
}

// loginOf names a person in the log of acts; one that is not there by the id that was given.
func (s *Store) loginOf(ctx context.Context, id string) string {
	if r, err := s.find(ctx, "id = ?", id); err == nil {
		return r.Login
	}
	return id
}

// public is what the log of acts keeps of a person; nil of none.
func public(p *Person) any {
	if p == nil {
		return nil
	}
	return map[string]any{"login": p.Login, "name": p.Name, "role": p.Role, "addresses": p.Addresses, "domains": p.Domains}
}
