package people

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/audit"
	"postern/store"

	"github.com/oklog/ulid/v2"
)

// How long tokens last.
const (
	DefaultTokenLife = 90 * 24 * time.Hour
	MaxTokenLife     = 366 * 24 * time.Hour
	maxTokens        = 50 // of one person
)

// A Token is what a program signs in with, for one person and within some permissions.
type Token struct {
	ID      string       `json:"id"`
	Person  string       `json:"person"` // id
	Login   string       `json:"login"`
	Name    string       `json:"name"`   // what it is for
	Scopes  []Permission `json:"scopes"` // nil: all that the person may
	Made    time.Time    `json:"made"`
	Expires time.Time    `json:"expires"`
	Used    time.Time    `json:"used,omitzero"`
}

// All tells whether it may all that its person may.
func (t *Token) All() bool { return t.Scopes == nil }

// AddToken makes a token for a person and returns its secret, which is kept nowhere. A token makes
// no tokens, so that one with few permissions does not grow.
func (s *Store) AddToken(ctx context.Context, who *Actor, person, name string, scopes []Permission, life time.Duration) (*Token, string, error) {
	t, err := s.mayAddToken(ctx, who, person, name, scopes, life)
	if err != nil {
		return nil, "", s.note(ctx, who, "token-add", person, err)
	}
	secret := newSecret()
	err = s.noted(ctx, who, "token-add", t.ID, func(tx *store.Tx, l *audit.Line) error {
		l.After = asJSON(t)
		var n int
		if err := tx.Get("SELECT count(*) FROM people_tokens WHERE person = ?", []any{t.Person}, &n); err != nil {
			return err
		}
		if n >= maxTokens {
			return &InvalidError{fmt.Sprintf("a person has at most %d tokens: remove one first", maxTokens)}
		}
		_, err := tx.Exec("INSERT INTO people_tokens VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
			t.ID, hashSecret(secret), t.Person, t.Name, scopesJSON(scopes), t.Made.UnixMicro(), t.Expires.UnixMicro())
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return t, TokenPrefix + secret, nil
}

// mayAddToken gives the token that is to be made.
func (s *Store) mayAddToken(ctx context.Context, who *Actor, person, name string, scopes []Permission, life time.Duration) (*Token, error) {
	if who.By == ByToken || person != who.ID && !who.May(ManagePeople) {
		return nil, ErrForbidden
	}
	if life <= 0 || life > MaxTokenLife {
		return nil, &InvalidError{fmt.Sprintf("a token lasts at most %d days", MaxTokenLife/(24*time.Hour))}
	}
	name = strings.TrimSpace(name)
	if name == "" || len(name) > 100 || strings.ContainsFunc(name, unprintable) {
		return nil, &InvalidError{"a token has a name of at most 100 bytes, which says what it is for"}
	}
	r, err := s.find(ctx, "id = ? OR login = ?", person, person)
	if err != nil {
		return nil, err
	}
	return &Token{ID: strings.ToLower(ulid.Make().String()), Person: r.ID, Login: r.Login, Name: name, Scopes: scopes, Made: s.now(), Expires: s.now().Add(life)}, nil
}

func scopesJSON(scopes []Permission) string {
	if scopes == nil {
		return "null"
	}
	names := []string{}
	for _, p := range scopes {
		names = append(names, p.String())
	}
	return string(asJSON(names))
}

// parseScopes reads scopesJSON; what cannot be read gives nothing.
func parseScopes(text string) []Permission {
	if text == "null" {
		return nil
	}
	var names []string
	scopes := []Permission{}
	if json.Unmarshal([]byte(text), &names) != nil {
		return scopes
	}
	for _, n := range names {
		if p, err := ParsePermission(n); err == nil {
			scopes = append(scopes, p)
		}
	}
	return scopes
}

const selectTokens = "SELECT t.id, t.person, p.login, t.name, t.scopes, t.made, t.expires, t.used FROM people_tokens t JOIN people p ON p.id = t.person"

func readToken(row scanner) (*Token, error) {
	t := &Token{}
	var scopes string
	var made, expires, used int64
	if err := row.Scan(&t.ID, &t.Person, &t.Login, &t.Name, &scopes, &made, &expires, &used); err != nil {
		return nil, err
	}
	t.Scopes, t.Made, t.Expires, t.Used = parseScopes(scopes), time.UnixMicro(made).UTC(), time.UnixMicro(expires).UTC(), microTime(used)
	return t, nil
}

// TokenActor tells whom a token of the API stands for; ErrNobody when it is none, or none any more.
func (s *Store) TokenActor(ctx context.Context, token string, from netip.Addr) (*Actor, error) {
	hash := hashToken(token)
	if hash == nil {
		return nil, ErrNobody
	}
	t, err := readToken(s.o.DB.Reader().QueryRowContext(ctx, selectTokens+" WHERE t.hash = ?", hash))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNobody
	}
	if err != nil {
		return nil, fmt.Errorf("people: %w", err)
	}
	now := s.now()
	if !now.Before(t.Expires) {
		return nil, ErrNobody
	}
	r, err := s.find(ctx, "id = ?", t.Person)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrNobody
	}
	if err != nil {
		return nil, err
	}
	if now.Sub(t.Used) >= touchEvery {
		err := s.o.DB.Write(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec("UPDATE people_tokens SET used = ? WHERE id = ?", now.UnixMicro(), t.ID)
			return err
		})
		if err != nil {
			s.o.Log.Warn("people: the last use of a token is not kept", "error", err)
		}
	}
	who := s.actor(r, ByToken, from)
	who.Scopes = t.Scopes
	return who, nil
}

// Tokens gives a person's tokens, without their secrets; "" gives everybody's.
func (s *Store) Tokens(ctx context.Context, who *Actor, person string) ([]*Token, error) {
	if (person == "" || person != who.ID) && !who.May(ManagePeople) {
		return nil, ErrForbidden
	}
	rows, err := s.o.DB.Reader().QueryContext(ctx, selectTokens+" WHERE ? IN ('', t.person) ORDER BY p.login, t.id", person)
	if err != nil {
		return nil, fmt.Errorf("people: %w", err)
	}
	defer rows.Close()
	var all []*Token
	for rows.Next() {
		t, err := readToken(rows)
		if err != nil {
			return nil, fmt.Errorf("people: %w", err)
		}
		all = append(all, t)
	}
	return all, rows.Err()
}

// RemoveToken makes a token worthless.
func (s *Store) RemoveToken(ctx context.Context, who *Actor, id string) error {
	return s.noted(ctx, who, "token-remove", id, func(tx *store.Tx, _ *audit.Line) error {
		var person string
		err := tx.Get("SELECT person FROM people_tokens WHERE id = ?", []any{id}, &person)
		if errors.Is(err, sql.ErrNoRows) || err == nil && !who.keeps(person) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec("DELETE FROM people_tokens WHERE id = ?", id)
		return err
	})
}
