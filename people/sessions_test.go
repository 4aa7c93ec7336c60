package people

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

// W-05: idle half an hour for administrators and half a day for others, a day at most, and whatever
// changes a person ends the sessions.
func TestW05Lifetime(t *testing.T) {
	for _, c := range []struct {
		role Role
		idle time.Duration
	}{{Admin, 30 * time.Minute}, {Operator, 12 * time.Hour}, {User, 12 * time.Hour}} {
		b := newBed(t, nil)
		b.person(Person{Login: "x", Role: c.role}, goodPassword)
		g := b.signIn("x")
		b.pass(c.idle - 2*time.Minute)
		if b.who(g.Cookie) == nil {
			t.Errorf("%s: gone while it was used", c.role)
		}
		b.pass(c.idle)
		if b.who(g.Cookie) != nil {
			t.Errorf("%s: open after %s", c.role, c.idle)
		}
		g = b.signIn("x")
		for range 24*6 - 1 {
			b.pass(10 * time.Minute)
			if b.who(g.Cookie) == nil {
				t.Fatalf("%s: gone before its day", c.role)
			}
		}
		b.pass(10 * time.Minute)
		if b.who(g.Cookie) != nil {
			t.Errorf("%s: open after a day", c.role)
		}
	}
}

// W-05: what a cookie is worth is kept as a hash; one's sessions are listed and ended one by one.
func TestW05Sessions(t *testing.T) {
	b := newBed(t, nil)
	ann := b.person(Person{Login: "ann", Role: User}, goodPassword)
	eve := b.person(Person{Login: "eve", Role: User}, goodPassword)
	one, two, hers := b.signIn("ann"), b.signIn("ann"), b.signIn("eve")
	who := b.who(one.Cookie)
	all, err := b.Sessions(t.Context(), who, ann.ID, one.Cookie)
	if err != nil || len(all) != 2 || all[0].Own == all[1].Own || all[0].Client != "192.0.2.1" || all[0].Agent != "browser" {
		t.Fatalf("%+v %v", all, err)
	}
	if _, err := b.Sessions(t.Context(), who, eve.ID, ""); !errors.Is(err, ErrForbidden) {
		t.Error(err)
	}
	herSessions, err := b.Sessions(t.Context(), b.who(hers.Cookie), eve.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.EndSession(t.Context(), who, ann.ID, herSessions[0].ID); !errors.Is(err, ErrNotFound) || b.who(hers.Cookie) == nil {
		t.Errorf("another's session: %v", err)
	}
	for _, x := range all {
		if !x.Own {
			if err := b.EndSession(t.Context(), who, ann.ID, x.ID); err != nil {
				t.Error(err)
			}
		}
	}
	if b.who(two.Cookie) != nil || b.who(one.Cookie) == nil {
		t.Error("the wrong session ended")
	}
	var dump strings.Builder
	rows, err := b.o.DB.Reader().Query("SELECT hex(hash) || person || stage || how || client || agent FROM people_sessions")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		dump.WriteString(s)
	}
	if strings.Contains(dump.String(), one.Cookie) {
		t.Error("the cookie is in the database")
	}
}

// W-05: more browsers than anybody has do not pile up.
func TestSessionsAreBounded(t *testing.T) {
	b := newBed(t, nil)
	ann := b.person(Person{Login: "ann", Role: User}, goodPassword)
	first := b.signIn("ann")
	for range maxSessions {
		b.pass(time.Second)
		b.signIn("ann")
	}
	all, err := b.Sessions(t.Context(), boss(), ann.ID, "")
	if err != nil || len(all) != maxSessions || b.who(first.Cookie) != nil {
		t.Errorf("%d sessions, %v", len(all), err)
	}
}

// W-07: what is seen follows the person as it is now, aliases and subaddresses with it.
func TestW07Sight(t *testing.T) {
	b := newBed(t, func(o *Options) { o.Subaddress = true })
	ann := b.person(Person{Login: "ann@example.org", Role: User, Addresses: addresses("ann@example.org", "Info@Example.org")}, goodPassword)
	g := b.signIn("ann@example.org")
	for address, want := range map[string]bool{
		"ann@example.org": true, "ANN@EXAMPLE.ORG": true, "info@example.org": true, "ann+shop@example.org": true, "ann+a+b@example.org": true,
		"ann@example.com": false, "xann@example.org": false, "an@example.org": false, "+ann@example.org": false, "ann+x@example.com": false, "annx+y@example.org": false,
		`"ann+shop@example.org"@evil.example`: false,
	} {
		if a := addresses(address)[0]; b.who(g.Cookie).Sees(a) != want {
			t.Errorf("%s: seen is %v", address, !want)
		}
	}
	ann.Addresses = addresses("info@example.org")
	if _, err := b.Change(t.Context(), boss(), *ann); err != nil {
		t.Fatal(err)
	}
	if who := b.who(g.Cookie); who == nil || who.Sees(addresses("ann@example.org")[0]) || !who.Sees(addresses("info@example.org")[0]) {
		t.Errorf("%+v", who)
	}
	for _, who := range []*Actor{{}, {Person: Person{Role: "god"}}, {Person: Person{Role: User}}} {
		if only, all := who.Sight(); all || len(only) > 0 || who.Sees(addresses("a@example.org")[0]) {
			t.Errorf("%+v sees mail", who)
		}
		for p := range Permission(All) {
			if who.Role != User && who.May(p) {
				t.Errorf("%+v may %s", who, p)
			}
		}
	}
}

func addresses(texts ...string) (all []mail.Address) {
	for _, s := range texts {
		a, err := mail.ParseAddress(s, true)
		if err != nil {
			panic(err)
		}
		all = append(all, a)
	}
	return all
}

// W-09: a token is kept as a hash, narrows the role, ends, and can be taken back.
func TestW09Tokens(t *testing.T) {
	b := newBed(t, nil)
	ann := b.person(Person{Login: "ann", Role: Operator}, goodPassword)
	who := b.who(b.signIn("ann").Cookie)
	token, secret, err := b.AddToken(t.Context(), who, ann.ID, "a program", []Permission{SeeMail, ManagePeople}, 24*time.Hour)
	if err != nil || !strings.HasPrefix(secret, "postern_") || len(secret) != len("postern_")+43 {
		t.Fatal(secret, err)
	}
	a, err := b.TokenActor(t.Context(), secret, netip.Addr{})
	if err != nil || a.ID != ann.ID || a.By != ByToken || !a.May(SeeMail) || a.May(Release) || a.May(ManagePeople) {
		t.Fatalf("%+v %v", a, err)
	}
	if _, _, err := b.AddToken(t.Context(), a, ann.ID, "more", nil, time.Hour); !errors.Is(err, ErrForbidden) {
		t.Errorf("a token made a token: %v", err)
	}
	if err := b.SetPassword(t.Context(), a, ann.ID, goodPassword, "another good one"); !errors.Is(err, ErrForbidden) {
		t.Errorf("a token changed the password: %v", err)
	}
	if err := b.EndSession(t.Context(), a, ann.ID, ""); !errors.Is(err, ErrForbidden) {
		t.Errorf("a token for something else ended sessions: %v", err)
	}
	if err := b.RemoveToken(t.Context(), a, token.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a token for something else removed one: %v", err)
	}
	all, err := b.Tokens(t.Context(), who, ann.ID)
	if err != nil || len(all) != 1 || all[0].Used.IsZero() || all[0].Name != "a program" || len(all[0].Scopes) != 2 {
		t.Errorf("%+v %v", all, err)
	}
	for name, text := range map[string]string{"empty": "", "prefix": "postern_", "without": secret[len("postern_"):], "twice": secret + secret, "other": TokenPrefix + newSecret(),
		"id": token.ID, "upper": strings.ToUpper(secret), "space": " " + secret} {
		if _, err := b.TokenActor(t.Context(), text, netip.Addr{}); !errors.Is(err, ErrNobody) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, damaged := range []string{"", "[", `"all"`, "{}", "[0]", `["god"]`} {
		if p := parseScopes(damaged); p == nil || len(p) > 0 {
			t.Errorf("damaged scopes %q give %v", damaged, p)
		}
	}
	b.pass(24 * time.Hour)
	if _, err := b.TokenActor(t.Context(), secret, netip.Addr{}); !errors.Is(err, ErrNobody) {
		t.Errorf("after its end: %v", err)
	}
	_, secret, err = b.AddToken(t.Context(), who, ann.ID, "again", nil, MaxTokenLife)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.AddToken(t.Context(), who, ann.ID, "for ever", nil, MaxTokenLife+1); err == nil {
		t.Error("a token for ever")
	}
	all, _ = b.Tokens(t.Context(), who, ann.ID)
	for _, x := range all {
		if err := b.RemoveToken(t.Context(), &Actor{Person: Person{ID: "eve", Role: Operator}}, x.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("another's token: %v", err)
		}
		if err := b.RemoveToken(t.Context(), who, x.ID); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.TokenActor(t.Context(), secret, netip.Addr{}); !errors.Is(err, ErrNobody) {
		t.Errorf("removed: %v", err)
	}
}

// A sign-in that cannot be noted is none.
func TestSignInsAreNoted(t *testing.T) {
	b := newBed(t, nil)
	b.person(Person{Login: "ann", Role: User}, goodPassword)
	b.signIn("ann")
	if l, _ := b.notes.last(); l.Act != "sign-in" || l.Who != "ann" || l.Result != "done" || l.From != "192.0.2.1" {
		t.Errorf("%+v", l)
	}
	_, _ = b.SignIn(t.Context(), "my secret password", "x", at("192.0.2.9"), "")
	if l, _ := b.notes.last(); l.Act != "sign-in" || l.Who != "" || l.Result != "refused" {
		t.Errorf("%+v", l)
	}
	b.notes.err = errors.New("the disk is full")
	if _, err := b.SignIn(t.Context(), "ann", goodPassword, at("192.0.2.1"), ""); err == nil {
		t.Error("a sign-in that is not in the log")
	}
}
