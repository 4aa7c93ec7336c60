package filters

import (
	"bytes"
	"fmt"
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
	return &c.facts, c.decoded
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
