package greylist

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"postern/store"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := Open(t.Context(), Options{DB: db, Clock: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// A meeting is one try; after is the time since noon.
type meeting struct {
	after         time.Duration
	who, from, to string
	wait          time.Duration
	sinceFirst    time.Duration
}

func TestMeet(t *testing.T) {
	const net, ann, bob = "192.0.2.0/24", "ann@x.example", "bob@example.org"
	for name, tries := range map[string][]meeting{
		"comes back": {
			{0, net, ann, bob, 4 * time.Minute, 0},
			{time.Minute, net, ann, bob, 3 * time.Minute, time.Minute},
			{4 * time.Minute, net, ann, bob, 0, 4 * time.Minute},
			{5 * time.Minute, net, ann, bob, 0, 5 * time.Minute},
			{30 * 24 * time.Hour, net, ann, bob, 0, 30 * 24 * time.Hour},
		},
		"others wait by themselves": {
			{0, net, ann, bob, 4 * time.Minute, 0},
			{time.Hour, net, ann, "other@example.org", 4 * time.Minute, 0},
			{time.Hour, net, "eve@x.example", bob, 4 * time.Minute, 0},
			{time.Hour, "198.51.100.0/24", ann, bob, 4 * time.Minute, 0},
			{time.Hour, net, ann, bob, 0, time.Hour},
		},
		"too late": {
			{0, net, ann, bob, 4 * time.Minute, 0},
			{49 * time.Hour, net, ann, bob, 4 * time.Minute, 0},
			{49*time.Hour + 5*time.Minute, net, ann, bob, 0, 5 * time.Minute},
		},
		"the clock went back": {
			{0, net, ann, bob, 4 * time.Minute, 0},
			{-time.Hour, net, ann, bob, 4 * time.Minute, 0},
			{-55 * time.Minute, net, ann, bob, 0, 5 * time.Minute},
		},
		"numbers in the sender, case of the recipient": {
			{0, net, "bounce-17-4@x.example", bob, 4 * time.Minute, 0},
			{5 * time.Minute, net, "Bounce-181-95@x.example", "BOB@example.org", 0, 5 * time.Minute},
		},
		"the null sender": {
			{0, net, "", bob, 4 * time.Minute, 0},
			{5 * time.Minute, net, "", bob, 0, 5 * time.Minute},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			for i, m := range tries {
				at := noon.Add(m.after)
				wait, first, err := s.Meet(t.Context(), m.who, m.from, m.to, at)
				if err != nil || wait != m.wait || !first.Equal(at.Add(-m.sinceFirst)) {
					t.Fatalf("try %d: wait %v since %v, %v", i, wait, first, err)
				}
			}
		})
	}
}

// Who came back for five others needs not wait for the sixth.
func TestWhoIsKnownNeedsNotWait(t *testing.T) {
	s := open(t, t.TempDir())
	meet := func(n int, at time.Time) time.Duration {
		wait, _, err := s.Meet(t.Context(), "192.0.2.0/24", fmt.Sprintf("%c@x.example", 'a'+n), "bob@example.org", at)
		if err != nil {
			t.Fatal(err)
		}
		return wait
	}
	for n := range trusted {
		if meet(n, noon) == 0 || meet(n, noon.Add(10*time.Minute)) != 0 {
			t.Fatal(n)
		}
	}
	if meet(trusted, noon.Add(time.Hour)) != 0 {
		t.Error("the sixth waits")
	}
}

func TestListAndPass(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for n, from := range []string{"a@x.example", "b_%@y.example"} {
		if _, _, err := s.Meet(t.Context(), "192.0.2.0/24", from, "bob@example.org", noon.Add(time.Duration(n)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	count := func(q Query) int {
		list, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if count(Query{}) != 2 || count(Query{Address: "Y.example"}) != 1 || count(Query{Address: "_%@"}) != 1 || count(Query{Address: "%"}) != 1 || count(Query{Limit: 1}) != 1 {
		t.Error("List does not narrow as it should")
	}
	list, _ := s.List(t.Context(), Query{Address: "a@x"})
	if err := s.Pass(t.Context(), list[0].ID, "carl"); err != nil {
		t.Fatal(err)
	}
	if err := s.Pass(t.Context(), list[0].ID, "carl"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a second time: %v", err)
	}
	if count(Query{}) != 1 || count(Query{Passed: true}) != 2 {
		t.Error("who was let through waits still")
	}
	again := open(t, dir) // another process, the running gateway
	if wait, _, err := again.Meet(t.Context(), "192.0.2.0/24", "a@x.example", "bob@example.org", noon.Add(2*time.Second)); err != nil || wait != 0 {
		t.Errorf("waits %v, %v", wait, err)
	}
	if list, _ = s.List(t.Context(), Query{Passed: true, Address: "a@x"}); list[0].By != "carl" || !list[0].Passed.Equal(noon) {
		t.Errorf("%+v", list[0])
	}
}

func TestPairsAreBoundedAndPruned(t *testing.T) {
	s := open(t, t.TempDir())
	const more = 60
	s.most = 50
	s.added.Store(pruneOn - more)
	meet := func(n int, at time.Time) {
		if _, _, err := s.Meet(t.Context(), fmt.Sprintf("10.%d.%d.0/24", n/250, n%250), "a@x.example", "bob@example.org", at); err != nil {
			t.Fatal(err)
		}
	}
	meet(0, noon)
	meet(0, noon.Add(time.Hour)) // came back
	for n := range more {
		meet(n+1, noon.Add(time.Duration(n)*time.Millisecond))
	}
	list, err := s.List(t.Context(), Query{Passed: true, Limit: 10_000})
	if err != nil || len(list) > more+1-s.most/10 {
		t.Errorf("%d pairs, %v", len(list), err)
	}
	if n, err := s.Prune(t.Context(), noon.Add(72*time.Hour)); err != nil || int(n) != len(list)-1 {
		t.Errorf("%d of %d pruned, %v", n, len(list), err)
	}
	if list, _ = s.List(t.Context(), Query{Passed: true}); len(list) != 1 {
		t.Errorf("%d left: who came back is to be remembered", len(list))
	}
	if n, err := s.Prune(t.Context(), noon.Add(37*24*time.Hour)); err != nil || n != 1 {
		t.Errorf("%d pruned, %v", n, err)
	}
}
