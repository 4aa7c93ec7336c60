package gateway

import (
	"bytes"
	"encoding/base64"
	"io"
	"runtime"
	"strings"
	"testing"

	gomessage "github.com/emersion/go-message"
	gotext "golang.org/x/text/encoding/charmap"

	"postern/filters"
	"postern/mail"
	"postern/quarantine"
	"postern/rules"
)

// edit gives a message as it is relayed with these effects, less our block; hold is why it would
// be held instead.
func edit(t testing.TB, raw string, list ...rules.Effect) (out, hold string, notes map[string]string) {
	t.Helper()
	body := mail.BodyOf([]byte(raw))
	tx := &transaction{g: New(Config{Hostname: "gw.test"}, Deps{}), policy: &Policy{}, body: body}
	var err error
	if tx.header, err = body.Header(); err != nil {
		t.Fatal(err)
	}
	p, err := tx.planParts(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	if p.hold != "" {
		return "", p.hold, p.notes
	}
	size, src, err := tx.relay([]*recipient{{}}, group{to: []int{0}, effects: list, original: "ID7"})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var b bytes.Buffer
	for {
		p, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Write(p)
	}
	if int64(b.Len()) != size {
		t.Fatalf("size %d was promised, %d came", size, b.Len())
	}
	_, out, ok := strings.Cut(b.String(), "X-Postern-Score: 0\r\n")
	if !ok {
		t.Fatalf("no block in %q", b.String())
	}
	return out, "", p.notes
}

func strip(what ...string) rules.Effect {
	return rules.Effect{Name: stripEffect, Args: what, Rule: "r"}
}
func banner(s string) rules.Effect {
	return rules.Effect{Name: bannerEffect, Args: []string{s}, Rule: "r"}
}
func disclaimer(s string) rules.Effect {
	return rules.Effect{Name: disclaimerEffect, Args: []string{s}, Rule: "r"}
}

const (
	top   = "From: a@b.example\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
	mixed = top + "Content-Type: multipart/mixed; boundary=O\r\n\r\n"
	exe   = "Content-Type: application/x-msdownload; name=\"a.exe\"\r\nContent-Transfer-Encoding: base64\r\n\r\nTVqQAAMA\r\n"
	text  = "Content-Type: text/plain\r\n\r\nHello\r\n"
	pdf   = "Content-Type: application/pdf; name=a.pdf\r\n\r\n%PDF-1.4\r\n"
)

// removedNote is what stands for a file.
func removedNote(file string) string {
	return noticeFields + "\r\nThe mail gateway gw.test has removed from this message:\r\n\r\n    " + file +
		"\r\n\r\nSuch files are not delivered here. The whole message is kept for some time.\r\nTo get it, give your mail administrator this number:\r\n\r\n    ID7\r\n"
}

func TestStrip(t *testing.T) {
	exeNote := removedNote("a.exe (application/vnd.microsoft.portable-executable, 6 bytes)")
	for _, s := range []struct{ name, in, out, hold, note string }{
		{"one of three", mixed + "--O\r\n" + text + "--O\r\n" + exe + "--O\r\n" + pdf + "--O--\r\nend\r\n",
			mixed + "--O\r\n" + text + "--O\r\n" + exeNote + "\r\n--O\r\n" + pdf + "--O--\r\nend\r\n", "", "removed a.exe"},
		{"none", mixed + "--O\r\n" + text + "--O\r\n" + pdf + "--O--\r\n", mixed + "--O\r\n" + text + "--O\r\n" + pdf + "--O--\r\n", "", "nothing to remove"},
		{"the message itself", "Subject: x\r\nContent-type: application/x-msdownload; name=a.exe\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <1>\r\nFrom: a@b.example\r\n\r\nTVqQAAMA\r\n",
			"MIME-Version: 1.0\r\n" + noticeFields + "Subject: x\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nFrom: a@b.example\r\n" + strings.TrimPrefix(exeNote, noticeFields), "", "removed a.exe"},
		{"in a message within", mixed + "--O\r\nContent-Type: message/rfc822\r\n\r\n" + top + "Content-Type: multipart/mixed; boundary=I\r\n\r\n--I\r\n" + text + "--I\r\n" + exe + "--I--\r\n\r\n--O--\r\n",
			mixed + "--O\r\nContent-Type: message/rfc822\r\n\r\n" + top + "Content-Type: multipart/mixed; boundary=I\r\n\r\n--I\r\n" + text + "--I\r\n" + exeNote + "\r\n--I--\r\n\r\n--O--\r\n", "", "removed a.exe"},
		{"signed", top + "Content-Type: multipart/signed; boundary=S\r\n\r\n--S\r\nContent-Type: multipart/mixed; boundary=O\r\n\r\n--O\r\n" + text + "--O\r\n" + exe + "--O--\r\n--S\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--S--\r\n",
			"", "a.exe is to be removed from it, but it is signed", ""},
		{"signed, with nothing to remove", top + "Content-Type: multipart/signed; boundary=S\r\n\r\n--S\r\n" + text + "--S\r\nContent-Type: application/pgp-signature; name=a.asc\r\n\r\nx\r\n--S--\r\n",
			top + "Content-Type: multipart/signed; boundary=S\r\n\r\n--S\r\n" + text + "--S\r\nContent-Type: application/pgp-signature; name=a.asc\r\n\r\nx\r\n--S--\r\n", "", "nothing to remove"},
		{"encrypted", top + "Content-Type: application/pkcs7-mime; name=smime.p7m\r\n\r\nx\r\n", "", "it is encrypted, so that nobody can see which files are to be removed", ""},
		{"within text", mixed + "--O\r\nContent-Type: text/plain\r\n\r\nbegin 644 b.exe\r\n#0V%T\r\n`\r\nend\r\n--O--\r\n", "", "b.exe is to be removed from it, but stands within its text", ""},
		{"outside of the parts", mixed + "begin 644 b.exe\r\n#0V%T\r\n`\r\nend\r\n--O\r\n" + text + "--O--\r\n", "", "b.exe is to be removed from it, but stands outside of its parts", ""},
		{"doubtful", top + "Content-Type: multipart/mixed; boundary=O; boundary=P\r\n\r\n--O\r\n" + text + "--O\r\n" + exe + "--O--\r\n", "", "a.exe is to be removed from it, but mail programs may divide it in different ways (boundary_conflict)", ""},
		{"a name that deceives", mixed + "--O\r\nContent-Disposition: attachment; filename*=utf-8''a%E2%80%AEfdp.exe\r\n\r\nMZ\r\n--O--\r\n",
			mixed + "--O\r\n" + removedNote("a?fdp.exe (application/vnd.microsoft.portable-executable, 2 bytes)") + "\r\n--O--\r\n", "", "removed a?fdp.exe"},
		{"signed by DKIM", "DKIM-Signature: v=1\r\n" + mixed + "--O\r\n" + exe + "--O--\r\n", "DKIM-Signature: v=1\r\n" + mixed + "--O\r\n" + exeNote + "\r\n--O--\r\n", "",
			"removed a.exe; the sender's DKIM signature does not fit any more"},
	} {
		t.Run(s.name, func(t *testing.T) {
			out, hold, notes := edit(t, s.in, strip("dangerous"))
			if out != s.out || hold != s.hold || notes[strip("dangerous").String()] != s.note {
				t.Errorf("hold %q, note %q\ngot  %q\nwant %q", hold, notes, out, s.out)
			}
		})
	}
}

func TestStripWhat(t *testing.T) {
	files := map[string]filters.Attachment{
		"exe": {Names: []string{"A.EXE. "}, Executable: true, Type: "application/octet-stream", RealType: "application/x-executable"},
		"zip": {Names: []string{"a.zip"}, MemberExtensions: []string{"js"}, Type: "application/zip", RealType: "application/zip"},
		"png": {Names: []string{"a.b.png"}, Type: "application/octet-stream", RealType: "image/png"},
	}
	for what, want := range map[string]string{"all": "exe png zip", "dangerous": "exe zip", ".exe": "exe", ".EXE": "exe", ".js": "zip", ".b": "", "image/*": "png", "application/octet-stream": "exe png", "application/zip": "zip"} {
		if problem, _ := checkWhat(what); problem != "" {
			t.Errorf("%s: %s", what, problem)
		}
		var got []string
		for _, name := range []string{"exe", "png", "zip"} {
			if f := files[name]; strips([]string{what}, &f) {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s removes %v, want %s", what, got, want)
		}
	}
	for bad, want := range map[string]string{"dangerus": "did you mean dangerous?", "exe": `write "all"`, "*": `write "all"`, "": `write "all"`, ".": `write "all"`, ".a b": `write "all"`, "*/*": `write "all"`, "a/": `write "all"`, "image/p*": ``} {
		if problem, hint := checkWhat(bad); want != "" && (problem == "" || !strings.HasPrefix(hint, want)) {
			t.Errorf("%q: %q, %q", bad, problem, hint)
		}
	}
}

func TestBanner(t *testing.T) {
	html := "<div style=\"display:block;border:1px solid #999;background:#fff8dc;color:#000;padding:6px;margin:0 0 12px 0\">\r\nCare &lt;b&gt; &#45;&#45;O\r\n</div>\r\n"
	const plain = "Care <b> --O"
	koi, _ := gotext.KOI8R.NewEncoder().String("Осторожно")
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, s := range []struct{ name, text, in, out, note string }{
		{"plain", plain, top + "\r\nHello\r\n", top + "\r\nCare <b> --O\r\n\r\nHello\r\n", "added"},
		{"a hyphen first", "--O", mixed + "--O\r\n" + text + "--O--\r\n", mixed + "--O\r\nContent-Type: text/plain\r\n\r\n --O\r\n\r\nHello\r\n--O--\r\n", "added"},
		{"both alternatives", plain, top + "Content-Type: multipart/alternative; boundary=O\r\n\r\n--O\r\n" + text + "--O\r\nContent-Type: text/html\r\n\r\n<!DOCTYPE html>\r\n<p>\r\n--O--\r\n",
			top + "Content-Type: multipart/alternative; boundary=O\r\n\r\n--O\r\nContent-Type: text/plain\r\n\r\nCare <b> --O\r\n\r\nHello\r\n--O\r\nContent-Type: text/html\r\n\r\n<!DOCTYPE html>" + html + "\r\n<p>\r\n--O--\r\n", "added"},
		{"the text, not the files", plain, mixed + "--O\r\n" + text + "--O\r\nContent-Type: text/plain; name=a.txt\r\n\r\nfile\r\n--O\r\n" + text + "--O--\r\n",
			mixed + "--O\r\nContent-Type: text/plain\r\n\r\nCare <b> --O\r\n\r\nHello\r\n--O\r\nContent-Type: text/plain; name=a.txt\r\n\r\nfile\r\n--O\r\n" + text + "--O--\r\n", "added"},
		{"quoted-printable stays", "ö=", top + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=B6=\r\n x=20\r\n",
			top + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=B6=3D\r\n\r\n=C3=B6=\r\n x=20\r\n", "added"},
		{"base64", "ö", top + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b64("Hell") + "\r\n" + "\r\n",
			top + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b64("ö\r\n\r\nHell"), "added"},
		{"8bit", "ö", top + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nä\r\n", top + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nö\r\n\r\nä\r\n", "added"},
		{"its charset", "Осторожно", top + "Content-Type: text/plain; charset=KOI8-R\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xc1\r\n", top + "Content-Type: text/plain; charset=KOI8-R\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + koi + "\r\n\r\n\xc1\r\n", "added"},
		{"ASCII becomes UTF-8", "ö", top + "Content-Type: text/plain; format=flowed\r\nX: y\r\n\r\nHello = \r\n--x\r\n",
			"Content-Type: text/plain;\r\n\tcharset=utf-8;\r\n\tformat=flowed\r\nContent-Transfer-Encoding: quoted-printable\r\n" + top + "X: y\r\n\r\n=C3=B6\r\n\r\nHello =3D=20\r\n=2D-x\r\n", "added"},
		{"ASCII becomes UTF-8 in a part", "ö", mixed + "--O\r\nX: y\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nHello\r\n--O--\r\n",
			mixed + "--O\r\nContent-Type: text/plain;\r\n\tcharset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\nX: y\r\n\r\n=C3=B6\r\n\r\nHello\r\n--O--\r\n", "added"},
		{"HTML in any charset", "ö", top + "Content-Type: text/html; charset=koi8-r\r\n\r\n<p>\r\n", top + "Content-Type: text/html; charset=koi8-r\r\n\r\n" + strings.Replace(html, "Care &lt;b&gt; &#45;&#45;O", "&#246;", 1) + "<p>\r\n", "added"},
		{"not in its charset", "ö", top + "Content-Type: text/plain; charset=koi8-r\r\n\r\nHello \xc1\r\n", "Content-Type: text/plain;\r\n\tcharset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n" + top + "\r\n=C3=B6\r\n\r\nHello =D0=B0\r\n", "added"},
		{"not in its charset, quoted-printable", "–", top + "Content-Type: text/plain; charset=iso-8859-15\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n5 =A4\r\n", "Content-Type: text/plain;\r\n\tcharset=utf-8\r\n" + top + "Content-Transfer-Encoding: quoted-printable\r\n\r\n=E2=80=93\r\n\r\n5 =E2=82=AC\r\n", "added"},
		{"a charset nobody knows", "ö", top + "Content-Type: text/plain; charset=x-own\r\n\r\nHello\r\n", "", "not added: it cannot be written in x-own"},
		{"bytes that are none of their charset", "ö", top + "Content-Type: text/plain; charset=shift_jis\r\n\r\n\xfd\xfe\r\n", "", "not added: it cannot be written in shift_jis"},
		{"bytes of no charset", "ö", top + "\r\n\xfc\r\n", "", "not added: it cannot be written in a charset that is not named"},
		{"signed", plain, top + "Content-Type: multipart/signed; boundary=O\r\n\r\n--O\r\n" + text + "--O\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--O--\r\n", "", "not added: the message is signed"},
		{"encrypted", plain, top + "Content-Type: application/pkcs7-mime\r\n\r\nx\r\n", "", "not added: the message is signed as a whole, or encrypted"},
		{"no text", plain, mixed + "--O\r\n" + pdf + "--O--\r\n", "", "not added: the message has no text"},
		{"a file alone", plain, mixed + "--O\r\nContent-Type: text/plain; name=a.txt\r\n\r\nfile\r\n--O--\r\n", "", "not added: the message has no text but a file"},
		{"doubtful", plain, top + "Content-Type: multipart/mixed; boundary=X\r\n\r\n--O\r\n" + text + "--O--\r\n", "", "not added: mail programs may divide the message in different ways (boundary_mismatch)"},
		{"UTF-16", plain, top + "Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b64("\xfe\xff\x00x") + "\r\n", "", "not added: the text is in utf-16"},
		{"an encoding of its own", plain, top + "Content-Transfer-Encoding: x-own\r\n\r\nx\r\n", "", "not added: the text is encoded in a way of its own (x-own)"},
		{"too long", plain, top + "\r\n" + strings.Repeat("0123456789\r\n", maxTextPart/12+1), "", "not added: the text is too long"},
		{"signed by DKIM", plain, "DKIM-Signature: v=1\r\n" + top + "\r\nx\r\n", "DKIM-Signature: v=1\r\n" + top + "\r\nCare <b> --O\r\n\r\nx\r\n", "added; the sender's DKIM signature does not fit any more"},
		{"a byte order mark", plain, top + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\ufeffx\r\n", top + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\ufeffCare <b> --O\r\n\r\nx\r\n", "added"},
		{"nothing to say", " ", top + "\r\nx\r\n", "", ""},
	} {
		t.Run(s.name, func(t *testing.T) {
			if s.out == "" {
				s.out = s.in
			}
			out, _, notes := edit(t, s.in, banner(s.text))
			if out != s.out || notes[banner(s.text).String()] != s.note {
				t.Errorf("note %q\ngot  %q\nwant %q", notes, out, s.out)
			}
		})
	}
}

func TestDisclaimer(t *testing.T) {
	in := mixed + "--O\r\nContent-Type: multipart/alternative; boundary=A\r\n\r\n--A\r\n" + text + "--A\r\nContent-Type: text/html\r\n\r\n</html>\r\n--A--\r\n--O\r\n" + exe + "--O--\r\n"
	want := mixed + "--O\r\nContent-Type: multipart/alternative; boundary=A\r\n\r\n--A\r\nContent-Type: text/plain\r\n\r\nfirst\r\n\r\nHello\r\n\r\nlast\r\n\r\nvery last\r\n\r\n--A\r\nContent-Type: text/html\r\n\r\n" +
		htmlBlock("first", "border:1px solid #999;background:#fff8dc;color:#000;padding:6px;margin:0 0 12px 0") + "</html>" +
		htmlBlock("last", "color:#555;font-size:smaller;margin:12px 0 0 0") + htmlBlock("very last", "color:#555;font-size:smaller;margin:12px 0 0 0") + "\r\n--A--\r\n--O\r\n" +
		removedNote("a.exe (application/vnd.microsoft.portable-executable, 6 bytes)") + "\r\n--O--\r\n"
	got, _, notes := edit(t, in, disclaimer("last"), strip(".exe"), banner("first"), disclaimer("very last"))
	if got != want {
		t.Errorf("%q\ngot  %q\nwant %q", notes, got, want)
	}
}

func TestQuotedPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"a\r\n-b- \r\n\tc\t":          "a\r\n=2Db-=20\r\n\tc=09",
		"ü=\n\x00":                    "=C3=BC=3D=0A=00",
		strings.Repeat("x", 75):       strings.Repeat("x", 75),
		strings.Repeat("x", 76):       strings.Repeat("x", 75) + "=\r\nx",
		strings.Repeat("-", 76):       "=2D" + strings.Repeat("-", 72) + "=\r\n=2D--",
		strings.Repeat("x", 74) + "ü": strings.Repeat("x", 74) + "=\r\n=C3=BC",
	} {
		if got := string(appendQP(nil, []byte(in))); got != want {
			t.Errorf("%q\ngot  %q\nwant %q", in, got, want)
		}
	}
}

// The original of a stripped message is durable before the rest of it is sent, visible when that
// was taken, and gone when it was refused.
func TestStrippedOriginal(t *testing.T) {
	raw := mixed + "--O\r\n" + text + "--O\r\n" + exe + "--O--\r\n"
	policy := always(rules.Verdict{Do: rules.Deliver, Rule: "r", Effects: []rules.Effect{strip("dangerous")}})
	send := func(t *testing.T, change func(b *bed)) (*bed, *mail.Reply) {
		b := newBed(t, policy, nil)
		change(b)
		reply, _ := b.submit(t, b.talk(), []string{"a@example.org", "b@example.org"}, &textUpload{text: raw})
		return b, reply
	}
	b, reply := send(t, func(*bed) {})
	it := b.q.items[b.j.order[0].ID]
	if !reply.OK() || it == nil || it.State != quarantine.Kept || len(it.Copies) != 2 || it.Copies[0].Class != "attachment" || string(b.q.bytes[it.ID]) != raw {
		t.Errorf("%v, held %+v", reply, it)
	}
	if o := b.j.order[0].Outcomes[0]; o.Do != "deliver" || o.Held != it.ID || o.Effects[0] != `strip_attachments("dangerous"): removed a.exe` {
		t.Errorf("%+v", o)
	}
	if got := b.up.got[0].bytes; bytes.Contains(got, []byte("TVqQ")) || !bytes.Contains(got, []byte(it.ID+"\r\n")) {
		t.Errorf("delivered %q", got)
	}
	if strings.Join(b.calls, " ") != "begin rcpt rcpt hold send keep record" {
		t.Error(b.calls)
	}
	b, reply = send(t, func(b *bed) { b.up.data = map[string]*mail.Reply{"": {Code: 550, Text: "no"}} })
	if reply.Code != 550 || len(b.q.items) != 0 {
		t.Errorf("%v, held %v", reply, b.q.items)
	}
	b, reply = send(t, func(b *bed) { b.named = map[string]error{"hold": quarantine.ErrFull} })
	if reply.Code != 452 || len(b.up.got) != 0 {
		t.Errorf("%v, delivered %d", reply, len(b.up.got))
	}
	b, reply = send(t, func(b *bed) { b.named = map[string]error{"keep": errInner} })
	if !reply.OK() || b.q.items[b.j.order[0].ID].State != quarantine.Held { // the next sweep shows it
		t.Errorf("%v, held %v", reply, b.q.items)
	}
}

// FuzzEditParts holds the edited message against another parser: the parts that no effect names
// are the same, the removed ones are gone, the text has the banner.
func FuzzEditParts(f *testing.F) {
	f.Add([]byte(mixed+"--O\r\n"+text+"--O\r\n"+exe+"--O\r\n"+pdf+"--O--\r\nend\r\n"), "ö --O")
	f.Add([]byte(top+"Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPHA+\r\n"), "x")
	f.Add([]byte(top+"Content-Type: multipart/alternative; boundary=O\r\n\r\n--O\r\n\r\n--O\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=\r\n=B6\r\n--O--\r\n"), "-")
	f.Fuzz(func(t *testing.T, raw []byte, said string) {
		if bytes.Contains(bytes.ReplaceAll(raw, crlf, nil), []byte("\n")) || bytes.Contains(bytes.ReplaceAll(raw, crlf, nil), []byte("\r")) {
			t.Skip() // such is not relayed
		}
		out, hold, notes := edit(t, string(raw), strip("dangerous", "image/*"), banner(said), disclaimer("last"))
		before, err := leavesOf(raw)
		if hold != "" || err != nil || len(before) == 0 {
			t.Skip()
		}
		after, err := leavesOf([]byte(out))
		if err != nil || len(after) != len(before) {
			t.Fatalf("%d parts became %d (%v)\n%q\n%q", len(before), len(after), err, raw, out)
		}
		added := strings.HasPrefix(notes[disclaimer("last").String()], "added")
		same := 0
		for i := range before {
			switch {
			case before[i] == after[i]:
				same++
			case strings.Contains(after[i], "has removed from this message"):
			case added && strings.Contains(after[i], "last"):
			default:
				t.Fatalf("a part was changed (%q): %q became %q", notes, before[i], after[i])
			}
		}
		if !added && same < len(before) && !strings.Contains(out, "has removed from this message") {
			t.Fatalf("changed without a note: %q", notes)
		}
	})
}

// leavesOf gives the decoded parts without parts, as go-message sees them.
func leavesOf(raw []byte) (list []string, err error) {
	e, err := gomessage.Read(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	err = e.Walk(func(path []int, p *gomessage.Entity, err error) error {
		if err != nil || len(path) > 10 {
			return io.ErrUnexpectedEOF
		}
		if typ, _, _ := p.Header.ContentType(); strings.HasPrefix(typ, "multipart/") {
			return nil
		}
		text, err := io.ReadAll(p.Body)
		list = append(list, string(text))
		return err
	})
	return list, err
}

// A large file is passed over, not read into memory: what is held of it is a block at a time.
func TestLargeFilesAreStreamed(t *testing.T) {
	line := strings.Repeat("QUJD", 19) + "\r\n"
	const lines = 10 << 20 / 78
	spool := mail.NewSpool(t.TempDir(), 1<<20, 1<<20)
	body := spool.New()
	defer body.Close()
	write := func(s string) {
		if _, err := body.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	write(mixed + "--O\r\n" + text + "--O\r\nContent-Type: application/octet-stream; name=a.iso\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	for range lines {
		write(line)
	}
	write("--O\r\nContent-Type: application/octet-stream; name=b.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	for range lines {
		write(line)
	}
	write("--O--\r\n")
	body.Finish(nil)
	tx := &transaction{g: New(Config{Hostname: "gw.test"}, Deps{}), policy: &Policy{}, body: body}
	tx.header, _ = body.Header()
	list := []rules.Effect{strip(".iso"), banner("Care")}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := tx.planParts(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	size, src, err := tx.relay([]*recipient{{}}, group{to: []int{0}, effects: list, original: "ID7"})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	n := int64(0)
	for {
		p, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil || len(p) > outBlock {
			t.Fatal(err, len(p))
		}
		n += int64(len(p))
	}
	runtime.ReadMemStats(&after)
	if n != size || n < lines*78 || n > lines*78+4096 {
		t.Errorf("%d bytes of %d", n, size)
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 2<<20 {
		t.Errorf("%d bytes are allocated for 20 MiB", allocated)
	}
}
