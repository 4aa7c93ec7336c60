package main

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"crypto/ed25519"
)

// authZone has DMARC in every shape. The client is 192.0.2.1 where SPF is to pass; every
// selector s has the test's key.
const authZone = `
*                           TXT "unused"
ok.example                  TXT "v=spf1 ip4:192.0.2.1 -all"
helo.example                TXT "v=spf1 ip4:192.0.2.1 -all"
soft.example                TXT "v=spf1 ~all"
sick.example                TXT !SERVFAIL
_dmarc.sick.example         TXT "v=DMARC1; p=reject"
_dmarc.ok.example           TXT "v=DMARC1; p=reject; sp=quarantine; np=none"
exists.ok.example           A   192.0.2.9
bounce.ok.example           TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.none.ok.example      TXT "v=DMARC1; p=none"

_dmarc.np.example           TXT "v=DMARC1; p=none; sp=none; np=reject"
a.np.example                MX  10 mx.np.example
txt.np.example              TXT "here"
_x.ent.np.example           TXT "below a name without records"
npsick.np.example           A   !SERVFAIL

_dmarc.strict.example       TXT "v=DMARC1; p=reject; adkim=s; aspf=s"
strict.example              TXT "v=spf1 ip4:192.0.2.1 -all"
x.strict.example            TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.t.example            TXT "v=DMARC1; p=reject; sp=quarantine; t=y"
sub.t.example               A   192.0.2.9
_dmarc.tn.example           TXT "v=DMARC1; p=reject; t=n"
_dmarc.tjunk.example        TXT "v=DMARC1; p=reject; t=maybe"
_dmarc.pct.example          TXT "v=DMARC1; p=reject; pct=0"

_dmarc.registry             TXT "v=DMARC1; p=reject; sp=quarantine; np=reject; psd=y"
a.registry                  A   192.0.2.9
b.registry                  TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.own.registry         TXT "v=DMARC1; p=none"
x.own.registry              A   192.0.2.9
_dmarc.sub.registry         TXT "v=DMARC1; p=quarantine; psd=y"
x.sub.registry              A   192.0.2.9

_dmarc.org.example          TXT "v=DMARC1; p=reject"
_dmarc.div.org.example      TXT "v=DMARC1; p=quarantine; psd=n"
x.div.org.example           A   192.0.2.9
_dmarc.mid.norec.example    TXT "v=DMARC1; p=reject"
norec.example               TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.deep.example         TXT "v=DMARC1; p=reject"
_dmarc.i.h.g.f.e.d.c.b.deep.example TXT "v=DMARC1; p=none"
_dmarc.f.e.d.c.b.deep2.example TXT "v=DMARC1; p=none"

_dmarc.two.example          TXT "v=DMARC1; p=reject"
_dmarc.two.example          TXT "v=DMARC1; p=none"
_dmarc.beside.example       TXT "v=spf1 -all"
_dmarc.beside.example       TXT "v=DMARC1; p=reject"
_dmarc.beside.example       TXT "v=DMARC2; p=none"
_dmarc.split.example        TXT "v=DMA" "RC1; p=re" "ject"
_dmarc.alias.example        CNAME _dmarc.ok.example
_dmarc.junk.example         TXT "v=DMARC1; p=reject; foo; =bar; ;; rua; fo=9:z; ri=x; rf=iodef; x=y=z;"
_dmarc.trail.example        TXT "v=DMARC1;p=reject;"
_dmarc.blanks.example       TXT " v = DMARC1 ; p = reject "
_dmarc.lead.example         TXT "v = DMARC1 ; p = reject "
_dmarc.upper.example        TXT "V=DMARC1; P=REJECT; ADKIM=S"
_dmarc.vcase.example        TXT "v=Dmarc1; p=reject"
_dmarc.nosemi.example       TXT "v=DMARC1 p=reject"
_dmarc.late.example         TXT "p=reject; v=DMARC1"
_dmarc.long.example         TXT "v=DMARC10; p=reject"
_dmarc.nop.example          TXT "v=DMARC1; sp=reject"
_dmarc.badp.example         TXT "v=DMARC1; p=rejct"
_dmarc.badprua.example      TXT "v=DMARC1; p=rejct; rua=mailto:a@badprua.example"
_dmarc.badsp.example        TXT "v=DMARC1; p=reject; sp=foo; rua=mailto:a@badsp.example"
_dmarc.twice.example        TXT "v=DMARC1; p=quarantine; p=reject"
_dmarc.comment.example      TXT "v=DMARC1; p=reject (c)"
_dmarc.only.example         TXT "v=DMARC1"
_dmarc.xn--exmple-cua.example TXT "v=DMARC1; p=reject"
xn--exmple-cua.example      TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.dead.example         TXT !SERVFAIL
dead.example                TXT "v=spf1 ip4:192.0.2.1 -all"
keysick.example             TXT "v=spf1 -all"
_dmarc.keysick.example      TXT "v=DMARC1; p=reject"
s._domainkey.keysick.example TXT !SERVFAIL
_dmarc.spfsick.example      TXT "v=DMARC1; p=reject"
spfsick.example             TXT !SERVFAIL
_dmarc.nonesick.example     TXT "v=DMARC1; p=none"
nonesick.example            TXT !SERVFAIL
`

func authDNS() string {
	var b strings.Builder
	b.WriteString(strings.Replace(authZone, "*                           TXT \"unused\"\n", "", 1))
	key := base64.StdEncoding.EncodeToString(spoofKey.Public().(ed25519.PublicKey))
	for _, d := range []string{"ok.example", "exists.ok.example", "strict.example", "x.strict.example", "own.registry", "x.own.registry", "b.registry", "registry", "sub.registry",
		"org.example", "div.org.example", "x.div.org.example", "mid.norec.example", "norec.example", "x.mid.norec.example", "xn--exmple-cua.example", "dead.example", "spfsick.example",
		"deep.example", "other.example"} {
		fmt.Fprintf(&b, "s._domainkey.%s TXT \"v=DKIM1; k=ed25519; p=%s\"\n", d, key)
	}
	return b.String()
}

// From and envelope, and what DMARC must make of them by RFC 9989. ip 192.0.2.1 passes SPF where
// there is a record, 198.51.100.7 does not.
func TestA30_DMARCEndToEnd(t *testing.T) {
	const good, bad = "192.0.2.1", "198.51.100.7"
	zone := authDNS()
	for _, c := range []struct {
		why             string
		from            string // domain of the author
		ip, helo, envel string // client, EHLO, domain of MAIL FROM ("" is the null sender)
		dkim            string // domain of a good signature; "" for none
		result, do      string
		policyDomain    string // "-" does not matter
	}{
		{"SPF passes, same domain", "ok.example", good, "h", "ok.example", "", "pass", "deliver", "-"},
		{"SPF passes, subdomain, relaxed", "ok.example", good, "h", "bounce.ok.example", "", "pass", "deliver", "-"},
		{"DKIM passes, same domain", "ok.example", bad, "h", "x.example", "ok.example", "pass", "deliver", "-"},
		{"DKIM of a subdomain", "ok.example", bad, "h", "x.example", "exists.ok.example", "pass", "deliver", "-"},
		{"DKIM of somebody else", "ok.example", bad, "h", "x.example", "other.example", "fail", "reject", "ok.example"},
		{"SPF passes for somebody else", "ok.example", good, "h", "helo.example", "", "fail", "reject", "ok.example"},
		{"softfail is no pass", "ok.example", bad, "h", "soft.example", "", "fail", "reject", "ok.example"},
		{"EHLO does not count beside a sender", "ok.example", good, "ok.example", "x.example", "", "fail", "reject", "ok.example"},
		{"null sender, EHLO aligned", "ok.example", good, "bounce.ok.example", "", "", "pass", "deliver", "-"},
		{"null sender, EHLO of somebody else", "ok.example", good, "helo.example", "", "", "fail", "reject", "ok.example"},
		{"null sender, EHLO fails", "ok.example", bad, "ok.example", "", "", "fail", "reject", "ok.example"},
		{"null sender, EHLO is a literal", "ok.example", good, "[192.0.2.1]", "", "", "fail", "reject", "ok.example"},

		{"sp of an existing name", "exists.ok.example", bad, "h", "x.example", "", "fail", "quarantine", "ok.example"},
		{"np of one that does not exist", "nix.ok.example", bad, "h", "x.example", "", "fail", "deliver", "ok.example"},
		{"own record before sp", "none.ok.example", bad, "h", "x.example", "", "fail", "deliver", "none.ok.example"},
		{"np=reject", "nix.np.example", bad, "h", "x.example", "", "fail", "reject", "np.example"},
		{"np=reject, two levels down", "a.nix.np.example", bad, "h", "x.example", "", "fail", "reject", "np.example"},
		{"a name with MX alone exists", "a.np.example", bad, "h", "x.example", "", "fail", "deliver", "np.example"},
		{"a name with TXT alone exists", "txt.np.example", bad, "h", "x.example", "", "fail", "deliver", "np.example"},
		{"an empty non-terminal exists (RFC 8020)", "ent.np.example", bad, "h", "x.example", "", "fail", "deliver", "np.example"},
		{"nobody knows whether it exists", "npsick.np.example", bad, "h", "x.example", "", "temperror", "defer", "-"},

		{"strict, same domain by SPF", "strict.example", good, "h", "strict.example", "", "pass", "deliver", "-"},
		{"strict, subdomain by SPF", "strict.example", good, "h", "x.strict.example", "", "fail", "reject", "strict.example"},
		{"strict, same domain by DKIM", "strict.example", bad, "h", "x.example", "strict.example", "pass", "deliver", "-"},
		{"strict, subdomain by DKIM", "strict.example", bad, "h", "x.example", "x.strict.example", "fail", "reject", "strict.example"},
		{"strict, the parent signs", "x.strict.example", bad, "h", "x.example", "strict.example", "fail", "reject", "strict.example"},

		{"t=y: one weaker", "t.example", bad, "h", "x.example", "", "fail", "quarantine", "t.example"},
		{"t=y with sp", "sub.t.example", bad, "h", "x.example", "", "fail", "deliver", "t.example"},
		{"t=n", "tn.example", bad, "h", "x.example", "", "fail", "reject", "tn.example"},
		{"t=junk is the default", "tjunk.example", bad, "h", "x.example", "", "fail", "reject", "tjunk.example"},
		{"pct is gone", "pct.example", bad, "h", "x.example", "", "fail", "reject", "pct.example"},

		{"the registry itself", "registry", bad, "h", "x.example", "", "fail", "reject", "registry"},
		{"below a registry: sp", "a.registry", bad, "h", "x.example", "", "fail", "quarantine", "registry"},
		{"below a registry: np", "nix.registry", bad, "h", "x.example", "", "fail", "reject", "registry"},
		{"two domains of one registry", "a.registry", good, "h", "b.registry", "b.registry", "fail", "quarantine", "registry"},
		{"the registry signs", "a.registry", bad, "h", "x.example", "registry", "fail", "quarantine", "registry"},
		{"own record below a registry", "own.registry", bad, "h", "x.example", "", "fail", "deliver", "own.registry"},
		{"organization below a registry", "x.own.registry", bad, "h", "x.example", "own.registry", "pass", "deliver", "-"},
		{"a registry below a registry", "x.sub.registry", bad, "h", "x.example", "sub.registry", "fail", "quarantine", "sub.registry"},

		{"psd=n cuts an organization off", "x.div.org.example", bad, "h", "x.example", "", "fail", "quarantine", "div.org.example"},
		{"the one above does not align", "x.div.org.example", bad, "h", "x.example", "org.example", "fail", "quarantine", "div.org.example"},
		{"within it does", "x.div.org.example", bad, "h", "x.example", "div.org.example", "pass", "deliver", "-"},
		{"from above into it does not", "org.example", bad, "h", "x.example", "div.org.example", "fail", "reject", "org.example"},
		{"record in the middle alone", "x.mid.norec.example", bad, "h", "x.example", "", "fail", "reject", "mid.norec.example"},
		{"above that there is no organization", "x.mid.norec.example", good, "h", "norec.example", "norec.example", "fail", "reject", "mid.norec.example"},
		{"the parent of it has no record", "norec.example", bad, "h", "x.example", "", "none", "deliver", ""},
		{"own record of a long name", "i.h.g.f.e.d.c.b.deep.example", bad, "h", "x.example", "", "fail", "deliver", "i.h.g.f.e.d.c.b.deep.example"},
		{"nine labels and more: up to seven are left out", "j.i.h.g.f.e.d.c.b.deep.example", bad, "h", "x.example", "", "fail", "reject", "deep.example"},
		{"seven labels: asked", "z.g.f.e.d.c.b.deep2.example", bad, "h", "x.example", "", "fail", "deliver", "f.e.d.c.b.deep2.example"},

		{"two records", "two.example", bad, "h", "x.example", "", "none", "deliver", ""},
		{"others beside it", "beside.example", bad, "h", "x.example", "", "fail", "reject", "beside.example"},
		{"in several strings", "split.example", bad, "h", "x.example", "", "fail", "reject", "split.example"},
		{"behind an alias", "alias.example", bad, "h", "x.example", "", "fail", "reject", "alias.example"},
		{"junk among the tags", "junk.example", bad, "h", "x.example", "", "fail", "reject", "junk.example"},
		{"no blanks, final semicolon", "trail.example", bad, "h", "x.example", "", "fail", "reject", "trail.example"},
		{"blanks around =", "lead.example", bad, "h", "x.example", "", "fail", "reject", "lead.example"},
		{"upper case", "upper.example", bad, "h", "x.example", "", "fail", "reject", "upper.example"},
		{"the version is case-sensitive", "vcase.example", bad, "h", "x.example", "", "none", "deliver", ""},
		{"no semicolon behind the version", "nosemi.example", bad, "h", "x.example", "", "none", "deliver", ""},
		{"version not first", "late.example", bad, "h", "x.example", "", "none", "deliver", ""},
		{"another version", "long.example", bad, "h", "x.example", "", "none", "deliver", ""},
		{"no p and nobody to report to", "nop.example", bad, "h", "x.example", "", "none", "deliver", "-"},
		{"bad p and nobody to report to", "badp.example", bad, "h", "x.example", "", "none", "deliver", "-"},
		{"bad p, reports wanted", "badprua.example", bad, "h", "x.example", "", "fail", "deliver", "badprua.example"},
		{"bad sp, reports wanted", "badsp.example", bad, "h", "x.example", "", "fail", "deliver", "badsp.example"},
		{"nothing but the version", "only.example", bad, "h", "x.example", "", "none", "deliver", "-"},

		{"U-label", "exämple.example", bad, "h", "x.example", "", "fail", "reject", "xn--exmple-cua.example"},
		{"U-label signed by its A-label", "exämple.example", bad, "h", "x.example", "xn--exmple-cua.example", "pass", "deliver", "-"},
		{"U-label, SPF for the A-label", "exämple.example", good, "h", "xn--exmple-cua.example", "", "pass", "deliver", "-"},
		{"A-label, SPF for the U-label", "xn--exmple-cua.example", good, "h", "exämple.example", "", "pass", "deliver", "-"},
		{"upper case in From", "OK.EXAMPLE", good, "h", "ok.example", "", "pass", "deliver", "-"},

		{"no policy to be had", "dead.example", bad, "h", "x.example", "", "temperror", "defer", "-"},
		{"no policy to be had, DKIM proves the domain", "dead.example", bad, "h", "x.example", "dead.example", "pass", "deliver", "-"},
		{"no policy to be had, SPF proves the domain", "dead.example", good, "h", "dead.example", "", "pass", "deliver", "-"},
		{"SPF has no answer", "spfsick.example", bad, "h", "spfsick.example", "", "temperror", "defer", "spfsick.example"},
		{"SPF has no answer, DKIM passes", "spfsick.example", bad, "h", "spfsick.example", "spfsick.example", "pass", "deliver", "-"},
		{"SPF of somebody else has no answer", "ok.example", bad, "h", "sick.example", "", "fail", "reject", "ok.example"},
		{"no key to be had", "keysick.example", bad, "h", "keysick.example", "keysick.example", "temperror", "defer", "keysick.example"},
		{"no answer under p=none", "nonesick.example", bad, "h", "nonesick.example", "", "temperror", "deliver", "nonesick.example"},
	} {
		message := tryMail("From: a@" + c.from)
		if c.dkim != "" {
			message = spoofSign(message, "d="+c.dkim+"; s=s")
		}
		sender := ""
		if c.envel != "" {
			sender = "b@" + c.envel
		}
		r := tryOne(t, zone, message, "--ip", c.ip, "--helo", c.helo, "--from", sender)
		d, v := r.Facts.DMARC, r.Verdicts[0]
		if d.Result != c.result || v.Do != c.do || c.policyDomain != "-" && d.PolicyDomain != c.policyDomain {
			t.Errorf("%s: %s by %q, %s; want %s by %q, %s (spf %s for %s, dkim %s, org %s, %s)", c.why, d.Result, d.PolicyDomain, v.Do,
				c.result, c.policyDomain, c.do, r.Facts.SPF.Result, r.Facts.SPF.Domain, r.Facts.DKIM.Result, d.OrgDomain, d.Reason)
		}
		switch {
		case v.Do == "reject" && (v.Reply.Code != 550 || v.Reply.Enhanced != "5.7.26"),
			v.Do == "defer" && (v.Reply.Code != 451 || !strings.HasPrefix(v.Reply.Enhanced, "4.7.")):
			t.Errorf("%s: %+v", c.why, v.Reply)
		}
	}
}
