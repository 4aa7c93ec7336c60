package recall

import (
	"net/netip"
	"testing"
	"time"

	"postern/store"
)

func open(t *testing.T, dir string) (*Store, *store.DB) {
	t.Helper()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return s, db
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func both(t *testing.T, s *Store, now time.Time) ([]Taken, []Poison) {
	t.Helper()
	taken, err := s.Taken(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	poisons, err := s.Poisons(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	return taken, poisons
}

func TestD13_D19_KeptOverARestartForATime(t *testing.T) {
	dir := t.TempDir()
	s, db := open(t, dir)
	m := Taken{netip.MustParseAddr("2001:db8::1"), 1 << 40, 1<<32 - 1, 7, "01A", noon.Local()}
	p := Poison{Sum: [32]byte{1, 31: 255}, Size: 12, Tries: 2, At: noon.Local()}
	for range 2 {
		if err := s.Panicked(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Took(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, dir)
	if taken, poisons := both(t, s, noon); len(taken) != 1 || taken[0] != m || len(poisons) != 1 || poisons[0] != p {
		t.Errorf("%+v %+v", taken, poisons)
	}
	if taken, poisons := both(t, s, noon.Add(TakenAge)); len(taken) != 0 || len(poisons) != 1 {
		t.Errorf("a day later: %+v %+v", taken, poisons)
	}
	for _, step := range []struct {
		after time.Duration
		gone  int64
	}{{TakenAge - time.Second, 0}, {TakenAge, 1}, {PoisonAge, 1}} {
		if n, err := s.Prune(t.Context(), noon.Add(step.after)); n != step.gone || err != nil {
			t.Errorf("%d removed after %v, %v", n, step.after, err)
		}
	}
}

// A client whose address a proxy does not tell keeps no gateway from starting.
func TestD13_ClientWithoutAnAddress(t *testing.T) {
	s, _ := open(t, t.TempDir())
	m := Taken{Size: 1, ID: "01A", At: noon.Local()}
	if err := s.Took(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if taken, _ := both(t, s, noon); len(taken) != 1 || taken[0] != m {
		t.Errorf("%+v", taken)
	}
}

func TestD13_D19_KeptWithinBounds(t *testing.T) {
	s, db := open(t, t.TempDir())
	err := db.Write(t.Context(), func(tx *store.Tx) error { // as Took and Panicked would, in one transaction
		_, err := tx.Exec(`WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?)
			INSERT INTO recall_taken SELECT n, '192.0.2.1', n, n, n, 'id', ? FROM c`, TakenMax, noon.UnixMicro())
		if err == nil {
			_, err = tx.Exec(`WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?)
				INSERT INTO recall_poison SELECT CAST(printf('%032d', n) AS BLOB), n, 1, ? + n FROM c`, PoisonMax, noon.UnixMicro())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.Took(t.Context(), Taken{Client: netip.MustParseAddr("192.0.2.2"), At: noon}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Panicked(t.Context(), Poison{Size: -1, At: noon.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	taken, poisons := both(t, s, noon)
	if len(taken) != TakenMax || taken[0].Size != 4 || len(poisons) != PoisonMax || poisons[0].Size != 2 || poisons[PoisonMax-1].Size != -1 {
		t.Errorf("%d from %d on, %d from %d on", len(taken), taken[0].Size, len(poisons), poisons[0].Size)
	}
}
