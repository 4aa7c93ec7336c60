package filters

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"postern/mail"
)

const benchHeader = "Received: from mx.example.org (mx.example.org [192.0.2.1])\r\n\tby gw.example.net with ESMTPS id 4Xyz; Tue, 14 Nov 2023 22:13:20 +0000\r\n" +
	"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s1;\r\n\th=from:to:subject:date; bh=abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG=;\r\n\tb=abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGabcdefghijklmnopqrstuvwxyz==\r\n" +
	"From: Ann Example <ann@example.org>\r\nTo: Bob <bob@example.net>\r\nSubject: the monthly figures\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n" +
	"Message-ID: <20231114221320.1@example.org>\r\nMIME-Version: 1.0\r\n"

func plainMail(size int) []byte {
	var b bytes.Buffer
	b.WriteString(benchHeader + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n")
	for b.Len() < size {
		b.WriteString("The quick brown fox jumps over the lazy dog, and looks at the report again.\r\n")
	}
	return b.Bytes()
}

func mixedMail(size int) []byte {
	w := wrapped("application/pdf", "report.pdf", append([]byte("%PDF-1.7\n"), bytes.Repeat([]byte("stream of a report \x00\x01\xfe "), size*3/4/22)...))
	return append([]byte(benchHeader), w[bytes.Index(w, []byte("Content-Type: multipart")):]...)
}

func benchContent(b *testing.B, p []byte) {
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	body := mail.BodyOf(p)
	if _, err := body.Header(); err != nil { // the gateway has it from DKIM already
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := readContent(context.Background(), &Input{Body: body}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkContentPlain4KB(b *testing.B)  { benchContent(b, plainMail(4<<10)) }
func BenchmarkContentMix130KB(b *testing.B)  { benchContent(b, mixedMail(130<<10)) }
func BenchmarkContentMix20MB(b *testing.B)   { benchContent(b, mixedMail(20<<20)) }
func BenchmarkContentPlain20MB(b *testing.B) { benchContent(b, plainMail(20<<20)) }

// hostile are the messages of C-03 and their kin, of about n bytes.
var hostile = map[string]func(n int) []byte{
	"depth": func(n int) []byte {
		var b strings.Builder
		b.WriteString("From: a@example.org\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n")
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, "--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", i, i+1)
		}
		return []byte(b.String())
	},
	"messages": func(n int) []byte {
		return []byte(strings.Repeat("Content-Type: message/rfc822\r\n\r\n", n/32))
	},
	"parts": func(n int) []byte {
		return []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\n", n/7))
	},
	"strangers": func(n int) []byte {
		var b strings.Builder
		b.WriteString("From: a@example.org\r\n\r\n")
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, "--b%d\r\nContent-Type: text/plain\r\n\r\n", i)
		}
		return []byte(b.String())
	},
	"dashes": func(n int) []byte {
		var b strings.Builder
		b.WriteString("From: a@example.org\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n")
		for i := range 49 {
			fmt.Fprintf(&b, "--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", i, i+1)
		}
		return []byte(b.String() + strings.Repeat("--\r\n", n/4))
	},
	"longdashes": func(n int) []byte { return []byte("\r\n" + strings.Repeat("-", n)) },
	"fields":     func(n int) []byte { return []byte(strings.Repeat("a:\r\n", n/4) + "\r\n") },
	"partfields": func(n int) []byte {
		return []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + strings.Repeat("a:\r\n", n/4) + "\r\n")
	},
	"longfield": func(n int) []byte { return []byte("Subject: " + strings.Repeat("x ", n/2) + "\r\n\r\n") },
	"boundary": func(n int) []byte {
		return []byte("Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", min(n, 60000)) + "\r\n\r\n" + strings.Repeat("--b\r\n", n/5))
	},
	"params": func(n int) []byte {
		var b strings.Builder
		b.WriteString("Content-Type: text/plain")
		for i := 0; b.Len() < min(n, 60000); i++ {
			fmt.Fprintf(&b, "; a%d=b", i)
		}
		return []byte(b.String() + "\r\n\r\n")
	},
	"sections": func(n int) []byte {
		var b strings.Builder
		b.WriteString("Content-Disposition: attachment")
		for i := 0; b.Len() < min(n, 60000); i++ {
			fmt.Fprintf(&b, "; filename*%d*=a", i)
		}
		return []byte(b.String() + "\r\n\r\n")
	},
	"comments": func(n int) []byte { return []byte("Content-Type: " + strings.Repeat("(", min(n, 60000)) + "\r\n\r\n") },
	"quotes": func(n int) []byte {
		return []byte("Content-Disposition: a; filename=" + strings.Repeat("\"\\", min(n, 60000)/2) + "\r\n\r\n")
	},
	"words": func(n int) []byte {
		return []byte("Subject: " + strings.Repeat("=?utf-8?q?a?= ", min(n, 60000)/14) + "\r\n\r\n")
	},
	"halfwords": func(n int) []byte { return []byte("Subject: " + strings.Repeat("=?", min(n, 60000)/2) + "\r\n\r\n") },
	"to":        func(n int) []byte { return []byte("To: " + strings.Repeat("a@b.c,", min(n, 60000)/6) + "\r\n\r\n") },
	"base64": func(n int) []byte {
		return []byte("Content-Transfer-Encoding: base64\r\nContent-Type: a/b\r\n\r\n" + strings.Repeat("=A", n/2))
	},
	"qp": func(n int) []byte {
		return []byte("Content-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("= ", n/2))
	},
	"qpblanks": func(n int) []byte {
		return []byte("Content-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat(" ", n))
	},
	"begin":     func(n int) []byte { return []byte("\r\n" + strings.Repeat("begin 644 a\r\n#0V%T\r\n", n/20)) },
	"beginonly": func(n int) []byte { return []byte("\r\n" + strings.Repeat("begin 644 a\r\n", n/13)) },
	"html": func(n int) []byte {
		return []byte("Content-Type: text/html\r\n\r\n" + strings.Repeat("<a href=\"", n/9))
	},
	"htmlopen":     func(n int) []byte { return []byte("Content-Type: text/html\r\n\r\n" + strings.Repeat("<", n)) },
	"htmlcomments": func(n int) []byte { return []byte("Content-Type: text/html\r\n\r\n" + strings.Repeat("<!--", n/4)) },
	"www":          func(n int) []byte { return []byte("\r\n" + strings.Repeat("xwww.", n/5)) },
	"urls":         func(n int) []byte { return []byte("\r\n" + strings.Repeat("://", n/3)) },
	"zipnames": func(n int) []byte {
		head := "PK\x01\x02" + strings.Repeat("\x00", 24) + "\x01\x00" + strings.Repeat("\x00", 16)
		return wrapped("application/zip", "a.zip", []byte("PK\x03\x04"+strings.Repeat(head+"a", n*3/4/47)))
	},
	"zippk": func(n int) []byte {
		return wrapped("application/zip", "a.zip", []byte("PK\x03\x04"+strings.Repeat("PK", n*3/8)))
	},
	"rar": func(n int) []byte {
		return wrapped("a/b", "a.rar", []byte("Rar!\x1a\x07\x00"+strings.Repeat("\x00\x00\x74\x00\x00\x07\x00", n/10)))
	},
	"tnef": func(n int) []byte {
		return wrapped("application/ms-tnef", "winmail.dat", []byte("\x78\x9f\x3e\x22\x00\x00"+strings.Repeat("\x02\x10\x80\x01\x00\x00\x00\x00\x00\x00\x00", n/15)))
	},
}

func BenchmarkContentHostile(b *testing.B) {
	for name, make := range hostile {
		b.Run(name, func(b *testing.B) { benchContent(b, make(8<<20)) })
	}
}
