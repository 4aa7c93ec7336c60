package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/testkit"
)

// D-06: a full disk is answered 452 where the disk is needed, clean mail passes all the same,
// and nothing has to be restarted once there is room.
func TestD06_FullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Without(t, "mounting a small file system needs root (sudo go test -run TestD06 ./cmd/postern)")
	}
	t.Parallel()
	inside := newSink(t, nil)
	s := newSite(t, inside.addr, "")
	if err := os.Mkdir(s.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", s.data, "tmpfs", 0, "size=120m,mode=0700"); err != nil {
		testkit.Without(t, "mount: "+err.Error())
	}
	t.Cleanup(func() { _ = syscall.Unmount(s.data, syscall.MNT_DETACH) })
	g := s.serve(t)

	n := 0
	want := func(kind, body, reply string) {
		t.Helper()
		n++
		id := fmt.Sprintf("full-%d", n)
		if got := sendMail(t, g.addr, letter(id, kind, body), "a@example.org"); !strings.HasPrefix(got, reply) {
			t.Errorf("%d, %s: %q, want %s", n, kind, got, reply)
		}
	}
	held, clean, large := gtube+"\r\n", "x\r\n", strings.Repeat(strings.Repeat("x", 98)+"\r\n", 30_000)
	const taken, kept, full = "250 2.0.0 Taken", "250 2.0.0 OK 0", "452 4.3.1 "
	want("held", held, kept)
	want("clean", clean, taken)
	want("large", large, taken)
	g.healthy(t, "")

	ballast := filepath.Join(s.data, "ballast")
	fill(t, ballast, 60<<20) // less is left than one and a half of the largest message
	want("held", held, full)
	want("clean", clean, taken)
	want("large", large, taken)

	fill(t, ballast, 0) // nothing is left
	want("held", held, full)
	want("clean", clean, taken)
	want("large", large, full) // too large to be kept in memory
	want("clean", clean, taken)
	g.healthy(t, "store")

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	want("held", held, kept)
	want("clean", clean, taken)
	want("large", large, taken)
	if err := g.program.journal.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	g.healthy(t, "")
	if items := g.heldWith(t, "held"); len(items) != 2 {
		t.Errorf("%d items are held, want the two that were answered 250", len(items))
	}
	if got := inside.taken(); len(got) != 8 {
		t.Errorf("the internal server has %d messages, want the 8 that were answered 250", len(got))
	}
	if code, stdout, _ := postern("check", "-c", s.conf); code != exitDone {
		t.Errorf("check: exit %d\n%s", code, stdout)
	}
}

// fill writes a file until only so much is free.
func fill(t *testing.T, file string, leave int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for {
		var st syscall.Statfs_t
		if err := syscall.Fstatfs(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		free := int64(st.Bfree)*st.Bsize - leave
		if free <= 0 {
			return
		}
		if _, err := f.Write(block[:min(free, int64(len(block)))]); err != nil {
			return // full, as wanted
		}
	}
}
