package mail

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestS41_ParseAddress(t *testing.T) {
	l64, l65 := strings.Repeat("l", 64), strings.Repeat("l", 65)
	d63 := strings.Repeat("d", 63)
	for _, c := range []struct {
		in, local, domain string // local "" means refused
	}{
		{"a@b.test", "a", "b.test"},
		{"A.b+c@B.Test", "A.b+c", "b.test"},
		{"!#$%&'*+-/=?^_`{|}~@b.test", "!#$%&'*+-/=?^_`{|}~", "b.test"},
		{`"a"@b.test`, "a", "b.test"},
		{`"a b"@b.test`, "a b", "b.test"},
		{`"a\"b\\c\ d"@b.test`, `a"b\c d`, "b.test"},
		{`"v@ext> NOTIFY=NEVER "@b.test`, "v@ext> NOTIFY=NEVER ", "b.test"},
		{`".a..b."@b.test`, ".a..b.", "b.test"},
		{"a@[192.0.2.1]", "a", "[192.0.2.1]"},
		{"a@[ipv6:2001:DB8:0::1]", "a", "[IPv6:2001:db8::1]"},
		{"a@localhost", "a", "localhost"},
		{"a@_x.b-c.test", "a", "_x.b-c.test"},
		{"a@xn--BCHER-kva.test", "a", "xn--bcher-kva.test"},
		{"a@B\u00fccher.test", "a", "xn--bcher-kva.test"},
		{"a@bu\u0308cher.test", "a", "xn--bcher-kva.test"},
		{"a@own\u3002test", "a", "own.test"},
		{"\u00e9@b.test", "\u00e9", "b.test"},
		{"\"\u00e9 x\"@b.test", "\u00e9 x", "b.test"},
		{l64 + "@b.test", l64, "b.test"},
		{"a@" + d63 + ".test", "a", d63 + ".test"},

		{in: ""}, {in: "a"}, {in: "@"}, {in: "a@"}, {in: "@b.test"}, {in: "a@b@c.test"}, {in: `"a"b@c.test`}, {in: `a"b"@c.test`},
		{in: `""@b.test`}, {in: `"a@b.test`}, {in: `"a\`}, {in: `"a"`}, {in: `"a" @b.test`}, {in: `"a".b@c.test`},
		{in: ".a@b.test"}, {in: "a.@b.test"}, {in: "a..b@c.test"}, {in: "a b@c.test"}, {in: "a,b@c.test"}, {in: "a:b@c.test"}, {in: "a;b@c.test"},
		{in: "(c)a@b.test"}, {in: "a(c)@b.test"}, {in: "a@b.test(c)"}, {in: "a@(c)b.test"}, {in: "<a@b.test>"}, {in: "a@b.test>"}, {in: "a@b.test "}, {in: " a@b.test"},
		{in: "@x.test:a@b.test"}, {in: "@x.test,@y.test:a@b.test"}, {in: "a\\b@c.test"},
		{in: "a\x00b@c.test"}, {in: "a\rb@c.test"}, {in: "a\nb@c.test"}, {in: "a\tb@c.test"}, {in: "a\x7fb@c.test"},
		{in: "\"a\x00\"@c.test"}, {in: "\"a\r\n\"@c.test"}, {in: "\"a\x7f\"@c.test"}, {in: "\"a\\\x00\"@c.test"}, {in: "\"a\\\u00e9\"@c.test"},
		{in: "a@b..test"}, {in: "a@.b.test"}, {in: "a@b.test."}, {in: "a@b.test\u3002"}, {in: "a@-b.test"}, {in: "a@b-.test"}, {in: "a@b,c.test"}, {in: "a@b/c.test"},
		{in: "a@b\x00.test"}, {in: "a@b c.test"}, {in: "a@127.0.0.1"}, {in: "a@2130706433"}, {in: "a@x.1"},
		{in: "a@[127.0.0.1"}, {in: "a@127.0.0.1]"}, {in: "a@[]"}, {in: "a@[1.2.3]"}, {in: "a@[01.2.3.4]"}, {in: "a@[2001:db8::1]"}, {in: "a@[IPv6:1.2.3.4]"}, {in: "a@[IPv6:fe80::1%eth0]"}, {in: "a@[tag:x]"}, {in: "a@[1.2.3.4]x"},
		{in: l65 + "@b.test"}, {in: "a@" + d63 + "d.test"}, {in: l64 + "@" + strings.Repeat("d.", 93) + "test"}, {in: "a@" + strings.Repeat(d63+".", 4) + "test"},
		{in: "a\xff@b.test"}, {in: "a\xc3@b.test"}, {in: "a@b\xff.test"}, {in: "a\u0085b@c.test"}, {in: "a\u2028b@c.test"}, {in: "a\u00a0b@c.test"}, {in: "v\uff20ext.test@own.test"}, {in: "v\uff05ext@own.test"},
		{in: "a@b\uff20c.test"}, {in: "a@\u00e9(.test"}, {in: strings.Repeat("\\a", 600)},
	} {
		a, err := ParseAddress(c.in, true)
		if c.local == "" {
			if err == nil {
				t.Errorf("%q was taken as %q", c.in, a)
			}
			continue
		}
		if err != nil || a.Local != c.local || a.Domain != c.domain {
			t.Errorf("%q: got %q at %q, %v", c.in, a.Local, a.Domain, err)
		}
		if _, err := ParseAddress(c.in, false); isASCII(c.in) != (err == nil) || !isASCII(c.in) && !errors.Is(err, ErrNonASCII) {
			t.Errorf("%q without SMTPUTF8: %v", c.in, err)
		}
	}
}

// A mailbox is written so that it is read as the same again, and the text has nothing that
// would end a path or a line early.
func checkRoundTrip(t *testing.T, a Address) {
	t.Helper()
	s := a.String()
	b, err := ParseAddress(s, true)
	if err != nil || b != a {
		t.Fatalf("%q is written as %q and read as %q, %v", a, s, b, err)
	}
	if len(s) > 254 || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Fatalf("%q cannot stand in a command", s)
	}
	if l, d := readMailbox(s); l != a.Local || d != a.Domain {
		t.Fatalf("%q is %q at %q to a plain reader, not %q", s, l, d, a)
	}
}

// readMailbox is a plain reader, byte by byte, of what is known to be a mailbox.
func readMailbox(s string) (local, domain string) {
	if s[0] != '"' {
		local, domain, _ = strings.Cut(s, "@")
		return local, domain
	}
	var b []byte
	i := 1
	for ; s[i] != '"'; i++ {
		if s[i] == '\\' {
			i++
		}
		b = append(b, s[i])
	}
	return string(b), s[i+2:]
}

// Ten thousand mailboxes by the grammar of RFC 5321 4.1.2: what the client means is what a
// reader of our text gets.
func TestS41_GeneratedMailboxes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(s string) byte { return s[r.IntN(len(s))] }
	const alnum = "abcXYZ019"
	for range 10_000 {
		var text, meant strings.Builder
		if r.IntN(2) == 0 { // Dot-string
			for n := 1 + r.IntN(4); n > 0; n-- {
				for range 1 + r.IntN(6) {
					c := pick(alnum + atext)
					text.WriteByte(c)
					meant.WriteByte(c)
				}
				if n > 1 {
					text.WriteByte('.')
					meant.WriteByte('.')
				}
			}
		} else { // Quoted-string
			text.WriteByte('"')
			for range 1 + r.IntN(24) {
				c := byte(' ' + r.IntN('~'-' '+1))
				if c == '"' || c == '\\' || r.IntN(8) == 0 {
					text.WriteByte('\\')
				}
				text.WriteByte(c)
				meant.WriteByte(c)
			}
			text.WriteByte('"')
		}
		domain := ""
		for n := 1 + r.IntN(4); n > 0; n-- {
			domain += string(pick(alnum)) + strings.Repeat(string(pick("ab-9")), r.IntN(5)) + string(pick(alnum)) + "."
		}
		domain += "test"
		switch r.IntN(10) {
		case 0:
			domain = "[192.0.2.7]"
		case 1:
			domain = "[IPv6:2001:db8::7]"
		}
		text.WriteString("@" + domain)
		a, err := ParseAddress(text.String(), false)
		if err != nil {
			t.Fatalf("%q is a mailbox: %v", text.String(), err)
		}
		if a.Local != meant.String() || !strings.EqualFold(a.Domain, domain) {
			t.Fatalf("%q was read as %q at %q", text.String(), a.Local, a.Domain)
		}
		checkRoundTrip(t, a)
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"a@b.test", `"a\"b @c"@d.test`, "a@[IPv6:::1]", "é@bücher.test", "@x:a@b", "a@b.test.", "\"\\ \"@x", "a@xn--.test", "a@ß.test", "\u1e9e@\u1e9e.test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s, true)
		b, err2 := ParseAddress(s, false)
		if isASCII(s) && (a != b || (err == nil) != (err2 == nil)) || !isASCII(s) && err2 == nil {
			t.Fatalf("%q: %q %v, without SMTPUTF8 %q %v", s, a, err, b, err2)
		}
		if err != nil {
			if a != (Address{}) {
				t.Fatalf("%q: %q and %v", s, a, err)
			}
			return
		}
		if a.Local == "" || a.Domain == "" || len(a.Local) > 64 || !isASCII(a.Domain) {
			t.Fatalf("%q was taken as %q at %q", s, a.Local, a.Domain)
		}
		checkRoundTrip(t, a)
		if d, err := ParseDomain(a.Domain); err != nil || d != a.Domain {
			t.Fatalf("domain of %q: %q, then %q, %v", s, a.Domain, d, err)
		}
	})
}

func TestDomainSet(t *testing.T) {
	s, err := NewDomainSet([]string{"own.test", ".Sub.test", "bücher.test"})
	if err != nil || s.Len() != 3 {
		t.Fatal(err, s.Len())
	}
	for d, want := range map[string]bool{
		"own.test": true, "a.own.test": false, "xown.test": false, "sub.test": true, "a.sub.test": true, "a.b.sub.test": true, "xsub.test": false,
		"xn--bcher-kva.test": true, "test": false, "": false, "[192.0.2.1]": false,
	} {
		if s.Contains(d) != want {
			t.Errorf("%q: %v", d, !want)
		}
	}
	for _, p := range []string{"", ".", "..own.test", "own.test.", "*.own.test", "[192.0.2.1]", "a b", "192.0.2.1"} {
		if _, err := NewDomainSet([]string{p}); err == nil {
			t.Errorf("%q was taken", p)
		}
	}
}

// A host name is what RFC 1123 2.1 says, with underscores.
func FuzzHostname(f *testing.F) {
	for _, s := range []string{"", ".", "a", "a.", ".a", "a..b", "-a", "a-", "a.-b", "a-.b", "a_b.c", "A.b", "a b", "1.2", strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 127) + "a"} {
		f.Add(s)
	}
	label := regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)
	f.Fuzz(func(t *testing.T, s string) {
		want := len(s) <= 253
		for _, l := range strings.Split(s, ".") {
			want = want && label.MatchString(l)
		}
		if got := isHostname(s); got != want {
			t.Errorf("isHostname(%q) = %v", s, got)
		}
	})
}
