package quarantine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/quarantine"
	"postern/quarantine/quarantinetest"
	"postern/store"
)

// Fates are counted by rule and state, of visible copies, since a moment, and by domain.
func TestFates(t *testing.T) {
	t.Parallel()
	db, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := quarantine.Open(t.Context(), quarantine.Options{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	now := time.Now().Truncate(time.Hour).Add(50 * time.Minute)
	fillFates(t, db, now, 300)
	want := map[string]int{}
	for i := range 300 {
		if i%10 != 9 {
			want["spam "+fateState(i)]++
		}
	}
	got := map[string]int{}
	list, err := s.Fates(t.Context(), now.Add(-time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		got[f.Rule+" "+string(f.State)] = f.Count
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if list, err = s.Fates(t.Context(), now.Add(-time.Hour), []string{"D1.example", "d2.example"}); err != nil || sum(list) != 54 {
		t.Errorf("two of ten domains: %v %v", list, err)
	}
	if list, err = s.Fates(t.Context(), now.Add(time.Hour), nil); err != nil || len(list) != 0 {
		t.Errorf("of the next hour: %v %v", list, err)
	}
	if list, err = s.Fates(t.Context(), now.Add(-time.Hour), []string{}); err != nil || len(list) != 0 {
		t.Errorf("of no domain: %v %v", list, err)
	}
}

// What is counted is what a count of all copies gives, whatever is done with them.
func TestFatesAreInStep(t *testing.T) {
	t.Parallel()
	db, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	clock := quarantinetest.NewClock()
	s, err := quarantine.Open(t.Context(), quarantine.Options{DB: db, Clock: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := rand.New(rand.NewPCG(1, 2))
	rcpt := func(i int) mail.RcptTo {
		return mail.RcptTo{Address: mail.Address{Local: fmt.Sprint("u", i), Domain: []string{"a.example", "b.example"}[i%2]}}
	}
	check := func(what string) {
		t.Helper()
		rows, err := db.Reader().QueryContext(t.Context(), "SELECT rule, state, count(*) FROM copies WHERE state <> 'held' GROUP BY rule, state ORDER BY rule, state")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var want []quarantine.Fate
		for rows.Next() {
			var f quarantine.Fate
			if err := rows.Scan(&f.Rule, &f.State, &f.Count); err != nil {
				t.Fatal(err)
			}
			want = append(want, f)
		}
		got, err := s.Fates(t.Context(), clock.Now().Add(-24*time.Hour), nil)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("after %s: got %v, want %v (%v)", what, got, want, err)
		}
	}
	var ids []string
	for range 60 {
		clock.Add(time.Minute)
		switch what := r.IntN(6); {
		case what < 2 || len(ids) == 0:
			it := &quarantine.Item{ID: quarantinetest.ID(clock.Now())}
			for i := range 1 + r.IntN(3) {
				it.Copies = append(it.Copies, quarantine.Copy{Recipient: rcpt(i), Class: "spam", Rule: fmt.Sprint("rule", r.IntN(2))})
			}
			if err := s.Hold(t.Context(), it, strings.NewReader("x")); err != nil {
				t.Fatal(err)
			}
			check("hold")
			if r.IntN(4) == 0 {
				err = s.Drop(t.Context(), it.ID)
			} else {
				err = s.Keep(t.Context(), it.ID)
				ids = append(ids, it.ID)
			}
			check("keep or drop")
		case what == 2:
			err = s.MarkSpam(t.Context(), ids[r.IntN(len(ids))], "ana")
			check("spam")
		default:
			id := ids[r.IntN(len(ids))]
			err = s.Delete(t.Context(), id, "ana", rcpt(r.IntN(3)).Address)
			check("delete")
		}
		if err != nil && !errors.Is(err, quarantine.ErrState) && !errors.Is(err, quarantine.ErrNotFound) {
			t.Fatal(err)
		}
	}
}

func sum(list []quarantine.Fate) (n int) {
	for _, f := range list {
		n += f.Count
	}
	return n
}

func fateState(i int) string {
	return []string{"kept", "kept", "released", "deleted", "kept", "spam", "kept", "kept", "kept", "held"}[i%10]
}

// fillFates writes rows of held mail, one a second until now.
func fillFates(t testing.TB, db *store.DB, now time.Time, n int) {
	t.Helper()
	for from := 0; from < n; from += 5000 {
		if err := db.Write(t.Context(), func(tx *store.Tx) error {
			for i := from; i < min(from+5000, n); i++ {
				at := now.Add(time.Duration(i-n) * time.Second)
				id := fmt.Sprintf("F%025d", i)
				state, to := fateState(i), mail.Address{Local: fmt.Sprint("u", i%977), Domain: fmt.Sprintf("d%d.example", i/10%10)}
				if _, err := tx.Exec(`INSERT INTO items (id, received, state, sender, sender_domain, subject, from_text, size, stored, sha256, policy,
					changed, expires, by_whom, note, envelope, seq) VALUES (?, ?, ?, 'a@b.example', 'b.example', 'Subject', 'From', 5000, 5000, '', 'p', 0, 0, '', '', '{}', ?)`,
					id, at.UnixMicro(), state, at.UnixMicro()); err != nil {
					return err
				}
				said := fmt.Sprintf(`{"address":%q,"notify":"","orcpt":"rfc822;%s"}`, to, to)
				if _, err := tx.Exec(`INSERT INTO copies VALUES (?, 0, ?, ?, ?, 'spam', 'spam', ?, 4.5, ?, 0, '', '')`, id, to.String(), to.Domain, said,
					"it claims to come from b.example, but was not sent by a server of that domain, whose owner asks that such mail be held (DMARC)", state); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkFates(b *testing.B) {
	db, err := store.Open(b.Context(), b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	s, err := quarantine.Open(b.Context(), quarantine.Options{DB: db})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const n = 200_000
	now := time.Now()
	fillFates(b, db, now, n)
	for b.Loop() {
		if _, err := s.Fates(b.Context(), now.Add(-n*time.Second), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/copy")
}
