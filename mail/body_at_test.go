package mail

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

func TestBodyReadAt(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	for _, limit := range []int64{1 << 30, 1 << 10} { // in memory, and in a file
		s := NewSpool(t.TempDir(), limit, limit)
		first := s.New()
		defer first.Close()
		b := first.Beside()
		if _, err := b.Write(content); err != nil {
			t.Fatal(err)
		}
		b.Finish(nil)
		r := io.NewSectionReader(b, 0, b.Size())
		if err := iotest.TestReader(r, content); err != nil {
			t.Error(err)
		}
		p := make([]byte, 10)
		if n, err := b.ReadAt(p, int64(len(content))-4); n != 4 || err != io.EOF {
			t.Error(n, err)
		}
		if n, err := b.ReadAt(p, -1); n != 0 || err != io.EOF {
			t.Error(n, err)
		}
		b.Close()
		if _, err := b.ReadAt(p, 0); err != ErrClosed {
			t.Error(err)
		}
		if s.InMemory() != 0 {
			t.Error("memory is held")
		}
	}
}
