package filters

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
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

// blocksOf joins .xz files of one block each to one of many blocks.
func blocksOf(files ...[]byte) []byte {
	out := bytes.Clone(files[0][:headerXZ])
	index := []byte{0, byte(len(files))}
	for _, f := range files {
		n := 4 * (int(binary.LittleEndian.Uint32(f[len(f)-8:])) + 1) // of its index
		end := len(f) - 12 - n
		out = append(out, f[headerXZ:end]...)
		sizes := f[end+2 : end+n-4]
		for range 2 {
			_, k := binary.Uvarint(sizes)
			index = append(index, sizes[:k]...)
			sizes = sizes[k:]
		}
	}
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	footer := files[0][len(files[0])-12:]
	out = append(binary.LittleEndian.AppendUint32(append(out, index...), crc32.ChecksumIEEE(index)), footer...)
	size := out[len(out)-8:]
	binary.LittleEndian.PutUint32(size, uint32(len(index)/4))
	binary.LittleEndian.PutUint32(out[len(out)-12:], crc32.ChecksumIEEE(size[:6]))
	return out
}

// What stands in a later block, or in a file behind the first, is seen as what stands in the first one.
func TestC06_XZInManyPieces(t *testing.T) {
	for _, check := range []byte{xz.None, xz.CRC32, xz.CRC64, xz.SHA256} {
		packed := func(p []byte) []byte {
			var b bytes.Buffer
			w, err := xz.WriterConfig{DictCap: 1 << 16, CheckSum: check, NoCheckSum: check == xz.None}.NewWriter(&b)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write(p)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		}
		for cut := range 3 {
			tar := tarOf(t, "readme.txt", "hello", "evil.exe", program)
			a, b := packed(tar[:1+cut*511]), packed(tar[1+cut*511:])
			for what, p := range map[string][]byte{
				"blocks": blocksOf(a, b), "files": append(bytes.Clone(a), b...), "files with zeros between": slices.Concat(a, make([]byte, 8), b),
				"junk behind": append(blocksOf(a, b), "junk behind it"...), "an empty block first": blocksOf(packed(nil), a, b), "an empty file first": slices.Concat(packed(nil), a, b),
			} {
				f := contentOf(t, wrapped("application/x-xz", "a.txz", p))
				if m := memberOf(t, &f, "a.txz/a.tar", "evil.exe"); !m.Executable || f.Malformed {
					t.Errorf("check %d, cut %d, %s: %+v %v", check, cut, what, m, f.Defects)
				}
			}
		}
	}
	many := slices.Repeat([][]byte{xzOf(t, []byte("x"), 8<<20)}, spentXZ/(8<<20)+1)
	for n := len(many) - 1; n <= len(many); n++ {
		if f := contentOf(t, wrapped("application/x-xz", "a.txt.xz", blocksOf(many[:n]...))); f.OverLimits != (n == len(many)) {
			t.Errorf("%d blocks: %v", n, f.Defects)
		}
	}
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
