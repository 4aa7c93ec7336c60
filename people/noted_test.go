package people

import (
	"context"
	"errors"
	"testing"
	"time"
)

// W-13: a change of people whose line cannot be written is not made.
func TestW13_NoChangeWithoutLine(t *testing.T) {
	b := newBed(t, func(o *Options) { o.OpenID = &OpenID{Issuer: "https://issuer.example"} })
	ctx := t.Context()
	ann := b.person(Person{Login: "ann@example.org", Role: Operator}, goodPassword)
	token, _, err := b.AddToken(ctx, boss(), ann.ID, "t", nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	g := b.signIn("ann@example.org")
	state := func() string {
		all, err := b.List(ctx, boss())
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := b.Tokens(ctx, boss(), "")
		if err != nil {
			t.Fatal(err)
		}
		var secrets string
		row := b.o.DB.Reader().QueryRowContext(ctx, "SELECT group_concat(password || totp || subject || (SELECT count(*) FROM people_sessions)) FROM people")
		if err := row.Scan(&secrets); err != nil {
			t.Fatal(err)
		}
		return string(asJSON(all)) + string(asJSON(tokens)) + secrets
	}
	before, full := state(), errors.New("the disk is full")
	for name, change := range map[string]func(context.Context) error{
		"add": func(ctx context.Context) error {
			_, err := b.Add(ctx, boss(), Person{Login: "ben", Role: User}, "")
			return err
		},
		"change": func(ctx context.Context) error {
			p := *ann
			p.Role = Admin
			_, err := b.Change(ctx, boss(), p)
			return err
		},
		"remove": func(ctx context.Context) error { return b.Remove(ctx, boss(), ann.ID) },
		"password": func(ctx context.Context) error {
			return b.SetPassword(ctx, boss(), ann.ID, "", "another good password")
		},
		"totp":         func(ctx context.Context) error { return b.DropTOTP(ctx, boss(), ann.ID, "") },
		"link":         func(ctx context.Context) error { return b.LinkOpenID(ctx, boss(), ann.ID, "s-1") },
		"end sessions": func(ctx context.Context) error { return b.EndSession(ctx, boss(), ann.ID, "") },
		"sign out":     func(ctx context.Context) error { return b.SignOut(ctx, g.Cookie, at("192.0.2.1").From) },
		"remove token": func(ctx context.Context) error { return b.RemoveToken(ctx, boss(), token.ID) },
		"another token": func(ctx context.Context) error {
			_, _, err := b.AddToken(ctx, boss(), ann.ID, "u", nil, time.Hour)
			return err
		},
	} {
		b.notes.err = full
		if err := change(ctx); !errors.Is(err, full) {
			t.Errorf("%s: %v", name, err)
		}
		b.notes.err = nil
		if after := state(); after != before {
			t.Errorf("%s was made without its line:\n%s\n%s", name, before, after)
		}
	}
	if _, err := b.Add(ctx, boss(), Person{Login: "ben", Role: User}, ""); err != nil {
		t.Fatal(err)
	}
	if l, _ := b.notes.last(); l.Act != "person-add" || l.Object != "ben" || l.Result != "done" || len(l.After) == 0 {
		t.Errorf("%+v", l)
	}
}
