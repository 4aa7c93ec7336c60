package people

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"postern/audit"
	"postern/mail"
	"postern/store"
)

// notes keeps what was noted.
type notes struct {
	mu    sync.Mutex
	db    *store.DB
	lines []audit.Line
	err   error
}

func (n *notes) Note(_ context.Context, l audit.Line) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, l)
	return n.err
}

func (n *notes) Refuse(ctx context.Context, l audit.Line) error { return n.Note(ctx, l) }

// NoteAfter writes both or neither, as the real one.
func (n *notes) NoteAfter(ctx context.Context, do func(*store.Tx) (*audit.Line, error)) error {
	return n.db.Write(ctx, func(tx *store.Tx) error {
		l, err := do(tx)
		if err != nil || l == nil {
			return err
		}
		return n.Note(ctx, *l)
	})
}

// last gives the newest line and how many there are.
func (n *notes) last() (audit.Line, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.lines) == 0 {
		return audit.Line{}, 0
	}
	return n.lines[len(n.lines)-1], len(n.lines)
}

// A bed is a store with a clock that tests move.
type bed struct {
	*Store
	t     *testing.T
	clock time.Time
	mu    sync.Mutex
	notes *notes
}

func (b *bed) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = b.clock.Add(d)
}

func newBed(t *testing.T, change func(*Options)) *bed {
	t.Helper()
	db, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	b := &bed{t: t, clock: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), notes: &notes{db: db}}
	o := Options{DB: db, Audit: b.notes, Hashing: Hashing{Memory: 64, Passes: 1, AtOnce: 2}, Origin: "https://postern.example",
		Clock: func() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.clock }}
	if change != nil {
		change(&o)
	}
	if b.Store, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return b
}

const goodPassword = "correct horse battery"

func boss() *Actor {
	return &Actor{Person: Person{ID: "boss", Login: "boss", Role: Admin}, By: ByCommand}
}

// person makes one, with the good password unless it is to have none.
func (b *bed) person(p Person, password string) *Person {
	b.t.Helper()
	made, err := b.Add(b.t.Context(), boss(), p, password)
	if err != nil {
		b.t.Fatal(err)
	}
	return made
}

func at(s string) Visitor { return Visitor{From: netip.MustParseAddr(s), Agent: "browser"} }

func (b *bed) signIn(login string) *Grant {
	b.t.Helper()
	g, err := b.SignIn(b.t.Context(), login, goodPassword, at("192.0.2.1"), "")
	if err != nil {
		b.t.Fatal(err)
	}
	return g
}

// who is the actor of a cookie, nil when it is worth nothing.
func (b *bed) who(cookie string) *Actor {
	b.t.Helper()
	a, _, err := b.Session(b.t.Context(), cookie, netip.Addr{})
	if err != nil && !errors.Is(err, ErrNobody) {
		b.t.Fatal(err)
	}
	return a
}

func TestPersons(t *testing.T) {
	b := newBed(t, nil)
	root := b.person(Person{Login: " Root ", Role: Admin}, goodPassword)
	ann := b.person(Person{Login: "Ann@Example.org", Name: "Ann", Role: User}, "")
	if ann.Login != "ann@example.org" || len(ann.Addresses) != 1 || ann.Addresses[0].String() != "ann@example.org" || root.Login != "root" || root.Name != "root" {
		t.Errorf("%+v %+v", ann, root)
	}
	for name, p := range map[string]Person{
		"a taken login":       {Login: "ROOT", Role: User},
		"no login":            {Role: User},
		"a login with spaces": {Login: "a b", Role: User},
		"no role":             {Login: "x"},
		"an unknown role":     {Login: "x", Role: "god"},
		"a name of two lines": {Login: "x", Name: "a\nb", Role: User},
		"a pattern":           {Login: "x", Role: User, Addresses: []mail.Address{{Local: "*", Domain: "example.org"}}},
		"no domain":           {Login: "x", Role: Operator, Domains: []string{"a b"}},
		"a user of a domain":  {Login: "x", Role: User, Domains: []string{"example.org"}},
	} {
		if _, err := b.Add(t.Context(), boss(), p, ""); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	ann.Role, ann.Name, ann.Domains = Operator, "Ann Other", []string{"Example.ORG", "example.org"}
	ann.Addresses = append(ann.Addresses, mail.Address{Local: "Info", Domain: "example.org"})
	got, err := b.Change(t.Context(), boss(), *ann)
	if err != nil || got.Role != Operator || !slices.Equal(got.Domains, []string{"example.org"}) {
		t.Errorf("%+v %v", got, err)
	}
	all, err := b.List(t.Context(), boss())
	if err != nil || len(all) != 2 || all[0].Login != "ann@example.org" || all[0].Addresses[1].String() != "info@example.org" || !all[1].Password || all[0].Password {
		t.Errorf("%+v %v", all, err)
	}
	root.Role = User
	if _, err := b.Change(t.Context(), boss(), *root); !errors.Is(err, ErrLastAdmin) {
		t.Errorf("the last administrator was made a user: %v", err)
	}
	if err := b.Remove(t.Context(), boss(), root.ID); !errors.Is(err, ErrLastAdmin) {
		t.Errorf("the last administrator was removed: %v", err)
	}
	if err := b.Remove(t.Context(), boss(), ann.ID); err != nil {
		t.Error(err)
	}
	if err := b.Remove(t.Context(), boss(), ann.ID); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// Every change of people leaves one line, done or refused, and only an administrator of everything may.
func TestEveryChangeIsNoted(t *testing.T) {
	b := newBed(t, nil)
	root := b.person(Person{Login: "root", Role: Admin}, goodPassword)
	ann := b.person(Person{Login: "ann", Role: User}, goodPassword)
	token, _, err := b.AddToken(t.Context(), boss(), ann.ID, "one", nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, before := b.notes.last()
	acts := map[string]func(who *Actor) error{
		"person-add": func(who *Actor) error {
			_, err := b.Add(t.Context(), who, Person{Login: "new", Role: User}, "")
			return err
		},
		"person-change": func(who *Actor) error { p := *ann; p.Name = "x"; _, err := b.Change(t.Context(), who, p); return err },
		"password":      func(who *Actor) error { return b.SetPassword(t.Context(), who, ann.ID, "", goodPassword) },
		"session-end":   func(who *Actor) error { return b.EndSession(t.Context(), who, ann.ID, "") },
		"token-add": func(who *Actor) error {
			_, _, err := b.AddToken(t.Context(), who, ann.ID, "x", nil, time.Hour)
			return err
		},
		"token-remove":  func(who *Actor) error { return b.RemoveToken(t.Context(), who, token.ID) },
		"person-remove": func(who *Actor) error { return b.Remove(t.Context(), who, ann.ID) },
	}
	strangers := []*Actor{
		{Person: Person{ID: "x", Login: "x", Role: User}}, {Person: Person{ID: "x", Login: "x", Role: Operator}}, {Person: Person{ID: "x", Login: "x", Role: Auditor}},
		{Person: Person{ID: "x", Login: "x", Role: Admin, Domains: []string{"a.example"}}}, {Person: Person{ID: root.ID, Login: "root", Role: Admin}, By: ByToken, Scopes: []Permission{SeeMail}},
	}
	for _, act := range []string{"person-add", "person-change", "password", "session-end", "token-add", "token-remove", "person-remove"} {
		for _, who := range append(strangers, boss()) {
			err := acts[act](who)
			l, n := b.notes.last()
			may := who.May(ManagePeople)
			if n != before+1 || l.Act != act || l.Who != who.Login || (l.Result == "done") != may || (err == nil) != may {
				t.Errorf("%s by %s: %v, %d lines, %+v", act, who.Role, err, n-before, l)
			}
			before = n
		}
	}
}
