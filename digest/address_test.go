package digest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

const someID = "01K9ZT0A6X2V9S3M8Q4R5W7Y1B"

// testKey gives the same key each time.
func testKey() *Key { return &Key{[]byte("0123456789abcdef0123456789abcdef")} }

func TestAddressesReadBack(t *testing.T) {
	k := testKey()
	received := mustTime(t, someID)
	for _, c := range []struct {
		t    ticket
		want time.Duration // good for; 0: there is no address
	}{
		{ticket{someID, 0, received.Add(30 * day)}, 30 * day},
		{ticket{someID + "-2", maxCopy, received.Add(30*day + time.Hour)}, 30 * day},
		{ticket{someID + "-15", 7, received.Add(900 * day)}, maxDays * day},
		{ticket{someID, 0, received.Add(day)}, day},
		{ticket{someID, 0, received.Add(day - 1)}, 0},
		{ticket{someID + "-16", 0, received.Add(30 * day)}, 0},
		{ticket{someID + "-1", 0, received.Add(30 * day)}, 0},
		{ticket{someID + "-02", 0, received.Add(30 * day)}, 0},
		{ticket{someID, maxCopy + 1, received.Add(30 * day)}, 0},
		{ticket{strings.ToLower(someID), 0, received.Add(30 * day)}, 0},
		{ticket{"../../etc/passwd", 0, received.Add(30 * day)}, 0},
		{ticket{"", 0, received.Add(30 * day)}, 0},
	} {
		local, ok := k.local(c.t)
		if ok != (c.want > 0) {
			t.Errorf("%+v: %q", c.t, local)
		}
		if !ok {
			continue
		}
		if a, err := mail.ParseAddress(local+"@reply.example.org", false); err != nil || len(a.Local) != 64 {
			t.Errorf("%q: %v", local, err)
		}
		for _, said := range []string{local, strings.ToUpper(local)} {
			got, ok := k.read(said)
			if !ok || got.item != c.t.item || got.copy != c.t.copy || !got.until.Equal(received.Add(c.want)) {
				t.Errorf("%q: %+v, want %+v", said, got, c.t)
			}
		}
	}
}

// No address but what the key made is taken: not with any letter changed, cut off or added.
func TestAddressesAreNotForged(t *testing.T) {
	k := testKey()
	local, _ := k.local(ticket{someID, 0, mustTime(t, someID).Add(30 * day)})
	for i := len(prefix); i < len(local); i++ {
		for _, c := range "abcdefghijklmnopqrstuvwxyz234567" {
			if byte(c) == local[i] {
				continue
			}
			if _, ok := k.read(local[:i] + string(c) + local[i+1:]); ok {
				t.Errorf("letter %d may be %c", i, c)
			}
		}
	}
	for _, s := range []string{"", prefix, local[:63], local + "a", local[8:], "release" + local[8:], " " + local, local + "=", strings.Replace(local, "-", "+", 1), prefix + strings.Repeat("a", 56)} {
		if _, ok := k.read(s); ok {
			t.Errorf("%q is taken", s)
		}
	}
	if _, ok := (&Key{make([]byte, keySize)}).read(local); ok {
		t.Error("another key reads it")
	}
}

func FuzzAddress(f *testing.F) {
	k := testKey()
	local, _ := k.local(ticket{someID + "-3", 5, mustTime(f, someID).Add(30 * day)})
	f.Add(local)
	f.Add(strings.ToUpper(local))
	f.Add(prefix + strings.Repeat("7", 56))
	f.Add("release-\x00\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := k.read(s)
		if !ok {
			return
		}
		again, ok := k.local(got)
		if !ok || !strings.EqualFold(again, s) {
			t.Errorf("%q is read as %+v, which is %q", s, got, again)
		}
	})
}

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	k, err := OpenKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenKey(dir)
	if err != nil || string(again.secret) != string(k.secret) || len(k.secret) != keySize {
		t.Error(again, err)
	}
	file := filepath.Join(dir, KeyFile)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if left, _ := filepath.Glob(file + "-*"); len(left) > 0 {
		t.Error(left)
	}
	if err := makeKey(dir); err != nil {
		t.Error(err)
	}
	if same, err := readKey(dir); err != nil || string(same.secret) != string(k.secret) {
		t.Error("a key was replaced")
	}
	for _, bad := range [][]byte{nil, make([]byte, keySize), []byte("short"), []byte(strings.Repeat("x", keySize+1))} {
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKey(dir); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(dir); err == nil || !strings.Contains(err.Error(), "others") {
		t.Error(err)
	}
}
