package filters_test

import (
	"net/netip"
	"testing"
	"time"

	"postern/filters"
	"postern/filters/dnsfake"
	"postern/mail"
)

// What SPF and DMARC cost once DNS is warm; the scope's share is in it.
func BenchmarkSPFAndDMARC(b *testing.B) {
	z := dnsfake.MustParse(`
example.org            TXT "v=spf1 mx include:spf.example.net -all"
example.org            MX  10 mail.example.org
mail.example.org       A   192.0.2.77
spf.example.net        TXT "v=spf1 ip4:198.51.100.0/24 ip4:192.0.2.0/28 ~all"
_dmarc.example.org     TXT "v=DMARC1; p=reject; rua=mailto:d@example.org"
personal.test          TXT "v=spf1 exists:%{l}.u.%{d} ip4:192.0.2.0/28 -all"
`)
	for _, c := range []struct{ name, sender, from string }{
		{"remembered", "a@example.org", "example.org"},
		{"subdomain", "a@example.org", "news.example.org"},
		{"evaluated", "a@personal.test", "example.org"},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := resolver(b, z, filters.ResolverConfig{})
			fs := []filters.Filter{filters.NewSPF(filters.SPFConfig{}, d), filters.NewDMARC(filters.DMARCConfig{}, d), signedBy("example.org")}
			body := mail.BodyOf([]byte("From: A <a@" + c.from + ">\r\nSubject: x\r\n\r\n"))
			sender, _ := mail.ParseAddress(c.sender, false)
			run := func() {
				in := filters.Input{Body: body}
				in.Received = time.Now()
				in.Sender, in.Client = sender, mail.Client{Addr: netip.MustParseAddr("192.0.2.1"), Helo: "mail.example.org"}
				s := filters.NewScope(nil)
				s.Start(b.Context(), fs, in)
				s.Join()
				if v, err, _ := s.Lookup("dmarc"); err != nil || v.(filters.DMARCFacts).Result != "pass" {
					b.Fatal(v, err)
				}
			}
			run()
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}

func BenchmarkResolverWarm(b *testing.B) {
	d := resolver(b, dnsfake.MustParse(`a.test TXT "x"`), filters.ResolverConfig{})
	ctx := b.Context()
	_, _ = d.TXT(ctx, "a.test")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.TXT(ctx, "a.test"); err != nil {
			b.Fatal(err)
		}
	}
}

// A question that goes over the wire to a server in this very process.
func BenchmarkResolverCold(b *testing.B) {
	d := resolver(b, dnsfake.MustParse(`a.test 0 TXT "x"`), filters.ResolverConfig{})
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.TXT(ctx, "a.test"); err != nil {
			b.Fatal(err)
		}
	}
}
