package quarantine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/quarantine"
	"postern/quarantine/quarantinetest"
	"postern/store"
	"postern/testkit"
)

// clean sweeps and fails when rows and files do not fit together.
func clean(t *testing.T, s *quarantine.Store, clock *quarantinetest.Clock) quarantine.Report {
	t.Helper()
	clock.Add(2 * time.Hour)
	r, err := s.Sweep(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if r.Missing.Count > 0 {
		t.Errorf("rows without a file: %+v", r)
	}
	again, err := s.Sweep(t.Context(), 0)
	if err != nil || again.Kept.Count+again.Voided.Count+again.Leftover.Count+again.Orphans.Count+again.Missing.Count+again.Cleaned > 0 {
		t.Errorf("a second sweep finds %+v, %v", again, err)
	}
	return r
}

// TestD05_EveryAccessFailsOnce lets each access to the disk of a Hold fail once: the message
// is refused and leaves nothing, and the store goes on, unless it was a sync that failed.
func TestD05_EveryAccessFailsOnce(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		hits := map[string]bool{}
		for n := 0; ; n++ {
			clock := quarantinetest.NewClock()
			disk := &faulty{FS: newMemory(clock.Now), left: -1}
			s := open(t, t.TempDir(), clock, func(o *quarantine.Options) { o.FS = disk; o.MinFree = 1 })
			before := quarantinetest.Hold(t, s, quarantinetest.Item(clock.Now(), "a@example.org"), quarantinetest.Message(1000))
			it := quarantinetest.Item(clock.Now(), "a@example.org")
			disk.arm(n, cause, false)
			err := s.Hold(t.Context(), it, bytes.NewReader(quarantinetest.Message(300_000)))
			hit := disk.hit
			disk.arm(-1, nil, false)
			if hit == "" {
				if err != nil {
					t.Errorf("nothing failed, but: %v", err)
				}
				break
			}
			hits[hit] = true
			name := fmt.Sprintf("%v at access %d (%s)", cause, n, hit)
			if !errors.Is(err, cause) {
				t.Errorf("%s: %v", name, err)
			}
			sync := hit == "sync file" || hit == "sync folder"
			if full := cause != syscall.EIO; errors.Is(err, quarantine.ErrFull) != full && hit != "free" {
				t.Errorf("%s: ErrFull is %v: %v", name, !full, err)
			}
			next := quarantinetest.Item(clock.Now(), "a@example.org")
			err = s.Hold(t.Context(), next, bytes.NewReader([]byte("next")))
			if sync && cause == syscall.EIO {
				if !errors.Is(err, quarantine.ErrFailed) || !errors.Is(s.Err(), quarantine.ErrFailed) {
					t.Errorf("%s: goes on after a failed sync: %v, health %v", name, err, s.Err())
				}
			} else if err != nil || s.Err() != nil {
				t.Errorf("%s: does not recover: %v, health %v", name, err, s.Err())
			}
			s.Drop(t.Context(), next.ID)
			if r := clean(t, s, clock); r.Kept.Count+r.Orphans.Count+r.Cleaned > 0 {
				t.Errorf("%s: a refused message left something: %+v", name, r)
			}
			if _, err := quarantinetest.Read(t, s, before.ID); err != nil {
				t.Errorf("%s: an older message: %v", name, err)
			}
			if u, err := s.Usage(t.Context()); err != nil || u.Items != 1 {
				t.Errorf("%s: usage %+v, %v", name, u, err)
			}
		}
		for _, want := range []string{"free", "create", "write", "sync file", "close", "rename", "sync folder"} {
			if !hits[want] {
				t.Errorf("%v: no access of the kind %q failed", cause, want)
			}
		}
	}
}

// TestD03_KilledAtEachStep stops a process at each access to the disk, with and without a
// power cut, and looks at what a new one finds.
func TestD03_KilledAtEachStep(t *testing.T) {
	for _, power := range []bool{false, true} {
		for n := 0; ; n++ {
			name := fmt.Sprintf("power cut %v, access %d", power, n)
			dir := t.TempDir()
			clock := quarantinetest.NewClock()
			mem := newMemory(clock.Now)
			disk := &faulty{FS: mem, left: -1}
			s := open(t, dir, clock, func(o *quarantine.Options) { o.FS = disk })
			disk.arm(n, errStopped, true)
			kept, answered := map[string][]byte{}, map[string]bool{}
			for i := range 4 { // hold and keep; hold only; hold and drop; delete the first
				message := quarantinetest.Message(1000 * (i + 1))
				it := quarantinetest.Item(clock.Now(), "a@example.org")
				switch i {
				case 0, 1:
					if s.Hold(t.Context(), it, bytes.NewReader(message)) == nil {
						kept[it.ID] = message // 250 may have been said from here on
						if i == 0 {
							if err := s.Keep(t.Context(), it.ID); err == nil {
								answered[it.ID] = true
							}
						}
					}
				case 2:
					if s.Hold(t.Context(), it, bytes.NewReader(message)) == nil {
						s.Drop(t.Context(), it.ID)
					}
				case 3:
					it := quarantinetest.Item(clock.Now(), "a@example.org")
					if s.Hold(t.Context(), it, bytes.NewReader(message)) == nil && s.Keep(t.Context(), it.ID) == nil {
						s.Delete(t.Context(), it.ID, "root")
					}
				}
			}
			ended := disk.hit == ""
			s.Close()
			disk.arm(-1, nil, false)
			if power {
				mem.cut()
			}
			again := open(t, dir, clock, func(o *quarantine.Options) { o.FS = mem })
			clean(t, again, clock)
			for id, message := range kept {
				got, err := quarantinetest.Read(t, again, id)
				if err != nil || !bytes.Equal(got, message) {
					t.Errorf("%s (%s): a held message is lost: %v", name, disk.hit, err)
				}
			}
			items, _, err := again.List(t.Context(), quarantine.Query{})
			if err != nil || len(items) > len(kept) {
				t.Errorf("%s: %d items, %d were held: %v", name, len(items), len(kept), err)
			}
			if ended {
				if len(kept) != 2 || len(answered) != 1 {
					t.Errorf("the undisturbed run held %d", len(kept))
				}
				break
			}
		}
	}
}

// TestD04_PowerCutUnderLoad cuts the power while many hold at once.
func TestD04_PowerCutUnderLoad(t *testing.T) {
	for n := 5; n < 200; n += 13 {
		dir := t.TempDir()
		clock := quarantinetest.NewClock()
		mem := newMemory(clock.Now)
		disk := &faulty{FS: mem, left: -1}
		s := open(t, dir, clock, func(o *quarantine.Options) { o.FS = disk })
		disk.arm(n, errStopped, true)
		var mu sync.Mutex
		held := map[string][]byte{}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for k := range 5 {
					it, message := quarantinetest.Item(clock.Now(), "a@example.org"), quarantinetest.Message(100*i+k)
					if s.Hold(t.Context(), it, bytes.NewReader(message)) == nil {
						mu.Lock()
						held[it.ID] = message
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		s.Close()
		mem.cut()
		again := open(t, dir, clock, func(o *quarantine.Options) { o.FS = mem })
		clean(t, again, clock)
		for id, message := range held {
			if got, err := quarantinetest.Read(t, again, id); err != nil || !bytes.Equal(got, message) {
				t.Errorf("cut at access %d: a held message is lost: %v", n, err)
			}
		}
	}
}

// TestD08_FailedIndexRefusesTheMessage: the file is written, the row cannot be.
func TestD08_FailedIndexRefusesTheMessage(t *testing.T) {
	clock := quarantinetest.NewClock()
	mem := newMemory(clock.Now)
	db, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	broken, err := quarantine.Open(t.Context(), quarantine.Options{DB: db, Clock: clock.Now, FS: mem, MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	bad := quarantinetest.Item(clock.Now(), "a@example.org")
	body := &failing{db: db, t: t} // the database fails while the message is read
	if err := broken.Hold(t.Context(), bad, body); !errors.Is(err, quarantine.ErrFailed) {
		t.Errorf("got %v", err)
	}
	if _, _, err := mem.Stat(bad.ID[25:26] + "/" + bad.ID + ".eml.zst"); err == nil {
		t.Error("the refused message's file stays")
	}
	if !errors.Is(broken.Room(t.Context()), quarantine.ErrFailed) {
		t.Error("it goes on")
	}
}

// failing is a message during whose arrival the database is found damaged.
type failing struct {
	db   *store.DB
	t    *testing.T
	done bool
}

func (f *failing) Read(p []byte) (int, error) {
	if f.done {
		return 0, io.EOF
	}
	f.done = true
	f.db.Write(f.t.Context(), func(*store.Tx) error { return store.ErrCorrupt })
	return copy(p, "message"), nil
}

func TestSweepKeepsWhatIsBeingReceived(t *testing.T) {
	clock := quarantinetest.NewClock()
	s := open(t, t.TempDir(), clock, nil)
	it := quarantinetest.Item(clock.Now(), "a@example.org")
	if err := s.Hold(t.Context(), it, bytes.NewReader([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	clock.Add(time.Minute)
	if r, err := s.Sweep(t.Context(), 0); err != nil || r.Kept.Count != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := s.Drop(t.Context(), it.ID); err != nil {
		t.Errorf("the transaction that held it: %v", err)
	}
}

// A steppingDisk calls stored when a message is on it.
type steppingDisk struct {
	*memory
	stored func()
}

func (d *steppingDisk) SyncDir(dir string) error {
	err := d.memory.SyncDir(dir)
	if dir != "." {
		d.stored()
	}
	return err
}

// The clock steps while a message is being stored: its file looks old and has no row yet.
func TestD17_AStepOfTheClockSetsNothingAsideThatIsBeingStored(t *testing.T) {
	clock := quarantinetest.NewClock()
	disk := &steppingDisk{memory: newMemory(clock.Now)}
	s := open(t, t.TempDir(), clock, func(o *quarantine.Options) { o.FS = disk })
	it, message := quarantinetest.Item(clock.Now(), "a@example.org"), quarantinetest.Message(100)
	disk.stored = func() {
		clock.Add(2 * time.Hour)
		if r, err := s.Sweep(t.Context(), time.Hour); err != nil || r.Orphans.Count != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if err := s.Hold(t.Context(), it, bytes.NewReader(message)); err != nil {
		t.Fatal(err)
	}
	clock.Add(2 * time.Hour)
	if r, err := s.Sweep(t.Context(), time.Hour); err != nil || r.Kept.Count != 0 {
		t.Errorf("held by a transaction under way: %+v, %v", r, err)
	}
	if err := s.Keep(t.Context(), it.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := quarantinetest.Read(t, s, it.ID); err != nil || !bytes.Equal(got, message) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestD07_OrphansAreSetAsideNotLost(t *testing.T) {
	dir := t.TempDir()
	clock := quarantinetest.NewClock()
	mem := newMemory(clock.Now)
	s := open(t, dir, clock, func(o *quarantine.Options) { o.FS = mem })
	it := quarantinetest.Hold(t, s, quarantinetest.Item(clock.Now(), "a@example.org"), quarantinetest.Message(100))
	other := open(t, t.TempDir(), clock, func(o *quarantine.Options) { o.FS = mem }) // a database that does not know it
	if r, err := other.Sweep(t.Context(), 0); err != nil || r.Orphans.Count != 0 {
		t.Errorf("a young file may belong to a Hold under way: %+v, %v", r, err)
	}
	clock.Add(2 * time.Hour)
	if r, err := other.Check(t.Context()); err != nil || r.Orphans.Count != 1 || r.Orphans.IDs[0] != it.ID {
		t.Errorf("check: %+v, %v", r, err)
	}
	if _, err := quarantinetest.Read(t, s, it.ID); err != nil {
		t.Errorf("check changed something: %v", err)
	}
	if r, err := other.Sweep(t.Context(), 0); err != nil || r.Orphans.Count != 1 {
		t.Errorf("sweep: %+v, %v", r, err)
	}
	if _, _, err := mem.Stat("aside/" + it.ID + ".eml.zst"); err != nil {
		t.Error(err)
	}
	r, err := s.Check(t.Context())
	if err != nil || r.Missing.Count != 1 {
		t.Errorf("the row without a file is reported: %+v, %v", r, err)
	}
	if _, err := quarantinetest.Read(t, s, it.ID); !errors.Is(err, quarantine.ErrCorrupt) {
		t.Errorf("reading it: %v", err)
	}
	clock.Add(31 * 24 * time.Hour)
	if r, err := other.Sweep(t.Context(), 0); err != nil || r.Cleaned != 1 {
		t.Errorf("past its retention: %+v, %v", r, err)
	}
}

func TestCrashWhileReleasingIsPerhapsDelivered(t *testing.T) {
	dir := t.TempDir()
	clock := quarantinetest.NewClock()
	s := open(t, dir, clock, nil)
	it := quarantinetest.Hold(t, s, quarantinetest.Item(clock.Now(), "a@example.org"), []byte("x"))
	if _, err := s.StartRelease(t.Context(), it.ID, "anna"); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, clock, nil) // another process sees it, too
	if r := clean(t, again, clock); r.Perhaps.Count != 1 {
		t.Errorf("%+v", r)
	}
	if _, err := again.StartRelease(t.Context(), it.ID, "ben"); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("sent again: %v", err)
	}
}

// fileOf is where an item's file stands.
func fileOf(dir, id string) string {
	return filepath.Join(dir, store.Messages, id[25:26], id+".eml.zst")
}

func TestDamageIsNeverReadAsContent(t *testing.T) {
	dir := t.TempDir()
	clock := quarantinetest.NewClock()
	s := open(t, dir, clock, nil)
	message := quarantinetest.Message(600)
	it := quarantinetest.Hold(t, s, quarantinetest.Item(clock.Now(), "a@example.org"), message)
	whole, err := os.ReadFile(fileOf(dir, it.ID))
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(fileOf(dir, it.ID), b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := quarantinetest.Read(t, s, it.ID)
		if err == nil && !bytes.Equal(got, message) || err != nil && !errors.Is(err, quarantine.ErrCorrupt) {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
	}
	damaged := 0
	for i := range whole {
		b := append([]byte(nil), whole...)
		b[i] ^= 0x10
		try(fmt.Sprintf("byte %d", i), b)
		if _, err := quarantinetest.Read(t, s, it.ID); err != nil {
			damaged++
		}
		try(fmt.Sprintf("cut at %d", i), whole[:i])
	}
	if damaged < len(whole)*9/10 {
		t.Errorf("only %d of %d flipped bytes were noticed", damaged, len(whole))
	}
	other := quarantinetest.Hold(t, s, quarantinetest.Item(clock.Now(), "a@example.org"), quarantinetest.Message(600))
	swapped, err := os.ReadFile(fileOf(dir, other.ID))
	if err != nil {
		t.Fatal(err)
	}
	try("another message", swapped)
	if err := s.Verify(t.Context(), it.ID); !errors.Is(err, quarantine.ErrCorrupt) {
		t.Errorf("verify: %v", err)
	}
	try("whole", whole)
	if err := s.Verify(t.Context(), it.ID); err != nil {
		t.Error(err)
	}
}

func TestC34_LinksLeadNowhere(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	clock := quarantinetest.NewClock()
	s := open(t, dir, clock, nil)
	it := quarantinetest.Item(clock.Now(), "a@example.org")
	shard := filepath.Dir(fileOf(dir, it.ID))
	if err := os.Remove(shard); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, shard); err != nil {
		t.Fatal(err)
	}
	if err := s.Hold(t.Context(), it, bytes.NewReader([]byte("x"))); err == nil {
		t.Error("a message was written through a link")
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside: %v, %v", left, err)
	}
}

func TestSizeCapAnswersFullAndRecovers(t *testing.T) {
	dir := t.TempDir()
	clock := quarantinetest.NewClock()
	s := open(t, dir, clock, func(o *quarantine.Options) { o.MaxBytes = 1000 })
	var ids []string
	for {
		it := quarantinetest.Item(clock.Now(), "a@example.org")
		if err := s.Hold(t.Context(), it, bytes.NewReader(quarantinetest.Message(600))); err != nil {
			if !errors.Is(err, quarantine.ErrFull) {
				t.Fatal(err)
			}
			break
		}
		if err := s.Keep(t.Context(), it.ID); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, it.ID)
	}
	if len(ids) < 2 || len(ids) > 5 {
		t.Errorf("%d messages fitted", len(ids))
	}
	command := open(t, dir, clock, nil) // another process makes room
	for _, id := range ids {
		if err := command.Delete(t.Context(), id, "root"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Room(t.Context()); err != nil {
		t.Errorf("room was made: %v", err)
	}
	tight := open(t, t.TempDir(), clock, func(o *quarantine.Options) { o.MinFree = 1 << 60 })
	if err := tight.Room(t.Context()); !errors.Is(err, quarantine.ErrFull) {
		t.Errorf("D-06: the free-space guard: %v", err)
	}
}

// TestD06_RealFullDisk fills a real file system of 6 MiB.
func TestD06_RealFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Without(t, "mounting a small file system needs root (sudo go test -run TestD06 ./quarantine)")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=6m,mode=0700"); err != nil {
		testkit.Without(t, "mount: "+err.Error())
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	clock := quarantinetest.NewClock()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := quarantine.Open(t.Context(), quarantine.Options{DB: db, Clock: clock.Now, MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	held := map[string][]byte{}
	fill := func() (full int) {
		for size := 256 << 10; size >= 64; size /= 2 {
			for range 64 {
				it, message := quarantinetest.Item(clock.Now(), "a@example.org"), quarantinetest.Message(size)
				err := s.Hold(t.Context(), it, bytes.NewReader(message))
				if err == nil {
					held[it.ID] = message
					s.Keep(context.Background(), it.ID) // may find no room: then Sweep keeps it
					continue
				}
				if !errors.Is(err, quarantine.ErrFull) {
					t.Fatalf("not known as full: %v", err)
				}
				full++
				break
			}
		}
		return full
	}
	if fill() == 0 || len(held) < 10 {
		t.Fatalf("it never filled: %d messages", len(held))
	}
	if s.Err() != nil {
		t.Fatalf("a full disk is no failure: %v", s.Err())
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=32m"); err != nil {
		t.Fatal(err)
	}
	it := quarantinetest.Item(clock.Now(), "a@example.org")
	if err := s.Hold(t.Context(), it, bytes.NewReader(quarantinetest.Message(100_000))); err != nil {
		t.Fatalf("does not recover: %v", err)
	}
	if err := s.Keep(t.Context(), it.ID); err != nil {
		t.Fatal(err)
	}
	clean(t, s, clock)
	for id, message := range held {
		if got, err := quarantinetest.Read(t, s, id); err != nil || !bytes.Equal(got, message) {
			t.Errorf("a held message is lost: %v", err)
		}
	}
	items, err := s.Count(t.Context(), quarantine.Query{})
	if err != nil || items > len(held)+1 {
		t.Errorf("%d items, %d were held: %v", items, len(held)+1, err)
	}
}

func TestHoldsShareCommits(t *testing.T) {
	clock := quarantinetest.NewClock()
	db, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := quarantine.Open(t.Context(), quarantine.Options{DB: db, Clock: clock.Now, MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// The writer stands still until every Hold waits for it.
	in, out := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() { db.Write(context.Background(), func(*store.Tx) error { close(in); <-out; return nil }) })
	<-in
	_, before := db.Stats()
	for range 32 {
		wg.Go(func() {
			if err := s.Hold(t.Context(), quarantinetest.Item(clock.Now(), "a@example.org"), bytes.NewReader([]byte("x"))); err != nil {
				t.Error(err)
			}
		})
	}
	for db.Waiting() < 32 {
		time.Sleep(time.Millisecond)
	}
	close(out)
	wg.Wait()
	if _, after := db.Stats(); after-before > 2 {
		t.Errorf("%d commits for 32 holds that waited together", after-before)
	}
}

func BenchmarkHold(b *testing.B) {
	for _, wide := range []int{1, 16} {
		b.Run(fmt.Sprintf("4KB/wide=%d", wide), func(b *testing.B) {
			clock := quarantinetest.NewClock()
			s := open(b, b.TempDir(), clock, nil)
			message := quarantinetest.Message(4096)
			items := make(chan *quarantine.Item, b.N)
			for range b.N {
				items <- quarantinetest.Item(clock.Now(), "a@example.org")
			}
			close(items)
			b.ReportAllocs()
			b.ResetTimer()
			var u0, u1 syscall.Rusage
			syscall.Getrusage(syscall.RUSAGE_SELF, &u0)
			var wg sync.WaitGroup
			for range wide {
				wg.Go(func() {
					for it := range items {
						if err := s.Hold(b.Context(), it, bytes.NewReader(message)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			syscall.Getrusage(syscall.RUSAGE_SELF, &u1)
			cpu := u1.Utime.Nano() + u1.Stime.Nano() - u0.Utime.Nano() - u0.Stime.Nano()
			b.ReportMetric(float64(cpu)/1e3/float64(b.N), "cpu-µs/op")
		})
	}
}
