package filters

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

// bombed reads a message and returns its facts and how many bytes were decoded for them.
func bombed(t *testing.T, msg []byte) (*ContentFacts, int) {
	t.Helper()
	body := mail.BodyOf(msg)
	defer body.Close()
	h, err := body.Header()
	if err != nil {
		t.Fatal(err)
	}
	r := body.Open()
	defer r.Close()
	c := newCollector()
	defer c.release()
	if err := c.read(h, time.Time{}, r.Next); err != nil {
		t.Fatal(err)
	}
	c.finish()
	f := c.facts
	return &f, c.decoded
}

// A message within a message, each in two encodings, has two readings, then four, then eight.
func TestC03_ReadingsOfReadingsAreBounded(t *testing.T) {
	for _, kind := range []string{
		"Content-Type: message/rfc822\r\n",
		"Content-Type: message/global\r\n",
		"Content-Type: multipart/mixed; boundary=b\r\n",
	} {
		layer := kind + "Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
		if strings.Contains(kind, "boundary") {
			layer += "--b\r\n"
		}
		msg := []byte(strings.Repeat(layer, 14) + "Content-Type: text/plain\r\n\r\n" + strings.Repeat("text\r\n", 2000))
		f, decoded := bombed(t, msg)
		if most := 2 * (maxDecodedTimes*len(msg) + maxDecodedMore); decoded > most {
			t.Errorf("%q: %d bytes decoded of a message of %d", kind, decoded, len(msg))
		}
		if strings.Contains(kind, "message") && !(f.OverLimits && f.Malformed) {
			t.Errorf("%q: limits %v, malformed %v: what was not read must not pass for clean", kind, f.OverLimits, f.Malformed)
		}
	}
}

// A run length of BinHex makes 255 bytes of two.
func TestC03_BinHexRunsAreBounded(t *testing.T) {
	raw := append([]byte{1, 'a', 0}, "TEXTABCD\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00"...)
	for len(raw) < 300_000 {
		raw = append(raw, 'x', 0x90, 0xff)
	}
	var text bytes.Buffer
	acc, bits := uint32(0), 0
	for i, c := range raw {
		acc, bits = acc<<8|uint32(c), bits+8
		for ; bits >= 6; bits -= 6 {
			text.WriteByte(binhexAlphabet[acc>>(bits-6)&63])
		}
		if i%48 == 47 {
			text.WriteString("\r\n")
		}
	}
	for _, head := range []string{
		"Content-Type: text/plain\r\n\r\n(This file must be converted with BinHex 4.0)\r\n:",
		"Content-Type: application/x; name=a.zip\r\nContent-Transfer-Encoding: binhex\r\n\r\n:",
	} {
		msg := []byte(head + text.String() + ":\r\n")
		f, decoded := bombed(t, msg)
		if most := 2 * (maxDecodedTimes*len(msg) + maxDecodedMore); decoded > most || !f.OverLimits {
			t.Errorf("%d bytes decoded of %d, limits %v", decoded, len(msg), f.OverLimits)
		}
	}
}

// An archive of nothing but names is remembered up to its limit only.
func TestC03_NamesOfAnArchiveAreBounded(t *testing.T) {
	z := &zipList{}
	for i := range 3 * maxMemberSeen {
		name := fmt.Sprintf("%d.txt", i)
		var head [zipLocalLen]byte
		copy(head[:], zipLocal)
		head[26] = byte(len(name))
		z.take(append(head[:], name...))
	}
	z.close()
	if len(z.local) > maxMemberSeen || !z.over {
		t.Errorf("%d names are kept, over %v", len(z.local), z.over)
	}
}

// An extension that is not listed must not pass for clean: behind more members and extensions
// than are kept, in one archive or in many.
func TestC03_ExtensionsThatAreNotListed(t *testing.T) {
	zip := func(exts, from int, last string) []byte {
		var b bytes.Buffer
		add := func(name string) {
			var head [zipLocalLen]byte
			copy(head[:], zipLocal)
			head[26] = byte(len(name))
			b.Write(head[:])
			b.WriteString(name)
		}
		for i := range exts {
			add(fmt.Sprintf("a.q%d", from+i))
		}
		for range maxMembers {
			add("a.txt")
		}
		add(last)
		return b.Bytes()
	}
	if f, _ := bombed(t, wrapped("application/zip", "a.zip", zip(200, 0, "evil.exe"))); f.OverLimits {
		t.Error("that is not too much")
	} else if !slices.ContainsFunc(f.Attachments, func(a Attachment) bool { return slices.Contains(a.MemberExtensions, "exe") }) {
		t.Error("exe is not listed")
	}
	if f, _ := bombed(t, wrapped("application/zip", "a.zip", zip(maxMemberExts, 0, "evil.exe"))); !f.OverLimits {
		t.Error("exe is not listed, and nothing says so")
	}
	msg := []byte("Content-Type: multipart/mixed; boundary=x\r\n\r\n")
	for i := range 200 {
		msg = append(append(msg, "--x\r\n"...), wrapped("application/zip", "a.zip", zip(150, 150*i, "a.txt"))...)
	}
	f, _ := bombed(t, msg)
	size := 0
	for _, a := range f.Attachments {
		for _, w := range append(append(a.Names, a.Extensions...), a.MemberExtensions...) {
			size += len(w) + wordBytes
		}
	}
	if size > maxWords || !f.OverLimits {
		t.Errorf("%d bytes of words, limits %v", size, f.OverLimits)
	}
}
