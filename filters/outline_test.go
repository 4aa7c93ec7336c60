package filters

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	gomessage "github.com/emersion/go-message"

	"postern/mail"
)

func outlineOf(t testing.TB, raw string) *Outline {
	t.Helper()
	o, err := ReadOutline(t.Context(), mail.BodyOf([]byte(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

const twoDeep = "From: a@b.example\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=O\r\n\r\n" +
	"preamble\r\n--O\r\nContent-Type: multipart/alternative; boundary=I\r\n\r\n--I\r\n\r\nplain\r\n\r\n--I\r\nContent-Type: text/html; charset=Latin1\r\n\r\n<p>\r\n--I--\r\n\r\n" +
	"--O\r\nContent-Type: message/rfc822\r\n\r\nFrom: c@d.example\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n%PDF-\r\n" +
	"--O \r\nContent-Disposition: attachment; filename=\"x.exe\"\r\nContent-Transfer-Encoding: base64\r\n\r\nTVqQAAMA\r\n--O--\r\nepilogue\r\n"

func TestOutline(t *testing.T) {
	o := outlineOf(t, twoDeep)
	var b strings.Builder
	for i, s := range o.Sections {
		fmt.Fprintf(&b, "%d<%d %s %q %q", i, s.Parent, s.Type, twoDeep[s.Header:min(s.Header+14, s.Body)], twoDeep[s.Body:s.End])
		for _, f := range s.Files {
			fmt.Fprintf(&b, " [%s %s]", f.Name, f.Type)
		}
		b.WriteString("\n")
	}
	inner := "--I\r\n\r\nplain\r\n\r\n--I\r\nContent-Type: text/html; charset=Latin1\r\n\r\n<p>\r\n--I--\r\n"
	pdf := "From: c@d.example\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n%PDF-"
	want := fmt.Sprintf("0<-1 multipart/mixed \"From: a@b.exam\" %q\n1<0 multipart/alternative \"Content-Type: \" %q\n", twoDeep[strings.Index(twoDeep, "preamble"):], inner) +
		"2<1 text/plain \"\\r\\n\" \"plain\\r\\n\"\n3<1 text/html \"Content-Type: \" \"<p>\"\n" +
		fmt.Sprintf("4<0 message/rfc822 \"Content-Type: \" %q\n5<4 application/pdf \"From: c@d.exam\" \"%%PDF-\" [a.pdf application/pdf]\n", pdf) +
		"6<0 text/plain \"Content-Dispos\" \"TVqQAAMA\" [x.exe text/plain]\n"
	if b.String() != want || o.Doubt != "" || len(o.Loose) != 0 {
		t.Errorf("doubt %q, loose %v\n%s\nwant\n%s", o.Doubt, o.Loose, b.String(), want)
	}
}

func TestOutlineDoubts(t *testing.T) {
	head := "From: a@b.example\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n"
	for raw, want := range map[string]string{
		head + "Content-Type: multipart/mixed; boundary=O; boundary=P\r\n\r\n--O\r\n\r\nx\r\n--O--\r\n": "boundary_conflict",
		head + "Content-Type: multipart/mixed; boundary=O\r\n\r\nx\r\n":                                 "boundary_absent",
		head + "\r\ntext\r\n--X\r\nContent-Type: text/plain\r\n\r\nx\r\n--X--\r\n":                      "embedded_part",
		head + "\r\nplain\r\n": "",
		head + "Content-Type: multipart/mixed; boundary=O\r\n\r\n--O\r\n\r\nthe end is missing\r\n": "parsers_disagree",
	} {
		if o := outlineOf(t, raw); o.Doubt != want {
			t.Errorf("%q: doubt %q, want %q", raw, o.Doubt, want)
		}
	}
	o := outlineOf(t, head+"Content-Type: multipart/mixed; boundary=O\r\n\r\nbegin 644 x.exe\r\n#0V%T\r\n`\r\nend\r\n--O\r\n\r\nbegin 644 y.exe\r\n#0V%T\r\n`\r\nend\r\n--O--\r\n")
	if len(o.Loose) != 1 || o.Loose[0].Name != "x.exe" || len(o.Sections[1].Files) != 1 || o.Sections[1].Files[0].Name != "y.exe" {
		t.Errorf("%+v", o)
	}
}

// FuzzOutline holds the places against what must be true of any division, and, where there is no
// doubt, against another parser.
func FuzzOutline(f *testing.F) {
	f.Add([]byte(twoDeep))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n"))
	f.Add([]byte("Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/x; boundary=a\r\n\r\n--a\r\n--a--\r\n--a"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, size := range []int{len(raw), 7} {
			body := mail.NewSpool("", 0, 0).New()
			for i := 0; i < len(raw); i += max(size, 1) {
				_, _ = body.Write(raw[i:min(i+max(size, 1), len(raw))])
			}
			body.Finish(nil)
			o, err := ReadOutline(t.Context(), body)
			body.Close()
			if err != nil {
				t.Fatal(err)
			}
			checkOutline(t, o, raw)
		}
	})
}

func checkOutline(t *testing.T, o *Outline, raw []byte) {
	if o.Doubt == "limits" {
		return
	}
	for i, s := range o.Sections {
		if s.open || s.Header < 0 || s.Header > s.Body || s.Body > s.End || s.End > int64(len(raw)) {
			t.Fatalf("section %d: %+v of %d bytes", i, s, len(raw))
		}
		if s.Parent >= i || i > 0 && s.Parent < 0 {
			t.Fatalf("section %d: parent %d", i, s.Parent)
		}
		if s.Parent >= 0 {
			if p := o.Sections[s.Parent]; s.Header < p.Body || s.End > p.End {
				t.Fatalf("section %d %+v sticks out of %+v", i, s, p)
			}
		}
		if i > 0 && o.Sections[i-1].Parent == s.Parent && o.Sections[i-1].End > s.Header {
			t.Fatalf("sections %d and %d overlap", i-1, i)
		}
	}
	if o.Doubt != "" || len(o.Sections) == 0 {
		return
	}
	e, err := gomessage.Read(bytes.NewReader(raw))
	if err != nil {
		return
	}
	leaves := 0
	for _, s := range o.Sections {
		if !strings.HasPrefix(s.Type, "multipart/") && !o.within(s, "message/") {
			leaves++
		}
	}
	n := 0
	err = e.Walk(func(_ []int, p *gomessage.Entity, err error) error {
		if err != nil {
			return io.ErrUnexpectedEOF
		}
		if typ, _, _ := p.Header.ContentType(); !strings.HasPrefix(typ, "multipart/") {
			n++
		}
		return nil
	})
	if err == nil && n != leaves {
		t.Fatalf("%d leaves here, %d there, without a doubt", leaves, n)
	}
}

func (o *Outline) within(s Section, major string) bool {
	for p := s.Parent; p >= 0; p = o.Sections[p].Parent {
		if strings.HasPrefix(o.Sections[p].Type, major) {
			return true
		}
	}
	return false
}
