package filters

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

func xzOf(t testing.TB, p []byte, dict int) []byte {
	var b bytes.Buffer
	w, err := xz.WriterConfig{DictCap: dict}.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(p)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestC06_FilesPackedWithXZ(t *testing.T) {
	f := contentOf(t, wrapped("application/x-xz", "invoice.pdf.xz", xzOf(t, []byte(program), 1<<20)))
	if a := memberOf(t, &f, "invoice.pdf.xz", "invoice.pdf"); !a.Executable || f.Malformed {
		t.Errorf("%+v %v", a, f.Defects)
	}
	inner := zipOf(t, zip.Deflate, "setup.exe", program)
	f = contentOf(t, wrapped("application/octet-stream", "a.txz", xzOf(t, tarOf(t, "dir/inner.zip", string(inner)), 1<<20)))
	memberOf(t, &f, "a.txz/a.tar/dir/inner.zip", "setup.exe")

	// A dictionary of almost 4 GiB is not made.
	huge := xzOf(t, []byte("text"), 1<<20)
	i := bytes.Index(huge, []byte{0x21, 1})
	if i < 0 {
		t.Fatal("no filter")
	}
	huge[i+2] = 39
	if f = contentOf(t, wrapped("application/x-xz", "a.xz", huge)); !f.OverLimits {
		t.Errorf("a huge dictionary: %v", f.Defects)
	}
	if f = contentOf(t, wrapped("application/x-xz", "a.txz", xzOf(t, tarOf(t, "a", strings.Repeat("\x00", 8<<20)), 1<<20))); !f.OverLimits {
		t.Errorf("a bomb: %v", f.Defects)
	}
	good := xzOf(t, []byte(strings.Repeat("some text ", 1000)), 1<<20)
	for n := range len(good) { // cut short, or broken: told, and no panic
		if f = contentOf(t, wrapped("application/x-xz", "a.xz", good[:n])); f.Malformed {
			t.Errorf("%d bytes: %v", n, f.Defects)
		}
		broken := bytes.Clone(good)
		broken[n] ^= 0x41
		contentOf(t, wrapped("application/x-xz", "a.xz", broken))
	}
}
