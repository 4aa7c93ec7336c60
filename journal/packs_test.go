package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"postern/store"
)

// random makes entries of every size, not in the order of their time.
func random(r *rand.Rand, n int) []*Entry {
	var all []*Entry
	for range n {
		e := sample(start.Add(time.Duration(r.IntN(n))*time.Millisecond), "a@example.org", "b@example.org")
		size := r.IntN(3000)
		switch r.IntN(20) {
		case 0:
			size = packOne + r.IntN(packOne)
		case 1:
			size = packOne - r.IntN(3000)
		}
		noise := make([]byte, size)
		for i := range noise {
			noise[i] = "abcdefghijklmnop"[r.IntN(16)]
		}
		e.Facts["content"] = json.RawMessage(`{"subject":"` + string(noise) + `"}`)
		e.Subject = fmt.Sprint(len(all), " ü")
		all = append(all, e)
	}
	return all
}

// What is recorded comes back as it was, by every way there is, whatever stands with it in a pack.
func TestPackedEntriesComeBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, packLeast - 1, packLeast, packMost, packMost + 1, 300} {
		s := open(t, t.TempDir(), Options{Linger: time.Hour})
		want := map[string]*Entry{}
		for _, e := range random(r, n) {
			want[e.ID] = record(t, s, e)
		}
		entries, _, err := s.Search(t.Context(), Query{Limit: 500})
		if err != nil || len(entries) != n {
			t.Fatal(len(entries), err)
		}
		for _, e := range entries {
			if !reflect.DeepEqual(e, want[e.ID]) {
				t.Fatalf("of %d: got %+v, want %+v", n, e, want[e.ID])
			}
			got, err := s.Get(t.Context(), e.ID)
			if err != nil || !reflect.DeepEqual(got, e) {
				t.Fatalf("of %d: got %+v, %v", n, got, err)
			}
			rec, err := s.Look(t.Context(), e.ID)
			if err != nil || rec.ID != e.ID || rec.Subject.Text() != e.Subject {
				t.Fatalf("of %d: got %+v, %v", n, rec, err)
			}
		}
		seen := 0
		err = s.Scan(t.Context(), time.Time{}, time.Time{}, func(r *Record) error {
			seen++
			e, err := r.Entry()
			if w := want[r.ID]; err != nil || e.Subject != w.Subject || !reflect.DeepEqual(e.Facts, w.Facts) {
				t.Fatalf("of %d: got %+v, want %+v, %v", n, e, w, err)
			}
			return nil
		})
		if err != nil || seen != n {
			t.Errorf("%d of %d scanned, %v", seen, n, err)
		}
		var packs, apart int
		if err := s.o.DB.Reader().QueryRow("SELECT (SELECT count(*) FROM packs), (SELECT count(*) FROM entries WHERE place = 0)").Scan(&packs, &apart); err != nil {
			t.Fatal(err)
		}
		if n < packLeast && (packs != 0 || apart != n) || n == 300 && (packs < (n-apart)/packMost || packs > n/packLeast || apart > 40) {
			t.Errorf("of %d entries %d stand apart, the others in %d packs", n, apart, packs)
		}
		var wrong int
		err = s.o.DB.Reader().QueryRow("SELECT count(*) FROM packs WHERE last <> (SELECT max(seq) FROM entries WHERE pack = packs.last)").Scan(&wrong)
		if err != nil || wrong != 0 {
			t.Errorf("%d packs are not named by their last entry, %v", wrong, err)
		}
	}
}

// A pack goes when none of its entries is left, and not before.
func TestD18_PacksArePruned(t *testing.T) {
	s := open(t, t.TempDir(), Options{Linger: time.Hour})
	const n = 10*packMost + 5
	var all []*Entry
	for i := range n {
		all = append(all, record(t, s, sample(start.Add(time.Duration(i)*time.Hour), "a@example.org")))
	}
	packs := func() (n int) {
		if err := s.o.DB.Reader().QueryRow("SELECT count(*) FROM packs").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := s.Flush(t.Context()); err != nil || packs() != 11 {
		t.Fatal(packs(), err)
	}
	for i := 0; i < n+10; i += 5 {
		if _, err := s.Prune(t.Context(), start.Add(s.o.Retention+time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
		gone := min(i, n)
		if left, err := count(s); err != nil || left != n-gone {
			t.Fatalf("after %d hours %d entries are left, %v", i, left, err)
		}
		for _, e := range all[gone:min(gone+2, n)] {
			if got, err := s.Get(t.Context(), e.ID); err != nil || !reflect.DeepEqual(got, e) {
				t.Fatalf("after %d hours: %+v, %v", i, got, err)
			}
		}
		least := 11 - gone/packMost
		if gone == n {
			least = 0
		}
		if p := packs(); p < least || p > least+1 {
			t.Fatalf("after %d hours %d packs are left for %d entries", i, packs(), n-gone)
		}
	}
	if packs() != 0 {
		t.Errorf("%d packs without entries", packs())
	}
}

// What is damaged is told, and nothing else is lost by it.
func TestDamagedPack(t *testing.T) {
	s := open(t, t.TempDir(), Options{Linger: time.Hour})
	var all []*Entry
	for i := range 2 * packMost {
		all = append(all, record(t, s, sample(start.Add(time.Duration(i)*time.Second), "a@example.org")))
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := s.o.DB.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec("UPDATE packs SET details = substr(details, 1, 40) WHERE last = (SELECT min(last) FROM packs)")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), all[0].ID); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if got, err := s.Get(t.Context(), all[packMost].ID); err != nil || !reflect.DeepEqual(got, all[packMost]) {
		t.Errorf("got %+v, %v", got, err)
	}
	if n, err := s.Prune(t.Context(), start.Add(s.o.Retention+time.Hour)); err != nil || n != 2*packMost {
		t.Errorf("%d removed, %v", n, err)
	}
}

// D-20: entries of the second form, each with its own detail, are read and counted as before.
func TestD20_JournalOfTheSecondForm(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	old := fstest.MapFS{}
	for _, name := range []string{"001_entries.sql", "002_lean.sql"} {
		text, err := fs.ReadFile(schema, "schema/"+name)
		if err != nil {
			t.Fatal(err)
		}
		old[name] = &fstest.MapFile{Data: text}
	}
	if err := db.Migrate(t.Context(), "journal", old); err != nil {
		t.Fatal(err)
	}
	var all []*Entry
	x := encoder{walks: newWalks()}
	for i := range 3 {
		e := sample(start.Add(time.Duration(i)*time.Minute), "ana@example.org")
		e.Outcomes[0].Do = "deliver"
		e.Facts["spf"] = json.RawMessage(`{"result":"pass","domain":"evil.example"}`)
		e.Facts["content"] = json.RawMessage(`"` + strings.Repeat("x", i*compressAt) + `"`)
		if i == 2 {
			e.Facts["spf"] = json.RawMessage(`{"result":"fail","domain":"evil.example"}`)
		}
		var r row
		if err := x.row(&r, e); err != nil {
			t.Fatal(err)
		}
		err = db.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec("INSERT INTO entries VALUES "+places(1, 12), r.seq, e.ID, e.Result, "192.0.2.7", r.sender, r.domain, e.MessageID,
				r.rules, r.classes, r.replies, r.words, x.packer.alone(x.detail))
			if err == nil {
				_, err = tx.Exec("INSERT INTO recipients VALUES (?, ?, ?)", key(e.Outcomes[0].Recipient), r.seq, "deliver")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{Linger: time.Hour})
	for i := range packMost {
		all = append(all, record(t, s, sample(start.Add(time.Hour+time.Duration(i)*time.Second), "ben@example.org")))
	}
	got, _, err := s.Search(t.Context(), Query{})
	slices.Reverse(got)
	if err != nil || !reflect.DeepEqual(got, all) {
		t.Errorf("got %+v, %v", got, err)
	}
	n, _, last, err := s.Delivered(t.Context(), address("mallory@evil.example"), address("ana@example.org"), start.Add(time.Hour))
	if err != nil || n != 2 || !last.Equal(all[1].Received) {
		t.Errorf("%d delivered, the last at %v, %v", n, last, err)
	}
}

// No bytes in place of a pack do harm, and what was put in comes out.
func FuzzPack(f *testing.F) {
	whole := binary.AppendUvarint(nil, 2)
	f.Add(append(whole, "{}"...), 1)
	f.Add([]byte{5, '{'}, 2)
	f.Add(bytes.Repeat([]byte{0xff}, 11), 1)
	f.Fuzz(func(t *testing.T, text []byte, place int) {
		place %= 100
		detail, err := placed(text, place)
		if err == nil && len(detail) > len(text) {
			t.Errorf("%d bytes out of %d", len(detail), len(text))
		}
		var parts [][]byte
		var again []byte
		for rest := text; len(rest) > 0; {
			var part []byte
			if part, rest, err = cutDetail(rest); err != nil {
				return
			}
			parts = append(parts, part)
			again = append(binary.AppendUvarint(again, uint64(len(part))), part...)
		}
		for i, part := range parts {
			if got, err := placed(again, i+1); err != nil || !bytes.Equal(got, part) {
				t.Errorf("%q at %d of %q, %v", got, i+1, again, err)
			}
		}
	})
}
