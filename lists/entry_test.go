package lists

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"postern/mail"
)

func TestParseEntry(t *testing.T) {
	for _, c := range []struct {
		text  string
		kind  Kind
		value string // or, without a kind, a part of the error
	}{
		{"Ann@Example.NET", Address, "ann@example.net"},
		{"  ann@example.net\n", Address, "ann@example.net"},
		{`"a b"@example.net`, Address, `"a b"@example.net`},
		{"ann@Bücher.example", Address, "ann@xn--bcher-kva.example"},
		{strings.Repeat("Ⱥ", 32) + "@example.net", "", "no mail address"}, // too long in lower case
		{strings.Repeat("Ä", 32) + "@example.net", Address, strings.Repeat("ä", 32) + "@example.net"},
		{"Example.NET.", Domain, "example.net"},
		{"@example.net", Domain, "example.net"},
		{".example.net", Domain, ".example.net"},
		{"@.example.net", Domain, ".example.net"},
		{"192.0.2.7", Network, "192.0.2.7"},
		{"192.0.2.7/32", Network, "192.0.2.7"},
		{"192.0.2.0/24", Network, "192.0.2.0/24"},
		{"::ffff:192.0.2.7", Network, "192.0.2.7"},
		{"2001:DB8::/32", Network, "2001:db8::/32"},
		{"list-id:News.Example.NET", ListID, "list-id:news.example.net"},
		{"List-ID: <news.example.net>", ListID, "list-id:news.example.net"},
		{"", "", "is empty"},
		{"<>", "", "bounces"},
		{"com", "", "top-level domain"},
		{".xyz", "", "top-level domain"},
		{"localhost", "", "top-level domain"},
		{"*@example.net", "", "no wildcards"},
		{"*.example.net", "", "no wildcards"},
		{"Ann <ann@example.net>", "", "give the address alone"},
		{"ann@", "", "no mail address"},
		{"a@b@example.net", "", "no mail address"},
		{".", "", "no IP address"},
		{".", "", "no IP address"},
		{"exa mple.net", "", "no domain"},
		{"https://example.net/x", "", "is a URL"},
		{"0.0.0.0/0", "", "everybody"},
		{"::/0", "", "everybody"},
		{"192.0.2.7/24", "", "write 192.0.2.0/24 for the network"},
		{"::ffff:192.0.2.0/120", "", "write the IPv4 network"},
		{"192.0.2", "", "no IP address"},
		{"192.0.2.0/33", "", "no IP address"},
		{"fe80::1%eth0", "", "no IP address"},
		{"example.net:25", "", "no IP address"},
		{"list-id:news", "", "no list-id"},
		{"list-id:a@b.example", "", "no list-id"},
		{"list-id:", "", "no list-id"},
		{"a\x00@example.net", "", "characters"},
		{"\xff@example.net", "", "characters"},
		{strings.Repeat("a", 400) + ".example", "", "320 bytes"},
	} {
		e, err := ParseEntry(c.text)
		switch {
		case c.kind == "" && (err == nil || !strings.Contains(err.Error(), c.value)):
			t.Errorf("%q: %+v, %v, not an error with %q", c.text, e, err, c.value)
		case c.kind != "" && (err != nil || e.Kind != c.kind || e.Value != c.value):
			t.Errorf("%q: %+v, %v", c.text, e, err)
		}
	}
}

func TestParseScope(t *testing.T) {
	for text, want := range map[string]string{"": "", "everybody": "", "@Example.org": "@example.org", "Ana@Example.ORG": "ana@example.org"} {
		if got, err := ParseScope(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{"example.org": "(@example.org)", "@": "no address", "@a b": "no address", "a@b@c": "no address", "ana": "(@ana)"} {
		if got, err := ParseScope(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// What would let in, or keep out, far more than who writes it can mean is refused (S-43).
func TestS43_WideEntries(t *testing.T) {
	own, err := mail.NewDomainSet([]string{"example.org"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		entry string
		allow bool
		scope string
		plain bool // --unauthenticated
		wide  bool
	}{
		{"gmail.com", true, "", false, true},
		{".gmail.com", true, "", false, true},
		{"gmail.com", true, "@example.org", false, false},
		{"gmail.com", false, "", false, true},
		{"gmail.com", false, "ana@example.org", false, false},
		{"ann@gmail.com", true, "", false, false},
		{".amazonses.com", true, "", false, true},
		{"co.uk", true, "", false, true},
		{".co.uk", false, "ana@example.org", false, true},
		{"github.io", true, "", false, true},
		{"10.0.0.0/8", true, "", false, true},
		{"192.168.0.0/16", true, "", false, false},
		{"10.0.0.0/8", false, "", false, false},
		{"10.0.0.0/7", false, "", false, true},
		{"2001:db8::/32", true, "", false, false},
		{"2001::/16", false, "", false, true},
		{"example.org", true, "", true, true},
		{"example.org", true, "", false, false}, // with proof there is nothing wrong with it
		{"example.org", false, "", false, true},
		{"ana@example.org", true, "", true, true},
		{"ana@example.org", false, "", false, false},
		{"partner.example", true, "", true, false},
	} {
		e, err := ParseEntry(c.entry)
		if err != nil {
			t.Errorf("%s: %v", c.entry, err)
			continue
		}
		e.Allow, e.Scope, e.Unauthenticated = c.allow, c.scope, c.plain
		var wide *WideError
		if got := errors.As(e.Wide(own), &wide); got != c.wide {
			t.Errorf("%+v: wide is %v", c, got)
		}
	}
}

// What ParseEntry takes has one form, which it reads as the same again; and a look-up finds it.
func FuzzParseEntry(f *testing.F) {
	for _, s := range []string{"ann@example.net", ".example.net", "192.0.2.0/24", "::1", "list-id:a.b", `"a@b"@c.example`, "@x.example", "Ü@bücher.example", "10.0.0.0/33"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := ParseEntry(s)
		if err != nil {
			if len(err.Error()) > 3*maxValue+500 {
				t.Errorf("%q: an error of %d bytes", s, len(err.Error()))
			}
			return
		}
		again, err := ParseEntry(e.Value)
		if err != nil || again != e {
			t.Fatalf("%q is %+v, and that %+v, %v", s, e, again, err)
		}
		_ = e.Wide(mail.DomainSet{})
		q := Question{Header: true}
		switch e.Kind {
		case Address:
			a, err := mail.ParseAddress(e.Value, true)
			if err != nil {
				t.Fatal(err)
			}
			q.Sender = a
		case Domain:
			q.Sender = mail.Address{Local: "x", Domain: strings.TrimPrefix(e.Value, ".")}
		case ListID:
			q.ListID = strings.TrimPrefix(e.Value, listPrefix)
		case Network:
			q.Client = netip.MustParsePrefix(e.net.String()).Addr()
		}
		if a := newIndex(1, []*Entry{&e}).Ask(&q); !a.Denied || a.Entry != &e {
			t.Fatalf("%+v is not found", e)
		}
	})
}

// A scope has one form, too.
func FuzzParseScope(f *testing.F) {
	for _, s := range []string{"", "everybody", "@example.org", "Ana@example.org", "@", "example.org", `"a b"@x.example`, "@b\u00fccher.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		scope, err := ParseScope(s)
		if err != nil {
			return
		}
		if again, err := ParseScope(scope); err != nil || again != scope {
			t.Fatalf("%q is %q, and that %q, %v", s, scope, again, err)
		}
		to := mail.Address{Local: "x", Domain: strings.TrimPrefix(scope, "@")}
		if scope == "" {
			to = mail.Address{Local: "x", Domain: "example.org"}
		} else if scope[0] != '@' {
			if to, err = mail.ParseAddress(scope, true); err != nil {
				t.Fatal(err)
			}
		}
		e, _ := ParseEntry("x.example")
		e.Scope = scope
		q := Question{Sender: mail.Address{Local: "y", Domain: "x.example"}, Recipient: to}
		if a := newIndex(1, []*Entry{&e}).Ask(&q); !a.Denied {
			t.Fatalf("the entry for %q is not for %v", scope, to)
		}
	})
}
