package gateway

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// plainDots is the reference for dotWriter, byte by byte.
func plainDots(p []byte) ([]byte, bool) {
	var out []byte
	for i, c := range p {
		if c == '\n' && (i == 0 || p[i-1] != '\r') || c == '\r' && (i+1 == len(p) || p[i+1] != '\n') {
			return nil, false
		}
		if c == '.' && (i == 0 || p[i-1] == '\n') {
			out = append(out, '.')
		}
		out = append(out, c)
	}
	if len(p) > 0 && p[len(p)-1] != '\n' {
		out = append(out, "\r\n"...)
	}
	return append(out, ".\r\n"...), true
}

// writeDots sends p in blocks of the sizes in cuts, repeated.
func writeDots(p []byte, cuts []byte) ([]byte, error) {
	var out []byte
	w := newDotWriter(func(b []byte) error { out = append(out, b...); return nil })
	defer w.free()
	for i := 0; len(p) > 0; i++ {
		n := len(p)
		if len(cuts) > 0 {
			n = min(n, int(cuts[i%len(cuts)])+i%2)
		}
		block := bytes.Clone(p[:n])
		if err := w.write(block); err != nil {
			return out, err
		}
		for i := range block {
			block[i] = '#' // a block is only lent
		}
		p = p[n:]
	}
	return out, w.end()
}

func FuzzDotWriter(f *testing.F) {
	for _, s := range []string{"", ".", "\r\n", ".\r\n", "a\r\n.b\r\n..\r\n", "a\nb", "a\rb", "a\r", "\r\n.\r\n", "\ra\n"} {
		f.Add([]byte(s), []byte{1})
		f.Add([]byte(s), []byte{2, 0, 3})
	}
	f.Fuzz(func(t *testing.T, p, cuts []byte) {
		want, ok := plainDots(p)
		got, err := writeDots(p, cuts)
		if (err == nil) != ok {
			t.Fatalf("%q in %v: %v, reference %v", p, cuts, err, ok)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%q in %v: %q, want %q", p, cuts, got, want)
		}
		if err != nil && (bytes.Contains(got, []byte("\r\n.\r\n")) || bytes.HasPrefix(got, []byte(".\r\n"))) {
			t.Fatalf("%q in %v: looks finished: %q", p, cuts, got)
		}
	})
}

func TestDotWriterWritesFewBlocks(t *testing.T) {
	for size, want := range map[int]int{0: 1, 4 << 10: 1, 60 << 10: 1, 1 << 20: 17} {
		n := 0
		w := newDotWriter(func(b []byte) error { n++; return nil })
		for rest := size; rest > 0; rest -= min(rest, 4096) {
			if err := w.write([]byte(strings.Repeat("x", min(rest, 4096)-2) + "\r\n")); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.end(); err != nil {
			t.Fatal(err)
		}
		w.free()
		if n != want {
			t.Errorf("%d bytes: %d writes, want %d", size, n, want)
		}
	}
}

func TestDotWriterPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	w := newDotWriter(func([]byte) error { return broken })
	defer w.free()
	if err := w.write(bytes.Repeat([]byte("x"), outBlock+1)); err != broken {
		t.Error(err)
	}
}

func BenchmarkDotWriter(b *testing.B) {
	p := bytes.Repeat([]byte(strings.Repeat("x", 76)+"\r\n"), 64<<10/78)
	w := newDotWriter(func([]byte) error { return nil })
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if err := w.write(p); err != nil {
			b.Fatal(err)
		}
	}
}
