package filters_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"postern/filters"
	"postern/filters/dnsfake"
	"postern/mail"
)

// benchMessage is a signed text of about size bytes and the zone by which it passes.
func benchMessage(b testing.TB, size int) ([]byte, *dnsfake.Zone) {
	b.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		b.Fatal(err)
	}
	p := base64.StdEncoding.EncodeToString(der)
	zone := dnsfake.MustParse(fmt.Sprintf(`
example.org            TXT "v=spf1 mx include:spf.example.org -all"
example.org            MX  10 mail.example.org
mail.example.org       A   203.0.113.25
out.example.org        A   192.0.2.1
spf.example.org        TXT "v=spf1 ip4:198.51.100.0/24 ip4:192.0.2.0/28 ~all"
_dmarc.example.org     TXT "v=DMARC1; p=reject; adkim=r; aspf=r; rua=mailto:d@example.org"
rsa._domainkey.example.org TXT "v=DKIM1; k=rsa; p=%s" "%s"
`, p[:200], p[200:]))
	var raw, signed bytes.Buffer
	date := time.Now().Add(-time.Minute).Format(time.RFC1123Z)
	fmt.Fprintf(&raw, "Received: from desk.example.org (desk.example.org [192.0.2.9])\r\n\tby out.example.org with ESMTPS id 0badcafe;\r\n\t%s\r\n", date)
	fmt.Fprintf(&raw, "From: \"Alex Sender\" <alex@example.org>\r\nTo: User 1 <user1@inside.test>\r\nSubject: Weekly status report number 1 and next steps\r\nDate: %s\r\n", date)
	raw.WriteString("Message-ID: <0badcafe.1@example.org>\r\nMIME-Version: 1.0\r\nUser-Agent: TestMailer/1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n")
	lines := []string{"some words that fill a line up to its seventy second column or so, and \r\n", "then one that goes on, to end with a blank like those of format=flowed \r\n", "more lines \r\n", "\r\n"}
	for i := 0; raw.Len() < size-700; i++ {
		if i%20 == 3 {
			fmt.Fprintf(&raw, "the review of the project has links at https://www.example.org/page/%d \r\n", i)
		}
		raw.WriteString(lines[i%len(lines)])
	}
	if err := msgauth.Sign(&signed, &raw, &msgauth.SignOptions{Domain: "example.org", Selector: "rsa", Signer: key, Hash: crypto.SHA256,
		HeaderCanonicalization: msgauth.CanonicalizationRelaxed, BodyCanonicalization: msgauth.CanonicalizationRelaxed,
		HeaderKeys: strings.Split("From To Subject Date Message-ID MIME-Version Content-Type", " ")}); err != nil {
		b.Fatal(err)
	}
	return signed.Bytes(), zone
}

// BenchmarkMessage is all that the filters do for one signed message of 4 KB whose DNS answers
// are warm: the scopes, the stages of sender and data, the parsing of the header.
func BenchmarkMessage(b *testing.B) {
	msg, zone := benchMessage(b, 4<<10)
	all := filters.New(filters.Config{Resolver: resolver(b, zone, filters.ResolverConfig{})})
	var stages [mail.Data + 1][]filters.Filter
	for _, f := range all {
		stages[f.Stage] = append(stages[f.Stage], f)
	}
	sender, _ := mail.ParseAddress("bounce@example.org", false)
	client := mail.Client{Addr: netip.MustParseAddr("192.0.2.1"), Helo: "out.example.org", ESMTP: true}
	spool := mail.NewSpool(b.TempDir(), 0, 0)
	ctx := b.Context()
	run := func(fs []string) *filters.Scope {
		s := filters.NewScope(filters.NewScope(nil))
		in := filters.Input{Envelope: mail.Envelope{ID: "1", Received: time.Now(), Client: client, Sender: sender}}
		s.Start(ctx, chosen(stages[mail.Sender], fs), in)
		in.Body = spool.New()
		_, _ = in.Body.Write(msg)
		in.Body.Finish(nil)
		s.Start(ctx, chosen(stages[mail.Data], fs), in)
		s.Join()
		in.Body.Close()
		return s
	}
	for _, c := range []struct {
		name string
		fs   []string
	}{{"all", nil}, {"none", []string{"client"}}, {"spf", []string{"spf"}}, {"dkim", []string{"dkim"}}, {"content", []string{"content"}}} {
		b.Run(c.name, func(b *testing.B) {
			first := run(c.fs)
			for _, name := range []string{"spf", "dkim", "dmarc"} {
				if v, err, known := first.Lookup(name); known && (err != nil || !strings.Contains(fmt.Sprint(v), "pass")) {
					b.Fatal(name, v, err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				run(c.fs)
			}
		})
	}
}

func chosen(fs []filters.Filter, names []string) []filters.Filter {
	if names == nil {
		return fs
	}
	var out []filters.Filter
	for _, f := range fs {
		for _, name := range names {
			if f.Name == name {
				out = append(out, f)
			}
		}
	}
	return out
}
