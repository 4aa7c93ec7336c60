package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The victim is legit.example, the attacker has attack.example, a DKIM key there and the
// address 198.51.100.9. The attacks follow "Composition Kills" (Chen, Paxson, Jiang 2020) and
// what else makes two readers see two authors.
const spoofZone = `
legit.example            TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.legit.example     TXT "v=DMARC1; p=%s"
attack.example           TXT "v=spf1 ip4:198.51.100.9 -all"
a.attack.example         TXT "v=spf1 ip4:198.51.100.9 -all"
_dmarc.attack.example    TXT "v=DMARC1; p=reject"
s._domainkey.attack.example                 TXT "%[2]s"
s._domainkey.legit.example.attack.example   TXT "%[2]s"
s._domainkey.example                        TXT "%[2]s"
l._domainkey.legit.example                  TXT "%[2]s"
*.attack.example                            TXT "%[2]s"
`

// spoofKey signs for whoever the test wants: the zone says where its public half is found.
var spoofKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))

func spoofDNS(policy string) string {
	return fmt.Sprintf(spoofZone, policy, "v=DKIM1; k=ed25519; p="+base64.StdEncoding.EncodeToString(spoofKey.Public().(ed25519.PublicKey)))
}

var spoofBlanks = regexp.MustCompile(`[ \t\r\n]+`)

// spoofSign puts a signature over From and the body on top, relaxed. tags are d=, s= and whatever
// else, bytes as they are.
func spoofSign(message, tags string) string {
	header, body, _ := strings.Cut(message, "\r\n\r\n")
	relaxed := func(name, value string) string {
		return name + ":" + strings.Trim(spoofBlanks.ReplaceAllString(value, " "), " ")
	}
	var from string
	for _, l := range regexp.MustCompile(`(?i)(?:\A|\r\n)from:((?:[^\r\n]|\r\n[ \t])*)`).FindAllStringSubmatch(header, -1) {
		from = relaxed("from", l[1]) + "\r\n" // the last one: fields are taken from the bottom
	}
	sum := sha256.Sum256([]byte(body))
	sig := "v=1; a=ed25519-sha256; c=relaxed/relaxed; h=from; " + tags + "; bh=" + base64.StdEncoding.EncodeToString(sum[:]) + "; b="
	in := sha256.Sum256([]byte(from + relaxed("dkim-signature", sig)))
	return "DKIM-Signature: " + sig + base64.StdEncoding.EncodeToString(ed25519.Sign(spoofKey, in[:])) + "\r\n" + message
}

const (
	spoofIP = "198.51.100.9"
	victim  = "admin@legit.example"
	evil    = "e@attack.example"
)

// spoofFroms are header lines in which somebody may see the victim. held: no matter what the
// victim's policy is, it must not be delivered. Otherwise domain is the only author's.
var spoofFroms = []struct {
	name, lines string
	domain      string // "" for held
}{
	{"a8 two fields", "From: <" + evil + ">\r\nFrom: <" + victim + ">", ""},
	{"a8 other order", "From: <" + victim + ">\r\nFrom: <" + evil + ">", ""},
	{"a9 leading blank first", " From: <" + victim + ">\r\nFrom: <" + evil + ">", ""},
	{"a9 leading tab first", "\tFrom: <" + evil + ">\r\nFrom: <" + victim + ">", ""},
	{"leading blank, not first", "X-A: b\r\n From: <" + victim + ">\r\nFrom: <" + evil + ">", ""},
	{"leading blank, last", "From: <" + evil + ">\r\nX-A: b\r\n From: <" + victim + ">", ""},
	{"a10 blank before the colon", "From: <" + evil + ">\r\nFrom : <" + victim + ">", ""},
	{"a10 tab", "From\t: <" + victim + ">\r\nFrom: <" + evil + ">", ""},
	{"blank before the colon alone", "From : <" + victim + ">", ""},
	{"a11 fold before the colon", "From\r\n : <" + victim + ">\r\nFrom: <" + evil + ">", ""},
	{"a12 Sender", "From: <" + evil + ">\r\nSender: <" + victim + ">", "attack.example"},
	{"a13 Sender alone", "Sender: <" + victim + ">", ""},
	{"no author", "X-A: b", ""},
	{"Resent-From", "From: <" + evil + ">\r\nResent-From: <" + victim + ">", "attack.example"},
	{"NUL in the name", "From\x00: <" + victim + ">\r\nFrom: <" + evil + ">", ""},
	{"NUL before the name", "\x00From: <" + victim + ">\r\nFrom: <" + evil + ">", ""},
	{"NUL within the name", "Fr\x00om: <" + victim + ">\r\nFrom: <" + evil + ">", ""},
	{"8-bit in the name", "From\xa0: <" + victim + ">\r\nFrom: <" + evil + ">", ""},
	{"UTF-8 in the name", "From\u200b: <" + victim + ">\r\nFrom: <" + evil + ">", ""},
	{"BOM before the name", "\ufeffFrom: <" + victim + ">\r\nFrom: <" + evil + ">", ""},
	{"NUL in the value", "From: <" + evil + ">\x00<" + victim + ">", ""},
	{"NUL in the domain", "From: <admin@legit.example\x00.attack.example>", ""},
	{"case of the name", "fROM: <" + victim + ">", "legit.example"},
	{"a14 two mailboxes", "From: <" + evil + ">, <" + victim + ">", ""},
	{"a14 other order", "From: <" + victim + ">, <" + evil + ">", ""},
	{"a14 semicolon", "From: " + victim + ";" + evil, ""},
	{"a14 blank", "From: <" + victim + "> <" + evil + ">", ""},
	{"a15 encoded address and another", "From: =?utf-8?B?PGFkbWluQGxlZ2l0LmV4YW1wbGU+?=,<" + evil + ">", ""},
	{"a15 base64 without a word", "From: PGFkbWluQGxlZ2l0LmV4YW1wbGU+,<" + evil + ">", ""},
	{"encoded name", "From: =?utf-8?B?PGFkbWluQGxlZ2l0LmV4YW1wbGU+?= <" + evil + ">", "attack.example"},
	{"encoded address alone", "From: =?utf-8?q?admin=40legit.example?=", ""},
	{"encoded within brackets", "From: <=?utf-8?q?admin=40legit.example?=>", ""},
	{"encoded local part", "From: =?utf-8?q?admin=40legit.example=3E=2C=3C?=@attack.example", ""},
	{"encoded domain", "From: admin@=?utf-8?q?legit.example?=", ""},
	{"a16 route", "From: <@attack.example,@any.example:" + victim + ">", ""},
	{"a16 other way", "From: <@legit.example:" + evil + ">", ""},
	{"a17 quoted pair", "From: <" + victim + ">\\,<" + evil + ">", ""},
	{"a18 open comment", "From: <" + evil + ">(, <" + victim + ">", ""},
	{"a18 comment with brackets", "From: (<" + victim + ">) <" + evil + ">", ""},
	{"a18 colon", "From: <" + evil + ">:<" + victim + ">", ""},
	{"a18 closing bracket", "From: <" + victim + ">> <" + evil + ">", ""},
	{"a19 quoted tail", "From: <" + victim + ">\"<" + evil + ">\"", ""},
	{"a19 quoted head", "From: \"<" + victim + ">\" <" + evil + ">", "attack.example"},
	{"a19 open quote", "From: \"<" + victim + "> <" + evil + ">", ""},
	{"name without quotes", "From: " + victim + " <" + evil + ">", ""},
	{"name without quotes, other way", "From: " + evil + " <" + victim + ">", ""},
	{"comment behind", "From: " + evil + " (" + victim + ")", "attack.example"},
	{"comment behind, other way", "From: " + victim + " (" + evil + ")", "legit.example"},
	{"comment within", "From: <admin@(" + evil + ")legit.example>", ""},
	{"two at signs", "From: <admin@legit.example@attack.example>", ""},
	{"two at signs, bare", "From: admin@attack.example@legit.example", ""},
	{"quoted local part", "From: \"admin@legit.example\"@attack.example", ""},
	{"nested brackets", "From: <<" + victim + ">" + evil + ">", ""},
	{"group", "From: g: " + victim + ", " + evil + ";", ""},
	{"group of one", "From: g: " + victim + ";", "legit.example"},
	{"empty group", "From: " + victim + ":;", ""},
	{"group and mailbox", "From: g:;, " + victim, ""},
	{"blanks around at", "From: admin @ legit.example", ""},
	{"empty", "From:", ""},
	{"empty and another", "From:\r\nFrom: " + victim, ""},
	{"leading comma", "From: , " + victim, ""},
	{"bare CR", "From: " + evil + "\rFrom: " + victim, ""},
	{"bare LF", "From: " + evil + "\nFrom: " + victim, ""},
	{"vertical tab", "From: " + evil + "\x0bFrom: " + victim, ""},
	{"form feed", "From: " + evil + "\x0c" + victim, ""},
	{"line separator", "From: " + evil + "\u2028From: " + victim, ""},
	{"next line", "From: " + evil + "\u0085From: " + victim, ""},
	{"blank line within the header", "From: " + evil + "\r\n \r\nFrom: " + victim, ""},
	{"line without a colon", "From: " + evil + "\r\ngarbage\r\nFrom: " + victim, ""},
	{"mbox line", "From - Sun Nov 22 12:00:00 2026\r\nFrom: " + evil + "\r\nfrom: " + victim, ""},
	{"overlong name", "From: \"" + strings.Repeat("A", 9<<10) + "\" <" + evil + ">", ""},
	{"behind the header limit", "From: " + evil + "\r\n" + strings.Repeat("X-A: "+strings.Repeat("b", 900)+"\r\n", 300) + "From: " + victim, ""},
	{"behind too many fields", "From: " + evil + "\r\n" + strings.Repeat("X: y\r\n", 1001) + "From: " + victim, ""},
	{"upper case", "From: ADMIN@LEGIT.EXAMPLE", "legit.example"},
	{"ideographic dot", "From: admin@legit\u3002example", "legit.example"},
	{"full-width letters", "From: admin@\uff4cegit.example", "legit.example"},
	{"full-width at sign", "From: admin\uff20legit.example <" + evil + ">", "attack.example"},
	{"full-width at sign alone", "From: admin\uff20legit.example", ""},
	{"soft hyphen", "From: admin@le\u00adgit.example", "legit.example"},
	{"final dot", "From: admin@legit.example.", ""},
	{"percent", "From: admin%legit.example@attack.example", "attack.example"},
	{"bang", "From: legit.example!admin@attack.example", "attack.example"},
	{"list of one and nothing", "From: " + evil + ",", ""},
}

// Whatever the From field looks like, nobody gets mail in which a reader may see the victim as
// its authenticated author; where nothing can be misread, the author's own domain counts.
func TestA01_NoAmbiguousAuthorIsDelivered(t *testing.T) {
	for _, policy := range []string{"none", "reject"} {
		zone := spoofDNS(policy)
		for i := range 2 * len(spoofFroms) {
			c := spoofFroms[i/2]
			message := tryMail(c.lines)
			if i%2 == 1 { // SPF alone is enough for the attacker's own domain, too
				message = spoofSign(message, "d=attack.example; s=s")
			}
			r := tryOne(t, zone, message, "--ip", spoofIP, "--helo", "attack.example", "--from", evil)
			v, d := r.Verdicts[0], r.Facts.DMARC
			tell := func(want string) {
				t.Errorf("p=%s, %s: %s by %q, dmarc %s for %q (%s), defects %v; want %s", policy, c.name, v.Do, v.Rule, d.Result, d.Domain, d.Reason, r.Facts.Content.Defects, want)
			}
			switch {
			case c.domain == "":
				// By the RFC a fold is text of the field above: a pass for the other author, but held.
				if v.Do == "deliver" || d.Result == "pass" && (d.Domain != "attack.example" || !slices.Contains(r.Facts.Content.Defects, "hidden_field")) {
					tell("held and no pass")
				}
			case d.Domain != c.domain:
				tell("author in " + c.domain)
			case c.domain == "legit.example" && (d.Result != "fail" || policy == "reject" && v.Do != "reject"):
				tell("fail")
			case c.domain == "attack.example" && (d.Result != "pass" || v.Do != "deliver"):
				tell("delivered as the attacker's own")
			}
		}
	}
}

// An address of the victim in the name of an honest mailbox is for rules to see.
func TestA03_SpoofedNamesShowTheirDomain(t *testing.T) {
	for _, from := range []string{"=?utf-8?B?PGFkbWluQGxlZ2l0LmV4YW1wbGU+?= <" + evil + ">", "\"<" + victim + ">\" <" + evil + ">", "admin\uff20legit.example <" + evil + ">"} {
		r := tryOne(t, spoofDNS("none"), tryMail("From: "+from))
		if f := r.Facts.Content.From; len(f) != 1 || f[0].NameDomain != "legit.example" || f[0].Domain != "attack.example" {
			t.Errorf("%s: %+v", from, f)
		}
	}
}

// MAIL FROM and EHLO tricks: the victim's address in From, the attacker's server.
func TestA22_NoEnvelopeSpoofsTheVictim(t *testing.T) {
	for _, c := range []struct{ helo, from string }{
		{"attack.example", evil},
		{"attack.example", ""},
		{"legit.example", ""},
		{"legit.example", evil},
		{"legit.example\x00.attack.example", ""},
		{"attack.example", "any@mailfrom.notexist.legit.example"},
		{"attack.example", "<(any@legit.example>"},
		{"attack.example", "any@legit.example(.attack.example"},
		{"attack.example", "any@legit.example\x00@attack.example"},
		{"attack.example", "any@legit.example\x00.attack.example"},
		{"attack.example", "any@legit.example'@a.attack.example"},
		{"attack.example", "any@legit.example'.attack.example"},
		{"attack.example", "any@legit.example'\"@attack.example"},
		{"attack.example", "<@legit.example,@any.example:'any@attack.example>"},
		{"attack.example", "<@attack.example:any@legit.example>"},
		{"attack.example", "any@attack.example@legit.example"},
		{"attack.example", "any@legit.example@attack.example"},
		{"attack.example", "\"any@legit.example\"@attack.example"},
		{"attack.example", "\"any@legit.example> x\"@attack.example"},
		{"attack.example", "any@legit.example any@attack.example"},
		{"attack.example", "any@legit.example>\r\nMAIL FROM:<any@attack.example"},
		{"attack.example", "any@LEGIT.example"},
		{"attack.example", "any@legit.example."},
		{"attack.example", "any@attack.example;legit.example"},
		{"attack.example", "any@example"},
		{"example", ""},
		{"attack.example", "any@[198.51.100.9]"},
	} {
		for _, policy := range []string{"none", "reject"} {
			r := tryOne(t, spoofDNS(policy), tryMail("From: "+victim), "--ip", spoofIP, "--helo", c.helo, "--from", c.from)
			v, f := r.Verdicts[0], r.Facts
			if f.DMARC.Result == "pass" || v.Do == "deliver" && policy == "reject" {
				t.Errorf("p=%s EHLO %q MAIL %q: dmarc %s, %s; spf %s for %q", policy, c.helo, c.from, f.DMARC.Result, v.Do, f.SPF.Result, f.SPF.Domain)
			}
			if f.SPF.Result == "pass" && strings.HasSuffix(f.SPF.Domain, "legit.example") {
				t.Errorf("EHLO %q MAIL %q: spf passes for %q", c.helo, c.from, f.SPF.Domain)
			}
		}
	}
}

// DKIM tricks: signatures that verify by the attacker's key, or the victim's in the wrong place.
func TestA14_NoSignatureSpoofsTheVictim(t *testing.T) {
	plain := tryMail("From: " + victim)
	cases := map[string]string{
		"own":                  spoofSign(plain, "d=attack.example; s=s"),
		"a3 NUL selector":      spoofSign(plain, "d=legit.example; s=attack.example.\x00.any"),
		"NUL behind selector":  spoofSign(plain, "d=legit.example; s=s._domainkey.attack.example\x00"),
		"NUL domain":           spoofSign(plain, "d=legit.example\x00.attack.example; s=s"),
		"a4 quote":             spoofSign(plain, "d=legit.example'a.attack.example; s=s"),
		"parenthesis":          spoofSign(plain, "d=legit.example(.attack.example; s=s"),
		"quote and blank":      spoofSign(plain, "d=\"legit.example\" .attack.example; s=s"),
		"subdomain of ours":    spoofSign(plain, "d=legit.example.attack.example; s=s"),
		"parent domain":        spoofSign(plain, "d=example; s=s"),
		"foreign i=":           spoofSign(plain, "d=attack.example; s=s; i=@legit.example"),
		"d= twice":             spoofSign(plain, "d=legit.example; d=attack.example; s=s"),
		"d= twice, other case": spoofSign(plain, "D=legit.example; d=attack.example; s=s"),
		"selector climbs":      spoofSign(plain, "d=legit.example; s=s._domainkey.attack.example."),
		"blank domain":         spoofSign(plain, "d=legit.example attack.example; s=s"),
		"no key":               spoofSign(plain, "d=legit.example; s=s"),
		"encoded":              spoofSign(plain, "d==?utf-8?q?legit.example?=; s=s"),
		"From added":           "From: " + victim + "\r\n" + spoofSign(tryMail("From: "+evil), "d=attack.example; s=s"),
		"From added below":     strings.Replace(spoofSign(tryMail("From: "+evil), "d=attack.example; s=s"), "\r\nTo:", "\r\nFrom: "+victim+"\r\nTo:", 1),
		"victim's, From added": "From: " + evil + "\r\n" + spoofSign(plain, "d=legit.example; s=l"),
		"victim's, changed":    strings.Replace(spoofSign(plain, "d=legit.example; s=l"), "hello", "hullo", 1),
		"victim's, appended":   spoofSign(plain, "d=legit.example; s=l; l=7") + "more\r\n",
		"victim's, no From":    strings.Replace(spoofSign(plain, "d=legit.example; s=l"), "h=from", "h=to", 1),
		"results of others":    "Authentication-Results: mx.rcpt.example; dmarc=pass header.from=legit.example\r\n" + plain,
	}
	for name, message := range cases {
		for _, policy := range []string{"none", "reject"} {
			r := tryOne(t, spoofDNS(policy), message, "--ip", spoofIP, "--helo", "attack.example", "--from", evil)
			v, f := r.Verdicts[0], r.Facts
			if f.DMARC.Result == "pass" || v.Do == "deliver" && policy == "reject" {
				t.Errorf("%s, p=%s: dmarc %s for %q, %s; dkim %+v", name, policy, f.DMARC.Result, f.DMARC.Domain, v.Do, f.DKIM)
			}
			for _, s := range f.DKIM.Signatures {
				if s.Result == "pass" && s.Domain == "legit.example" && !strings.HasPrefix(name, "victim's, From") {
					t.Errorf("%s: a signature passes for the victim: %+v", name, s)
				}
			}
		}
	}
	// The table would prove nothing if no signature of this signer ever passed.
	r := tryOne(t, spoofDNS("reject"), spoofSign(plain, "d=legit.example; s=l"), "--ip", spoofIP, "--from", evil)
	if r.Facts.DMARC.Result != "pass" || r.Verdicts[0].Do != "deliver" {
		t.Errorf("the victim's own mail: %+v %+v", r.Facts.DMARC, r.Verdicts[0])
	}
}
