package gateway

import (
	"fmt"
	"strings"
	"testing"
)

// What cannot be looked at as a whole, or calls itself a signature, is no way round a strip.
func TestStripIsNotEvaded(t *testing.T) {
	const cut = "it has more parts, names or archive members than are looked at, so that nobody can see which files are to be removed"
	const signed = "a.exe is to be removed from it, but it is signed"
	names := "Content-Type: text/plain"
	for i := range 40 {
		names += fmt.Sprintf(";\r\n\tname=a%d.txt", i)
	}
	deep := top
	for i := range 120 {
		deep += fmt.Sprintf("Content-Type: multipart/mixed; boundary=B%dx\r\n\r\n--B%dx\r\n", i, i)
	}
	multi := func(part string) string {
		return top + "Content-Type: multipart/signed; boundary=S\r\n\r\n--S\r\n" + text + "--S\r\n" + part + "--S--\r\n"
	}
	for _, c := range []struct{ name, raw, hold string }{
		{"behind a thousand parts", mixed + strings.Repeat("--O\r\n"+text, 1500) + "--O\r\n" + exe + "--O--\r\n", cut},
		{"behind many names", mixed + "--O\r\n" + names + ";\r\n\tname=a.exe\r\n\r\nx\r\n--O--\r\n", cut},
		{"too deep", deep + exe, cut},
		{"a signature of no kind", multi(strings.Replace(exe, "x-msdownload", "x-signature", 1)), signed},
		{"a program as PGP signature", multi(strings.Replace(exe, "x-msdownload", "pgp-signature", 1)), signed},
		{"a signature named as a program", multi("Content-Type: application/pgp-signature; name=a.exe\r\n\r\nx\r\n"), signed},
		{"a signature named as a document", multi("Content-Type: application/pgp-signature; name=a.docm\r\n\r\nx\r\n"), "a.docm is to be removed from it, but it is signed"},
		{"a good signature", multi("Content-Type: application/pgp-signature; name=signature.asc\r\n\r\nx\r\n"), ""},
	} {
		if _, hold, notes := edit(t, c.raw, strip("dangerous", ".docm")); hold != c.hold {
			t.Errorf("%s: hold %q, %v", c.name, hold, notes)
		}
	}
}
