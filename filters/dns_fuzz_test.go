package filters_test

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"postern/filters"
)

// A43: whatever a server sends, reading it neither panics nor hangs nor grows beyond bounds.
func FuzzDNSMessage(f *testing.F) {
	types := []uint16{dns.TypeTXT, dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypePTR}
	seed := func(rrs ...string) {
		var m dns.Msg
		m.SetQuestion("a.test.", dns.TypeTXT)
		m.Response, m.RecursionAvailable = true, true
		for _, s := range rrs {
			rr, err := dns.NewRR(s)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		m.Compress = true
		m.SetEdns0(1232, false)
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seed(`a.test. 60 TXT "v=spf1 -all" "x\000\"y"`)
	seed("a.test. 60 CNAME b.test.", "b.test. 1 CNAME c.test.", `c.test. 9 TXT "x"`)
	seed("a.test. 60 CNAME b.test.", "b.test. 1 CNAME a.test.")
	seed(`a.test. 60 MX 10 m.test.`, "a.test. 60 AAAA ::1", "a.test. 60 SOA . . 1 2 3 4 5", "a.test. 60 RRSIG TXT 8 2 60 20300101000000 20200101000000 1 test. AAAA")
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, msg []byte) {
		for _, kind := range types {
			b := append([]byte(nil), msg...)
			if len(b) > 22 { // the type that the question is about
				b[21] = byte(kind)
			}
			n, err := filters.ParseDNS(b, "a.test", kind)
			if n > 0 && err != nil || n > len(msg) {
				t.Fatal(n, err)
			}
		}
	})
}

func TestA43_CompressionTricks(t *testing.T) {
	head := "\x00\x01\x81\x80\x00\x01\xff\xff\x00\x00\x00\x00\x01a\x04test\x00\x00\x10\x00\x01"
	for _, tail := range []string{
		strings.Repeat("\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x01\x00\x02\xc0\x20", 4000), // names that point at themselves
		"\xc0\x18", "\xff\xff", strings.Repeat("\x3fx", 100),
		strings.Repeat("\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x01\x00\x01\x00", 4000), // empty strings
	} {
		if n, err := filters.ParseDNS([]byte(head+tail), "a.test", dns.TypeTXT); err == nil && n > 4000 {
			t.Errorf("%d records", n)
		}
	}
}
