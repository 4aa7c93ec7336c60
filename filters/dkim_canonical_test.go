package filters

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"strings"
	"testing"
)

// hashInBlocks writes p in blocks of the given sizes, over and over; sizes of 0 count as 1.
func hashInBlocks(h bodyHash, p, sizes []byte) []byte {
	for i := 0; len(p) > 0; i++ {
		n := len(p)
		if len(sizes) > 0 {
			n = min(n, max(1, int(sizes[i%len(sizes)])))
		}
		h.write(p[:n])
		p = p[n:]
	}
	return h.sum()
}

func checkBody(t *testing.T, body string, sizes []byte) {
	t.Helper()
	for _, f := range []struct {
		name string
		made bodyHash
		want string
	}{{"simple", newSimpleBody(), refSimpleBody(body)}, {"relaxed", newRelaxedBody(), refRelaxedBody(body)}} {
		want := sha256.Sum256([]byte(f.want))
		if got := hashInBlocks(f.made, []byte(body), sizes); !bytes.Equal(got, want[:]) {
			t.Errorf("%s: body %.200q in blocks of %v: not the hash of %.200q", f.name, body, sizes, f.want)
		}
	}
}

// TestA18_CanonicalBody: the examples of RFC 6376 3.4 and what they leave open.
func TestA18_CanonicalBody(t *testing.T) {
	for _, c := range []struct{ body, simple, relaxed string }{
		{"", "\r\n", ""},
		{"\r\n", "\r\n", ""},
		{"\r\n\r\n\r\n", "\r\n", ""},
		{" \t \r\n \r\n", " \t \r\n \r\n", ""},
		{" \t ", " \t \r\n", ""},
		{" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"}, // 3.4.5
		{"a", "a\r\n", "a\r\n"},
		{"a \t", "a \t\r\n", "a\r\n"},
		{"a\r\n\t ", "a\r\n\t \r\n", "a\r\n"},
		{"\r\n\r\na\r\n", "\r\n\r\na\r\n", "\r\n\r\na\r\n"},
		{"a\n\n", "a\n\n\r\n", "a\n\n\r\n"},
		{"a \n", "a \n\r\n", "a \n\r\n"},
		{"a \rb\r", "a \rb\r\r\n", "a \rb\r\r\n"},
		{"a\r\r\n", "a\r\r\n", "a\r\r\n"},
		{"a\x00 \xff\t\xfe\r\n", "a\x00 \xff\t\xfe\r\n", "a\x00 \xff \xfe\r\n"},
	} {
		if got := refSimpleBody(c.body); got != c.simple {
			t.Errorf("reference, simple %q: %q", c.body, got)
		}
		if got := refRelaxedBody(c.body); got != c.relaxed {
			t.Errorf("reference, relaxed %q: %q", c.body, got)
		}
		for size := range byte(6) {
			checkBody(t, c.body, []byte{size})
		}
	}
}

// TestA18_AnySplitGivesTheSameHash: bodies of the bytes that matter, in random blocks.
func TestA18_AnySplitGivesTheSameHash(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	bits := []string{" ", "  ", "\t", "\r\n", "\r\n\r\n", "\r", "\n", "a", "some words", strings.Repeat("x", 700), " \r\n", strings.Repeat("\r\n", 90)}
	for range 1000 {
		var b strings.Builder
		for range rnd.IntN(20) {
			b.WriteString(bits[rnd.IntN(len(bits))])
		}
		sizes := make([]byte, 1+rnd.IntN(8))
		for i := range sizes {
			sizes[i] = byte(rnd.IntN(1 << rnd.IntN(8)))
		}
		checkBody(t, b.String(), sizes)
		checkBody(t, b.String(), nil)
		if t.Failed() {
			return
		}
	}
}

// TestC04_HostileBodies: plenty of what has to be kept back until more comes.
func TestC04_HostileBodies(t *testing.T) {
	for _, unit := range []string{"\r\n", " ", "\t", " \r\n", "a \r\n", "  a", "\r", "\n", " \t\r", "x\r\n\r\n"} {
		body := strings.Repeat(unit, (32<<10)/len(unit))
		for _, sizes := range [][]byte{nil, {255}, {1}} {
			checkBody(t, body, sizes)
		}
	}
}

func TestRelaxedHeader(t *testing.T) {
	for in, want := range map[string]string{
		"A: X\r\n":                           "a:X\r\n", // RFC 6376 3.4.5
		"B : Y\t\r\n\tZ  \r\n":               "b:Y Z\r\n",
		"SubJect:\r\n":                       "subject:\r\n",
		"S: \r\n \r\n\t\r\n":                 "s:\r\n",
		"S:a\r\n b\r\n":                      "s:a b\r\n",
		"S:a \x00\xff\r\n":                   "s:a \x00\xff\r\n",
		"S: a : b\r\n":                       "s:a : b\r\n",
		"S:a\rb\nc\r\n":                      "s:a\rb\nc\r\n",
		"Content-Type: a;\r\n\tb=\"\t\"\r\n": "content-type:a; b=\" \"\r\n",
	} {
		if got := string(relaxField(nil, []byte(in))) + "\r\n"; got != want || refRelaxedField(in) != want {
			t.Errorf("%q: %q, reference %q, want %q", in, got, refRelaxedField(in), want)
		}
	}
}

func FuzzDKIMCanonical(f *testing.F) {
	f.Add([]byte(" C \r\nD \t E\r\n\r\n\r\n"), []byte{1, 2}, []byte("a b\r\n\tc "))
	f.Add([]byte("a \r"), []byte{3}, []byte(" "))
	f.Add([]byte("\r\n\r\n \t\r\n"), []byte{0, 5}, []byte("\r\n\r\n"))
	f.Fuzz(func(t *testing.T, body, sizes, value []byte) {
		checkBody(t, string(body), sizes)
		field := "Name :" + string(value) + "\r\n"
		if got, want := string(relaxField([]byte("kept"), []byte(field)))+"\r\n", "kept"+refRelaxedField(field); got != want {
			t.Errorf("field %q: %q, want %q", field, got, want)
		}
	})
}
