package filters

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"unicode/utf16"

	"postern/mail"
)

// utf16Of encodes in UTF-16, little endian with its mark.
func utf16Of(s string) []byte {
	out := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}

// What a scanner of whole messages may pass over is unusual, and a view shows it: clamd does not
// look behind the first part of multipart/signed, nor into multipart/parallel, nor into a
// message/* that is the message itself; it takes no blanks behind a soft line break, no UTF-16
// and no base64 that nobody declared.
func TestC01_ViewsShowWhatScannersPassOver(t *testing.T) {
	const marker = "PK\x03\x04 marker of this test"
	file := "Content-Type: application/zip; name=f.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(marker)) + "\r\n"
	multi := func(subtype string) string {
		return top + "Content-Type: multipart/" + subtype + "; boundary=b1\r\n\r\n--b1\r\n\r\nhello\r\n--b1\r\n" + file + "--b1--\r\n"
	}
	for name, c := range map[string]struct {
		mail    string
		unusual bool
	}{
		"mixed":              {multi("mixed"), false},
		"alternative":        {multi("alternative"), false},
		"related":            {multi("related"), false},
		"report":             {multi("report"), false},
		"signed":             {multi("signed"), true},
		"parallel":           {multi("parallel"), true},
		"unheard of":         {multi("x-foo"), true},
		"status on top":      {top + strings.Replace(file, "application/zip", "message/delivery-status", 1), true},
		"http on top":        {top + strings.Replace(file, "application/zip", "message/http", 1), true},
		"status in mixed":    {strings.Replace(multi("mixed"), "application/zip", "message/delivery-status", 1), true},
		"status in a report": {strings.Replace(multi("report"), "application/zip", "message/delivery-status", 1), false},
		"message on top":     {top + "Content-Type: message/rfc822\r\n\r\n" + top + file, true},
		"blanks, soft break": {top + "Content-Type: application/zip\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nPK=03=04 mar= \t\r\nker of this test", true},
		"soft break":         {top + "Content-Type: application/zip\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nPK=03=04 mar=\r\nker of this test", false},
		"UTF-16":             {top + "Content-Type: text/html; charset=UTF-16\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(utf16Of(marker)), true},
		"undeclared base64":  {strings.Replace(multi("mixed"), "Transfer-Encoding: base64", "Transfer-Encoding: 7bit", 1), true},
		"base64 twice": {top + "Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
			base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(marker)))), true},
		"archive behind junk": {top + "Content-Type: application/zip\r\n\r\njunk" + marker, true},
		"base64 in the text":  {top + "\r\n" + base64.StdEncoding.EncodeToString([]byte(marker)) + "\r\n", true},
	} {
		f := contentOf(t, []byte(c.mail))
		if f.Unusual != c.unusual {
			t.Errorf("%s: unusual %v, defects %v", name, f.Unusual, f.Defects)
		}
		if f.Malformed {
			t.Errorf("%s: malformed by %v", name, f.Defects)
		}
		views, over, err := decodedViews(t.Context(), mail.BodyOf([]byte(c.mail)), 1<<20)
		if err != nil || over {
			t.Fatal(err, over)
		}
		found := false
		for _, v := range views {
			found = found || bytes.HasPrefix(v, []byte(marker))
		}
		if !found {
			t.Errorf("%s: no view begins with the marker: %q", name, views)
		}
	}
}
