package filters

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

// shared returns a folder of the shared corpora, or skips.
func shared(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			p := filepath.Join(dir, "..", "shared", name)
			if _, err := os.Stat(p); err == nil {
				return p
			}
		}
	}
	t.Skip("skipped: ../shared is not here")
	return ""
}

// sent is how a file goes through SMTP: LF becomes CRLF when there is no CRLF at all.
func sent(p []byte) []byte {
	if bytes.Contains(p, crlf) {
		return p
	}
	return bytes.ReplaceAll(p, lf, crlf)
}

func contentOf(t testing.TB, p []byte) ContentFacts {
	t.Helper()
	f, err := readContent(context.Background(), &Input{Body: mail.BodyOf(p), Envelope: mail.Envelope{Received: time.Unix(1700000000, 0)}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func readManifest(t testing.TB, name string, to any) {
	t.Helper()
	if err := json.Unmarshal(readFile(t, name), to); err != nil {
		t.Fatal(err)
	}
}

// every name of every attachment, on one line each.
func allNames(f *ContentFacts) string {
	var b strings.Builder
	for _, a := range f.Attachments {
		for _, n := range append(a.Names, a.Name) {
			b.WriteString(n + "\n")
		}
	}
	return b.String()
}

// wrapped is a message with one base64 attachment.
func wrapped(typ, name string, data []byte) []byte {
	var b bytes.Buffer
	b.WriteString("From: a@example.org\r\nTo: b@example.org\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b1\"\r\n\r\n" +
		"--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b1\r\nContent-Type: " + typ + "\r\nContent-Disposition: attachment; filename=\"" + name + "\"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	e := base64.StdEncoding.EncodeToString(data)
	for len(e) > 76 {
		b.WriteString(e[:76] + "\r\n")
		e = e[76:]
	}
	b.WriteString(e + "\r\n--b1--\r\n")
	return b.Bytes()
}

// The line end before a delimiter belongs to the delimiter (RFC 2046 5.1.1); where none follows
// it is the body's own, as its size and hash must show.
func TestLastLineEndBelongsToTheBody(t *testing.T) {
	for body, want := range map[string][2]int{
		"Content-Type: application/x-a; name=a\r\n\r\nab\r\n":                                                                              {4, -1},
		"Content-Type: application/x-a; name=a\r\n\r\nab":                                                                                  {2, -1},
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: a/x; name=a\r\n\r\nab\r\n--b--\r\n":                         {2, -1},
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: a/x; name=a\r\n\r\nab\r\n\r\n--b--\r\n":                     {4, -1},
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: a/x; name=a\r\n\r\nab\r\n":                                  {4, -1},
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: a/x; name=a\r\n\r\nab\r\n--b\r\nContent-Type: a/y\r\n\r\n1": {2, 1},
	} {
		f := contentOf(t, []byte(top+body))
		for i, size := range want {
			if size < 0 {
				continue
			}
			if i >= len(f.Attachments) || f.Attachments[i].Size != size {
				t.Errorf("%q: %+v, want size %d", body, f.Attachments, size)
			}
		}
	}
}

// the display name shows another address than the mailbox has.
func TestA03_NameDomainTellsOfAnAddressInTheName(t *testing.T) {
	for from, want := range map[string]string{
		`"ceo@bank.example" <e@evil.example>`:                       "bank.example",
		`"ceo@BANK.example via x" <e@evil.example>`:                 "bank.example",
		`=?utf-8?q?ceo=40bank=2Eexample?= <e@evil.example>`:         "bank.example",
		`=?utf-8?q?=3Cceo=40bank=2Eexample=3E?= <e@evil.example>`:   "bank.example",
		`"e@evil.example, ceo@bank.example" <e@evil.example>`:       "bank.example",
		`"ceo@b` + "\u00e4" + `nk.example" <e@evil.example>`:        "xn--bnk-qla.example",
		`"e@evil.example" <e@evil.example>`:                         "",
		`"Anna @ work" <e@evil.example>`:                            "",
		`"@anna" <e@evil.example>`:                                  "",
		`Bank <e@evil.example>`:                                     "",
		`e@evil.example`:                                            "",
		`e@evil.example (ceo@bank.example)`:                         "bank.example",
		`(ceo@bank.example) e@evil.example`:                         "bank.example",
		`e@evil.example (=?utf-8?q?ceo=40bank=2Eexample?=)`:         "bank.example",
		`"ceo@bank.example": e@evil.example;`:                       "bank.example",
		`=?utf-8?q?ceo=40bank=2Eexample?=: e@evil.example;`:         "bank.example",
		`"ceo@bank.example` + "\u2028" + `" <e@evil.example>`:       "bank.example",
		`"` + "\u201cceo@bank.example\u201d" + `" <e@evil.example>`: "bank.example",
		`"` + "\u202eelpmaxe.knab@oec" + `" <e@evil.example>`:       "bank.example",
		`Bank (ceo) <e@evil.example>`:                               "",
	} {
		f := contentOf(t, []byte("From: "+from+"\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\r\nx\r\n"))
		if len(f.From) != 1 || f.From[0].NameDomain != want {
			t.Errorf("%s: %+v, want %q", from, f.From, want)
		}
	}
}

// a display name that some readers cut short, and show without the address, is no ordinary one.
func TestA01_EncodedWordsThatCutTheNameShort(t *testing.T) {
	for name, malformed := range map[string]bool{
		"=?utf-8?q?Ana=00?=": true, "=?utf-8?b?Y2VvQGJhbmsuZXhhbXBsZQoK?= =?utf-8?q?=00?=": true, "=?utf-8?q?Ana=0D=0AX:_1?=": true, "=?utf-8?q?Ana=0AB?=": true,
		"=?utf-8?q?Ana=0A?=": false, "=?utf-8?q?Ana=09B?=": false, "=?utf-8?q?Ana?=": false, "\"Ana\r\n B\"": false,
	} {
		f := contentOf(t, []byte("From: "+name+" <e@evil.example>\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\r\nx\r\n"))
		if f.Malformed != malformed {
			t.Errorf("%s: malformed is %v: %+v %v", name, f.Malformed, f.From, f.Defects)
		}
	}
}

// each field that may stand once is told when it stands twice, in whatever case, and rules see
// every value of it.
func TestA02_FieldsThatStandTwice(t *testing.T) {
	for _, name := range []string{"Subject", "To", "Cc", "Date", "Sender", "Reply-To", "Message-ID", "Content-Type"} {
		msg := "X: y\r\n" + name + ": first\r\n" + strings.ToUpper(name) + ": second\r\n\r\nbody\r\n"
		f := contentOf(t, []byte(msg))
		lower := strings.ToLower(name)
		if !slices.Contains(f.Duplicates, lower) || !slices.Contains(f.Defects, "dup_header") {
			t.Errorf("%s: duplicates %v, defects %v", name, f.Duplicates, f.Defects)
		}
		if got := f.Headers[lower]; !slices.Equal(got, []string{"first", "second"}) {
			t.Errorf("%s: rules see %q", name, got)
		}
	}
	once := contentOf(t, []byte("Subject: a\r\nReceived: x\r\nReceived: y\r\nComments: c\r\nComments: d\r\n\r\nbody\r\n"))
	if len(once.Duplicates) > 0 || slices.Contains(once.Defects, "dup_header") {
		t.Errorf("fields that may stand often: %v, %v", once.Duplicates, once.Defects)
	}
}
