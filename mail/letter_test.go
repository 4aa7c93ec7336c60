package mail

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"
)

func TestLetter(t *testing.T) {
	at := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	plain := Letter{ID: "01K", Host: "mx.example.org", Date: at, From: Address{"postern", "example.org"}, FromName: `The "Gate" \`, To: Address{"b", "example.org"}}
	for name, c := range map[string]struct{ subject, text, html string }{
		"plain":     {"Held mail", "one\ntwo\n", ""},
		"both":      {"Held mail", "one\n.\n--=_01K\nFrom me\n", "<p>one</p>"},
		"hostile":   {"a\r\nBcc: x@example.com\r\n\r\nhello =?utf-8?q?x?= \u202eevil\x00", "a\r\n\r\n--=_01K--\r\n" + strings.Repeat("x", 5000), "<b>\u00e9</b>--=_01K--\n"},
		"not utf-8": {"\xff\xfe", "\xff", "\xff"},
		"long":      {strings.Repeat("Größe ", 100), "", ""},
	} {
		l := plain
		l.Subject, l.Text, l.HTML = c.subject, c.text, c.html
		raw := l.Bytes()
		for line := range strings.SplitSeq(strings.TrimSuffix(string(raw), "\r\n"), "\r\n") {
			if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") || !isASCII(line) {
				t.Errorf("%s: line %q", name, line)
			}
		}
		m, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if fields := map[bool]int{true: 10, false: 9}[c.html == ""]; len(m.Header) != fields {
			t.Errorf("%s: %d fields: %v", name, len(m.Header), m.Header)
		}
		if m.Header.Get("Bcc") != "" || m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("To") != "<b@example.org>" {
			t.Errorf("%s: %v", name, m.Header)
		}
		from, err := mail.ParseAddress(m.Header.Get("From"))
		if err != nil || from.Name != plain.FromName || from.Address != "postern@example.org" {
			t.Errorf("%s: from %v %v", name, from, err)
		}
		texts := partsOf(t, m)
		want := []string{c.text}
		if c.html != "" {
			want = append(want, c.html)
		}
		if len(texts) != len(want) {
			t.Fatalf("%s: %d parts", name, len(texts))
		}
		for i := range want {
			plain := func(s string) string {
				return strings.TrimRight(strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n"), "\n")
			}
			if plain(texts[i]) != plain(want[i]) {
				t.Errorf("%s: %.200q, want %.200q", name, texts[i], want[i])
			}
		}
	}
}

// partsOf reads a message as the library does.
func partsOf(t *testing.T, m *mail.Message) (texts []string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if kind == "text/plain" {
		b, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		if err != nil {
			t.Fatal(err)
		}
		return []string{string(b)}
	}
	r := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := r.NextPart() // decodes quoted-printable
		if err == io.EOF {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
}
