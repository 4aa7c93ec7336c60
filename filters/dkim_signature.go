package filters

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"

	"postern/mail"
)

// Limits of one signature (RFC 6376 6.1: verifiers may bound their work).
const (
	maxSignedNames   = 100
	maxSignedText    = 4096 // bytes of h=
	maxSignatureText = 2048 // base64 characters: 8,192 bits take 1,368
	maxClockDrift    = 300  // seconds that t= may lie ahead of us
)

// A dkimSignature is one DKIM-Signature field on its way to a result.
type dkimSignature struct {
	facts    DKIMSignature // Result is "" as long as it may still pass
	field    int           // its place in the header
	raw      []byte        // all of the field
	from, to int           // the value of b= in raw
	sig      []byte
	bodyHash []byte
	keyName  string // where the key is
	idDomain string // domain of i=, or of d=

	relaxedHeader, relaxedBody bool

	key     *dkimKey
	checked dkimFault // what key and header signature gave
}

func (s *dkimSignature) settle(f dkimFault) { s.facts.Result, s.facts.Reason = f.result, f.reason }

// open reports whether nothing speaks against the signature yet.
func (s *dkimSignature) open() bool { return s.facts.Result == "" }

// parseSignature reads a DKIM-Signature field as RFC 6376 3.5 and 6.1.1 demand.
func parseSignature(f *mail.Field, now time.Time) dkimSignature {
	s := dkimSignature{raw: f.Raw, facts: DKIMSignature{Age: -1}}
	value := f.Body()
	var room [16]dkimTag
	tags, fault := parseTags(value, room[:0])
	if fault.found() {
		s.settle(fault)
		return s
	}
	s.from, s.to = len(s.raw), len(s.raw)
	if b := findTag(tags, "b"); b != nil {
		s.from += b.from - len(value)
		s.to += b.to - len(value)
	}
	// All are read, so that the report of a broken signature says what it can.
	s.note(checkVersion(tags))
	s.note(s.readNames(tags))
	s.note(s.readAlgorithm(tags))
	s.note(s.readHashes(tags))
	s.note(s.readSigned(tags))
	s.note(s.readIdentity(tags))
	s.note(s.readLimit(tags))
	s.note(s.readTimes(tags, now.Unix()))
	return s
}

// note settles the signature with its first fault.
func (s *dkimSignature) note(f dkimFault) {
	if f.found() && s.open() {
		s.settle(f)
	}
}

func checkVersion(tags []dkimTag) dkimFault {
	for _, name := range [...]string{"v", "a", "b", "bh", "d", "h", "s"} {
		if findTag(tags, name) == nil {
			return permerror("no " + name + "= tag")
		}
	}
	if !bytes.Equal(findTag(tags, "v").value, []byte{'1'}) {
		return permerror("unknown version")
	}
	// Query methods that nobody knows are passed over; dns/txt must be left.
	if q := findTag(tags, "q"); q != nil && !tagLists(q.value, "dns/txt") {
		return permerror("unknown query method")
	}
	return dkimFault{}
}

// readNames reads d= and s=. Both must be domain names (RFC 8616 4 admits U-labels), so that
// nothing else is ever asked of the DNS.
func (s *dkimSignature) readNames(tags []dkimTag) dkimFault {
	d, ok := tagDomain(tagValue(tags, "d", ""))
	if !ok {
		return permerror("d= is no domain")
	}
	s.facts.Domain, s.idDomain = d, d
	sel, ok := tagDomain(tagValue(tags, "s", "") + ".s") // a selector may be a number, a domain may not
	if !ok {
		return permerror("s= is no selector")
	}
	sel = strings.TrimSuffix(sel, ".s")
	s.facts.Selector = sel
	if s.keyName = sel + "._domainkey." + d; len(s.keyName) > 253 {
		return permerror("name of the key is too long")
	}
	return dkimFault{}
}

func (s *dkimSignature) readAlgorithm(tags []dkimTag) dkimFault {
	header, body, both := strings.Cut(tagValue(tags, "c", "simple"), "/")
	s.relaxedHeader, s.relaxedBody = header == "relaxed", body == "relaxed"
	if header != "simple" && header != "relaxed" || both && body != "simple" && body != "relaxed" {
		return permerror("unknown canonicalization")
	}
	switch a := tagValue(tags, "a", ""); a {
	case "rsa-sha256", "ed25519-sha256":
		s.facts.Algorithm = a
	case "rsa-sha1":
		s.facts.Algorithm = a
		return permerror("rsa-sha1 is not to be accepted") // RFC 8301 3.1
	default:
		return permerror("unknown algorithm")
	}
	return dkimFault{}
}

func (s *dkimSignature) readHashes(tags []dkimTag) dkimFault {
	b, bh := findTag(tags, "b"), findTag(tags, "bh")
	if b == nil || bh == nil {
		return dkimFault{}
	}
	text := stripBlanks(b.value)
	if len(text) > maxSignatureText {
		return dkimFault{dkimPolicy, "signature is too long"}
	}
	s.facts.B = mail.Printable(string(text[:min(len(text), 8)]), 16)
	var ok bool
	if s.sig, ok = decodeTag64(text); !ok {
		return permerror("b= is no base64")
	}
	id := sha256.Sum256(s.sig)
	s.facts.ID = hex.EncodeToString(id[:8])
	if len(bh.value) > maxSignatureText {
		return permerror("bh= is too long")
	}
	if s.bodyHash, ok = decodeTag64(stripBlanks(bh.value)); !ok {
		return permerror("bh= is no base64")
	}
	return dkimFault{}
}

// readSigned reads h=.
func (s *dkimSignature) readSigned(tags []dkimTag) dkimFault {
	h := findTag(tags, "h")
	if h == nil {
		return dkimFault{}
	}
	if len(h.value) > maxSignedText {
		return dkimFault{dkimPolicy, "h= is too long"}
	}
	names := strings.ToLower(string(stripFolds(h.value)))
	s.facts.Signed = make([]string, 0, min(maxSignedNames, 1+strings.Count(names, ":")))
	fault, from := dkimFault{}, false
	for more := true; more; {
		var name string
		name, names, more = strings.Cut(names, ":")
		name = strings.Trim(name, " \t")
		if !isFieldName(name) {
			return permerror("h= is no list of field names")
		}
		from = from || name == "from"
		if len(s.facts.Signed) == maxSignedNames {
			fault = dkimFault{dkimPolicy, "h= has too many names"}
			break
		}
		s.facts.Signed = append(s.facts.Signed, name)
	}
	if !from && !fault.found() { // RFC 6376 5.4
		return permerror("From is not signed")
	}
	return fault
}

func isFieldName(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// readIdentity reads i=: its domain is that of d= or below it, in any case.
func (s *dkimSignature) readIdentity(tags []dkimTag) dkimFault {
	t := findTag(tags, "i")
	if t == nil || s.facts.Domain == "" {
		return dkimFault{}
	}
	text := string(unquotePrintable(stripBlanks(t.value)))
	at := strings.LastIndexByte(text, '@')
	if at < 0 || at > 256 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return permerror("i= is no identity")
	}
	d, ok := tagDomain(text[at+1:])
	if !ok || d != s.facts.Domain && !strings.HasSuffix(d, "."+s.facts.Domain) {
		return permerror("i= is not within d=")
	}
	s.idDomain, s.facts.Identity = d, text[:at+1]+d
	return dkimFault{}
}

// readLimit reads l=, which lets anybody append to a signed message: never a pass.
func (s *dkimSignature) readLimit(tags []dkimTag) dkimFault {
	t := findTag(tags, "l")
	if t == nil {
		return dkimFault{}
	}
	if _, ok := tagNumber(t.value, 76); !ok {
		return permerror("l= is no number")
	}
	s.facts.Limited = true
	return dkimFault{dkimPolicy, "body length tag (l=) is not accepted"}
}

// readTimes reads t= and x= (RFC 6376 3.5).
func (s *dkimSignature) readTimes(tags []dkimTag, now int64) dkimFault {
	signed, expires := findTag(tags, "t"), findTag(tags, "x")
	ok := true
	if signed != nil {
		if s.facts.SignedAt, ok = tagNumber(signed.value, 12); !ok {
			return permerror("t= is no time")
		}
		s.facts.Age = max(0, int(now)-s.facts.SignedAt)
	}
	if expires != nil {
		if s.facts.Expires, ok = tagNumber(expires.value, 12); !ok {
			return permerror("x= is no time")
		}
	}
	switch {
	case signed != nil && expires != nil && s.facts.Expires <= s.facts.SignedAt:
		return permerror("expires before it was made")
	case signed != nil && int64(s.facts.SignedAt) > now+maxClockDrift:
		return dkimFault{dkimFail, "signed in the future"}
	case expires != nil && int64(s.facts.Expires) < now:
		return dkimFault{dkimFail, "signature has expired"}
	}
	return dkimFault{}
}
