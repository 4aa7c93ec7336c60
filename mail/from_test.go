package mail

import (
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
)

func TestA03_ParseAuthors(t *testing.T) {
	for _, c := range []struct {
		in   string
		list string // addresses
		ok   bool
	}{
		{"alice@example.org", "alice@example.org", true},
		{" Alice <Alice@Example.ORG>\r\n", "Alice@example.org", true},
		{"<a@x.test>", "a@x.test", true},
		{"\"Doe, J.\" <a@x.test>", "a@x.test", true},
		{"John Q. Public <a@x.test>", "a@x.test", true},
		{"Alice\r\n <a@x.test\r\n >", "a@x.test", true},
		{"=?utf-8?q?a=40bank.test?= <e@evil.test>", "e@evil.test", true},
		{"\"a@bank.test\" <e@evil.test>", "e@evil.test", true},
		{"a@x.test (Alice)", "a@x.test", true},
		{"a@x.test(b@y.test)", "a@x.test", true},
		{"(c (nested \\) ) ) a@x.test", "a@x.test", true},
		{"[JIRA] x <a@x.test>", "a@x.test", true},
		{"a@[192.0.2.1]", "a@[192.0.2.1]", true},
		{"a@exämple.test", "a@xn--exmple-cua.test", true},
		{"Äpfel <a@x.test>", "a@x.test", true},
		{"\"a b\"@x.test", "\"a b\"@x.test", true},
		{"a@x.test <A@X.test>", "A@x.test", true},
		{"a@x.test, b@y.test", "a@x.test b@y.test", true},
		{"Team: a@x.test;", "a@x.test", true},
		{"Team: a@x.test, B <b@x.test>;", "a@x.test b@x.test", true},

		{"", "", false},
		{"undisclosed:;", "", false},
		{"Alice", "", false},
		{"<>", "", false},
		{"a@x.test,", "a@x.test", false},
		{"a@x.test;", "a@x.test", false},
		{"a@b@x.test", "a@b b@x.test", false},
		{"\"a@bank.test\"@evil.test", "a@bank.test @evil.test", false},
		{"a @ x.test", "", false},
		{"a@x. test", "a@x", false},
		{"a@x.test (<b@y.test>)", "a@x.test b@y.test", false},
		{"a(x)@x.test", "@x.test", false},
		{"a@bank.test <e@evil.test>", "e@evil.test a@bank.test", false},
		{"<a@x.test", "a@x.test", false},
		{"\"Alice <a@x.test>", "a@x.test", false},
		{"a@x.test\x00.evil", "a@x.test", false},
		{"a@x.test\r<b@y.test>", "a@x.test b@y.test", false},
		{"a@x.test\n<b@y.test>", "a@x.test b@y.test", false},
		{"a@x.test.", "a@x.test", false},
		{"Group: other: a@x.test;", "a@x.test", false},
		{"Group: a@x.test", "a@x.test", false},
		// The attacks a15 to a19 of the Composition Kills paper; a14 and a18 are two mailboxes.
		{"=?utf-8?B?PGFkbWluQGxlZ2l0LnRlc3Q+?=,<second@attack.test>", "second@attack.test", false},
		{"<@attack.test,@any.test:admin@legit.test>", "@attack.test @any.test admin@legit.test", false},
		{"<admin@legit.test>\\,<second@attack.test>", "admin@legit.test second@attack.test", false},
		{"admin@legit.test,<second@attack.test>", "admin@legit.test second@attack.test", true},
		{"=?utf-8?q?admin=40legit.test=2C=3C?=@attack.test", "=?utf-8?q?admin=40legit.test=2C=3C?=@attack.test", false},
		{"<any@attack.test>admin@legit.test", "any@attack.test admin@legit.test", false},
	} {
		list, ok := ParseAuthors(c.in)
		var got []string
		for _, a := range list {
			got = append(got, a.Address)
		}
		want := strings.Fields(strings.ReplaceAll(c.list, "\"a b\"", "\"a\x01b\""))
		for i := range want {
			want[i] = strings.ReplaceAll(want[i], "\x01", " ")
		}
		if ok != c.ok || !sameSet(got, want) {
			t.Errorf("%q: %q %v, want %q %v", c.in, got, ok, want, c.ok)
		}
	}
	if l, _ := ParseAuthors("\"Ali\\\"ce\" X <a@x.test>"); l[0].Name != "Ali\"ce X" {
		t.Errorf("name %q", l[0].Name)
	}
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

func TestA01_EveryFieldThatAnybodyTakesForFrom(t *testing.T) {
	const clean = "From: <admin@legit.test>\r\n"
	for _, c := range []struct {
		name, header string
		fields       int
		one          bool
	}{
		{"plain", clean, 1, true},
		{"case", "fRoM: a@x.test\r\n", 1, true},
		{"none", "Subject: x\r\n", 0, false},
		{"a8 two", "From: <first@attack.test>\r\n" + clean, 2, false},
		{"a9 leading blank", " From: <first@attack.test>\r\n" + clean, 2, false},
		{"a10 blank before the colon", "From: <first@attack.test>\r\nFrom : <admin@legit.test>\r\n", 2, false},
		{"a11 fold before the colon", "From\r\n : <first@attack.test>\r\n" + clean, 2, false},
		{"tab before the colon", "From\t: <first@attack.test>\r\n" + clean, 2, false},
		{"a12 only an odd one", "From\r\n : <first@attack.test>\r\nSender: <admin@legit.test>\r\n", 1, false},
		{"a13 resent", "Resent-From: <first@attack.test>\r\n" + clean, 1, true},
		{"a14 two mailboxes", "From: <first@attack.test>, <admin@legit.test>\r\n", 1, false},
		{"NUL in the name", "Fr\x00om: <first@attack.test>\r\n" + clean, 2, false},
		{"byte order mark", "\xef\xbb\xbfFrom: <first@attack.test>\r\n" + clean, 2, false},
		{"behind a bare CR", "X: y\rFrom: <first@attack.test>\r\n" + clean, 2, false},
		{"blank line as a continuation", " \r\n From: <first@attack.test>\r\n" + clean, 2, false},
		{"folded text is none", "Subject: x\r\n From: <first@attack.test>\r\n" + clean, 1, true},
	} {
		h := ParseHeader([]byte(c.header+"\r\n"), DefaultHeaderLimits())
		a := h.Authors()
		if _, one := a.One(); a.Fields != c.fields || one != c.one {
			t.Errorf("%s: %d fields, one %v: %+v", c.name, a.Fields, one, a)
		}
	}
}

func TestAuthorsAreBounded(t *testing.T) {
	if l, ok := ParseAuthors(strings.Repeat("a@x.test,", 20000)); ok || len(l) > maxAuthors {
		t.Error(len(l), ok)
	}
	if _, ok := ParseAuthors(strings.Repeat("(", 60000)); ok {
		t.Error("open comments")
	}
}

// What is one clean author is the same one for the parser of the standard library, and
// writing it out and reading it again changes nothing.
func FuzzAuthors(f *testing.F) {
	for _, s := range []string{"a@x.test", "\"q\" <a@x.test>", "G: a@x.test;", "a@x (c), <b@[1.2.3.4]>", "<@r:a@x>", "=?utf-8?q?a?= <b@ü.test>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, ok := ParseAuthors(s)
		if len(list) > maxAuthors || ok && len(list) == 0 {
			t.Fatal(len(list), ok)
		}
		h := ParseHeader([]byte("From:"+s+"\r\n\r\n"), DefaultHeaderLimits())
		one, single := h.Authors().One()
		if !single {
			return
		}
		again, ok := ParseAuthors(one.Address)
		if !ok || len(again) != 1 || again[0].Address != one.Address || again[0].Domain != one.Domain {
			t.Fatalf("%q: %+v reads back as %+v", s, one, again)
		}
		if std, err := netmail.ParseAddressList(string(h.Fields[0].Body())); err == nil {
			at := strings.LastIndexByte(std[0].Address, '@')
			if d, err := ParseDomain(std[0].Address[at+1:]); len(std) != 1 || err != nil || d != one.Domain {
				t.Fatalf("%q: ours %+v, standard library %+v", s, one, std[0])
			}
		}
	})
}

func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"", " ", "a b", "a  b", "a\r\nb ", "ü\x00", " a"} {
		f.Add(s, 10)
	}
	f.Fuzz(func(t *testing.T, s string, max int) {
		if max < 0 || max > 1000 {
			return
		}
		p := Printable(s, max)
		if len(p) > max || !isPrintable(p) || Printable(p, max+2) != p {
			t.Fatalf("%q: %q", s, p)
		}
	})
}
