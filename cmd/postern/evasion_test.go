package main

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"postern/testkit"
)

// hidingPlaces are mails of our own with the test virus in a zip archive, whose member has a
// harmless name: only a scanner finds it, or the form of the mail tells.
func hidingPlaces(t *testing.T) map[string]string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("eicar.txt")
	if err == nil {
		_, err = f.Write([]byte(eicar))
	}
	if err = firstError(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	data := b.Bytes()
	lines := func(s string, n int, end string) string {
		var out strings.Builder
		for ; len(s) > n; s = s[n:] {
			out.WriteString(s[:n] + end)
		}
		return out.String() + s + end
	}
	b64 := base64.StdEncoding.EncodeToString(data)
	body := lines(b64, 76, "\r\n")
	const header = "From: a@example.org\r\nTo: b@example.org\r\nSubject: t\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n"
	const fields = "Content-Type: application/zip; name=f.zip\r\nContent-Transfer-Encoding: base64\r\n"
	const text = "Content-Type: text/plain\r\n\r\nhello\r\n"
	file := fields + "\r\n" + body
	multi := func(ct string, parts ...string) string {
		return header + "Content-Type: " + ct + "\r\n\r\n--foo\r\n" + strings.Join(parts, "--foo\r\n") + "--foo--\r\n"
	}
	const mixed = "multipart/mixed; boundary=foo"
	plain := multi(mixed, text, file)
	inner := header + "Content-Type: multipart/mixed; boundary=bar\r\n\r\n--bar\r\n" + file + "--bar--\r\n"
	all := map[string]string{"plain": plain, "single part": header + file, "no version": strings.Replace(plain, "MIME-Version: 1.0\r\n", "", 1),
		"no type": strings.Replace(plain, "Content-Type: "+mixed+"\r\n", "", 1)}
	for _, ct := range []string{`multipart/mixed; boundary="foo"`, "multipart/mixed; boundary=foo; boundary=bar", "multipart/mixed; boundary=bar; boundary=foo",
		"multipart/mixed; boundary*=us-ascii''foo", "multipart/mixed; boundary*0=fo; boundary*1=o", "multipart/mixed; boundary*=%66oo", `multipart/mixed; boundary="f\oo"`,
		"multipart/mixed; boundary=(c)foo", "multipart/mixed; boundary=foo(c)", "multipart/mixed; (c) boundary=foo", "multipart/mixed; boundary = foo", "multipart/mixed boundary=foo",
		"multipart/mixed, boundary=foo", `multipart/mixed; x="; boundary=bar"; boundary=foo`, `multipart/mixed; x="a; boundary=foo`, `multipart/mixed; boundary="foo`, "multipart/mixed; boundary='foo'",
		`multipart/mixed; boundary="foo "`, "multipart/ mixed; boundary=foo", "multipart /mixed; boundary=foo", "multipart; boundary=foo", "multipart/; boundary=foo", "multipart/x; boundary=foo",
		"multipart/signed; boundary=foo", "multipart/parallel; boundary=foo", "multipart/digest; boundary=foo", "multipart/encrypted; boundary=foo", "multipart/form-data; boundary=foo",
		`"multipart/mixed"; boundary=foo`, "(c)multipart/mixed; boundary=foo", "multi(c)part/mixed; boundary=foo", "=?utf-8?q?multipart/mixed?=; boundary=foo", "text/plain; boundary=foo",
		"application/octet-stream; boundary=foo", "message/rfc822; boundary=foo", "; boundary=foo", "multipart/mixed; boundary=foo\x00", "multipart/mixed\x00; boundary=foo", "multipart/mixed; boundary=\xe2\x80\x8bfoo",
		"multipart/mixed;\x0bboundary=foo", mixed + "\r\nContent-Type: text/plain", "text/plain\r\nContent-Type: " + mixed, "multipart/mixed; boundary=bar\r\nContent-Type: " + mixed,
		"multipart/mixed; boundary=fo", "multipart/mixed; boundary=foobar", "multipart/mixed; boundary=FOO", "multipart/mixed", "multipart/mixed; " + strings.Repeat("x=y; ", 300) + "boundary=foo"} {
		all["type "+ct] = multi(ct, text, file)
	}
	for _, cte := range []string{"base64 ", "base64;", "BASE64", `"base64"`, "(c)base64", "base64\x00", "base 64", "7bit base64", "x-base64", "base64\r\nContent-Transfer-Encoding: 7bit",
		"7bit\r\nContent-Transfer-Encoding: base64", "quoted-printable\r\nContent-Transfer-Encoding: base64", "\r\n base64", "\r\n \r\n base64", "bas\r\n e64", "=?utf-8?q?base64?=", "\x0bbase64", "base-64",
		"8bit", "foo", ""} {
		all["encoding "+cte] = strings.Replace(plain, "Encoding: base64", "Encoding: "+cte, 1)
	}
	chunks := ""
	for i := 0; i < len(data); i += 4 {
		chunks += base64.StdEncoding.EncodeToString(data[i:min(i+4, len(data))]) + "\r\n"
	}
	for name, body := range map[string]string{"one line": b64 + "\r\n", "junk": "!!!!\r\n" + body, "valid junk": "abcd\r\n\r\n" + body, "dots": strings.Join(strings.Split(b64, ""), ".") + "\r\n",
		"url-safe": base64.URLEncoding.EncodeToString(data) + "\r\n", "padding inside": chunks, "padding first": "=\r\n" + body, "of one": lines(b64, 1, "\r\n"), "of five": lines(b64, 5, "\r\n"),
		"no padding": strings.TrimRight(b64, "=") + "\r\n", "text behind": body + "\r\nThe end.\r\n", "bare CR": lines(b64, 76, "\r"), "bare LF": lines(b64, 76, "\n"), "soft breaks": lines(b64, 76, "=\r\n"),
		"twice": lines(base64.StdEncoding.EncodeToString([]byte(b64)), 76, "\r\n"), "NUL": lines(b64, 76, "\x00\r\n")} {
		all["base64 "+name] = multi(mixed, text, fields+"\r\n"+body)
	}
	qp := ""
	for i, c := range data {
		qp += fmt.Sprintf("=%02X", c)
		if i%20 == 19 {
			qp += "= \t\r\n"
		}
	}
	for name, m := range map[string]string{
		"qp blanks":          multi(mixed, text, "Content-Type: application/zip\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"+qp+"\r\n"),
		"preamble":           strings.Replace(multi(mixed, text), "\r\n\r\n--foo", "\r\n\r\n--bar\r\n"+file+"--bar--\r\n--foo", 1),
		"behind the end":     multi(mixed, text) + "--foo\r\n" + file,
		"no end":             strings.TrimSuffix(plain, "--foo--\r\n"),
		"text behind dashes": strings.ReplaceAll(plain, "--foo\r\n", "--foox\r\n"),
		"end first":          strings.Replace(plain, "--foo\r\n", "--foo--\r\n", 1),
		"bare LF delimiter":  strings.ReplaceAll(plain, "--foo\r\n", "--foo\n"),
		"bare CR delimiter":  strings.ReplaceAll(plain, "--foo\r\n", "--foo\r"),
		"blank line of WSP":  strings.Replace(plain, "Encoding: base64\r\n\r\n", "Encoding: base64\r\n \r\n", 1),
		"no colon":           strings.Replace(plain, "Content-Transfer", "garbage\r\nContent-Transfer", 1),
		"folded type":        strings.Replace(plain, "Content-Type: multi", "X-A: b\r\n Content-Type: multi", 1),
		"leading line":       "\r\n" + plain,
		"mbox line":          "From a@b Sun Nov 22 12:00:00 2026\r\n" + plain,
		"message":            multi(mixed, text, "Content-Type: message/rfc822\r\n\r\n"+inner),
		"message in base64":  multi(mixed, text, "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"+lines(base64.StdEncoding.EncodeToString([]byte(inner)), 76, "\r\n")),
		"message on top":     header + "Content-Type: message/rfc822\r\n\r\n" + inner,
		"global message":     multi(mixed, text, "Content-Type: message/global\r\n\r\n"+inner),
		"partial message":    multi(mixed, text, "Content-Type: message/partial; id=1; number=1; total=1\r\n\r\n"+inner),
		"status on top":      header + strings.Replace(file, "application/zip", "message/delivery-status", 1),
		"declared as text":   strings.Replace(plain, "application/zip; name=f.zip", "text/plain", 1),
		"multipart in base64": multi(mixed, text, "Content-Type: multipart/mixed; boundary=bar\r\nContent-Transfer-Encoding: base64\r\n\r\n"+
			lines(base64.StdEncoding.EncodeToString([]byte("--bar\r\n"+file+"--bar--\r\n")), 76, "\r\n")),
		"UTF-16": header + "Content-Type: text/html; charset=utf-16le\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
			base64.StdEncoding.EncodeToString([]byte(strings.Join(strings.Split(eicar, ""), "\x00")+"\x00")) + "\r\n",
		"300 parts before": multi(mixed, strings.Repeat(text+"--foo\r\n", 300)+file),
		"2000 parts":       multi(mixed, strings.Repeat(text+"--foo\r\n", 2000)+file),
		"long part header": multi(mixed, text, "X-A: "+strings.Repeat("b", 300<<10)+"\r\n"+file),
	} {
		all[name] = m
	}
	return all
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestC15_NoHidingPlaceIsClean: with a real clamd and the built-in policy, no mail with the test
// virus in it is delivered, however it is hidden.
func TestC15_NoHidingPlaceIsClean(t *testing.T) {
	clamd := testkit.StartClamd(t)
	dir := t.TempDir()
	args := []string{"--zone", noZone(t), "--clamd", clamd.Addr}
	var names []string
	for name, message := range hidingPlaces(t) {
		args = append(args, tryFile(t, dir, fmt.Sprintf("%d.eml", len(names)), message))
		names = append(names, name)
	}
	code, rs, _, errs := tryRun(t, args...)
	if code != exitDone || len(rs) != len(names) || len(names) < 100 {
		t.Fatalf("exit %d, %d results of %d: %s", code, len(rs), len(names), errs)
	}
	virus := 0
	for i, r := range rs {
		f := r.Facts
		if v := r.Verdicts[0]; v.Do != "quarantine" || f.ClamAV.Error != "" || !f.ClamAV.Infected && !f.Content.Malformed {
			t.Errorf("%q: %s by %q; infected %v %q, defects %v (%s)", names[i], v.Do, v.Rule, f.ClamAV.Infected, f.ClamAV.Error, f.Content.Defects, filepath.Base(r.File))
		}
		if f.ClamAV.Infected {
			virus++
		}
	}
	t.Logf("%d of %d are found as a virus, the others are malformed", virus, len(rs))
}
