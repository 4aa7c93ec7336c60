package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"postern/testkit"
)

// heldLedger is what was answered 250 with an id of ours, by the numbers of messages.
type heldLedger struct {
	mu  sync.Mutex
	ids map[string]string // id: text
	n   int
}

func (l *heldLedger) next() (name, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	name = fmt.Sprintf("ledger-%d", l.n)
	return name, letter(name, "held", gtube+"\r\n"+strings.Repeat(name+"\r\n", l.n%300))
}

func (l *heldLedger) took(id, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids[id] = text
}

func (l *heldLedger) copy() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]string{}
	for id, text := range l.ids {
		out[id] = text
	}
	return out
}

// D-08: a backup that is made under load has every message that was answered before it began; what
// is restored passes the check.
func TestD08_BackupUnderLoad(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "")
	g := s.start(t)
	ledger := &heldLedger{ids: map[string]string{}}
	stop, enough := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var load sync.WaitGroup
	defer load.Wait()
	end := sync.OnceFunc(func() { close(stop) })
	defer end()
	for range 4 {
		load.Go(func() {
			x, err := dial(g.addr)
			for err == nil {
				select {
				case <-stop:
					x.conn.Close()
					return
				default:
				}
				_, text := ledger.next()
				var reply string
				if reply, _, err = x.mail("eve@friend.example", []string{"a@example.org"}, []byte(text)); err != nil {
					break
				}
				id, held := strings.CutPrefix(reply, "250 2.0.0 OK ")
				if !held {
					t.Errorf("%s", reply)
					return
				}
				ledger.took(id, text)
				if len(ledger.copy()) >= 30 {
					once.Do(func() { close(enough) })
				}
			}
			t.Error(err)
		})
	}
	<-enough
	before := ledger.copy()
	gone := ""
	for id := range before {
		gone = id
		break
	}
	delete(before, gone)
	if code, stdout, stderr := s.child(t, "held", "delete", gone, "-c", s.conf); code != exitDone {
		t.Errorf("delete: exit %d\n%s%s", code, stdout, stderr)
	}
	file := filepath.Join(s.dir, "saved.tar")
	code, stdout, stderr := s.child(t, "backup", "--json", "-c", s.conf, file)
	if code != exitDone {
		t.Fatalf("backup: exit %d\n%s%s", code, stdout, stderr)
	}
	end()
	load.Wait()
	if after := len(ledger.copy()); after <= len(before)+1 {
		t.Errorf("no load while the backup was made: %d messages", after)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}

	data := filepath.Join(s.dir, "restored")
	if code, stdout, stderr := s.child(t, "restore", "--data", data, file); code != exitDone {
		t.Fatalf("restore: exit %d\n%s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := postern("check", "--full", "--data", data); code != exitDone || !strings.Contains(stdout, "each is what was received") {
		t.Errorf("check: exit %d\n%s%s", code, stdout, stderr)
	}
	st, err := openStores(t.Context(), &Config{Data: data}, slog.New(slog.DiscardHandler), false)
	if err != nil {
		t.Fatal(err)
	}
	for id, text := range before {
		r, err := st.quarantine.Content(t.Context(), id)
		if err != nil {
			t.Errorf("answered 250 and not there: %v", err)
			continue
		}
		raw, err := io.ReadAll(r)
		r.Close()
		if err != nil || string(raw) != text {
			t.Errorf("%s is not what was answered 250: %d bytes, %v", id, len(raw), err)
		}
	}
	if _, err := st.quarantine.Content(t.Context(), gone); err == nil {
		t.Error("a deleted message came back")
	}
	if err := st.close(); err != nil {
		t.Error(err)
	}

	s.replace(t, "data: data", "data: restored") // the gateway runs on it
	again := s.start(t)
	again.healthy(t, "")
	if err := again.stop(t); err != nil {
		t.Error(err)
	}
}

// What backup and restore refuse, and where they write.
func TestD08_BackupAndRestoreCommands(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "")
	g := s.start(t)
	id := strings.TrimPrefix(sendMail(t, g.addr, letter("one", "one", gtube+"\r\n"), "a@example.org"), "250 2.0.0 OK ")
	folder := t.TempDir()
	want := func(code int, words string, args ...string) string {
		t.Helper()
		got, stdout, stderr := s.child(t, args...)
		if got != code || !strings.Contains(stdout+stderr, words) {
			t.Errorf("postern %s: exit %d, want %d with %q\n%s%s", strings.Join(args, " "), got, code, words, stdout, stderr)
		}
		return stdout
	}
	want(exitDone, "1 held messages", "backup", "-c", s.conf, folder)
	made, _ := filepath.Glob(filepath.Join(folder, "postern-*.tar"))
	if len(made) != 1 {
		t.Fatalf("%q", made)
	}
	if st, err := os.Stat(made[0]); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("other people's mail has mode %v, %v", st.Mode(), err)
	}
	want(exitFailed, "never written over", "backup", "-c", s.conf, made[0])
	trap := filepath.Join(folder, "trap.tar.part") // in a folder of all, somebody may wait for it
	if err := os.WriteFile(trap, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	want(exitDone, "1 held messages", "backup", "-c", s.conf, filepath.Join(folder, "trap.tar"))
	if st, err := os.Stat(filepath.Join(folder, "trap.tar")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if text, err := os.ReadFile(trap); err != nil || string(text) != "mine" {
		t.Errorf("written into somebody's file: %d bytes, %v", len(text), err)
	}
	if err := os.Remove(filepath.Join(folder, "trap.tar")); err != nil { // as a folder of backups is
		t.Fatal(err)
	}
	want(exitUsage, "in the data folder", "backup", "-c", s.conf, filepath.Join(s.data, "x.tar"))
	want(exitFailed, "it is not there", "backup", "--data", filepath.Join(s.dir, "none"), folder+"/y.tar")
	want(exitFailed, "not empty", "restore", "--data", s.data, made[0])
	want(exitFailed, "no postern-*.tar", "restore", "--data", filepath.Join(s.dir, "a"), s.dir)
	want(exitFailed, "no backup of postern", "restore", "--data", filepath.Join(s.dir, "a"), s.conf)
	if err := os.WriteFile(filepath.Join(s.data, "core"), make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	want(exitDone, "not in it: core", "backup", "-c", s.conf, folder+"/large.tar")
	if err := os.Remove(filepath.Join(s.data, "core")); err != nil {
		t.Fatal(err)
	}
	streamed := want(exitDone, "", "backup", "-c", s.conf, "-")
	if err := os.WriteFile(filepath.Join(s.dir, "streamed"), []byte(streamed), 0o600); err != nil {
		t.Fatal(err)
	}
	want(exitDone, "1 held messages", "restore", "--data", filepath.Join(s.dir, "b"), filepath.Join(s.dir, "streamed"))
	want(exitDone, "1 held messages", "restore", "--data", filepath.Join(s.dir, "c"), folder)
	want(exitDone, "1 held messages read", "check", "--full", "--data", filepath.Join(s.dir, "c"))

	// Damage on disk is in the backup as it is, and told.
	file := filepath.Join(s.data, "messages", id[25:26], id+".eml.zst")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 0x40
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	want(exitFailed, id, "backup", "-c", s.conf, folder+"/damaged.tar")
	want(exitFailed, id, "restore", "--data", filepath.Join(s.dir, "d"), folder+"/damaged.tar")
	want(exitFailed, id, "check", "--full", "--data", filepath.Join(s.dir, "d"))
}

// Of two backups to one file the first that is whole stays, and the second says so.
func TestD08_TwoBackupsToOneFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "x.tar")
	for n, text := range []string{"first", "second"} {
		part := filepath.Join(dir, text+".part")
		if err := os.WriteFile(part, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := publish(part, name); (err != nil) != (n == 1) || n == 1 && !strings.Contains(err.Error(), "another backup") {
			t.Errorf("%s: %v", text, err)
		}
		if _, err := os.Lstat(part); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", part, err)
		}
	}
	if text, err := os.ReadFile(name); err != nil || string(text) != "first" {
		t.Errorf("%q, %v", text, err)
	}
}

// Root backs up a gateway that runs as another user, into a folder of root's alone, and restores into
// a folder of that user's: nobody's files end up as somebody else's.
func TestD08_BackupByRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Without(t, "another user's data folder needs root (sudo go test -run TestD08_BackupByRoot ./cmd/postern)")
	}
	t.Parallel()
	const nobody = 65534
	s := newSite(t, newSink(t, nil).addr, "")
	ids := holdSome(t, s, 2)
	data := reachable(t)
	if err := os.Rename(s.data, filepath.Join(data, "data")); err != nil {
		t.Fatal(err)
	}
	old, fresh := filepath.Join(data, "data"), filepath.Join(data, "fresh")
	if err := os.Mkdir(fresh, 0o700); err != nil {
		t.Fatal(err)
	}
	give := func(dir string) {
		t.Helper()
		if err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(name, nobody, nobody))
		}); err != nil {
			t.Fatal(err)
		}
	}
	give(old)
	give(fresh)
	folder := t.TempDir() // root's
	if err := os.Chmod(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := s.child(t, "backup", "--data", old, folder); code != exitDone || !strings.Contains(stdout, "2 held messages") {
		t.Fatalf("backup: exit %d\n%s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := s.child(t, "restore", "--data", fresh, folder); code != exitDone {
		t.Fatalf("restore: exit %d\n%s%s", code, stdout, stderr)
	}
	for _, dir := range []string{old, fresh} {
		if err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			st, err := d.Info()
			if err == nil && st.Sys().(*syscall.Stat_t).Uid != nobody {
				t.Errorf("%s became another user's", name)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	if code, stdout, _ := s.child(t, "held", "raw", ids[1], "--data", fresh); code != exitDone || !strings.Contains(stdout, gtube) {
		t.Errorf("exit %d", code)
	}
}

// reachable is a folder that every user may pass through.
func reachable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "postern-root-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
