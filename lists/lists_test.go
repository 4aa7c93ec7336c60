package lists

import (
	"errors"
	"strings"
	"testing"
	"time"

	"postern/store"
)

// open opens the lists of a data folder as one process does; clock may be moved.
func open(t *testing.T, dir string, clock *time.Time) *Store {
	t.Helper()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := Open(t.Context(), Options{DB: db, Clock: func() time.Time { return *clock }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func shown(t *testing.T, s *Store, q Query) string {
	t.Helper()
	list, err := s.List(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, e := range list {
		word := "deny"
		if e.Allow {
			word = "allow"
		}
		words = append(words, word+" "+e.Value+" "+e.ScopeWords())
	}
	return strings.Join(words, "; ")
}

func TestAddListRemove(t *testing.T) {
	clock := noon
	s := open(t, t.TempDir(), &clock)
	list := entries(t, "deny x.example; allow eve@x.example for @example.org until 1h; deny .y.example; deny 192.0.2.0/24; allow list-id:l.x.example unauthenticated")
	list[1].Note, list[1].By = "invoice\x00project", "ana"
	if old, err := s.Add(t.Context(), list...); err != nil || len(old) != 0 {
		t.Fatal(old, err)
	}
	if got := shown(t, s, Query{}); got != "deny .y.example everybody; deny 192.0.2.0/24 everybody; allow eve@x.example @example.org; allow list-id:l.x.example everybody; deny x.example everybody" {
		t.Error(got)
	}
	for about, want := range map[string]string{
		"eve@x.example":       "allow eve@x.example @example.org; deny x.example everybody",
		"bob@x.example":       "deny x.example everybody",
		"a.b.y.example":       "deny .y.example everybody",
		"192.0.2.77":          "deny 192.0.2.0/24 everybody",
		"192.0.0.0/16":        "",
		"list-id:L.x.example": "allow list-id:l.x.example everybody",
	} {
		if got := shown(t, s, Query{About: about}); got != want {
			t.Errorf("about %s: %s", about, got)
		}
	}
	scope, allow := "@example.org", true
	if got := shown(t, s, Query{Scope: &scope}) + "|" + shown(t, s, Query{Allow: &allow}); got != "allow eve@x.example @example.org|allow eve@x.example @example.org; allow list-id:l.x.example everybody" {
		t.Error(got)
	}
	// The other word for the same recipients takes the place of the first.
	old, err := s.Add(t.Context(), entries(t, "allow x.example")...)
	if err != nil || len(old) != 1 || old[0].Allow {
		t.Error(old, err)
	}
	got, err := s.Remove(t.Context(), "eve@x.example", "@example.org")
	if err != nil || got.Note != "invoice\uFFFDproject" || got.By != "ana" || !got.Added.Equal(noon) || !got.Until.Equal(noon.Add(time.Hour)) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.Remove(t.Context(), "eve@x.example", "@example.org"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	// All or none.
	before := shown(t, s, Query{})
	if _, err := s.Add(t.Context(), entries(t, "deny z.example; deny a.example until -1h")...); err == nil || !strings.Contains(err.Error(), "in the past") {
		t.Error(err)
	}
	if after := shown(t, s, Query{}); after != before {
		t.Error(after)
	}
}

// What one process adds is in force in another within a second, without a word between them.
func TestChangesOfAnotherProcess(t *testing.T) {
	clock, dir := noon, t.TempDir()
	gateway, command := open(t, dir, &clock), open(t, dir, &clock)
	q := question("eve@x.example", "", "")
	until := func(want string) {
		t.Helper()
		deadline := time.Now().Add(time.Second)
		for {
			got := gateway.Index().Ask(&q)
			if got.String() == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("a second later it is %s, not %s", got, want)
			}
			time.Sleep(time.Millisecond)
		}
	}
	until("nothing")
	if _, err := command.Add(t.Context(), entries(t, "deny x.example")...); err != nil {
		t.Fatal(err)
	}
	until("denied by x.example for everybody")
	if _, err := command.Remove(t.Context(), "x.example", ""); err != nil {
		t.Fatal(err)
	}
	until("nothing")
}

// When the database gives no answer, what was known stays in force, and that is told.
func TestUnreadableListsStayInForce(t *testing.T) {
	clock := noon
	s := open(t, t.TempDir(), &clock)
	if _, err := s.Add(t.Context(), entries(t, "deny x.example")...); err != nil {
		t.Fatal(err)
	}
	s.looked.Store(-int64(time.Hour))
	s.Index()
	if err := s.o.DB.Close(); err != nil {
		t.Fatal(err)
	}
	s.looked.Store(-int64(time.Hour))
	q := question("eve@x.example", "", "")
	if got := s.Index().Ask(&q); !got.Denied || s.Err() == nil {
		t.Error(got, s.Err())
	}
}

func TestExpiredEntriesAreShownForAMonth(t *testing.T) {
	clock := noon
	s := open(t, t.TempDir(), &clock)
	if _, err := s.Add(t.Context(), entries(t, "deny x.example until 1h; deny y.example")...); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after         time.Duration
		inForce, kept string
		pruned        int64
	}{
		{59 * time.Minute, "deny x.example everybody; deny y.example everybody", "deny x.example everybody; deny y.example everybody", 0},
		{time.Hour, "deny y.example everybody", "deny x.example everybody; deny y.example everybody", 0},
		{40 * 24 * time.Hour, "deny y.example everybody", "deny y.example everybody", 1},
	} {
		clock = noon.Add(c.after)
		n, err := s.Prune(t.Context(), clock)
		if got := shown(t, s, Query{}); n != c.pruned || err != nil || got != c.inForce {
			t.Errorf("after %s: %d, %v, %s", c.after, n, err, got)
		}
		if got := shown(t, s, Query{Expired: true}); got != c.kept {
			t.Errorf("after %s: %s", c.after, got)
		}
	}
}

func TestTheListsHaveAnEnd(t *testing.T) {
	clock := noon
	s := open(t, t.TempDir(), &clock)
	s.most = 2
	if _, err := s.Add(t.Context(), entries(t, "deny a.example; deny b.example; deny c.example")...); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if got := shown(t, s, Query{}); got != "" {
		t.Error("some were added:", got)
	}
	for range 2 { // the second time they stand there already
		if _, err := s.Add(t.Context(), entries(t, "deny a.example; deny b.example")...); err != nil {
			t.Fatal(err)
		}
	}
}

// An entry that this version does not understand is told and left out; the others are in force.
func TestOneBadEntryDoesNotCostTheOthers(t *testing.T) {
	clock := noon
	s := open(t, t.TempDir(), &clock)
	if _, err := s.Add(t.Context(), entries(t, "deny x.example")...); err != nil {
		t.Fatal(err)
	}
	err := s.change(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec("INSERT INTO list_entries VALUES ('country:xx', '', 0, 0, 0, 0, '', '')")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.load(t.Context()); err != nil || s.index.Load().Len() != 1 {
		t.Error(err, s.index.Load().Len())
	}
	if got := shown(t, s, Query{}); got != "deny country:xx everybody; deny x.example everybody" {
		t.Error(got)
	}
}

// What a message pays that asks whether anybody has changed the lists.
func BenchmarkRefresh(b *testing.B) {
	db, err := store.Open(b.Context(), b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	s, err := Open(b.Context(), Options{DB: db})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.looked.Store(-int64(time.Hour))
		s.Index()
	}
}
