package review_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/audit"
	"postern/journal"
	"postern/lists"
	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/quarantine/quarantinetest"
	"postern/review"
	"postern/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A bed is a desk with real stores, a sink in place of the internal server and a scanner that says
// what it is told.
type bed struct {
	*review.Desk
	dir   string
	db    *store.DB
	held  *quarantine.Store
	log   *audit.Log
	story *journal.Store
	lists *lists.Store
	clock *quarantinetest.Clock
	sink  *sink
	scan  *scanner
}

func newBed(t testing.TB, change ...func(*review.Options)) *bed {
	t.Helper()
	return bedIn(t, t.TempDir(), quarantinetest.NewClock(), change...)
}

func bedIn(t testing.TB, dir string, clock *quarantinetest.Clock, change ...func(*review.Options)) *bed {
	t.Helper()
	b := &bed{dir: dir, clock: clock, sink: &sink{}, scan: &scanner{}}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	b.db, err = store.Open(t.Context(), dir, store.Options{})
	ok(err)
	t.Cleanup(func() { b.db.Close() })
	b.held, err = quarantine.Open(t.Context(), quarantine.Options{DB: b.db, Clock: clock.Now, MinFree: -1})
	ok(err)
	t.Cleanup(func() { b.held.Close() })
	j, err := journal.Open(t.Context(), journal.Options{DB: b.db, Clock: clock.Now})
	ok(err)
	t.Cleanup(func() { j.Close() })
	b.story = j
	b.lists, err = lists.Open(t.Context(), lists.Options{DB: b.db, Clock: clock.Now})
	ok(err)
	b.log, err = audit.Open(t.Context(), audit.Options{DB: b.db, Clock: clock.Now})
	ok(err)
	domains, err := mail.NewDomainSet([]string{"example.org", "other.example"})
	ok(err)
	o := review.Options{DB: b.db, Quarantine: b.held, Journal: j, Lists: b.lists, Audit: b.log, Sender: b.sink, Scanner: b.scan,
		Domains: domains, SpoolDir: t.TempDir(), Clock: clock.Now}
	for _, c := range change {
		c(&o)
	}
	b.Desk, err = review.New(t.Context(), o)
	ok(err)
	return b
}

// hold holds a message of a class for some recipients.
func (b *bed) hold(t testing.TB, class string, to ...string) *quarantine.Item {
	t.Helper()
	b.clock.Add(time.Second)
	it := quarantinetest.Item(b.clock.Now(), to...)
	for i := range it.Copies {
		it.Copies[i].Class = class
	}
	return quarantinetest.Hold(t, b.held, it, []byte("From: a@bank.example\r\nSubject: x\r\n\r\nhello\r\n"))
}

// lines counts the log of acts, which must be whole.
func (b *bed) lines(t testing.TB) int64 {
	t.Helper()
	n, _, err := b.log.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (b *bed) last(t testing.TB) audit.Line {
	t.Helper()
	lines, err := b.log.List(t.Context(), audit.Query{Limit: 1})
	if err != nil || len(lines) == 0 {
		t.Fatal(lines, err)
	}
	return lines[0]
}

// run has the desk carry out what waits until the test ends.
func (b *bed) run(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// wait asks until an act is done.
func (b *bed) wait(t testing.TB, who *people.Actor, id string) *review.Done {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		done, err := b.Acted(t.Context(), who, id)
		if err != nil {
			t.Fatal(err)
		}
		if done.State == "done" {
			return done
		}
	}
	t.Fatalf("%s is not done", id)
	return nil
}

// A sink is the internal server: it counts what it gets.
type sink struct {
	mu    sync.Mutex
	got   map[string]int // "id to" → times
	marks map[string]string
	fate  func(to string) review.Sent // nil: takes everything
	slow  func()
}

func (s *sink) Send(_ context.Context, it *quarantine.Item, to []mail.RcptTo, body *mail.Body, danger string) []review.Sent {
	if s.slow != nil {
		s.slow()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.got == nil {
		s.got, s.marks = map[string]int{}, map[string]string{}
	}
	var out []review.Sent
	for _, r := range to {
		one := review.Sent{Fate: review.Delivered, Reply: "250 ok"}
		if s.fate != nil {
			one = s.fate(r.Address.String())
		}
		if one.Fate == review.Delivered || one.Fate == review.Unclear {
			s.got[it.ID+" "+r.Address.String()]++
			s.marks[it.ID] = danger
		}
		out = append(out, one)
	}
	return out
}

func (s *sink) count(id, to string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[id+" "+to]
}

func (s *sink) all() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, k := range s.got {
		n += k
	}
	return n
}

type scanner struct {
	found  string
	unsure string
	err    error
	scans  int
	mu     sync.Mutex
}

func (s *scanner) Scan(_ context.Context, _ *mail.Envelope, body *mail.Body) (review.Scanned, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scans++
	r := body.Open()
	defer r.Close()
	if text, err := io.ReadAll(r); err != nil || !bytes.Contains(text, []byte("hello")) {
		return review.Scanned{}, fmt.Errorf("%q, %w", text, errors.Join(err, errors.New("not the message")))
	}
	return review.Scanned{Found: s.found, Unsure: s.unsure}, s.err
}

func actor(role people.Role, login string, addresses ...string) *people.Actor {
	a := &people.Actor{Person: people.Person{ID: "id-" + login, Login: login, Role: role}, By: people.ByPage, Rights: people.DefaultRights()}
	for _, s := range addresses {
		a.Addresses = append(a.Addresses, quarantinetest.Address(s))
	}
	return a
}

func admin() *people.Actor    { return actor(people.Admin, "root", "root@example.org") }
func operator() *people.Actor { return actor(people.Operator, "olga", "olga@example.org") }
func auditor() *people.Actor  { return actor(people.Auditor, "aude") }
func ann() *people.Actor {
	return actor(people.User, "ann@example.org", "ann@example.org", "alias@example.org")
}
func ben() *people.Actor { return actor(people.User, "ben@example.org", "ben@example.org") }

// of is an operator for some domains.
func of(domains ...string) *people.Actor {
	a := operator()
	a.Login, a.ID, a.Domains = "dora", "id-dora", domains
	return a
}
