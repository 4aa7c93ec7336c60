package filters

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// tlv is an element of DER; with indefinite length, of BER.
func tlv(tag byte, indefinite bool, parts ...string) string {
	body := strings.Join(parts, "")
	switch n := len(body); {
	case indefinite:
		return string([]byte{tag, 0x80}) + body + "\x00\x00"
	case n < 0x80:
		return string([]byte{tag, byte(n)}) + body
	default:
		return string([]byte{tag, 0x82, byte(n >> 8), byte(n)}) + body
	}
}

// opaque signs nothing, but has the form of it (RFC 5652 5.1).
func opaque(content string, ber bool, piece int) string {
	octets := tlv(4, false, content)
	if piece > 0 {
		var pieces []string
		for c := range slices.Chunk([]byte(content), piece) {
			pieces = append(pieces, tlv(4, false, string(c)))
		}
		octets = tlv(0x24, ber, pieces...)
	}
	data, signed := "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01", "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
	return tlv(0x30, ber, tlv(6, false, signed), tlv(0xa0, ber, tlv(0x30, ber, tlv(2, false, "\x01"), tlv(0x31, false),
		tlv(0x30, ber, tlv(6, false, data), tlv(0xa0, ber, octets)), tlv(0xa0, false, tlv(0x30, false, tlv(4, false, "\r\n--in\r\nX: a certificate"))),
		tlv(0x31, false, tlv(0x30, false, tlv(2, false, "\x01"), tlv(4, false, strings.Repeat("s", 300)))))))
}

func signedMail(field, der string) []byte {
	var b strings.Builder
	for c := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString([]byte(der))), 76) {
		b.Write(c)
		b.WriteString("\r\n")
	}
	return []byte(top + field + "\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b.String())
}

// C-05: mail programs show the files in an opaquely signed message, so rules see them too.
func TestC05_FilesInOpaquelySignedMail(t *testing.T) {
	entity := "Content-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\nContent-Type: text/plain\r\n\r\nhello\r\n--in\r\nContent-Disposition: attachment; filename=evil.exe\r\nContent-Transfer-Encoding: base64\r\n\r\nTVqQAA==\r\n--in--\r\n"
	for _, field := range []string{"Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m", "Content-Type: application/x-pkcs7-mime",
		"Content-Type: application/octet-stream; name=smime.p7m"} {
		for _, piece := range []int{0, 1, 7, 100} {
			for _, ber := range []bool{false, true} {
				f := contentOf(t, signedMail(field, opaque(entity, ber, piece)))
				if f.Malformed || len(f.Attachments) != 2 || !slices.Contains(f.Attachments[0].Names, "evil.exe") || !f.Attachments[0].Executable {
					t.Errorf("%s, pieces of %d, BER %v: malformed is %v: %v %q", field, piece, ber, f.Malformed, f.Defects, allNames(&f))
				}
			}
		}
	}
	field := "Content-Type: application/pkcs7-mime; name=bill.xml.p7m"
	key := tlv(0x31, false, tlv(0x30, false, tlv(2, false, "\x00"), tlv(4, false, "a:\r\n\x80\x00\r\nz"+strings.Repeat("\x81", 240))))
	enveloped := tlv(0x30, true, tlv(6, false, "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"), tlv(0xa0, true, tlv(0x30, true, tlv(2, false, "\x00"), key)))
	for what, der := range map[string]string{
		"a signed file": opaque("<?xml version='1.0'?><a:b>"+strings.Repeat("x", 60000), false, 0), "a name alone": opaque("Subject", true, 3), "nothing": opaque("", false, 0),
		"no signature": "\xff\xff\xff", "a length without an end": "\x30\x89\x01\x01", "too little": "\x04\x84\xff\xff\xff\xffContent-Type: text/plain\r\n\r\nhello",
		"a key like a header": enveloped, "nesting": strings.Repeat("\x30\x80", 100000),
	} {
		if f := contentOf(t, signedMail(field, der)); f.Malformed || f.OverLimits {
			t.Errorf("%s: %v", what, f.Defects)
		}
	}
}
