package filters

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"postern/mail"
)

var refTag = regexp.MustCompile(`^[ \t\r\n]*([A-Za-z][A-Za-z0-9_]*)[ \t\r\n]*=((?s).*)$`)

const dkimBlanks = " \t\r\n" // FWS, in any number

// refTags reads a tag-list as RFC 6376 3.2 has it, with 8-bit bytes in values and blanks behind
// the last ";" allowed.
func refTags(list string) (names, values []string, ok bool) {
	specs := strings.Split(list, ";")
	if strings.Trim(specs[len(specs)-1], dkimBlanks) == "" {
		specs = specs[:len(specs)-1]
	}
	for _, spec := range specs {
		m := refTag.FindStringSubmatch(spec)
		if m == nil {
			return nil, nil, false
		}
		value := strings.Trim(m[2], dkimBlanks)
		for _, c := range []byte(strings.ReplaceAll(value, "\r\n", "")) {
			if c < ' ' && c != '\t' && c != '\n' || c == 0x7f {
				return nil, nil, false
			}
		}
		for _, n := range names {
			if n == m[1] {
				return nil, nil, false
			}
		}
		names, values = append(names, m[1]), append(values, value)
	}
	return names, values, true
}

func FuzzDKIMSignature(f *testing.F) {
	for _, tags := range []string{dkimTags, withTag("i", "a=3Bb@Sub.example.org"), withTag("x", "99999999999"), withTag("l", "1"), withTag("d", "bücher.example"), dkimTags + ";;", "v=1"} {
		signed := signAs(dkimMail, tags)
		f.Add(signed[len("DKIM-Signature:"):strings.Index(signed, "From: ")])
	}
	f.Add(" a=1;\r\n b = 2 \r\n ; c=;\r\n")
	f.Fuzz(func(t *testing.T, value string) {
		tags, fault := parseTags([]byte(value), nil)
		names, values, ok := refTags(value)
		if ok != !fault.found() && len(names) <= maxDKIMTags {
			t.Fatalf("%q: %v, reference %v", value, fault, ok)
		}
		if ok && !fault.found() {
			for i, tag := range tags {
				if string(tag.name) != names[i] || string(tag.value) != values[i] || strings.Trim(value[tag.from:tag.to], dkimBlanks) != values[i] {
					t.Errorf("%q: tag %d is %q=%q", value, i, tag.name, tag.value)
				}
			}
			if len(tags) != len(names) {
				t.Errorf("%q: %d tags, reference %d", value, len(tags), len(names))
			}
		}
		h := mail.ParseHeader([]byte("DKIM-Signature:"+value+"\r\n"), mail.HeaderLimits{})
		if len(h.Fields) == 0 || h.Fields[0].Malformed {
			return
		}
		s := parseSignature(&h.Fields[0], dkimNow)
		if s.facts.Domain != "" {
			if d, err := mail.ParseDomain(s.facts.Domain); err != nil || d != s.facts.Domain {
				t.Errorf("d= %q is not canonical", s.facts.Domain)
			}
		}
		if s.open() {
			checkOpen(t, &s)
		}
	})
}

// checkOpen says what holds for a signature that may still pass.
func checkOpen(t *testing.T, s *dkimSignature) {
	if len(s.keyName) > 253 || s.keyName != s.facts.Selector+"._domainkey."+s.facts.Domain || strings.Trim(s.keyName, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		t.Errorf("asks the DNS for %q", s.keyName)
	}
	if s.facts.Limited || len(s.sig) == 0 || len(s.bodyHash) == 0 || len(s.facts.Signed) == 0 || len(s.facts.Signed) > maxSignedNames {
		t.Errorf("open: %+v", s)
	}
	if id := s.idDomain; id != s.facts.Domain && !strings.HasSuffix(id, "."+s.facts.Domain) {
		t.Errorf("i= %q outside %q", id, s.facts.Domain)
	}
	// What is cut out is the value of b= and nothing else.
	before, after := s.raw[:s.from], s.raw[s.to:]
	if !regexp.MustCompile(`(^|[:;\s])b[ \t\r\n]*=$`).Match(before) || len(after) > 0 && after[0] != ';' || bytes.IndexByte(s.raw[s.from:s.to], ';') >= 0 {
		t.Errorf("b= cut at %d to %d of %q", s.from, s.to, s.raw)
	}
}

func FuzzDKIMKey(f *testing.F) {
	f.Add(dkimRecord())
	f.Add("v=DKIM1; k=rsa; t=s:y; h=sha256; s=email; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB")
	f.Add("p=")
	f.Fuzz(func(t *testing.T, txt string) {
		k := parseKey(txt)
		usable := k.rsa != nil || k.ed != nil
		if usable == k.fault.found() || k.rsa != nil && k.ed != nil {
			t.Fatalf("%q: %+v", txt, k)
		}
		if k.rsa != nil && (k.bits < minRSABits || k.bits > maxRSABits) || k.ed != nil && k.bits != 256 {
			t.Errorf("%q: %d bits", txt, k.bits)
		}
		if k.rsa != nil { // whatever it is, it is refused and not fatal
			public := k.rsa.public
			if rsa.VerifyPKCS1v15(public, crypto.SHA256, make([]byte, 32), make([]byte, public.Size())) == nil || k.rsa.verifies(make([]byte, 32), make([]byte, public.Size())) {
				t.Errorf("%q verifies zeros", txt)
			}
		}
		if !usable || len(txt) > maxKeyText-20 || strings.Contains(txt, "qq") || strings.Count(txt, ";") > 50 {
			return
		}
		// Order and unknown tags do not matter behind v=.
		more := parseKey(strings.TrimRight(txt, "; \t\r\n") + "; qq=x y;")
		if !reflect.DeepEqual(k, more) {
			t.Errorf("%q: another key with an unknown tag: %v", txt, more.fault)
		}
	})
}
