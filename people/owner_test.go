package people

import (
	"net/netip"
	"testing"

	"postern/mail"
)

// Who gets the mail to an address, and with which rights an answer by mail comes.
func TestOwner(t *testing.T) {
	b := newBed(t, func(o *Options) { o.Subaddress = true })
	address := func(s string) mail.Address {
		a, err := mail.ParseAddress(s, true)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, p := range []Person{
		{Login: "root", Role: Admin, Addresses: []mail.Address{address("ana@example.org"), address("postmaster@example.org"), address("info@example.org")}},
		{Login: "ben@example.org", Role: User, Addresses: []mail.Address{address("ben@example.org"), address("info@example.org")}},
	} {
		if _, err := b.Add(t.Context(), boss(), p, goodPassword); err != nil {
			t.Fatal(err)
		}
	}
	from := netip.MustParseAddr("10.0.0.5")
	for to, want := range map[string]struct {
		login string
		n     int
	}{
		"ana@example.org":      {"root", 3},
		"Ana@EXAMPLE.org":      {"root", 3},
		"ana+shop@example.org": {"root", 3},
		"ben@example.org":      {"ben@example.org", 2},
		"info@example.org":     {"info@example.org", 1}, // two have it: nobody's addresses go with it
		"new@example.org":      {"new@example.org", 1},
		"new+x@example.org":    {"new@example.org", 1},
		"+x@example.org":       {"+x@example.org", 1},
	} {
		who, err := b.Owner(t.Context(), address(to), from)
		if err != nil || who.Login != want.login || len(who.Addresses) != want.n || who.Role != User || who.By != ByMail || who.From != from {
			t.Errorf("%s: %+v %v", to, who, err)
			continue
		}
		if !who.Sees(address(to)) || who.May(ReleaseDangerous) || who.May(ManagePeople) || who.Right("virus") != RightNone || who.Right("spam") != RightRelease {
			t.Errorf("%s: %+v", to, who)
		}
	}
	b.o.DB.Close()
	if _, err := b.Owner(t.Context(), address("ana@example.org"), from); err == nil {
		t.Error("somebody out of a closed store")
	}
}
