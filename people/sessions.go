package people

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"postern/audit"
	"postern/store"
)

// How long a session lasts.
const (
	idleAdmin   = 30 * time.Minute
	idleOthers  = 12 * time.Hour
	longest     = 24 * time.Hour
	unfinished  = 10 * time.Minute // between password and second factor
	touchEvery  = time.Minute      // a session's last use is kept no more exactly
	maxSessions = 20               // of one person; the oldest go first
	maxAgent    = 200
)

// A Stage is how far a sign-in has come.
type Stage string

// The stages.
const (
	Done  Stage = ""
	Code  Stage = "code"  // the second factor is missing
	Enrol Stage = "enrol" // a second factor has to be set up first
)

// A Session is one browser that is signed in, or about to be.
type Session struct {
	ID     string    `json:"id"` // names it, and is of no use to sign in
	Stage  Stage     `json:"-"`
	How    string    `json:"how"` // password link oidc set-up
	Made   time.Time `json:"made"`
	Seen   time.Time `json:"seen"`
	Until  time.Time `json:"until"` // at the latest
	Client string    `json:"client"`
	Agent  string    `json:"agent"`
	Own    bool      `json:"own"` // the one that asks
	totp   string    // a shared secret that waits for its first code
}

// Visitor is where a request comes from.
type Visitor struct {
	From  netip.Addr
	Agent string // as the browser calls itself
}

// Grant is what a browser gets to keep.
type Grant struct {
	Cookie string // the session's secret
	Stage  Stage
	Who    *Actor // nil until Stage is Done
}

// begin makes a session, and ends the one that the browser had.
func (s *Store) begin(ctx context.Context, r *record, how string, stage Stage, v Visitor, old string) (*Grant, error) {
	secret, now := newSecret(), s.now()
	err := s.o.DB.Write(ctx, func(tx *store.Tx) error {
		if hash := hashSecret(old); hash != nil {
			if _, err := tx.Exec("DELETE FROM people_sessions WHERE hash = ?", hash); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(`DELETE FROM people_sessions WHERE made < ? OR hash IN
			(SELECT hash FROM people_sessions WHERE person = ? ORDER BY seen DESC LIMIT -1 OFFSET ?)`, now.Add(-longest).UnixMicro(), r.ID, maxSessions-1); err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT INTO people_sessions VALUES (?, ?, ?, ?, '', ?, ?, ?, ?)",
			hashSecret(secret), r.ID, string(stage), how, now.UnixMicro(), now.UnixMicro(), v.From.String(), store.Clean(v.Agent, maxAgent)); err != nil {
			return err
		}
		if stage != Done {
			return nil
		}
		if _, err := tx.Exec("UPDATE people SET seen = ? WHERE id = ?", now.UnixMicro(), r.ID); err != nil {
			return err
		}
		return s.remember(tx, r.ID, place(v.From), now)
	})
	if err != nil {
		return nil, err
	}
	g := &Grant{Cookie: secret, Stage: stage}
	if stage == Done {
		g.Who = s.actor(r, ByPage, v.From)
	}
	return g, nil
}

// remember keeps from where somebody has signed in.
func (s *Store) remember(tx *store.Tx, person, place string, now time.Time) error {
	if _, err := tx.Exec("INSERT INTO people_places VALUES (?, ?, ?) ON CONFLICT (person, place) DO UPDATE SET seen = excluded.seen", person, place, now.UnixMicro()); err != nil {
		return err
	}
	_, err := tx.Exec("DELETE FROM people_places WHERE person = ? AND place IN (SELECT place FROM people_places WHERE person = ? ORDER BY seen DESC LIMIT -1 OFFSET ?)",
		person, person, maxSessions)
	return err
}

// actor is a person acting.
func (s *Store) actor(r *record, by string, from netip.Addr) *Actor {
	return &Actor{Person: r.Person, By: by, From: from, Rights: s.o.Rights, Subaddress: s.o.Subaddress}
}

const selectSessions = "SELECT hash, person, stage, how, totp, made, seen, client, agent FROM people_sessions"

func readSession(row scanner) (session *Session, hash []byte, person string, err error) {
	session = &Session{}
	var made, seen int64
	err = row.Scan(&hash, &person, &session.Stage, &session.How, &session.totp, &made, &seen, &session.Client, &session.Agent)
	session.Made, session.Seen = time.UnixMicro(made).UTC(), time.UnixMicro(seen).UTC()
	if len(hash) >= 8 {
		session.ID = hex.EncodeToString(hash[:8])
	}
	return session, hash, person, err
}

// alive tells whether a session of a person still holds, and sets its end.
func (x *Session) alive(r *record, now time.Time) bool {
	idle, most := idleOthers, longest
	if r.Role == Admin {
		idle = idleAdmin
	}
	if x.Stage != Done {
		most = unfinished
	}
	x.Until = x.Made.Add(most)
	if end := x.Seen.Add(idle); end.Before(x.Until) {
		x.Until = end
	}
	return now.Before(x.Until) && !now.Before(x.Made.Add(-time.Minute))
}

// open reads the session of a cookie with its person, whatever its stage.
func (s *Store) open(ctx context.Context, cookie string) (*Session, *record, error) {
	hash := hashSecret(cookie)
	if hash == nil {
		return nil, nil, ErrNobody
	}
	session, _, person, err := readSession(s.o.DB.Reader().QueryRowContext(ctx, selectSessions+" WHERE hash = ?", hash))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, ErrNobody
	}
	if err != nil {
		return nil, nil, fmt.Errorf("people: %w", err)
	}
	r, err := s.find(ctx, "id = ?", person)
	if errors.Is(err, ErrNotFound) {
		return nil, nil, ErrNobody
	}
	if err != nil {
		return nil, nil, err
	}
	if !session.alive(r, s.now()) {
		return nil, nil, ErrNobody
	}
	return session, r, nil
}

// Session tells who the browser with this cookie is. Until the sign-in is done there is no actor,
// but the session with its stage. ErrNobody: nobody, any more or ever.
func (s *Store) Session(ctx context.Context, cookie string, from netip.Addr) (*Actor, *Session, error) {
	session, r, err := s.open(ctx, cookie)
	if err != nil {
		return nil, nil, err
	}
	session.Own = true
	if session.Stage != Done {
		return nil, session, nil
	}
	if now := s.now(); now.Sub(session.Seen) >= touchEvery {
		err := s.o.DB.Write(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec("UPDATE people_sessions SET seen = ? WHERE hash = ? AND seen < ?", now.UnixMicro(), hashSecret(cookie), now.UnixMicro())
			return err
		})
		if err != nil { // a full disk must not lock out who could make room
			s.o.Log.Warn("people: the last use of a session is not kept", "error", err)
		}
	}
	return s.actor(r, ByPage, from), session, nil
}

// Look is Session for who only watches: it does not count as use, so an open page keeps no session
// alive.
func (s *Store) Look(ctx context.Context, cookie string, from netip.Addr) (*Actor, error) {
	session, r, err := s.open(ctx, cookie)
	if err != nil {
		return nil, err
	}
	if session.Stage != Done {
		return nil, ErrNobody
	}
	return s.actor(r, ByPage, from), nil
}

// SignOut ends the session of a cookie.
func (s *Store) SignOut(ctx context.Context, cookie string, from netip.Addr) error {
	session, r, err := s.open(ctx, cookie)
	if errors.Is(err, ErrNobody) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.noted(ctx, s.actor(r, ByPage, from), "sign-out", session.ID, func(tx *store.Tx, _ *audit.Line) error {
		_, err := tx.Exec("DELETE FROM people_sessions WHERE hash = ?", hashSecret(cookie))
		return err
	})
}

// Sessions gives where a person is signed in, newest first. cookie marks the one that asks.
func (s *Store) Sessions(ctx context.Context, who *Actor, person, cookie string) ([]*Session, error) {
	if person != who.ID && !who.May(ManagePeople) {
		return nil, ErrForbidden
	}
	r, err := s.find(ctx, "id = ?", person)
	if err != nil {
		return nil, err
	}
	rows, err := s.o.DB.Reader().QueryContext(ctx, selectSessions+" WHERE person = ? AND stage = '' ORDER BY seen DESC", person)
	if err != nil {
		return nil, fmt.Errorf("people: %w", err)
	}
	defer rows.Close()
	var all []*Session
	for rows.Next() {
		x, hash, _, err := readSession(rows)
		if err != nil {
			return nil, fmt.Errorf("people: %w", err)
		}
		x.Own = string(hash) == string(hashSecret(cookie))
		if x.alive(r, s.now()) {
			all = append(all, x)
		}
	}
	return all, rows.Err()
}

// EndSession ends one session of a person by its ID; "" ends all of them.
func (s *Store) EndSession(ctx context.Context, who *Actor, person, id string) error {
	login := s.loginOf(ctx, person)
	if !who.keeps(person) {
		return s.note(ctx, who, "session-end", login, ErrForbidden)
	}
	return s.noted(ctx, who, "session-end", login, func(tx *store.Tx, _ *audit.Line) error {
		if id == "" {
			_, err := get(tx, person)
			if err == nil {
				err = endSessions(tx, person)
			}
			return err
		}
		n, err := tx.Exec("DELETE FROM people_sessions WHERE person = ? AND lower(hex(substr(hash, 1, 8))) = ?", person, id)
		if err == nil && n == 0 {
			return ErrNotFound
		}
		return err
	})
}

func endSessions(tx *store.Tx, person string) error {
	_, err := tx.Exec("DELETE FROM people_sessions WHERE person = ?", person)
	return err
}
