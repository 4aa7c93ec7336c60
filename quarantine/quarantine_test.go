package quarantine_test

import (
	"testing"

	"go.uber.org/goleak"

	"postern/quarantine"
	"postern/quarantine/quarantinetest"
	"postern/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a quarantine in dir, with what change makes of the options.
func open(t testing.TB, dir string, clock *quarantinetest.Clock, change func(*quarantine.Options)) *quarantine.Store {
	t.Helper()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := quarantine.Options{DB: db, Clock: clock.Now, MinFree: -1}
	if change != nil {
		change(&o)
	}
	s, err := quarantine.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); db.Close() })
	return s
}

func TestConformance(t *testing.T) {
	quarantinetest.Run(t, func(t *testing.T, clock *quarantinetest.Clock) *quarantine.Store {
		return open(t, t.TempDir(), clock, nil)
	})
}
