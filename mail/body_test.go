package mail

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
)

// Every reader, whenever it is opened, reads every byte, in memory and spilled; the sum in
// memory stays under its bound and returns to zero.
func TestBodyReadersFollowTheWriter(t *testing.T) {
	dir := t.TempDir()
	s := NewSpool(dir, 200<<10, 300<<10)
	var wg sync.WaitGroup
	for range 6 {
		want := make([]byte, rand.IntN(400<<10))
		for i := range want {
			want[i] = byte(rand.Uint32())
		}
		b := s.New()
		check := func(r *Reader) {
			defer wg.Done()
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("read %d bytes of %d: %v", len(got), len(want), err)
			}
		}
		wg.Add(3)
		go check(b.Open())
		go check(b.Open())
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(30<<10))
			if _, err := b.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			if used := s.InMemory(); used > 300<<10 {
				t.Errorf("%d bytes in memory, over the bound", used)
			}
			rest = rest[n:]
		}
		b.Finish(nil)
		check(b.Open())
		defer b.Close()
	}
	wg.Wait()
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("spool files are visible: %v", left)
	}
}

func TestBodyMemoryComesBack(t *testing.T) {
	s := NewSpool(t.TempDir(), 0, 0)
	for _, n := range []int{1, 8 << 10, 9 << 10, 1 << 20, 1<<20 + 1, 3 << 20} {
		b := s.New()
		_, _ = b.Write(make([]byte, n))
		b.Finish(nil)
		b.Close()
		b.Close()
		if used := s.InMemory(); used != 0 {
			t.Errorf("%d bytes: %d still charged", n, used)
		}
	}
}

// A broken upload reaches every reader as its error, after the bytes that did arrive; a
// waiting one wakes.
func TestBodyBroken(t *testing.T) {
	b := NewSpool("", 0, 0).New()
	_, _ = io.WriteString(b, "half")
	gone := errors.New("client gone")
	got := make(chan error)
	go func() {
		p, err := io.ReadAll(b.Open())
		if string(p) != "half" {
			t.Errorf("read %q", p)
		}
		got <- err
	}()
	b.Finish(gone)
	if err := <-got; !errors.Is(err, gone) {
		t.Errorf("reader got %v", err)
	}
	if _, err := b.Header(); !errors.Is(err, gone) {
		t.Errorf("Header got %v", err)
	}
	b.Close()
	if _, err := b.Open().Next(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A spool folder that cannot be written is an error of Write, not a panic and not silence.
func TestBodyDiskFault(t *testing.T) {
	b := NewSpool("/nonexistent", 10, 10).New()
	defer b.Close()
	if _, err := b.Write(make([]byte, 11)); err == nil {
		t.Error("no error")
	}
}

func TestBodyHeader(t *testing.T) {
	for _, tt := range []struct {
		in     string
		fields int
		ended  bool
	}{
		{"A: b\r\nC: d\r\n e\r\n\r\nbody: x\r\n", 2, true},
		{"A: b\r\n", 1, false},
		{"\r\nbody", 0, true},
		{"", 0, false},
		{"A: b\n\nbody: c\n\n", 1, true},
		{"A: b\r\n \r\nB: c\r\n\r\n", 2, true}, // a line of blanks continues
		{"junk\r\nA: b\r\n\r\n", 2, true},
	} {
		for split := range len(tt.in) + 1 {
			b := NewSpool("", 0, 0).New()
			_, _ = io.WriteString(b, tt.in[:split])
			_, _ = io.WriteString(b, tt.in[split:])
			b.Finish(nil)
			h, err := b.Header()
			if err != nil || len(h.Fields) != tt.fields || h.Ended != tt.ended {
				t.Errorf("%q: %d fields, ended %v, %v", tt.in, len(h.Fields), h.Ended, err)
			}
			b.Close()
		}
	}
}

// ParseHeader loses no byte and invents none: the fields' raw bytes in order, and the empty
// line, are what it was given.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{"A: b\r\n\r\n", " x\r\nA:b\n", "From \t: a\r\n\t\r\nB\x00: c\r\n", ":\r\n", "\n", "a\rb: c\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		h := ParseHeader(in, HeaderLimits{})
		var all []byte
		for i := range h.Fields {
			fd := &h.Fields[i]
			all = append(all, fd.Raw...)
			if !fd.Malformed && (fd.Name == "" || fd.Body() == nil) {
				t.Fatalf("field %q without a name or body", fd.Raw)
			}
		}
		if !bytes.HasPrefix(in, all) || !bytes.HasPrefix(in, h.Raw) || len(h.Raw)-len(all) > 2 {
			t.Fatalf("%q became %q", in, all)
		}
		if !h.Ended && len(h.Raw) != len(in) {
			t.Fatalf("stopped at %d of %d", len(h.Raw), len(in))
		}
		if end := HeaderEnd(in, 0); h.Ended && end != len(h.Raw) || !h.Ended && end >= 0 {
			t.Fatalf("HeaderEnd says %d, ParseHeader %d, ended %v", end, len(h.Raw), h.Ended)
		}
		lim := ParseHeader(in, HeaderLimits{Bytes: 40, Fields: 3, Field: 20})
		if len(lim.Fields) > 3 || len(lim.Raw) > 42 {
			t.Fatalf("limits passed: %d fields, %d bytes", len(lim.Fields), len(lim.Raw))
		}
	})
}

func BenchmarkBody4K(b *testing.B) {
	s := NewSpool("", 0, 0)
	p := make([]byte, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		m := s.New()
		_, _ = m.Write(p)
		m.Finish(nil)
		r := m.Open()
		for _, err := r.Next(); err == nil; _, err = r.Next() {
		}
		m.Close()
	}
}
