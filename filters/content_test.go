package filters

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
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
	return *f
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
