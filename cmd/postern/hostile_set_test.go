package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
)

// A hostile is a kind of message that is made to cost time, of about a size.
type hostile struct {
	name string
	make func(size int) []byte
}

const plainTop = "From: Eve <eve@friend.example>\r\nTo: a@example.org\r\nSubject: x\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@friend.example>\r\n"

// filled repeats a unit up to a size.
func filled(unit string, size int) string { return strings.Repeat(unit, max(size/len(unit), 1)) }

// counting repeats a unit with a number in it.
func counting(format string, size int) string {
	var b strings.Builder
	for n := 0; b.Len() < size; n++ {
		fmt.Fprintf(&b, format, n)
	}
	return b.String()
}

// lines breaks text, as base64 has to be.
func lines76(b []byte) string {
	text := base64.StdEncoding.EncodeToString(b)
	var out strings.Builder
	for len(text) > 76 {
		out.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	return out.String() + text + "\r\n"
}

func attached(name string, b []byte) []byte {
	return []byte(plainTop + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/octet-stream; name=" + name +
		"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + lines76(b) + "--b--\r\n")
}

// gz packs it; much of the same is a thousandth.
func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	w.Close()
	return out.Bytes()
}

// zipped is an archive with these members.
func zipped(members map[string][]byte) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, b := range members {
		if f, err := w.Create(name); err == nil {
			_, _ = f.Write(b)
		}
	}
	w.Close()
	return out.Bytes()
}

// hostileSet is what is tried. In the header at most so much is put that it is still read.
func hostileSet() []hostile {
	const header = 900 << 10
	top := func(field func(size int) string) func(int) []byte {
		return func(size int) []byte { return []byte(plainTop + field(min(size, header)) + "\r\nx\r\n") }
	}
	from := func(unit string) func(int) []byte {
		return func(size int) []byte {
			return []byte("From: " + filled(unit, min(size, header)) + "\r\n" + strings.SplitN(plainTop, "\r\n", 2)[1] + "\r\nx\r\n")
		}
	}
	typed := func(kind, unit string) func(int) []byte {
		return func(size int) []byte { return []byte(plainTop + kind + "\r\n" + filled(unit, size)) }
	}
	const text, html, qp, b64 = "Content-Type: text/plain\r\n", "Content-Type: text/html\r\n", "Content-Transfer-Encoding: quoted-printable\r\n", "Content-Transfer-Encoding: base64\r\n"
	const mixed = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
	set := map[string]func(int) []byte{
		"header: empty fields":        top(func(n int) string { return filled("A:\r\n", n) }),
		"header: many names":          top(func(n int) string { return counting("X-%d: y\r\n", n) }),
		"header: one field, folded":   top(func(n int) string { return "X: " + filled("\r\n a", n) + "\r\n" }),
		"header: one line":            top(func(n int) string { return "X: " + filled("a ", n) + "\r\n" }),
		"header: no colons":           top(func(n int) string { return filled("a\r\n", n) }),
		"header: same field":          top(func(n int) string { return filled("Subject: a\r\n", n) }),
		"header: encoded words":       top(func(n int) string { return "Comments: " + filled("=?utf-8?q?=61=62?=\r\n ", n) + "\r\n" }),
		"header: encoded words, open": top(func(n int) string { return "Keywords: " + filled("=?utf-8?q?", n) + "\r\n" }),
		"header: subject":             top(func(n int) string { return "Subject: " + filled("=?iso-2022-jp?b?GyRC?= ", n) + "\r\n" }),
		"header: Received":            top(func(n int) string { return filled("Received: from a (b [192.0.2.1]) by c; x\r\n", min(n, 2000)) }),
		"header: results": top(func(n int) string {
			return "Authentication-Results: mx.example.org" + filled("; (((a)))dkim=pass", n) + "\r\n"
		}),
		"header: results, many":  top(func(n int) string { return filled("Authentication-Results: mx.example.org; none\r\n", n) }),
		"header: To":             top(func(n int) string { return "Cc: " + filled("a@b.example, ", n) + "a@b.example\r\n" }),
		"From: addresses":        from("a@b.example, "),
		"From: comments":         from("("),
		"From: comments, closed": from("()"),
		"From: quotes":           from("\"\\\""),
		"From: groups":           from("a:;"),
		"From: angles":           from("<"),
		"From: dots and at":      from("a.@"),
		"From: encoded words":    from("=?utf-8?q?a=40b?= "),
		"From: many":             top(func(n int) string { return filled("From: a@b.example\r\n", n) }),
		"DKIM: signatures": top(func(n int) string {
			return counting("DKIM-Signature: v=1; a=rsa-sha256; d=friend.example; s=s%d; h=from; bh=YWE=; b=YWE=\r\n", n)
		}),
		"DKIM: h=": top(func(n int) string {
			return "DKIM-Signature: v=1; a=rsa-sha256; d=friend.example; s=s; bh=YWE=; b=YWE=; h=" + filled("from:", n) + "to\r\n"
		}),
		"DKIM: tags": top(func(n int) string { return "DKIM-Signature: v=1; " + counting("t%d=x; ", n) + "\r\n" }),
		"DKIM: b=": top(func(n int) string {
			return "DKIM-Signature: v=1; a=rsa-sha256; d=friend.example; s=s; h=from; bh=YWE=; b=" + filled("\r\n YWE=", n) + "\r\n"
		}),
		"type: parameters":       top(func(n int) string { return "Content-Type: a/b" + counting("; p%d=x", n) + "\r\n" }),
		"type: RFC 2231, pieces": top(func(n int) string { return "Content-Disposition: attachment" + counting("; filename*%d=x", n) + "\r\n" }),
		"type: RFC 2231, encoded": top(func(n int) string {
			return "Content-Disposition: attachment; filename*=utf-8''" + filled("%61", n) + "\r\n"
		}),
		"type: quoted":           top(func(n int) string { return "Content-Type: a/b; name=\"" + filled("\\\"", n) + "\"\r\n" }),
		"type: comments":         top(func(n int) string { return "Content-Type: a/b " + filled("(", n) + "\r\n" }),
		"parts: empty":           typed(mixed, "--b\r\n"),
		"parts: small":           typed(mixed, "--b\r\n\r\nx\r\n"),
		"parts: named":           typed(mixed, "--b\r\nContent-Disposition: attachment; filename=a.exe\r\n\r\nx\r\n"),
		"parts: near boundaries": typed(mixed, "--bb\r\n--"),
		"parts: dashes":          typed(mixed, "-"),
		"parts: headers":         typed(mixed+"\r\n--b", "\r\nX: y"),
		"parts: html":            typed(mixed, "--b\r\nContent-Type: text/html\r\n\r\n<a href=http://a.example/>x\r\n"),
		"parts: nested": func(n int) []byte {
			return []byte(plainTop + counting("Content-Type: multipart/mixed; boundary=b%[1]d\r\n\r\n--b%[1]d\r\n", n))
		},
		"parts: messages": func(n int) []byte { return []byte(plainTop + filled("Content-Type: message/rfc822\r\n\r\n", n)) },
		"parts: nested, one boundary": func(n int) []byte {
			return []byte(plainTop + filled("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", n))
		},
		"text: lines":             typed(text, "a\r\n"),
		"text: one line":          typed(text, "a"),
		"text: empty lines":       typed(text, "\r\n"),
		"text: white space":       typed(text, " "),
		"text: white space, tabs": typed(text, " \t\r\n"),
		"text: links":             func(n int) []byte { return []byte(plainTop + text + "\r\n" + counting("http://h%d.example/ ", n)) },
		"text: link beginnings":   typed(text, "http://"),
		"text: https without end": typed(text, "https://a"),
		"text: www":               typed(text, "www."),
		"text: colons":            typed(text, "://"),
		"text: at":                typed(text, "a@"),
		"text: dots":              typed(text, "a."),
		"text: uuencode":          typed(text, "begin 644 a.exe\r\n#86)C\r\n`\r\nend\r\n"),
		"text: uuencode, open":    typed(text, "begin 644 a\r\n"),
		"text: yEnc":              typed(text, "=ybegin line=128 size=1 name=a\r\nx\r\n=yend size=1\r\n"),
		"text: BinHex":            typed(text, "(This file must be converted with BinHex 4.0)\r\n:$f*\r\n"),
		"text: UTF-16":            typed("Content-Type: text/plain; charset=utf-16\r\n", "a\x01"),
		"text: UTF-7":             typed("Content-Type: text/plain; charset=utf-7\r\n", "+ADw-"),
		"text: ISO-2022-JP":       typed("Content-Type: text/plain; charset=iso-2022-jp\r\n", "\x1b$B\x1b(B"),
		"text: mixed scripts":     typed("Content-Type: text/plain; charset=utf-8\r\n", "аa\u202e"),
		"quoted: soft ends":       typed(text+qp, "=\r\n"),
		"quoted: codes":           typed(text+qp, "=61"),
		"quoted: broken":          typed(text+qp, "=="),
		"quoted: white space":     typed(text+qp, "a   \r\n"),
		"base64: junk":            typed(text+b64, "!Y!"),
		"base64: ends":            typed(text+b64, "YQ=="),
		"base64: html": func(n int) []byte {
			return []byte(plainTop + html + b64 + "\r\n" + lines76([]byte(filled("<a href=\"http://a.example\">b</a>", n*3/4))))
		},
		"two encodings": typed(text+qp+b64, "YWFh"),
		"html: links": func(n int) []byte {
			return []byte(plainTop + html + "\r\n" + counting("<a href='http://h%d.example'>http://bank.example</a>\n", n))
		},
		"html: open":                    typed(html, "<"),
		"html: open names":              typed(html, "<a "),
		"html: attributes":              typed(html+"\r\n<a", " a=b"),
		"html: quotes":                  typed(html+"\r\n<a href=\"", "'\">"),
		"html: comments":                typed(html, "<!--"),
		"html: comments, closed":        typed(html, "<!---->"),
		"html: comments, nearly closed": typed(html+"\r\n<!--", "--"),
		"html: entities":                typed(html, "&#97;"),
		"html: entities, open":          typed(html, "&amp"),
		"html: scripts":                 typed(html, "<script>"),
		"html: styles":                  typed(html, "<style>a{b:url(c)}</style>"),
		"html: end tags":                typed(html, "</a>"),
		"html: deep":                    typed(html, "<div style=display:none>"),
		"html: data links":              typed(html, "<a href=data:text/html;base64,PGI+>"),
		"html: base":                    typed(html, "<base href=http://a/>"),
		"zip: entries":                  func(n int) []byte { return attached("a.zip", zipped(numberedMembers(n/160))) },
		"zip: bomb": func(n int) []byte {
			return attached("a.zip", zipped(map[string][]byte{"a": make([]byte, min(n*700, 400<<20))}))
		},
		"zip: bombs":  func(n int) []byte { return attached("a.zip", zipped(bombs(min(n/1000, 200)))) },
		"zip: nested": func(n int) []byte { return attached("a.zip", nestedZip(n)) },
		"zip: ends": func(n int) []byte {
			return attached("a.zip", []byte(filled("PK\x05\x06"+strings.Repeat("\x00", 18), n*3/4)))
		},
		"zip: local headers": func(n int) []byte {
			return attached("a.zip", []byte(filled("PK\x03\x04"+strings.Repeat("\x00", 26), n*3/4)))
		},
		"gzip: bomb":    func(n int) []byte { return attached("a.gz", gz(make([]byte, min(n*700, 400<<20)))) },
		"gzip: members": func(n int) []byte { return attached("a.gz", bytes.Repeat(gz([]byte("a")), max(n/40, 1))) },
		"gzip: nested": func(n int) []byte {
			b := bytes.Repeat([]byte("ab\x00"), n/3)
			for range 12 {
				b = gz(b)
			}
			return attached("a.gz", b)
		},
		"tar: entries":      func(n int) []byte { return attached("a.tgz", gz(tarred(min(n, 20_000)))) },
		"tar: names":        func(n int) []byte { return attached("a.tar", tarred(n/2000)) },
		"7z: signatures":    func(n int) []byte { return attached("a.7z", []byte(filled("7z\xbc\xaf\x27\x1c\x00\x04", n*3/4))) },
		"rar: signatures":   func(n int) []byte { return attached("a.rar", []byte(filled("Rar!\x1a\x07\x01\x00", n*3/4))) },
		"xz: signatures":    func(n int) []byte { return attached("a.xz", []byte(filled("\xfd7zXZ\x00\x00\x04", n*3/4))) },
		"bzip2: signatures": func(n int) []byte { return attached("a.bz2", []byte(filled("BZh91AY&SY", n*3/4))) },
		"TNEF": func(n int) []byte {
			return attached("winmail.dat", []byte("\x78\x9f\x3e\x22\x01\x00"+filled("\x02\x10\x80\x01\x00\x00\x00\x00\x00\x00\x00", n*3/4)))
		},
		"OLE": func(n int) []byte {
			return attached("a.doc", []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"+filled("\xff\xff\xff\xff", n*3/4)))
		},
		"PDF": func(n int) []byte {
			return attached("a.pdf", []byte("%PDF-1.4\n"+filled("1 0 obj<</URI(http://a)>>", n*3/4)))
		},
		"random": func(n int) []byte { return attached("a.bin", noise(n*3/4)) },
	}
	var all []hostile
	for name, make := range maps.All(set) {
		all = append(all, hostile{name, make})
	}
	return all
}

func numberedMembers(n int) map[string][]byte {
	m := map[string][]byte{}
	for i := range max(n, 1) {
		m[fmt.Sprintf("f%d.txt", i)] = []byte("x")
	}
	return m
}

func bombs(n int) map[string][]byte {
	m := map[string][]byte{}
	for i := range max(n, 1) {
		m[fmt.Sprintf("f%d.exe", i)] = make([]byte, 2<<20)
	}
	return m
}

// nestedZip is an archive in an archive, and so on.
func nestedZip(size int) []byte {
	b := []byte("x")
	for len(b) < size/2 {
		next := zipped(map[string][]byte{"a.zip": b, "b.zip": b})
		if len(next) <= len(b) {
			break
		}
		b = next
	}
	return b
}

func tarred(n int) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := range max(n, 1) {
		_ = w.WriteHeader(&tar.Header{Name: fmt.Sprintf("f%d.exe", i), Size: 1, Mode: 0o644})
		_, _ = w.Write([]byte("x"))
	}
	w.Close()
	return out.Bytes()
}

// noise is what nothing makes smaller.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}
