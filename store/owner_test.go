package store

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestAsOwner runs itself once more, since the change cannot be undone.
func TestAsOwner(t *testing.T) {
	if dir := os.Getenv("POSTERN_TEST_OWNED"); dir != "" {
		back, err := Lend(dir)
		if err != nil || os.Geteuid() == 0 {
			t.Fatal(err)
		}
		if _, err := os.ReadDir(filepath.Join(filepath.Dir(dir), "roots")); err == nil {
			t.Fatal("it reads what is root's alone")
		}
		if err := os.WriteFile(filepath.Join(dir, "lent"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := back(); err != nil || os.Geteuid() != 0 || os.Getegid() != 0 {
			t.Fatal(err)
		}
		if _, err := os.ReadDir(filepath.Join(filepath.Dir(dir), "roots")); err != nil {
			t.Fatal(err)
		}
		if err := AsOwner(dir); err != nil {
			t.Fatal(err)
		}
		db, err := Open(t.Context(), dir, Options{Exclusive: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context(), "test", numbers); err != nil {
			t.Fatal(err)
		}
		os.Exit(0) // as a crash would: log and index files stay
	}
	if os.Geteuid() != 0 {
		t.Skip("skipped: needs root (sudo go test -run TestAsOwner ./store)")
	}
	top := t.TempDir()
	dir := filepath.Join(top, "data")
	const uid, gid = 65534, 65533
	if err := os.Mkdir(filepath.Join(top, "roots"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	for d := top; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAsOwner$")
	cmd.Env = append(os.Environ(), "POSTERN_TEST_OWNED="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) < 5 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, n := range names {
		st, err := n.Info()
		if err != nil {
			t.Fatal(err)
		}
		if sys := st.Sys().(*syscall.Stat_t); sys.Uid != uid || sys.Gid != gid {
			t.Errorf("%s belongs to %d:%d", n.Name(), sys.Uid, sys.Gid)
		}
	}
	if err := AsOwner(filepath.Join(top, "missing")); err != nil || os.Geteuid() != 0 {
		t.Errorf("a directory that is missing changes nothing: %v", err)
	}
}

// TestD06_ReadOnlyFileSystem mounts one, since root may write to a read-only folder.
func TestD06_ReadOnlyFileSystem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: mounting needs root (sudo go test -run TestD06 ./store)")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
		t.Skipf("skipped: mount: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	db := open(t, dir, Options{})
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if db, err := Open(t.Context(), dir, Options{}); err == nil {
		db.Close()
		t.Error("it opened, and could hold nothing")
	}
}

func TestRunning(t *testing.T) {
	dir := t.TempDir()
	if Running(dir) {
		t.Error("nobody has run here")
	}
	db, err := Open(t.Context(), dir, Options{Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	if !Running(dir) {
		t.Error("the daemon is not seen")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if Running(dir) {
		t.Error("it has ended")
	}
}
