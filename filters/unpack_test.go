package filters

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"postern/mail"
	"postern/testkit"
)

// zipOf makes an archive of pairs of name and content.
func zipOf(t testing.TB, method uint16, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := w.CreateHeader(&zip.FileHeader{Name: files[i], Method: method})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(f, files[i+1])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipOf(p []byte, name string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name = name
	_, _ = w.Write(p)
	_ = w.Close()
	return b.Bytes()
}

func tarOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Size: int64(len(files[i+1])), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, files[i+1])
	}
	_ = w.Close()
	return b.Bytes()
}

// memberOf finds a file in an archive by its name.
func memberOf(t testing.TB, f *ContentFacts, archive, name string) *Attachment {
	t.Helper()
	for i := range f.Attachments {
		if a := &f.Attachments[i]; a.Archive == archive && a.Name == name {
			return a
		}
	}
	t.Fatalf("no %s in %s: %+v", name, archive, f.Attachments)
	return nil
}

const program = "MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff"

func TestC06_ArchivesWithinArchives(t *testing.T) {
	for _, method := range []uint16{zip.Store, zip.Deflate} {
		inner := zipOf(t, method, "setup.exe", program, "note.txt", "text of a note")
		for name, p := range map[string][]byte{
			"a.zip": zipOf(t, method, "inner.zip", string(inner), "b.txt", "b"),
			"a.tar": tarOf(t, "inner.zip", string(inner), "b.txt", "b"),
		} {
			f := contentOf(t, wrapped("application/octet-stream", name, p))
			if f.Malformed || f.OverLimits {
				t.Fatalf("%s: %v", name, f.Defects)
			}
			if a := memberOf(t, &f, name+"/inner.zip", "setup.exe"); !a.Executable || a.RealType != "application/vnd.microsoft.portable-executable" || a.Size != len(program) {
				t.Errorf("%+v", a)
			}
			memberOf(t, &f, name+"/inner.zip", "note.txt")
			memberOf(t, &f, name, "b.txt")
			a := f.Attachments[0]
			if !slices.Equal(a.MemberExtensions, []string{"exe", "txt", "zip"}) || a.Members != 4 || len(f.Attachments) != 5 {
				t.Errorf("%s: %+v", name, f.Attachments)
			}
			o, err := ReadOutline(t.Context(), mail.BodyOf(wrapped("application/octet-stream", name, p)))
			if err != nil || !slices.ContainsFunc(o.Sections[2].Files, func(a Attachment) bool { return a.Dangerous() }) {
				t.Errorf("strip would not see it: %v", err)
			}
		}
	}
}

func TestC06_PackedStreams(t *testing.T) {
	inner := zipOf(t, zip.Deflate, "setup.exe", program)
	f := contentOf(t, wrapped("application/gzip", "a.tgz", gzipOf(tarOf(t, "dir/inner.zip", string(inner)), "")))
	memberOf(t, &f, "a.tgz/a.tar/dir/inner.zip", "setup.exe")
	f = contentOf(t, wrapped("application/gzip", "invoice.pdf.gz", gzipOf([]byte(program), "invoice.pdf")))
	if a := memberOf(t, &f, "invoice.pdf.gz", "invoice.pdf"); !a.Executable {
		t.Errorf("%+v", a)
	}
	f = contentOf(t, wrapped("application/gzip", "log.gz", gzipOf([]byte("text"), "")))
	if a := memberOf(t, &f, "log.gz", "log"); a.Executable || a.RealType != "text/plain" {
		t.Errorf("%+v", a)
	}
	f = contentOf(t, wrapped("application/gzip", "broken.gz", gzipOf(bytes.Repeat([]byte("text"), 1000), "")[:30]))
	if f.OverLimits {
		t.Errorf("%v", f.Defects)
	}
}

// nest packs a file into n archives within one another.
func nest(t testing.TB, n int, name string, p []byte) []byte {
	for i := range n {
		p = zipOf(t, zip.Deflate, name, string(p))
		name = fmt.Sprintf("level%d.zip", i)
	}
	return p
}

func TestC06_Depth(t *testing.T) {
	for n, over := range map[int]bool{1: false, 2: false, maxNested: false, maxNested + 1: true, 12: true} {
		f := contentOf(t, wrapped("application/zip", "a.zip", nest(t, n, "setup.exe", []byte(program))))
		if f.OverLimits != over || f.Malformed != over {
			t.Errorf("%d deep: %v", n, f.Defects)
		}
		if found := slices.Contains(f.Attachments[0].MemberExtensions, "exe"); found == over {
			t.Errorf("%d deep: found %v", n, found)
		}
	}
}

// What 42.zip does: sixteen archives in each, five deep, and four gigabytes in the innermost.
func TestC06_Bombs(t *testing.T) {
	zeros := strings.Repeat("\x00", 8<<20)
	floor := zipOf(t, zip.Deflate, "0.dll", zeros)
	flat := zipOf(t, zip.Deflate, "0.bin", strings.Repeat("\x00", 128<<20))
	sixteen := floor
	for level := range 5 {
		var files []string
		for i := range 16 {
			files = append(files, fmt.Sprintf("%d-%d.zip", level, i), string(sixteen))
		}
		sixteen = zipOf(t, zip.Deflate, files...)
	}
	for name, p := range map[string][]byte{
		"42.zip":       sixteen,
		"flat.zip":     flat,
		"nested.zip":   zipOf(t, zip.Deflate, "a.zip", string(zipOf(t, zip.Store, "0", zeros))),
		"tar.tgz":      gzipOf(tarOf(t, "a", zeros), ""),
		"gzip.gz":      gzipOf(gzipOf(gzipOf(gzipOf(gzipOf(gzipOf([]byte("x"), ""), ""), ""), ""), ""), ""),
		"overlap.zip":  overlapping(t),
		"declared.zip": declared(t),
	} {
		f := contentOf(t, wrapped("application/zip", name, p))
		if !f.Malformed {
			t.Errorf("%s: %v, %d members", name, f.Defects, f.Attachments[0].Members)
		}
	}
	if f := contentOf(t, wrapped("application/zip", "log.zip", zipOf(t, zip.Deflate, "big.log", zeros))); f.Malformed {
		t.Errorf("one well packed file: %v", f.Defects)
	}
}

// overlapping makes an archive whose central directory names the same data many times.
func overlapping(t testing.TB) []byte {
	p := zipOf(t, zip.Deflate, "a", strings.Repeat("some text ", 1000))
	at := bytes.Index(p, []byte(zipCentral))
	end := bytes.Index(p, []byte(zipEnd))
	entry := p[at:end]
	var b bytes.Buffer
	b.Write(p[:at])
	for range 20 {
		b.Write(entry)
	}
	tail := slices.Clone(p[end:])
	binary.LittleEndian.PutUint16(tail[8:], 20)
	binary.LittleEndian.PutUint16(tail[10:], 20)
	binary.LittleEndian.PutUint32(tail[12:], uint32(20*len(entry)))
	b.Write(tail)
	return b.Bytes()
}

// declared makes an archive that says that it is larger than it may be.
func declared(t testing.TB) []byte {
	p := zipOf(t, zip.Deflate, "a", "text")
	at := bytes.Index(p, []byte(zipCentral))
	binary.LittleEndian.PutUint32(p[at+24:], 3<<30)
	return p
}

// A zip quine gives itself when it is unpacked, so that there is no end of it.
func TestC06_Quine(t *testing.T) {
	p := quine()
	r, err := zip.NewReader(bytes.NewReader(p), int64(len(p)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	if inner := make([]byte, 4); true {
		if _, err := io.ReadFull(c, inner); err != nil || string(inner) != zipLocal {
			t.Fatalf("%v %q", err, inner)
		}
	}
	f := contentOf(t, wrapped("application/zip", "r.zip", p))
	if !f.OverLimits && !f.Malformed {
		t.Errorf("%v", f.Defects)
	}
}

// quine makes an archive deep enough that nobody sees its end: each level holds the one below it
// and a copy of it.
func quine() []byte {
	var b bytes.Buffer
	p := []byte("x")
	for range 9 {
		b.Reset()
		w := zip.NewWriter(&b)
		for _, n := range []string{"r.zip", "s.zip"} {
			f, _ := w.Create(n)
			_, _ = f.Write(p)
		}
		_ = w.Close()
		p = slices.Clone(b.Bytes())
	}
	return p
}

func TestC06_TooManyFiles(t *testing.T) {
	var files []string
	for i := range maxMemberSeen/2 + 1 {
		files = append(files, fmt.Sprintf("%d.txt", i), "")
	}
	one := zipOf(t, zip.Store, files...)
	f := contentOf(t, wrapped("application/zip", "a.zip", one))
	if f.OverLimits {
		t.Errorf("%v", f.Defects)
	}
	f = contentOf(t, wrapped("application/zip", "a.zip", zipOf(t, zip.Deflate, "1.zip", string(one), "2.zip", string(one), "last.exe", program)))
	if !f.OverLimits {
		t.Error("more files than are looked at, and nothing says so")
	}
	f = contentOf(t, wrapped("application/x-tar", "a.tar", tarOf(t, slices.Concat(files, files, []string{"last.exe", program})...)))
	if !f.OverLimits {
		t.Error("tar: more files than are looked at, and nothing says so")
	}
}

func TestC06_NamesThatLeaveTheFolder(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "link.exe", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink})
	_ = w.WriteHeader(&tar.Header{Name: "../../x.exe", Size: 1, Typeflag: tar.TypeReg})
	_, _ = io.WriteString(w, "x")
	_ = w.Close()
	f := contentOf(t, wrapped("application/x-tar", "a.tar", b.Bytes()))
	if a := memberOf(t, &f, "a.tar", "../../x.exe"); !slices.Contains(a.Names, "x.exe") {
		t.Errorf("%+v", a)
	}
	memberOf(t, &f, "a.tar", "link.exe")
	f = contentOf(t, wrapped("application/zip", "a.zip", zipOf(t, zip.Deflate, "../../x.exe", program, "/abs.exe", program, `..\y.exe`, program)))
	for _, n := range []string{"../../x.exe", "/abs.exe", `..\y.exe`} {
		if a := memberOf(t, &f, "a.zip", n); !a.Executable || f.OverLimits {
			t.Errorf("%+v %v", a, f.Defects)
		}
	}
}

// What 7-Zip makes is read, in the methods that it has.
func TestC06_SevenZip(t *testing.T) {
	bin := testkit.Program(t, "7z", "p7zip-full")
	for _, method := range []string{"-m0=LZMA2", "-m0=LZMA", "-m0=Deflate", "-m0=BZip2", "-m0=Copy", "-mhc=off", "-ms=off", "-m0=BCJ -m1=LZMA", "-m0=PPMd", "-psecret", "-psecret -mhe=on"} {
		dir := t.TempDir()
		for name, p := range map[string][]byte{"a note.txt": []byte(strings.Repeat("text of a note ", 1000)), "setup.dat": []byte(program + strings.Repeat("x", 5000)), "leer": nil,
			"inner.zip": zipOf(t, zip.Deflate, "deep.exe", program), "Grüße.txt": []byte("hallo")} {
			if err := os.WriteFile(filepath.Join(dir, name), p, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		file := filepath.Join(t.TempDir(), "a.7z")
		args := append([]string{"a"}, strings.Fields(method)...)
		cmd := exec.Command(bin, append(args, file, ".")...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", method, err, out)
		}
		f := contentOf(t, wrapped("application/x-7z-compressed", "a.7z", readFile(t, file)))
		if f.Malformed {
			t.Errorf("%s: %v", method, f.Defects)
		}
		top := f.Attachments[0]
		if top.Encrypted != strings.Contains(method, "-p") {
			t.Errorf("%s: %+v", method, top)
		}
		if strings.Contains(method, "-mhe") {
			if len(f.Attachments) != 1 {
				t.Errorf("%s: %+v", method, f.Attachments)
			}
			continue
		}
		for _, n := range []string{"a note.txt", "Grüße.txt", "leer", "setup.dat", "inner.zip"} {
			memberOf(t, &f, "a.7z", n)
		}
		if strings.Contains(method, "-p") {
			continue
		}
		if strings.Contains(method, "BCJ") || strings.Contains(method, "PPMd") {
			if !slices.Contains(f.Defects, "archive_odd") {
				t.Errorf("%s: nobody can look into inner.zip, and nothing says so", method)
			}
			continue
		}
		memberOf(t, &f, "a.7z/inner.zip", "deep.exe")
		if a := memberOf(t, &f, "a.7z", "setup.dat"); !a.Executable || a.Size != 5014 {
			t.Errorf("%s: %+v", method, a)
		}
	}
}

// A header of a few bytes that asks for any amount of memory gets none.
func TestC06_SevenZipHeadersAskForMemory(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0}
	for name, h := range map[string][]byte{
		"files":   append(append([]byte{sz7Header, sz7Files}, huge...), sz7End),
		"folders": append(append([]byte{sz7Header, sz7Main, sz7Unpack, sz7Folder}, huge...), 0),
		"packs":   append(append([]byte{sz7Header, sz7Main, sz7Pack, 0}, huge...), sz7Size),
		"empty":   {sz7Header},
		"cut":     {sz7Encoded},
		"dictionary": {sz7Encoded, sz7Pack, 0, 1, sz7Size, 1, sz7End, sz7Unpack, sz7Folder, 1, 0, 1, 0x23, 3, 1, 1, 5, 0x5d, 0xff, 0xff, 0xff, 0xff,
			sz7UnpackSize, 0xf0, 0xff, 0xff, 0xff, 0x7f, sz7End, sz7End},
	} {
		p := append([]byte("7z\xbc\xaf\x27\x1c\x00\x04"), make([]byte, 24)...)
		binary.LittleEndian.PutUint64(p[20:], uint64(len(h)))
		binary.LittleEndian.PutUint32(p[28:], crc32.ChecksumIEEE(h))
		binary.LittleEndian.PutUint32(p[8:], crc32.ChecksumIEEE(p[12:]))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f := contentOf(t, wrapped("application/x-7z-compressed", "a.7z", append(p, h...)))
		runtime.ReadMemStats(&after)
		if !slices.Contains(f.Defects, "archive_odd") && !f.OverLimits {
			t.Errorf("%s: %v", name, f.Defects)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
			t.Errorf("%s: %d bytes", name, n)
		}
	}
}

// rar5 makes an archive of stored files (RAR 5.0 archive format).
func rar5(files ...string) []byte {
	b := []byte("Rar!\x1a\x07\x01\x00")
	block := func(body, data []byte) {
		h := append(binary.AppendUvarint(nil, uint64(len(body))), body...)
		b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(h))
		b = append(append(b, h...), data...)
	}
	block([]byte{1, 0, 0}, nil)
	for i := 0; i < len(files); i += 2 {
		n := uint64(len(files[i+1]))
		body := binary.AppendUvarint([]byte{2, 2}, n)     // file, with data
		body = binary.AppendUvarint(append(body, 0), n)   // size
		body = append(body, 0, 0, 1, byte(len(files[i]))) // attributes, stored, Unix, name
		block(append(body, files[i]...), []byte(files[i+1]))
	}
	block([]byte{5, 0, 0}, nil)
	return b
}

func TestC06_RarWithArchives(t *testing.T) {
	f := contentOf(t, wrapped("application/vnd.rar", "a.rar", rar5("b.txt", "text", "inner.zip", string(zipOf(t, zip.Deflate, "deep.exe", program)), "in.rar", string(rar5("x.scr", "y")))))
	memberOf(t, &f, "a.rar", "b.txt")
	memberOf(t, &f, "a.rar/inner.zip", "deep.exe")
	memberOf(t, &f, "a.rar/in.rar", "x.scr")
	if f.Malformed || len(f.Attachments) != 6 {
		t.Errorf("%v %+v", f.Defects, f.Attachments)
	}
}

// FuzzUnpack: no archive makes a reader fail, and what it takes is bounded.
func FuzzUnpack(f *testing.F) {
	f.Add(zipOf(f, zip.Deflate, "a.zip", string(zipOf(f, zip.Store, "b.exe", program))))
	f.Add(gzipOf(tarOf(f, "a", "b"), "x"))
	f.Add(rar5("a.zip", string(zipOf(f, zip.Deflate, "b", "c"))))
	f.Add([]byte("7z\xbc\xaf\x27\x1c\x00\x04"))
	f.Add([]byte("BZh91AY&SY"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > 64<<10 {
			return
		}
		if bytes.HasPrefix(p, []byte("7z")) && len(p) > 32 { // so that what stands behind the checksums is tried
			p = slices.Clone(p)
			if at := binary.LittleEndian.Uint64(p[12:]); at < uint64(len(p)-32) {
				size := uint64(len(p)-32) - at
				binary.LittleEndian.PutUint64(p[20:], size)
				binary.LittleEndian.PutUint32(p[28:], crc32.ChecksumIEEE(p[32+at:]))
				binary.LittleEndian.PutUint32(p[8:], crc32.ChecksumIEEE(p[12:32]))
			}
		}
		facts := contentOf(t, wrapped("application/octet-stream", "a.zip", p))
		checkFacts(t, facts)
	})
}

func TestC06_EncryptedDocuments(t *testing.T) {
	filler := strings.Repeat("1 0 obj << >> endobj\n", 500)
	wide := strings.Join(strings.Split("EncryptedPackage", ""), "\x00") + "\x00\x00"
	for text, want := range map[string]bool{
		"%PDF-1.7\n" + filler + "trailer << /Root 1 0 R /Encrypt 5 0 R >>": true,
		"%PDF-1.7\n" + filler + "<</Encrypt<</Filter/Standard>>>>":         true,
		"%PDF-1.7\n" + filler + "<< /EncryptMetadata false >>":             false,
		"%PDF-1.7\n" + filler:                                                    false,
		"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + filler + wide:                       true,
		"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + filler + "W\x00o\x00r\x00d\x00\x00": false,
	} {
		msg := wrapped("application/octet-stream", "a.bin", []byte(text))
		for _, n := range []int{0, 7, 4096} {
			if f := inBlocks(t, msg, n); f.Attachments[0].Encrypted != want || f.Malformed {
				t.Errorf("%.60q…%.30q: %+v", text, text[len(text)-20:], f.Attachments[0])
			}
		}
	}
}
