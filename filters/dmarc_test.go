package filters_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/filters/dnsfake"
	"postern/mail"
)

// A letter is a message for the three authentication filters.
type letter struct {
	ip, helo, from string
	trusted        bool
	text           string
}

type authFacts struct {
	spf   filters.SPFFacts
	dkim  filters.DKIMFacts
	dmarc filters.DMARCFacts
}

// authenticate runs spf, dkim and dmarc as the gateway does.
func authenticate(t testing.TB, r filters.Resolver, l letter) authFacts {
	t.Helper()
	return authenticateWith(t, l, filters.NewSPF(filters.SPFConfig{Trusted: relays}, r), filters.NewDKIM(filters.DKIMConfig{}, r), filters.NewDMARC(filters.DMARCConfig{}, r))
}

var relays = []netip.Prefix{netip.MustParsePrefix("198.51.100.128/25")}

func authenticateWith(t testing.TB, l letter, fs ...filters.Filter) authFacts {
	t.Helper()
	in := filters.Input{Body: mail.BodyOf([]byte(l.text))}
	in.Received = time.Now()
	in.Client = mail.Client{Addr: netip.MustParseAddr(l.ip), Helo: l.helo, Trusted: l.trusted}
	if l.from != "" {
		a, err := mail.ParseAddress(l.from, true)
		if err != nil {
			t.Fatal(err)
		}
		in.Sender = a
	}
	s := filters.NewScope(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s.Start(ctx, fs, in)
	s.Join()
	var f authFacts
	for _, res := range s.Results() {
		if res.Err != nil {
			t.Fatalf("%s: %v", res.Name, res.Err)
		}
		switch v := res.Facts.(type) {
		case filters.SPFFacts:
			f.spf = v
		case filters.DKIMFacts:
			f.dkim = v
		case filters.DMARCFacts:
			f.dmarc = v
		}
	}
	return f
}

// disposition is what a policy that follows DMARC does; a malformed From is held.
func disposition(f filters.DMARCFacts) string {
	switch {
	case f.Result == "fail":
		return f.Policy
	case f.MalformedFrom:
		return "quarantine"
	}
	return "none"
}

func TestA30_Corpus(t *testing.T) {
	dir := shared(t, "corpus/dmarc")
	type outcome struct{ Dmarc, Disposition string }
	var manifest struct {
		Cases []struct {
			ID, File, IP, Helo, Mailfrom string
			RFC9989                      outcome
			AlsoRight                    [][2]string `json:"also_right"`
		}
	}
	b, err := os.ReadFile(dir + "/manifest.json")
	if err == nil {
		err = json.Unmarshal(b, &manifest)
	}
	if err != nil || len(manifest.Cases) == 0 {
		t.Fatal(len(manifest.Cases), err)
	}
	zone, err := os.ReadFile(dir + "/zone.json")
	if err != nil {
		t.Fatal(err)
	}
	z, err := dnsfake.Parse(string(zone))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range manifest.Cases {
		text, err := os.ReadFile(dir + "/" + c.File)
		if err != nil {
			t.Fatal(err)
		}
		f := authenticate(t, z, letter{ip: c.IP, helo: c.Helo, from: c.Mailfrom, text: string(text)})
		got := [2]string{f.dmarc.Result, disposition(f.dmarc)}
		if got != [2]string{c.RFC9989.Dmarc, c.RFC9989.Disposition} && !slices.Contains(c.AlsoRight, got) {
			t.Errorf("%s: %v, want %v\nspf %+v\ndmarc %+v", c.ID, got, c.RFC9989, f.spf, f.dmarc)
		}
	}
}

// The tables below need no signatures: DKIM is given.
func signedBy(domains ...string) filters.Filter {
	var f filters.DKIMFacts
	for _, d := range domains {
		d, result, ok := strings.Cut(d, "=")
		if !ok {
			result = "pass"
		}
		f.Signatures = append(f.Signatures, filters.DKIMSignature{Result: result, Domain: d})
	}
	return filters.Filter{Name: "dkim", Stage: mail.Data, Facts: f, Quick: true,
		Gather: func(context.Context, *filters.Input) (any, error) { return f, nil }}
}

func spfFor(result, domain string) filters.Filter {
	f := filters.SPFFacts{Result: result, Domain: domain}
	return filters.Filter{Name: "spf", Stage: mail.Sender, Facts: f,
		Gather: func(context.Context, *filters.Input) (any, error) { return f, nil }}
}

func judge(t testing.TB, z filters.Resolver, from string, others ...filters.Filter) filters.DMARCFacts {
	t.Helper()
	return judgeWith(t, filters.DMARCConfig{}, z, from, others...)
}

func judgeWith(t testing.TB, c filters.DMARCConfig, z filters.Resolver, from string, others ...filters.Filter) filters.DMARCFacts {
	t.Helper()
	l := letter{ip: "192.0.2.1", text: "From: " + from + "\r\n\r\n"}
	for _, f := range []filters.Filter{spfFor("none", ""), signedBy()} {
		if !slices.ContainsFunc(others, func(o filters.Filter) bool { return o.Name == f.Name }) {
			others = append(others, f)
		}
	}
	return authenticateWith(t, l, append(others, filters.NewDMARC(c, z))...).dmarc
}

const tree = `
_dmarc.example.org             TXT "v=DMARC1; p=reject; sp=quarantine; np=none"
mail.example.org               A   192.0.2.9
_dmarc.lone.example.org        TXT "v=DMARC1; p=none"
_dmarc.div.example.net         TXT "v=DMARC1; p=reject; psd=n"
_dmarc.example.net             TXT "v=DMARC1; p=quarantine"
_dmarc.bank                    TXT "v=DMARC1; p=quarantine; sp=reject; np=reject; psd=y"
_dmarc.own.bank                TXT "v=DMARC1; p=none"
_dmarc.strict.example          TXT "v=DMARC1; p=reject; adkim=s; aspf=s"
_dmarc.t.example               TXT "v=DMARC1; p=reject; sp=quarantine; t=y"
_dmarc.two.example             TXT "v=DMARC1; p=reject"
_dmarc.two.example             TXT "v=DMARC1; p=none"
_dmarc.a.two.two2.example      TXT "v=DMARC1; p=none"
_dmarc.a.two.two2.example      TXT "v=DMARC1; p=none"
_dmarc.two2.example            TXT "v=DMARC1; p=reject"
_dmarc.xn--exmple-cua.test     TXT "v=DMARC1; p=reject"
_dmarc.broken.example          TXT !SERVFAIL
_dmarc.half.example            TXT "v=DMARC1; p=reject"
_dmarc.sub.half.example        TXT !SERVFAIL
_dmarc.long.example            TXT "v=DMARC1; p=reject"
_dmarc.6.5.4.3.2.1.long.example TXT "v=DMARC1; p=none"
_dmarc.co.uk                   TXT "v=spf1 -all"
_dmarc.shop.co.uk              TXT "v=DMARC1; p=reject"
_dmarc.npfail.example          TXT "v=DMARC1; p=reject; np=none"
x.npfail.example               A   !SERVFAIL
`

func TestA30_TreeWalk(t *testing.T) {
	z := dnsfake.MustParse(tree)
	for _, c := range []struct{ from, result, policy, domain string }{
		{"example.org", "fail", "reject", "example.org"},
		{"mail.example.org", "fail", "quarantine", "example.org"},               // sp: the name exists
		{"nowhere.example.org", "fail", "none", "example.org"},                  // np: it does not
		{"lone.example.org", "fail", "none", "lone.example.org"},                // its own record
		{"x.lone.example.org", "fail", "none", "example.org"},                   // not the record between, but that of the organization
		{"div.example.net", "fail", "reject", "div.example.net"},                // psd=n
		{"x.div.example.net", "fail", "reject", "div.example.net"},              // stops there
		{"example.net", "fail", "quarantine", "example.net"},                    //
		{"bank", "fail", "quarantine", "bank"},                                  // the suffix itself: p
		{"a.b.bank", "fail", "reject", "bank"},                                  // its policy for what has none: np
		{"own.bank", "fail", "none", "own.bank"},                                //
		{"x.own.bank", "fail", "none", "own.bank"},                              // one below psd=y is the organization
		{"t.example", "fail", "quarantine", "t.example"},                        // t=y: one weaker
		{"x.t.example", "fail", "none", "t.example"},                            //
		{"two.example", "none", "none", ""},                                     // two records are none
		{"a.two.two2.example", "fail", "reject", "two2.example"},                // and the walk goes on
		{"exämple.test", "fail", "reject", "xn--exmple-cua.test"},
		{"unknown.example", "none", "none", ""},                                 //
		{"broken.example", "temperror", "none", ""},                             //
		{"x.broken.example", "temperror", "none", ""},                           // on the way up
		{"shop.co.uk", "fail", "reject", "shop.co.uk"},                          //
		{"x.npfail.example", "temperror", "none", ""},                           // does it exist?
		{"10.9.8.7.6.5.4.3.2.1.long.example", "fail", "reject", "long.example"}, // skips 6.5.4.3.2.1.long
	} {
		f := judge(t, z, "a@"+c.from, spfFor("fail", "evil.test"), signedBy())
		if f.Result != c.result || f.Policy != c.policy || f.PolicyDomain != c.domain {
			t.Errorf("%s: %s %s of %q, want %v (%+v)", c.from, f.Result, f.Policy, f.PolicyDomain, c, f)
		}
	}
}

func TestA30_AtMostEightQueries(t *testing.T) {
	z := dnsfake.New()
	judge(t, z, "x@a.b.c.d.e.f.g.h.i.j.mail.example.com", signedBy())
	want := strings.Fields(`_dmarc.a.b.c.d.e.f.g.h.i.j.mail.example.com _dmarc.g.h.i.j.mail.example.com _dmarc.h.i.j.mail.example.com
		_dmarc.i.j.mail.example.com _dmarc.j.mail.example.com _dmarc.mail.example.com _dmarc.example.com _dmarc.com`)
	for i := range want {
		want[i] = "TXT " + want[i]
	}
	if got := z.Asked(); !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}
}

func TestA16_Alignment(t *testing.T) {
	z := dnsfake.MustParse(tree)
	for _, c := range []struct {
		from, spf, dkim string
		want            string
	}{
		{"example.org", "example.org", "", "pass"},
		{"example.org", "", "example.org", "pass"},
		{"example.org", "", "mail.example.org", "pass"},
		{"mail.example.org", "", "example.org", "pass"},
		{"mail.example.org", "bounce.example.org", "", "pass"},
		{"Mail.Example.ORG", "", "example.org", "pass"},
		{"exämple.test", "", "xn--exmple-cua.test", "pass"},
		{"example.org", "notexample.org", "", "fail"},
		{"example.org", "org", "org", "fail"},
		{"example.org", "", "example.org.evil.test", "fail"},
		{"strict.example", "strict.example", "", "pass"},
		{"strict.example", "x.strict.example", "x.strict.example", "fail"},
		{"x.div.example.net", "", "example.net", "fail"}, // another organization
		{"x.div.example.net", "", "y.div.example.net", "pass"},
		{"x.own.bank", "", "own.bank", "pass"},
		{"x.own.bank", "", "other.bank", "fail"},
		{"a.b.bank", "", "c.b.bank", "pass"}, // b.bank is one below the suffix
		{"a.b.bank", "", "bank", "fail"},
		{"shop.co.uk", "", "other.co.uk", "fail"},
		{"example.org", "[192.0.2.1]", "", "fail"},
	} {
		var others []filters.Filter
		if c.spf != "" {
			others = append(others, spfFor("pass", c.spf))
		}
		if c.dkim != "" {
			others = append(others, signedBy(c.dkim))
		}
		f := judge(t, z, "a@"+c.from, others...)
		if f.Result != c.want || (c.want == "pass") != (f.AlignedSPF || f.AlignedDKIM) {
			t.Errorf("%+v: %+v", c, f)
		}
	}
}

func TestA30_PublicSuffixList(t *testing.T) {
	z := dnsfake.MustParse(`
_dmarc.shop.co.uk TXT "v=DMARC1; p=reject; sp=quarantine"
_dmarc.co.uk      TXT "v=DMARC1; p=none"
`)
	psl := filters.DMARCConfig{PSL: true}
	f := judgeWith(t, psl, z, "a@x.y.shop.co.uk", signedBy("z.shop.co.uk"))
	if f.Result != "pass" || f.Policy != "quarantine" || f.OrgDomain != "shop.co.uk" {
		t.Errorf("%+v", f)
	}
	if f := judgeWith(t, psl, z, "a@other.co.uk", signedBy("shop.co.uk")); f.Result != "none" {
		t.Errorf("%+v", f)
	}
}

func TestA33_Temperror(t *testing.T) {
	z := dnsfake.MustParse(tree)
	for _, c := range []struct {
		name   string
		from   string
		spf    filters.Filter
		dkim   filters.Filter
		result string
	}{
		{"key lookup fails, SPF fails", "example.org", spfFor("fail", "example.org"), signedBy("example.org=temperror"), "temperror"},
		{"of a domain that would not count", "example.org", spfFor("fail", "example.org"), signedBy("evil.test=temperror"), "fail"},
		{"SPF without answer, aligned DKIM", "example.org", spfFor("temperror", "example.org"), signedBy("example.org"), "pass"},
		{"SPF without answer alone", "example.org", spfFor("temperror", "mail.example.org"), signedBy(), "temperror"},
		{"no policy to be had, nothing proven", "broken.example", spfFor("fail", "broken.example"), signedBy("other.test"), "temperror"},
		{"no policy to be had, the domain itself proven", "broken.example", spfFor("fail", "x.test"), signedBy("broken.example"), "pass"},
		{"no policy to be had, only a subdomain proven", "broken.example", spfFor("pass", "x.broken.example"), signedBy(), "temperror"},
		{"the walk of an identifier fails", "half.example", spfFor("pass", "sub.half.example"), signedBy(), "temperror"},
		{"dkim itself failed", "example.org", spfFor("fail", "example.org"), failing("dkim"), "temperror"},
		{"spf itself failed, dkim passes", "example.org", failing("spf"), signedBy("example.org"), "pass"},
		{"nobody started dkim", "example.org", spfFor("fail", "example.org"), failing("other"), "temperror"},
		{"dkim is switched off", "example.org", spfFor("fail", "example.org"), off("dkim"), "fail"},
		{"permerror is no temperror", "example.org", spfFor("permerror", "example.org"), signedBy(), "fail"},
	} {
		in := filters.Input{Body: mail.BodyOf([]byte("From: a@" + c.from + "\r\n\r\n"))}
		in.Sender = mail.Address{Local: "a", Domain: "example.org"}
		s := filters.NewScope(nil)
		s.Start(t.Context(), []filters.Filter{c.spf, c.dkim, filters.NewDMARC(filters.DMARCConfig{}, z)}, in)
		s.Join()
		v, err, _ := s.Lookup("dmarc")
		if f := v.(filters.DMARCFacts); err != nil || f.Result != c.result {
			t.Errorf("%s: %+v, want %s", c.name, f, c.result)
		}
	}
}

func failing(name string) filters.Filter {
	return filters.Filter{Name: name, Facts: filters.DKIMFacts{},
		Gather: func(context.Context, *filters.Input) (any, error) { return nil, fmt.Errorf("%s: broken", name) }}
}

func off(name string) filters.Filter {
	return filters.Filter{Name: name, Facts: filters.DKIMFacts{},
		Gather: func(context.Context, *filters.Input) (any, error) { return nil, filters.ErrOff }}
}

func TestA01_MalformedFromNeverPasses(t *testing.T) {
	z := dnsfake.MustParse(tree)
	for _, c := range []struct {
		header string
		policy string
		count  int
	}{
		{"From: a@example.org\r\nFrom: b@evil.test\r\n", "reject", 2},
		{"From: b@evil.test\r\nFrom : a@example.org\r\n", "reject", 2},
		{" From: b@evil.test\r\nFrom: a@example.org\r\n", "reject", 2},
		{"From: b@evil.test, a@example.org\r\n", "reject", 1},
		{"From: a@example.org, b@example.org\r\n", "reject", 1},
		{"From: <@evil.test,@any.test:a@example.org>\r\n", "reject", 1},
		{"From: <b@evil.test>a@example.org\r\n", "reject", 1},
		{"From: undisclosed:;\r\n", "none", 1},
		{"Subject: x\r\n", "none", 0},
	} {
		l := letter{ip: "192.0.2.1", text: c.header + "\r\n"}
		f := authenticateWith(t, l, spfFor("pass", "evil.test"), signedBy("evil.test", "example.org"), filters.NewDMARC(filters.DMARCConfig{}, z)).dmarc
		if f.Result != "permerror" || !f.MalformedFrom || f.Policy != c.policy || f.FromCount != c.count || f.Reason == "" {
			t.Errorf("%q: %+v", c.header, f)
		}
	}
	// A crowd of authors costs no crowd of walks.
	z = dnsfake.New()
	var crowd []string
	for i := range 1000 {
		crowd = append(crowd, fmt.Sprintf("a@x%d.test", i))
	}
	judge(t, z, strings.Join(crowd, ", "), signedBy())
	if n := len(z.Asked()); n > 20 {
		t.Errorf("%d questions", n)
	}
}

func TestAuthResultsOfSPFAndDMARC(t *testing.T) {
	f := filters.SPFFacts{Result: "pass", Domain: "a.test", Helo: filters.SPFIdentity{Result: "fail", Domain: "h.test"}}
	r := f.AuthResults()
	if len(r) != 2 || r[0].Result != "pass" || r[0].Props[0] != (mail.AuthProp{Type: "smtp", Name: "mailfrom", Value: "a.test"}) ||
		r[1].Result != "fail" || r[1].Props[0] != (mail.AuthProp{Type: "smtp", Name: "helo", Value: "h.test"}) {
		t.Errorf("%+v", r)
	}
	d := filters.DMARCFacts{Result: "fail", Domain: "a.test", PolicyDomain: "a.test", Published: "reject", Policy: "quarantine"}.AuthResults()
	if len(d) != 1 || d[0].Comment != "p=reject" || len(d[0].Props) != 2 || d[0].Props[1].Value != "quarantine" {
		t.Errorf("%+v", d)
	}
}
