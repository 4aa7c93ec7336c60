package filters

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime/quotedprintable"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"postern/mail"
)

// inBlocks reads p in blocks of n bytes (0: all at once).
func inBlocks(t testing.TB, p []byte, n int) ContentFacts {
	t.Helper()
	end := mail.HeaderEnd(p, 0)
	if end < 0 {
		end = len(p)
	}
	h := mail.ParseHeader(p[:end:end], mail.DefaultHeaderLimits())
	c := newCollector()
	defer c.release()
	rest := p
	err := c.read(h, time.Unix(1700000000, 0), func() ([]byte, error) {
		if len(rest) == 0 {
			return nil, io.EOF
		}
		k := len(rest)
		if n > 0 {
			k = min(n, k)
		}
		b := bytes.Clone(rest[:k]) // so that keeping a block shows
		rest = rest[k:]
		return b, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.finish()
	return c.facts
}

// checkFacts looks at caps and at the JSON round trip.
func checkFacts(t testing.TB, f ContentFacts) {
	t.Helper()
	if len(f.Parts) > maxFactParts || len(f.Attachments) > maxFactAttachments+maxMembers || len(f.Links) > maxLinks ||
		len(f.Text) > maxTextFact+maxTextPart || len(f.From) > maxFactAddresses || len(f.To) > maxFactAddresses {
		t.Fatalf("a cap is passed: %d parts, %d attachments, %d links, %d text", len(f.Parts), len(f.Attachments), len(f.Links), len(f.Text))
	}
	for _, a := range f.Attachments {
		if len(a.Names) > maxNames || len(a.Extensions) > 2*maxNames || len(a.MemberExtensions) > maxMemberExts {
			t.Fatalf("an attachment passes a cap: %+v", a)
		}
		for _, n := range append(a.Names, a.Name, a.Type, a.Disposition, a.Archive) {
			if !utf8.ValidString(n) || len(n) > 4*maxNameBytes {
				t.Fatalf("bad name %q", n)
			}
		}
	}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var back ContentFacts
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(back)
	if !bytes.Equal(b, again) {
		t.Fatalf("does not survive JSON:\n%s\n%s", b, again)
	}
}

func seeds(f *testing.F) {
	for _, c := range evasions {
		f.Add([]byte(c.mail), uint16(7))
	}
	f.Add(wrapped("application/zip", "a.zip", testZip()), uint16(64))
	f.Add(plainMail(600), uint16(1))
	f.Add(signedMail("Content-Type: application/pkcs7-mime", opaque("X-A: 1\r\nContent-Type: text/plain; name=a.exe\r\n\r\nhello", true, 7)), uint16(3))
	f.Add([]byte(part("Content-Type: application/octet-stream; name=a.eml")), uint16(5))
	f.Add([]byte(top+"Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\n\r\nx\r\n--b1junk\r\nX-Any: 1\r\n\r\nx\r\n--b1--\r\n"), uint16(1))
	for _, make := range hostile {
		f.Add(make(400), uint16(13))
	}
}

// FuzzContent: never a panic, facts within their caps, and the same facts however the upload is
// cut into blocks.
func FuzzContent(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, p []byte, n uint16) {
		if len(p) > 64<<10 {
			return
		}
		whole := inBlocks(t, p, 0)
		checkFacts(t, whole)
		cut := inBlocks(t, p, int(n%512)+1)
		if !reflect.DeepEqual(whole, cut) {
			a, _ := json.Marshal(whole)
			b, _ := json.Marshal(cut)
			t.Fatalf("blocks of %d differ:\n%s\n%s", int(n%512)+1, a, b)
		}
	})
}

// FuzzParams: never a panic, bounded readings, and a value written by the grammar is read as it
// was meant.
func FuzzParams(f *testing.F) {
	f.Add(`attachment; filename*0*=utf-8''a%20; filename*1="b.exe"`, "name.txt")
	f.Add(`text/plain; name="=?utf-8?q?a=2eexe?="`, `a"b\c;d`)
	f.Add(`a; b=(c(d)e)f; "g=h"; i=j\;k`, "x")
	f.Fuzz(func(t *testing.T, v, plain string) {
		l := parseParams(v)
		if len(l.params) > maxParams {
			t.Fatal("too many parameters")
		}
		for _, key := range []string{"name", "filename", "boundary"} {
			rs, _ := l.get(key)
			if len(rs) > maxParamValues {
				t.Fatal("too many readings")
			}
			var flaws defects
			names := nameList{flaws: &flaws}
			for _, r := range rs {
				names.add(r.val, r.odd)
			}
			if len(names.names) > maxNames {
				t.Fatal("too many names")
			}
			for _, e := range extensions(names.names) {
				if e != strings.ToLower(e) {
					t.Fatalf("extension %q", e)
				}
			}
		}
		if strings.ContainsAny(plain, "\r\n") || len(plain) > 200 || strings.Trim(plain, " \t") != plain || plain == "" {
			return
		}
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(plain)
		w := parseParams(`attachment; filename="` + quoted + `"; size=1`)
		if rs, _ := w.get("filename"); len(rs) == 0 || rs[0].val != plain {
			t.Fatalf("wrote %q, read %+v", plain, rs)
		}
	})
}

// a reader of everything a decoder gives.
type collect struct{ b []byte }

func (c *collect) take(p []byte) { c.b = append(c.b, p...) }

// FuzzDecoders: what the standard library encodes comes back, in blocks of any size.
func FuzzDecoders(f *testing.F) {
	f.Add([]byte("hello = world \r\n.\x00\xff"), uint8(3))
	f.Fuzz(func(t *testing.T, p []byte, n uint8) {
		feed := func(d decoder, enc []byte) []byte {
			var c collect
			for len(enc) > 0 {
				k := min(int(n)+1, len(enc))
				d.decode(enc[:k], &c)
				enc = enc[k:]
			}
			d.close(&c)
			return c.b
		}
		var flaws defects
		enc := base64.StdEncoding.EncodeToString(p)
		var lines strings.Builder
		for len(enc) > 76 {
			lines.WriteString(enc[:76] + "\r\n")
			enc = enc[76:]
		}
		lines.WriteString(enc + "\r\n")
		if got := feed(&base64Decoder{flaws: &flaws}, []byte(lines.String())); !bytes.Equal(got, p) || flaws.any() {
			t.Fatalf("base64: %q, %v; want %q", got, flaws.words(), p)
		}
		var qp bytes.Buffer
		w := quotedprintable.NewWriter(&qp)
		w.Binary = true
		_, _ = w.Write(p)
		_ = w.Close()
		if got := feed(&qpDecoder{flaws: &flaws, bad: qpBad}, qp.Bytes()); !bytes.Equal(got, p) || flaws.any() {
			t.Fatalf("qp: %q, %v; want %q", got, flaws.words(), p)
		}
	})
}

// FuzzHTML: the link finder never panics, whatever it is given.
func FuzzHTML(f *testing.F) {
	f.Add(`<a href="http://a.example/">b.example</a><img src=x><!-- <a href=y> -->`)
	f.Fuzz(func(t *testing.T, s string) {
		c := newCollector()
		defer c.release()
		c.htmlLinks(s)
		c.textLinks(s)
		checkFacts(t, c.facts)
	})
}
