package preview

import (
	"archive/zip"
	"bytes"
	"errors"
	"mime"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"postern/testkit"
)

func TestZipIsReadBy7z(t *testing.T) {
	program := testkit.Program(t, "7z", "p7zip-full")
	for name, content := range map[string]string{"invoice.exe": "MZ\x90\x00 not a program", "": "", "Grüße 日本.txt": strings.Repeat("0123456789", 123_457), "../../../etc/x": "x",
		"a\r\nb\"; c": "y", "\u202efdp.exe": "z", strings.Repeat("ü", 4096) + ".js": "long", "CON.txt": "device"} {
		dir := t.TempDir()
		file := filepath.Join(dir, "a.zip")
		var b bytes.Buffer
		password := Password()
		if err := Zip(&b, name, iotest.HalfReader(strings.NewReader(content)), password); err != nil {
			t.Fatal(err)
		}
		if content != "" && len(content) > 8 && bytes.Contains(b.Bytes(), []byte(content[:8])) {
			t.Error("the content stands in the archive as it is")
		}
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(program, "x", "-y", "-p"+password, "-o"+dir+"/out", file).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", name, err, out)
		}
		got, err := os.ReadFile(filepath.Join(dir, "out", FileName(name)))
		if err != nil || string(got) != content {
			t.Errorf("%q: %v, %d bytes", name, err, len(got))
		}
		if out, err := exec.Command(program, "t", "-y", "-pwrong", file).CombinedOutput(); err == nil {
			t.Errorf("%q: opens with a wrong password:\n%s", name, out)
		}
		broken := bytes.Clone(b.Bytes())
		broken[30+len(FileName(name))+11+18+len(content)] ^= 1 // the first byte of the MAC
		_ = os.WriteFile(file, broken, 0o600)
		if out, err := exec.Command(program, "t", "-y", "-p"+password, file).CombinedOutput(); err == nil {
			t.Errorf("%q: a changed file passes:\n%s", name, out)
		}
		z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil || len(z.File) != 1 || z.File[0].Name != FileName(name) || z.File[0].Flags&1 == 0 || z.File[0].Method != 99 {
			t.Errorf("%q: %v %+v", name, err, z)
		}
	}
}

func TestZipPassesErrorsOn(t *testing.T) {
	var b bytes.Buffer
	want := errors.New("broken")
	if err := Zip(&b, "a", iotest.ErrReader(want), "p"); !errors.Is(err, want) {
		t.Error(err)
	}
	if err := Zip(&b, "a", strings.NewReader("x"), ""); err == nil {
		t.Error("no password, and no error")
	}
	for n := range 12 {
		if err := Zip(&failing{n: n, err: want}, "a", strings.NewReader("x"), "p"); !errors.Is(err, want) {
			t.Errorf("write %d: %v", n, err)
		}
	}
}

type failing struct {
	n   int
	err error
}

func (f *failing) Write(p []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, f.err
	}
	return len(p), nil
}

func TestC33_FileNames(t *testing.T) {
	for name, want := range map[string]string{
		"../../x": "x", `..\..\x`: "x", "/etc/passwd": "etc_passwd", "C:\\a.exe": "C__a.exe", "a\r\nSet-Cookie: b": "aSet-Cookie_ b", `"; x=`: "x=",
		"": "file", ".": "file", "..": "file", "...": "file", ".bashrc": "bashrc", "-rf": "rf", "nul": "_nul", "COM1.txt": "_COM1.txt", "a. ": "a", "\u202eexe.pdf": "exe.pdf",
		"a\x00b": "ab", "\xff": "file", "a b.txt": "a b.txt", "日本.txt": "日本.txt", "%2e%2e": "2e_2e", "a\u2028b": "ab", "~": "file",
	} {
		if got := FileName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	long := FileName(strings.Repeat("ü", 2048) + ".exe")
	if len(long) > maxFileName || !strings.HasSuffix(long, ".exe") {
		t.Errorf("%d bytes, %q", len(long), long)
	}
}

func TestC33_ContentDisposition(t *testing.T) {
	for _, name := range []string{"../../x", "a\r\nSet-Cookie: b", `a"; filename=b.exe; x="`, strings.Repeat("x", 4096), "\u202eexe.pdf", "Grüße.zip", "日本.txt", "a;b=c", "it's.txt", "\xff\xfe"} {
		v := ContentDisposition(name)
		kind, params, err := mime.ParseMediaType(v)
		if err != nil || kind != "attachment" || params["filename"] != FileName(name) || strings.ContainsAny(v, "\r\n\x00") || len(params) != 1 {
			t.Errorf("%q: %v %s %q\n%s", name, err, kind, params, v)
		}
	}
}

// FuzzFileName: a name is safe whatever it was, and making it safe again changes nothing.
func FuzzFileName(f *testing.F) {
	for _, s := range []string{"../../x", "a\r\nb", "con.txt", strings.Repeat("ü.", 200), "\u202e", "~-~x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := FileName(s)
		if n == "" || len(n) > maxFileName || n == "." || n == ".." || strings.ContainsAny(n, "/\\\x00\r\n\"") || VisibleName(n) != n || n[0] == '.' {
			t.Fatalf("%q: %q", s, n)
		}
		if again := FileName(n); again != n && again != "_"+n && !strings.HasPrefix(n, "_") {
			t.Fatalf("%q: %q, then %q", s, n, again)
		}
		kind, params, err := mime.ParseMediaType(ContentDisposition(s))
		if err != nil || kind != "attachment" || params["filename"] != n {
			t.Fatalf("%q: %v %q", s, err, params)
		}
	})
}
