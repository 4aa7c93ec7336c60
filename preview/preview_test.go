package preview

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"postern/filters"
	"postern/mail"
	"postern/testkit"
)

func read(t testing.TB, raw string, o Options) *Message {
	t.Helper()
	m, err := Read(t.Context(), mail.BodyOf([]byte(raw)), o)
	if err != nil {
		t.Fatal(err)
	}
	checkMessage(t, m)
	return m
}

// checkMessage holds what must be true of every preview.
func checkMessage(t testing.TB, m *Message) {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back Message
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(&back)
	if !bytes.Equal(b, again) {
		t.Fatalf("does not survive JSON:\n%s\n%s", b, again)
	}
	names := []string{m.Subject}
	for _, f := range m.Fields {
		names = append(names, f.Name, f.Raw, f.Decoded)
	}
	for _, a := range m.Attachments {
		names = append(append(names, a.Name, a.Inside), a.Names...)
	}
	for _, l := range m.Links {
		names = append(names, l.Text, l.Target, l.Host, l.Unicode)
	}
	for _, h := range m.Hops {
		names = append(names, h.From, h.By, h.Raw, h.TLS, h.Address)
	}
	for _, n := range names {
		if !utf8.ValidString(n) || VisibleName(n) != n {
			t.Fatalf("%q has what cannot be seen", n)
		}
	}
	if s, marked := VisibleText(m.Text.Body); marked || s != m.Text.Body {
		t.Fatal("the text has what cannot be seen")
	}
	if m.HTML.Document != "" {
		checkDocument(t, m.HTML.Document)
	} else if m.HTML.Why == "" {
		t.Fatal("no document, and nobody knows why")
	}
}

const top = "From: \"Bank\" <a@bank.example>\r\nTo: b@example.org\r\nSubject: =?utf-8?q?hi_=E2=80=AEtxt.exe?=\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"

func TestReadShowsTextFirst(t *testing.T) {
	m := read(t, top+"Content-Type: multipart/alternative; boundary=B\r\n\r\n--B\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\ngr\xfc\xdfe\r\n\r\n"+
		"--B\r\nContent-Type: text/html\r\n\r\n<p>Hello <a href=\"https://evil.example/x\">bank.example</a><script>alert(1)</script><img src=http://t.example/p.gif>\r\n--B--\r\n", Options{Sender: "bounce@list.example"})
	if m.Subject != "hi ⟦U+202E⟧txt.exe" || m.Text.Body != "grüße\n" || m.Text.FromHTML || !m.Addresses.EnvelopeDiffers {
		t.Errorf("%+v", m)
	}
	if len(m.Links) != 2 || m.Links[0].Host != "evil.example" || !m.Links[0].Mismatch || m.Links[0].TextHost != "bank.example" || !m.Links[1].Fetched {
		t.Errorf("%+v", m.Links)
	}
	if m.HTML.Remote != 1 || m.HTML.Hosts[0] != "t.example" || strings.Join(m.HTML.Removed, " ") != "script" {
		t.Errorf("%+v", m.HTML)
	}
	if !strings.Contains(m.HTML.Document, `<span class="pv-link">bank.example</span><span class="pv-bad">⚠ leads to evil.example, not bank.example</span>`) {
		t.Error(m.HTML.Document)
	}
}

func TestTextIsMadeOfHTML(t *testing.T) {
	m := read(t, top+"Content-Type: text/html\r\n\r\n<style>p{}</style><h1>Title</h1><p>One&nbsp;two<br>three <b>four</b>.</p><ul><li>a<li>b</ul><a href=\"http://xn--bcher-kva.example/\">Books</a> <span style=\"display:none\">hidden</span>", Options{})
	want := "Title\n\nOne two\nthree four.\n\n• a\n• b\nBooks <http://xn--bcher-kva.example/ = bücher.example> hidden"
	if got := strings.ReplaceAll(m.Text.Body, "\u00a0", " "); got != want || !m.Text.FromHTML {
		t.Errorf("%q\nwant\n%q", got, want)
	}
}

func TestHops(t *testing.T) {
	m := read(t, "Received: from relay.example (relay.example [192.0.2.7])\r\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n\tby mx.example.org (Postfix) with ESMTPS id 1A2B\r\n\tfor <b@example.org>; Mon, 02 Nov 2026 10:00:10 +0000 (UTC)\r\n"+
		"Received: from pc by relay.example with SMTP id 7; Mon, 02 Nov 2026 12:00:09 +0200\r\nReceived: by x.example; Mon, 02 Nov 2026 11:00:00 +0000\r\nReceived: garbage\r\n"+top+"\r\nx\r\n",
		Options{Own: []string{"MX.example.org"}, Received: time.Date(2026, 11, 2, 10, 0, 11, 0, time.UTC)})
	if len(m.Hops) != 4 {
		t.Fatalf("%+v", m.Hops)
	}
	h := m.Hops[0]
	if h.From != "relay.example" || h.Address != "relay.example [192.0.2.7]" || h.By != "mx.example.org" || h.With != "ESMTPS" || !strings.HasPrefix(h.TLS, "using TLSv1.3") ||
		h.ID != "1A2B" || h.For != "b@example.org" || !h.Trusted || h.Delay == nil || h.Delay.Seconds != 1 || h.Doubt != "" {
		t.Errorf("%+v", h)
	}
	if h := m.Hops[1]; h.Trusted || h.TLS != "" || h.Delay.Seconds != -3591 || !strings.Contains(h.Doubt, "before that of the hop") {
		t.Errorf("%+v", h)
	}
	if h := m.Hops[2]; h.Doubt != "its time lies after the message came here" || h.Delay != nil {
		t.Errorf("%+v", h)
	}
	if h := m.Hops[3]; h.Doubt != "its time is missing or cannot be read" || h.Raw != "garbage" {
		t.Errorf("%+v", h)
	}
}

func TestAttachments(t *testing.T) {
	raw := top + "Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n\r\nx\r\n--B\r\nContent-Type: image/png; name=\"a.png\"\r\nContent-Disposition: attachment; filename=\"=?utf-8?q?invoice=E2=80=AEfdp.exe?=\"\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\nTVqQAAMAAAAEAAAA\r\n--B\r\nContent-Type: message/rfc822; name=in.eml\r\n\r\nFrom: c@d.example\r\nSubject: inner\r\n\r\ninner text\r\n--B--\r\n"
	m := read(t, raw, Options{})
	if len(m.Attachments) != 2 {
		t.Fatalf("%+v", m.Attachments)
	}
	a := m.Attachments[0]
	if a.Name != "invoice⟦U+202E⟧fdp.exe" || !a.Mismatch || !a.Executable || !a.Active || a.Size != 12 || len(a.SHA256) != 64 || a.RealType != "application/vnd.microsoft.portable-executable" {
		t.Errorf("%+v", a)
	}
	for i, want := range []string{"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00", "From: c@d.example\r\nSubject: inner\r\n\r\ninner text"} {
		var b bytes.Buffer
		if err := CopyAttachment(t.Context(), mail.BodyOf([]byte(raw)), m.Attachments[i].Index, &b); err != nil || b.String() != want {
			t.Errorf("%d: %v %q", i, err, b.String())
		}
	}
	if m.Attachments[1].Size != 47 || !strings.Contains(m.Text.Body, "── a message inside of this one ──\n\ninner text") {
		t.Errorf("%+v %q", m.Attachments[1], m.Text.Body)
	}
	var b bytes.Buffer
	if err := CopyAttachment(t.Context(), mail.BodyOf([]byte(raw)), 2, &b); err == nil {
		t.Error("there is no third")
	}
}

// Every message of the corpora gives a preview, whole and cut anywhere.
func TestReadCorpora(t *testing.T) {
	shared := filepath.Join(testkit.Root(t), "..", "shared", "corpus")
	n := 0
	for _, dir := range []string{"mime", "mime-evasion", "attachment-names", "phishing"} {
		_ = filepath.WalkDir(filepath.Join(shared, dir), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) == ".json" {
				return nil
			}
			raw, err := os.ReadFile(path)
			if err != nil || len(raw) > 1<<20 {
				return nil
			}
			n++
			read(t, string(raw), Options{})
			read(t, string(raw[:len(raw)/2]), Options{})
			return nil
		})
	}
	if n == 0 {
		t.Skip("no corpora beside the module")
	}
	t.Logf("%d messages", n)
}

// The files of an archive have no numbers of their own, and take none from the files behind it.
func TestCopyBehindAnArchive(t *testing.T) {
	var z bytes.Buffer
	w := zip.NewWriter(&z)
	for _, name := range []string{"a.txt", "b.txt", "word/vbaProject.bin"} {
		f, _ := w.Create(name)
		_, _ = f.Write([]byte(name))
	}
	_ = w.Close()
	raw := top + "Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\nContent-Type: application/zip; name=a.docx\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		base64.StdEncoding.EncodeToString(z.Bytes()) + "\r\n--B\r\nContent-Type: application/octet-stream; name=last\r\n\r\nlast file\r\n--B--\r\n"
	m := read(t, raw, Options{})
	if len(m.Attachments) != 5 || !m.Attachments[0].Macros || m.Attachments[1].Level != 1 || m.Attachments[1].Index != -1 || m.Attachments[4].Index != 1 {
		t.Fatalf("%+v", m.Attachments)
	}
	var b bytes.Buffer
	if err := CopyAttachment(t.Context(), mail.BodyOf([]byte(raw)), 1, &b); err != nil || b.String() != "last file" {
		t.Errorf("%v %q", err, b.String())
	}
}

// FuzzRead: whatever comes, there is a preview, and nothing in it is live or hides.
func FuzzRead(f *testing.F) {
	f.Add([]byte(top + "Content-Type: text/html\r\n\r\n<p>x<img src=cid:a>"))
	f.Add([]byte(top + "Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\nContent-Type: image/png\r\nContent-ID: <a>\r\n\r\n\x89PNG\r\n--B\r\nContent-Type: message/rfc822; name=x\r\n\r\nReceived: from a (b [c]) by d with ESMTPS (e) id f for g; x\r\n\r\nbegin 644 x\r\n#0V%T\r\n`\r\nend\r\n--B--"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 64<<10 {
			return
		}
		m := read(t, string(raw), Options{Sender: "a@b.example"})
		body := mail.BodyOf(raw)
		for _, a := range m.Attachments {
			var b bytes.Buffer
			err := CopyAttachment(t.Context(), body, a.Index, &b)
			if (err == nil) != (a.Index >= 0) && !errors.Is(err, filters.ErrTooMuch) {
				t.Fatalf("%+v: %v", a, err)
			}
			if err == nil && b.Len() != a.Size {
				t.Fatalf("%+v: %d bytes", a, b.Len())
			}
		}
	})
}
