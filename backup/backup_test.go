package backup_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/backup"
	"postern/quarantine"
	"postern/quarantine/quarantinetest"
	"postern/store"
)

// saved is a data folder with some messages, and its archive.
func saved(t testing.TB, messages int) (archive []byte, bodies map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	db, q := rooms(t, dir)
	bodies = map[string][]byte{}
	clock := quarantinetest.NewClock()
	for n := range messages {
		body := quarantinetest.Message(700 * n)
		bodies[quarantinetest.Hold(t, q, quarantinetest.Item(clock.Now(), "a@example.org"), body).ID] = body
	}
	if err := os.WriteFile(filepath.Join(dir, "digest.key"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "setup-link"), []byte("once"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r, err := backup.Write(t.Context(), &out, db, q, backup.About{Made: time.Unix(1e9, 0).UTC(), Version: "test"})
	if err != nil || r.Messages != messages || len(r.Damaged) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, store.Spool, "*")); len(left) > 0 {
		t.Errorf("left in the spool folder: %q", left)
	}
	return out.Bytes(), bodies
}

func rooms(t testing.TB, dir string) (*store.DB, *quarantine.Store) {
	t.Helper()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	q, err := quarantine.Open(t.Context(), quarantine.Options{DB: db, MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return db, q
}

func TestD08_BackupRoundTrip(t *testing.T) {
	archive, bodies := saved(t, 5)
	dir := filepath.Join(t.TempDir(), "new", "data")
	r, err := backup.Read(t.Context(), bytes.NewReader(archive), dir)
	if err != nil || r.Messages != 5 || r.Version != "test" || !r.Made.Equal(time.Unix(1e9, 0)) {
		t.Fatalf("%+v, %v", r, err)
	}
	if key, err := os.ReadFile(filepath.Join(dir, "digest.key")); err != nil || string(key) != "secret" {
		t.Errorf("%q, %v", key, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "setup-link")); err == nil {
		t.Error("a link that works once is in the backup")
	}
	db, q := rooms(t, dir)
	if err := db.CheckAll(t.Context()); err != nil {
		t.Error(err)
	}
	for id, body := range bodies {
		if got, err := quarantinetest.Read(t, q, id); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes, %v", id, len(got), err)
		}
	}
	if n, damaged, err := q.VerifyAll(t.Context()); err != nil || n != 5 || damaged.Count > 0 {
		t.Errorf("%d, %+v, %v", n, damaged, err)
	}
	if _, err := backup.Read(t.Context(), bytes.NewReader(archive), dir); !errors.Is(err, backup.ErrNotEmpty) {
		t.Errorf("a folder that is not empty: %v", err)
	}
	if _, err := quarantinetest.Read(t, q, firstOf(bodies)); err != nil {
		t.Errorf("the refused restore took something away: %v", err)
	}
}

func firstOf(m map[string][]byte) string {
	for id := range m {
		return id
	}
	return ""
}

// What is not whole leaves nothing behind.
func TestD08_DamagedArchiveIsRefused(t *testing.T) {
	archive, _ := saved(t, 2)
	parent := t.TempDir()
	dir := filepath.Join(parent, "data")
	refused := func(what string, b []byte) {
		t.Helper()
		_, err := backup.Read(t.Context(), bytes.NewReader(b), dir)
		if err == nil {
			t.Fatalf("%s: restored", what)
		}
		if left, _ := os.ReadDir(parent); len(left) > 0 {
			t.Fatalf("%s: something stays: %v (%v)", what, left, err)
		}
	}
	for n := 0; n < len(archive)-1024; n += 512 + n/8 { // the last two blocks are zeros
		refused("cut", archive[:n])
	}
	whole := entries(t, archive)
	for i, e := range whole {
		if len(e.text) == 0 {
			continue
		}
		bad := slices.Clone(whole)
		bad[i].text = slices.Clone(e.text)
		bad[i].text[len(e.text)/2] ^= 1
		refused("a flipped bit in "+e.name, pack(t, bad))
		if e.name != "SHA256SUMS" {
			refused("without "+e.name, pack(t, slices.Delete(slices.Clone(whole), i, i+1)))
			refused("twice "+e.name, pack(t, slices.Insert(slices.Clone(whole), i, e)))
		}
	}
	refused("more behind it", pack(t, append(slices.Clone(whole), entry{name: "x", text: []byte("x")})))
	for _, name := range []string{"../x", "/etc/x", "messages/x", "messages/A/../../x", "messages/A/01K9ZT0A6X2V9S3M8Q4R5W7Y1B.eml.zst", "spool/x", "postern.db-wal",
		"postern.lock", "setup-link", ".ssh/x", "a/./b", "x\nSHA256SUMS", "messages/aside/x", strings.Repeat("a/", 10) + "x"} {
		refused(name, pack(t, slices.Insert(slices.Clone(whole), 1, entry{name: name, text: []byte("x")})))
	}
	for _, kind := range []byte{tar.TypeSymlink, tar.TypeLink, tar.TypeDir, tar.TypeFifo, tar.TypeChar} {
		refused("kind "+string(kind), pack(t, slices.Insert(slices.Clone(whole), 1, entry{name: "x", kind: kind})))
	}
	newer := slices.Clone(whole)
	newer[0].text = []byte(`{"format": 2, "version": "9"}`)
	if _, err := backup.Read(t.Context(), bytes.NewReader(pack(t, newer)), dir); !errors.Is(err, backup.ErrNewer) {
		t.Errorf("a newer one: %v", err)
	}
	if _, err := backup.Read(t.Context(), bytes.NewReader(pack(t, whole)), dir); err != nil {
		t.Errorf("the whole one: %v", err)
	}
}

// A file with holes in it (GNU tar, "PAX Format, Version 1.0") would take more room than the archive.
func TestD08_HolesAreRefused(t *testing.T) {
	archive, _ := saved(t, 1)
	about := entries(t, archive)[0]
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	const name, hole = "messages/B/01K9ZT0A6X2V9S3M8Q4R5W7Y1B.eml.zst", 1 << 24
	for _, e := range []struct {
		tar.Header
		text []byte
	}{
		{tar.Header{Name: about.name}, about.text},
		{tar.Header{Name: name, Format: tar.FormatPAX, PAXRecords: map[string]string{ // the writer knows no holes
			"XXX.sparse.major": "1", "XXX.sparse.minor": "0", "XXX.sparse.name": name, "XXX.sparse.realsize": strconv.Itoa(hole)}},
			append([]byte("1\n"+strconv.Itoa(hole)+"\n0\n"), make([]byte, 512-13)...)},
	} {
		e.Typeflag, e.Mode, e.Size = tar.TypeReg, 0o600, int64(len(e.text))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	bomb := bytes.ReplaceAll(out.Bytes(), []byte("XXX.sparse"), []byte("GNU.sparse"))
	r := tar.NewReader(bytes.NewReader(bomb))
	_, _ = r.Next()
	if h, err := r.Next(); err != nil || h.Size != hole {
		t.Fatalf("the archive has no hole: %+v, %v", h, err)
	}
	if _, err := backup.Read(t.Context(), bytes.NewReader(bomb), filepath.Join(t.TempDir(), "data")); !errors.Is(err, backup.ErrForeign) {
		t.Error(err)
	}
}

// A message that goes while the backup is made is not missed in the copy.
func TestD08_WhatGoesMeanwhileIsNotMissed(t *testing.T) {
	dir := t.TempDir()
	db, q := rooms(t, dir)
	clock := quarantinetest.NewClock()
	stays := quarantinetest.Hold(t, q, quarantinetest.Item(clock.Now(), "a@example.org"), []byte("stays"))
	goes := quarantinetest.Hold(t, q, quarantinetest.Item(clock.Now(), "a@example.org"), []byte("goes"))
	lost := quarantinetest.Hold(t, q, quarantinetest.Item(clock.Now(), "a@example.org"), []byte("lost"))
	unseen := quarantinetest.Item(clock.Now(), "a@example.org")
	if err := q.Hold(t.Context(), unseen, strings.NewReader("not answered for")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, store.Messages, lost.ID[25:26], lost.ID+".eml.zst")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	on := &onFirst{w: &out, do: func() { // the database is copied, no message yet
		if err := errors.Join(q.Delete(t.Context(), goes.ID, "root"), q.Drop(t.Context(), unseen.ID)); err != nil {
			t.Error(err)
		}
	}}
	r, err := backup.Write(t.Context(), on, db, q, backup.About{})
	if err != nil || r.Messages != 1 || r.Gone != 2 || !slices.Equal(r.Damaged, []string{lost.ID}) {
		t.Fatalf("%+v, %v", r, err)
	}
	to := t.TempDir()
	if _, err := backup.Read(t.Context(), &out, to); err != nil {
		t.Fatal(err)
	}
	_, again := rooms(t, to)
	c, err := again.Check(t.Context())
	if err != nil || c.Missing.Count != 1 || c.Missing.IDs[0] != lost.ID || c.Kept.Count+c.Voided.Count+c.Leftover.Count+c.Orphans.Count > 0 {
		t.Errorf("%+v, %v", c, err)
	}
	if it, err := again.Get(t.Context(), goes.ID); err != nil || it.State != quarantine.Deleted {
		t.Errorf("%+v, %v", it, err)
	}
	if _, err := quarantinetest.Read(t, again, stays.ID); err != nil {
		t.Error(err)
	}
	if u, err := again.Usage(t.Context()); err != nil || u.Items != 2 {
		t.Errorf("%+v, %v", u, err)
	}
}

// onFirst does something before the first byte is written.
type onFirst struct {
	w  io.Writer
	do func()
}

func (o *onFirst) Write(p []byte) (int, error) {
	if o.do != nil {
		o.do()
		o.do = nil
	}
	return o.w.Write(p)
}

type entry struct {
	name string
	kind byte
	text []byte
}

func entries(t testing.TB, archive []byte) (out []entry) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, entry{name: h.Name, text: text})
	}
}

func pack(t testing.TB, list []entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range list {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: int64(len(e.text)), Mode: 0o600}
		if e.kind != 0 {
			h.Typeflag, h.Linkname = e.kind, "/etc/passwd"
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// FuzzArchive: whatever the bytes are, nothing is written outside the folder, and nothing stays of
// what was refused.
func FuzzArchive(f *testing.F) {
	about := entry{name: "postern-backup.json", text: []byte(`{"format": 1, "version": "test"}`)}
	small := []entry{about, {name: "digest.key", text: []byte("secret")}, {name: "messages/B/01K9ZT0A6X2V9S3M8Q4R5W7Y1B.eml.zst", text: []byte("x")},
		{name: "postern.db", text: []byte("y")}}
	sums := entry{name: "SHA256SUMS"}
	for _, e := range small {
		sums.text = fmt.Appendf(sums.text, "%x  %s\n", sha256.Sum256(e.text), e.name)
	}
	small = append(small, sums, entry{name: "x"}) // all but whole: a success waits for the disk
	f.Add(pack(f, small))
	f.Add(pack(f, []entry{small[0], {name: "../x", text: []byte("x")}}))
	f.Add(pack(f, []entry{small[0], {name: "x", kind: tar.TypeSymlink}, {name: "x/y"}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		parent, err := os.MkdirTemp("/dev/shm", "postern-") // where what is made sure of costs no time
		if err != nil {
			parent = t.TempDir()
		}
		defer os.RemoveAll(parent)
		dir := filepath.Join(parent, "data")
		_, err = backup.Read(context.Background(), bytes.NewReader(b), dir)
		left, _ := os.ReadDir(parent)
		if err != nil && len(left) > 0 || len(left) > 1 {
			t.Errorf("%v: %v is there", err, left)
		}
		if _, serr := os.Stat(filepath.Join(dir, store.File)); err == nil && serr != nil {
			t.Errorf("restored without a database: %v", serr)
		}
	})
}
