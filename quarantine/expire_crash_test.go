package quarantine_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"postern/quarantine"
	"postern/quarantine/quarantinetest"
)

// D-18: a process is killed at each access to the disk while it removes what is past its retention,
// with and without a power cut. What is younger stays, nothing is left half-removed, and the next
// run goes on.
func TestD18_KilledWhileItExpires(t *testing.T) {
	for _, power := range []bool{false, true} {
		for n := 0; ; n++ {
			name := fmt.Sprintf("power cut %v, access %d", power, n)
			dir := t.TempDir()
			clock := quarantinetest.NewClock()
			mem := newMemory(clock.Now)
			disk := &faulty{FS: mem, left: -1}
			s := open(t, dir, clock, func(o *quarantine.Options) { o.FS = disk })
			for range 4 {
				quarantinetest.Hold(t, s, quarantinetest.Item(clock.Now(), "a@example.org"), quarantinetest.Message(500))
			}
			age(t, s, clock, 24)
			young, message := quarantinetest.Item(clock.Now(), "a@example.org"), quarantinetest.Message(700)
			quarantinetest.Hold(t, s, young, message)
			age(t, s, clock, 11)
			clock.Add(21 * time.Hour) // 721 in all: an hour past 30 days
			disk.arm(n, errStopped, true)
			_, err := s.Expire(t.Context(), clock.Now())
			done := disk.hit == ""
			if done && err != nil {
				t.Errorf("%s: %v", name, err)
			}
			s.Close()
			disk.arm(-1, nil, false)
			if power {
				mem.cut()
			}
			again := open(t, dir, clock, func(o *quarantine.Options) { o.FS = mem })
			if _, err := again.Expire(t.Context(), clock.Now()); err != nil {
				t.Errorf("%s: the next run: %v", name, err)
			}
			if r := clean(t, again, clock); r.Kept.Count+r.Orphans.Count > 0 {
				t.Errorf("%s: %+v", name, r)
			}
			items, _, err := again.List(t.Context(), quarantine.Query{State: quarantine.Any})
			if err != nil || len(items) != 1 || items[0].ID != young.ID {
				t.Errorf("%s: %d items are left, %v", name, len(items), err)
			}
			if got, err := quarantinetest.Read(t, again, young.ID); err != nil || !bytes.Equal(got, message) {
				t.Errorf("%s: the young one: %d bytes, %v", name, len(got), err)
			}
			if u, err := again.Usage(t.Context()); err != nil || u.Items != 1 {
				t.Errorf("%s: %+v, %v", name, u, err)
			}
			if done {
				if n < 4 {
					t.Errorf("only %d accesses were tried", n)
				}
				break
			}
		}
	}
}

// age lets so many times 20 hours pass, with the housekeeper looking at the clock each time, who
// removes nothing yet.
func age(t *testing.T, s *quarantine.Store, clock *quarantinetest.Clock, times int) {
	t.Helper()
	for range times {
		clock.Add(20 * time.Hour)
		if n, err := s.Expire(t.Context(), clock.Now()); err != nil || n != 0 {
			t.Fatalf("%d removed, %v", n, err)
		}
	}
}
