package dnsfake

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"postern/filters"
)

const text = `
$TTL 60
; a comment with !DELAY
example.org       IN MX 10 mail.example.org
mail.example.org  A 192.0.2.1
                  AAAA 2001:db8::1
example.org       TXT "v=spf1 mx" " -all" ; two strings
bang.example.org  TXT "not a !SCRIPT"
*.wild.example    A 192.0.2.2
slow.example.org  TXT !DELAY 20ms
slow.example.org  TXT "late"
dead.example.org  * !TIMEOUT
sick.example.org. 300 IN TXT !SERVFAIL ; really
`

const asJSON = `{"records": {
 "example.org": {"MX": [[10, "mail.example.org"]], "TXT": [["v=spf1 mx", " -all"]]},
 "mail.example.org": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]},
 "bang.example.org": {"TXT": ["not a !SCRIPT"]},
 "*.wild.example": {"A": ["192.0.2.2"]},
 "slow.example.org": {"TXT": ["late"]},
 "dead.example.org": {"*": "TIMEOUT"},
 "sick.example.org": {"TXT": "SERVFAIL"}}}`

func TestBothForms(t *testing.T) {
	for name, form := range map[string]string{"text": text, "json": asJSON} {
		z, err := Parse(form)
		if err != nil {
			t.Fatal(name, err)
		}
		ctx := t.Context()
		txt, err := z.TXT(ctx, "Example.org.")
		txt2, err2 := z.TXT(ctx, "bang.example.org")
		txt3, err3 := z.TXT(ctx, "slow.example.org")
		if fmt.Sprint(txt, txt2, txt3) != "[v=spf1 mx -all] [not a !SCRIPT] [late]" || errors.Join(err, err2, err3) != nil {
			t.Error(name, txt, txt2, txt3, err, err2, err3)
		}
		four, err := z.Addrs(ctx, "mail.example.org", false)
		six, err2 := z.Addrs(ctx, "mail.example.org", true)
		wild, err3 := z.Addrs(ctx, "a.b.wild.example", false)
		if fmt.Sprint(four, six, wild) != "[192.0.2.1] [2001:db8::1] [192.0.2.2]" || errors.Join(err, err2, err3) != nil {
			t.Error(name, four, six, wild, err, err2, err3)
		}
		if mx, err := z.MX(ctx, "example.org"); err != nil || fmt.Sprint(mx) != "[{mail.example.org 10}]" {
			t.Error(name, mx, err)
		}
		for q, want := range map[string]filters.DNSError{
			"dead.example.org": {Temporary: true}, "sick.example.org": {Temporary: true},
			"mail.example.org": {NotFound: true}, "org": {NotFound: true}, "no.example.org": {NotFound: true, NXDomain: true},
		} {
			_, err := z.TXT(ctx, q)
			var e *filters.DNSError
			if !errors.As(err, &e) || e.Temporary != want.Temporary || e.NotFound != want.NotFound || e.NXDomain != want.NXDomain {
				t.Errorf("%s: %s: %+v", name, q, e)
			}
		}
		if _, err := z.PTR(ctx, netip.MustParseAddr("192.0.2.1")); err == nil {
			t.Error(name, "a PTR record of nothing")
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, s := range []string{"a.test A nonsense", "a.test TXT !WHAT", "a.test NOTYPE !TIMEOUT", "a.test TXT !DELAY", "a.test TXT !DELAY soon",
		"{", `{"a.test": {"A": ["x"]}}`, `{"a.test": {"MX": ["x"]}}`, `{"a.test": {"TXT": 7}}`, `{"a.test": {"WHAT": ["x"]}}`} {
		if _, err := Parse(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

func TestServeOverBothProtocols(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	z := MustParse(text)
	for i := range 30 {
		z.Add(&dns.TXT{Hdr: dns.RR_Header{Name: "large.test.", Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 5}, Txt: []string{fmt.Sprint(i, " this is some text to fill the answer")}})
	}
	s, err := Serve(z, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ask := func(network, name string, edns bool) (*dns.Msg, error) {
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeTXT)
		if edns {
			m.SetEdns0(1232, false)
		}
		c := dns.Client{Net: network, Timeout: 300 * time.Millisecond}
		r, _, err := c.Exchange(m, s.Addr)
		return r, err
	}
	if r, err := ask("udp", "large.test.", false); err != nil || !r.Truncated || len(r.Answer) > 11 {
		t.Error(r, err)
	}
	if r, err := ask("udp", "large.test.", true); err != nil || !r.Truncated || len(r.Answer) > 26 || len(r.Answer) < 15 {
		t.Error(r, err)
	}
	if r, err := ask("tcp", "large.test.", true); err != nil || r.Truncated || len(r.Answer) != 30 {
		t.Error(r, err)
	}
	if r, err := ask("udp", "no.example.org.", true); err != nil || r.Rcode != dns.RcodeNameError || len(r.Ns) != 1 {
		t.Error(r, err)
	}
	if r, err := ask("udp", "sick.example.org.", true); err != nil || r.Rcode != dns.RcodeServerFailure {
		t.Error(r, err)
	}
	if r, err := ask("udp", "dead.example.org.", true); err == nil {
		t.Error(r)
	}
}
