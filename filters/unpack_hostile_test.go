package filters

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A few bytes of a header may not cost much: no list comes twice, and one that is not there costs
// nothing. Each of these took minutes at the largest header there may be.
func TestC06_HeadersThatRepeat(t *testing.T) {
	repeat := func(start string, unit ...byte) *reader7z {
		return &reader7z{p: append([]byte(start), bytes.Repeat(unit, max7zHeader/len(unit))...)}
	}
	begin := time.Now()
	folder := string([]byte{sz7Unpack, sz7Folder, 1, 0, 1, 1, 0, sz7UnpackSize, 0, sz7End})
	for name, r := range map[string]*reader7z{
		"packed streams": repeat("", sz7Pack, 0, 0xe0, 0, 0, 0x20, sz7End),
		"sizes":          repeat("\x06\x00\xe0\x00\x00\x20", sz7CRC, 1),
		"files":          repeat(folder, sz7Sub, sz7Count, 0xa7, 0x10, sz7End),
		"folders":        repeat("", []byte(folder)...),
	} {
		if r.streams(); !r.bad {
			t.Errorf("%s: taken", name)
		}
	}
	for name, r := range map[string]*reader7z{
		"empty ones":              repeat("\xa7\x10", sz7EmptyStream, 0),
		"names":                   repeat("\xa7\x10", sz7Names, 1, 0),
		"bits that are not there": {p: []byte{0xa7, 0x10, sz7EmptyStream, 0, sz7End}},
	} {
		if _, empty := r.files(); len(empty) != 10000 || name == "names" && !r.bad {
			t.Errorf("%s: %d, bad %v", name, len(empty), r.bad)
		}
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

// A file in a tar archive is one whatever letter it bears, but for links, devices and folders.
func TestC06_TarOfOddTypes(t *testing.T) {
	inner := string(zipOf(t, zip.Deflate, "setup.exe", program))
	for _, flag := range []byte{tar.TypeReg, tar.TypeCont, 'Z'} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Name: "inner.zip", Size: int64(len(inner)), Mode: 0o644, Typeflag: flag}); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, inner)
		_ = w.Close()
		f := contentOf(t, wrapped("application/x-tar", "a.tar", b.Bytes()))
		if a := memberOf(t, &f, "a.tar/inner.zip", "setup.exe"); !a.Executable {
			t.Errorf("%q: %+v", flag, a)
		}
	}
}

// What is called a folder by its mode alone has content all the same.
func TestC06_ZipOfFolders(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "inner.zip", Method: zip.Store, CreatorVersion: 3 << 8, ExternalAttrs: 0o040755 << 16}
	p, err := w.CreateHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = p.Write(zipOf(t, zip.Deflate, "setup.exe", program))
	_ = w.Close()
	f := contentOf(t, wrapped("application/zip", "a.zip", b.Bytes()))
	memberOf(t, &f, "a.zip/inner.zip", "setup.exe")
}

// An archive that is listed nowhere for want of room is looked into.
func TestC06_RARBeyondTheList(t *testing.T) {
	var files []string
	for i := range maxMembers + 5 {
		files = append(files, fmt.Sprintf("f%d.txt", i), "x")
	}
	files = append(files, "inner.zip", string(zipOf(t, zip.Deflate, "setup.exe", program)))
	f := contentOf(t, wrapped("application/vnd.rar", "a.rar", rar5(files...)))
	if a := f.Attachments[0]; fmt.Sprint(a.MemberExtensions) != "[exe txt zip]" {
		t.Errorf("%v", a.MemberExtensions)
	}
}

// A sparse file in a tar archive is a bomb like others: what it takes counts, not what it says.
func TestC06_TarOfHoles(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "x.zip"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(600<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	p, err := exec.Command("tar", "-C", dir, "-S", "--format=pax", "-cf", "-", "x.zip").Output()
	if err != nil || len(p) > 100<<10 {
		t.Skipf("tar: %v, %d bytes", err, len(p))
	}
	if c := contentOf(t, wrapped("application/x-tar", "a.tar", p)); !c.OverLimits {
		t.Errorf("%v", c.Defects)
	}
}
