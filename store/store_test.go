package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, dir string, o Options) *DB {
	t.Helper()
	db, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

var numbers = fstest.MapFS{"001_numbers.sql": {Data: []byte("CREATE TABLE numbers (n INTEGER PRIMARY KEY) STRICT;")}}

func withNumbers(t testing.TB) *DB {
	t.Helper()
	db := open(t, t.TempDir(), Options{})
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	return db
}

func insert(n int) func(*Tx) error {
	return func(tx *Tx) error {
		_, err := tx.Exec("INSERT INTO numbers VALUES (?)", n)
		return err
	}
}

func count(t testing.TB, db *DB) (n int) {
	t.Helper()
	if err := db.Reader().QueryRowContext(t.Context(), "SELECT count(*) FROM numbers").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// pause makes the writer wait inside a transaction until the returned func is called.
func pause(t testing.TB, db *DB) (resume func()) {
	t.Helper()
	in, out, done := make(chan bool), make(chan bool), make(chan error)
	go func() {
		done <- db.Write(context.Background(), func(*Tx) error { close(in); <-out; return nil })
	}()
	<-in
	return func() {
		close(out)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func waitQueued(db *DB, n int) {
	for len(db.jobs) < n {
		time.Sleep(time.Millisecond)
	}
}

func TestGroupCommitGivesEachItsOwnError(t *testing.T) {
	db := withNumbers(t)
	resume := pause(t, db)
	_, before := db.Stats()
	var wg sync.WaitGroup
	errs := make([]error, 30)
	for i := range errs {
		wg.Go(func() {
			switch i % 3 {
			case 0:
				errs[i] = db.Write(t.Context(), insert(i))
			case 1: // a constraint fails after something was written
				errs[i] = db.Write(t.Context(), func(tx *Tx) error {
					if err := insert(1000 + i)(tx); err != nil {
						return err
					}
					return insert(1000 + i)(tx)
				})
			case 2:
				errs[i] = db.Write(t.Context(), func(tx *Tx) error { insert(2000 + i)(tx); panic("poison") })
			}
		})
	}
	waitQueued(db, len(errs))
	resume()
	wg.Wait()
	for i, err := range errs {
		if (err == nil) != (i%3 == 0) {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if n := count(t, db); n != 10 {
		t.Errorf("%d rows, want the 10 of those that succeeded", n)
	}
	if _, after := db.Stats(); after-before > 2 {
		t.Errorf("%d commits for 30 writes that waited together", after-before)
	}
	if db.Err() != nil {
		t.Error(db.Err())
	}
}

// A write that is alone has no savepoint: its error undoes it all the same, and the next one works.
func TestWriteAloneIsUndone(t *testing.T) {
	db := withNumbers(t)
	for i, end := range []func() error{func() error { return errors.New("no") }, func() error { panic("no") }, func() error { return nil }} {
		err := db.Write(t.Context(), func(tx *Tx) error {
			if err := insert(i)(tx); err != nil {
				t.Error(err)
			}
			return end()
		})
		if (err == nil) != (i == 2) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if n := count(t, db); n != 1 || db.Err() != nil {
		t.Errorf("%d rows, want that of the write that succeeded, %v", n, db.Err())
	}
}

func TestWriteTakenBackWasNotRun(t *testing.T) {
	db := withNumbers(t)
	resume := pause(t, db)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() { done <- db.Write(ctx, insert(1)) }()
	waitQueued(db, 1)
	gone := errors.New("client gone")
	cancel(gone)
	if err := <-done; !errors.Is(err, gone) {
		t.Errorf("got %v, want the cause", err)
	}
	resume()
	if err := db.Write(t.Context(), insert(2)); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db); n != 1 {
		t.Errorf("%d rows: the write that was taken back ran", n)
	}
}

func TestCloseWritesWhatWasHandedOver(t *testing.T) {
	db := withNumbers(t)
	resume := pause(t, db)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := db.Write(context.Background(), insert(i)); err != nil {
				t.Error(err)
			}
		})
	}
	waitQueued(db, 20)
	closed := make(chan error)
	go func() { closed <- db.Close() }()
	resume()
	wg.Wait()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), insert(99)); !errors.Is(err, ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
	if n := count(t, open(t, db.Dir(), Options{})); n != 20 {
		t.Errorf("%d rows after reopening, want 20", n)
	}
}

func TestTwoHandlesSeeEachOther(t *testing.T) {
	a := withNumbers(t)
	b := open(t, a.Dir(), Options{})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			db := a
			if i%2 == 0 {
				db = b
			}
			if err := db.Write(t.Context(), insert(i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if x, y := count(t, a), count(t, b); x != 100 || y != 100 {
		t.Errorf("%d and %d rows, want 100 in both", x, y)
	}
}

func TestOneDaemonADirectory(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, Options{Exclusive: true})
	if _, err := Open(t.Context(), dir, Options{Exclusive: true}); !errors.Is(err, ErrLocked) {
		t.Fatalf("second daemon: %v", err)
	}
	open(t, dir, Options{}) // a command may
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, Options{Exclusive: true})
}

func TestD20_Migrations(t *testing.T) {
	db := withNumbers(t)
	two := fstest.MapFS{
		"001_numbers.sql": numbers["001_numbers.sql"],
		"002_words.sql":   {Data: []byte("CREATE TABLE words (w TEXT) STRICT; INSERT INTO words VALUES ('a'); INSERT INTO numbers VALUES (7);")},
	}
	for range 2 { // the second time nothing is to be done
		if err := db.Migrate(t.Context(), "test", two); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, db); n != 1 {
		t.Errorf("step 2 ran %d times", n)
	}
	if err := db.Migrate(t.Context(), "test", numbers); !errors.Is(err, ErrNewer) {
		t.Errorf("older program on newer tables: %v", err)
	}
	bad := fstest.MapFS{"1.sql": {Data: []byte("CREATE TABLE half (h TEXT);")}, "2.sql": {Data: []byte("CREATE GARBAGE;")}}
	if err := db.Migrate(t.Context(), "bad", bad); err == nil {
		t.Fatal("a bad step passed")
	}
	var n int
	if err := db.Reader().QueryRow("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").Scan(&n); err != nil || n != 0 {
		t.Errorf("half a migration stayed: %d, %v", n, err)
	}
	if err := db.Migrate(t.Context(), "gap", fstest.MapFS{"2.sql": {}}); err == nil {
		t.Error("a gap in the numbers passed")
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data %41?#x") // a name that a URI would mangle
	db := open(t, dir, Options{Exclusive: true})
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if st.Mode().Perm() != want {
			t.Errorf("%s has mode %04o, want %04o", path, st.Mode().Perm(), want)
		}
		files++
		return nil
	})
	if err != nil || files < 7 { // directory, messages, spool, lock, database, log, its index
		t.Errorf("%d files, %v", files, err)
	}
}

func TestUnsafeDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Options{}); !errors.Is(err, ErrUnsafe) {
		t.Errorf("got %v", err)
	}
}

func TestD08_DamageIsFoundAtOpen(t *testing.T) {
	db := withNumbers(t)
	dir := db.Dir()
	for i := range 5000 {
		if i%100 == 0 {
			err := db.Write(t.Context(), func(tx *Tx) error {
				for k := range 100 {
					if err := insert(i + k)(tx); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, File)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	pages := len(whole) / pageSize
	found := 0
	for page := 1; page < pages; page++ { // a page of garbage, each in turn
		bad := append([]byte(nil), whole...)
		for i := range pageSize {
			bad[page*pageSize+i] = byte(i * 7)
		}
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := Open(t.Context(), dir, Options{Exclusive: true, CheckWithin: time.Minute})
		switch {
		case err == nil:
			t.Errorf("page %d of %d is garbage and nobody noticed", page, pages)
			db.Close()
		case !errors.Is(err, ErrCorrupt):
			t.Errorf("page %d: %v", page, err)
		default:
			found++
		}
	}
	if found < 10 {
		t.Errorf("only %d pages were tried", found)
	}
}

func TestD08_CorruptionWhileRunningStopsWrites(t *testing.T) {
	db := withNumbers(t)
	if err := db.Write(t.Context(), func(*Tx) error { return fmt.Errorf("row 3: %w", ErrCorrupt) }); !errors.Is(err, ErrFailed) {
		t.Errorf("got %v", err)
	}
	if err := db.Write(t.Context(), insert(1)); !errors.Is(err, ErrFailed) || !errors.Is(err, ErrCorrupt) {
		t.Errorf("the next write: %v", err)
	}
	if db.Err() == nil {
		t.Error("health says all is well")
	}
	if n := count(t, db); n != 0 {
		t.Error("reading works, nothing was written", n)
	}
}

func TestD08_Backup(t *testing.T) {
	db := withNumbers(t)
	if err := db.Write(t.Context(), insert(1)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := db.Backup(t.Context(), filepath.Join(dir, File)); err != nil {
		t.Fatal(err)
	}
	if n := count(t, open(t, dir, Options{Exclusive: true})); n != 1 {
		t.Errorf("%d rows in the copy", n)
	}
}

func TestD17_ClockStepsAreNotBelievedForADay(t *testing.T) {
	db := withNumbers(t)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ask := func(now time.Time, want bool) {
		t.Helper()
		got, err := db.TrustClock(t.Context(), "x", now)
		if err != nil || got != want {
			t.Errorf("%s: trusted %v (%v), want %v", now, got, err, want)
		}
	}
	ask(start, true)
	ask(start.Add(time.Hour), true)
	ask(start.Add(2*time.Hour), true)
	far := start.AddDate(10, 0, 0)
	ask(far, false)
	ask(far.Add(12*time.Hour), false)
	ask(start.Add(3*time.Hour), false) // it came back
	for h := 4; h < 27; h += 3 {
		ask(start.Add(time.Duration(h)*time.Hour), false)
	}
	ask(start.Add(28*time.Hour), true)
}

func TestReaderCannotWrite(t *testing.T) {
	db := withNumbers(t)
	if _, err := db.Reader().Exec("INSERT INTO numbers VALUES (1)"); err == nil {
		t.Error("a reader wrote")
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, wide := range []int{1, 16} {
		b.Run(fmt.Sprintf("wide=%d", wide), func(b *testing.B) {
			db := withNumbers(b)
			n := make(chan int, b.N)
			for i := range b.N {
				n <- i
			}
			close(n)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range wide {
				wg.Go(func() {
					for i := range n {
						if err := db.Write(context.Background(), insert(i)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// What nobody waits for any more is not even handed to the writer.
func TestWriteOfAnEndedContext(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	busy, end, done := make(chan bool), make(chan bool), make(chan error)
	go func() {
		done <- db.Write(context.Background(), func(*Tx) error { close(busy); <-end; return nil })
	}()
	<-busy
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if err := db.Write(ctx, func(*Tx) error { t.Error("begun"); return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	if n := len(db.jobs); n != 0 {
		t.Errorf("%d writes wait for the writer", n)
	}
	close(end)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
