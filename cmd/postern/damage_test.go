package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/store"
)

// holdSome runs a gateway until so many messages are held, and stops it.
func holdSome(t *testing.T, s *site, messages int) (ids []string) {
	t.Helper()
	g := s.start(t)
	for n := range messages {
		reply := sendMail(t, g.addr, letter("damage-"+string(rune('a'+n)), "held", gtube+"\r\n"), "a@example.org")
		id, held := strings.CutPrefix(reply, "250 2.0.0 OK ")
		if !held {
			t.Fatal(reply)
		}
		ids = append(ids, id)
	}
	if err := g.stop(t); err != nil {
		t.Fatal(err)
	}
	return ids
}

// garble writes nonsense over a file, from a place on.
func garble(t *testing.T, file string, from, size int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	junk := make([]byte, size)
	for i := range junk {
		junk[i] = byte(i*7 + 3)
	}
	if _, err := f.WriteAt(junk, from); err != nil {
		t.Fatal(err)
	}
}

// D-08, D-07: whatever was damaged while the gateway was down is found at its start or by check, and
// the reason is said.
func TestD08_DamageAtStart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, s *site, ids []string)
		start  string // what a refused start says; "": it starts
		check  string // what check says; it fails
	}{
		{"pages of the database", func(t *testing.T, s *site, _ []string) {
			garble(t, filepath.Join(s.data, store.File), 8<<10, 32<<10)
		}, "the store is damaged", "the store is damaged"},
		{"the database's head", func(t *testing.T, s *site, _ []string) { garble(t, filepath.Join(s.data, store.File), 0, 100) }, "the store is damaged", "the store is damaged"},
		{"a short database", func(t *testing.T, s *site, _ []string) {
			if err := os.Truncate(filepath.Join(s.data, store.File), 40<<10); err != nil {
				t.Fatal(err)
			}
		}, "the store is damaged", "the store is damaged"},
		{"no database", func(t *testing.T, s *site, _ []string) {
			if err := os.Remove(filepath.Join(s.data, store.File)); err != nil {
				t.Fatal(err)
			}
		}, "is missing, though", "is missing, though"},
		{"a message", func(t *testing.T, s *site, ids []string) { garble(t, messageFile(s, ids[0]), 40, 20) }, "", "not what was received"},
		{"no message file", func(t *testing.T, s *site, ids []string) {
			if err := os.Remove(messageFile(s, ids[0])); err != nil {
				t.Fatal(err)
			}
		}, "", "message file is gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, newSink(t, nil).addr, "")
			ids := holdSome(t, s, 3)
			c.damage(t, s, ids)
			if code, stdout, stderr := postern("check", "--full", "--data", s.data); code != exitFailed || !strings.Contains(stdout+stderr, c.check) {
				t.Errorf("check: exit %d\n%s%s", code, stdout, stderr)
			}
			if c.start != "" {
				if code, _, stderr := s.child(t, "serve", "-c", s.conf); code != exitFailed || !strings.Contains(stderr, c.start) {
					t.Errorf("start: exit %d, %s", code, stderr)
				}
				return
			}
			g := s.start(t)
			for _, m := range []struct{ body, reply string }{{gtube, "250 2.0.0 OK"}, {"x", "250 2.0.0 Taken"}} {
				if r := sendMail(t, g.addr, letter("after", "after", m.body+"\r\n"), "a@example.org"); !strings.HasPrefix(r, m.reply) {
					t.Error(r)
				}
			}
			if code, stdout, stderr := postern("held", "raw", ids[0], "--data", s.data); code != exitFailed || !strings.Contains(stderr, "damaged") {
				t.Errorf("the damaged one: exit %d, %d bytes, %s", code, len(stdout), stderr)
			}
			if code, _, stderr := postern("held", "release", ids[0], "-c", s.conf); code != exitFailed {
				t.Errorf("a damaged message was released: exit %d, %s", code, stderr)
			}
			if code, stdout, _ := postern("held", "raw", ids[1], "--data", s.data); code != exitDone || !strings.Contains(stdout, gtube) {
				t.Errorf("another one: exit %d", code)
			}
		})
	}
}

func messageFile(s *site, id string) string {
	return filepath.Join(s.data, store.Messages, id[25:26], id+".eml.zst")
}

// D-08: the database is damaged below a running gateway. What has to be held is put off once that
// is seen, clean mail is relayed, health says so, and the next start is refused.
func TestD08_DamageWhileRunning(t *testing.T) {
	t.Parallel()
	inside := newSink(t, nil)
	s := newSite(t, inside.addr, "")
	holdSome(t, s, 20)
	g := s.start(t)
	st, err := os.Stat(filepath.Join(s.data, store.File))
	if err != nil {
		t.Fatal(err)
	}
	garble(t, filepath.Join(s.data, store.File), 8<<10, st.Size()-8<<10)
	answered, put := 0, ""
	for n := 0; put == "" && n < 200; n++ { // what is in memory serves for a while
		reply := sendMail(t, g.addr, letter("running", "held", gtube+"\r\n"), "a@example.org")
		switch {
		case strings.HasPrefix(reply, "250 2.0.0 OK"):
			answered++
		default:
			put = reply
		}
	}
	if !strings.HasPrefix(put, "451 4.3.0 ") {
		t.Fatalf("%d were held, then %q", answered, put)
	}
	for n := range 3 {
		if r := sendMail(t, g.addr, letter(fmt.Sprintf("clean-%d", n), "clean", "x\r\n"), "a@example.org"); !strings.HasPrefix(r, "250 2.0.0 Taken") {
			t.Errorf("clean mail: %s", r)
		}
		if r := sendMail(t, g.addr, letter("running", "held", gtube+"\r\n"), "a@example.org"); !strings.HasPrefix(r, "451 4.3.0 ") {
			t.Errorf("goes on: %s", r)
		}
	}
	g.healthy(t, "store")
	_ = g.stop(t)
	if code, _, stderr := s.child(t, "serve", "-c", s.conf); code != exitFailed || !strings.Contains(stderr, "the store is damaged") {
		t.Errorf("start: exit %d, %s", code, stderr)
	}
}

// D-07, D-08: a crash, and the log of the database is gone with the commits in it. The messages are
// not: as files without a row they are set aside, once they are too old to be under way.
func TestD07_LostLogLosesNoMessage(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "")
	holdSome(t, s, 1)
	g := s.start(t)
	id := strings.TrimPrefix(sendMail(t, g.addr, letter("log", "log", gtube+"\r\n"), "a@example.org"), "250 2.0.0 OK ")
	g.kill(t)
	for _, end := range []string{"-wal", "-shm"} {
		if err := os.Remove(filepath.Join(s.data, store.File+end)); err != nil {
			t.Fatal(err)
		}
	}
	g = s.start(t)
	if _, err := os.Stat(messageFile(s, id)); err != nil {
		t.Errorf("younger than an hour, it may be under way: %v", err)
	}
	_ = g.stop(t)
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(messageFile(s, id), old, old); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ := postern("check", "--data", s.data); code != exitDone || !strings.Contains(stdout, "1 files without a row") || !strings.Contains(stdout, id) {
		t.Errorf("check: exit %d\n%s", code, stdout)
	}
	g = s.start(t)
	g.log.must(t, 1, "msg", "message files without a row were set aside")
	if _, err := os.Stat(filepath.Join(s.data, store.Messages, "aside", id+".eml.zst")); err != nil {
		t.Error(err)
	}
	_ = g.stop(t)
}
