package review_test

import (
	"errors"
	"testing"
	"time"

	"postern/people"
	"postern/review"
)

// Who may put what on the lists, and for whom.
func TestEntriesByRole(t *testing.T) {
	b := newBed(t)
	admin, op, branch := admin(), operator(), of("other.example")
	auditor, ana := auditor(), ann()
	for _, c := range []struct {
		who     *people.Actor
		entry   review.NewEntry
		refused bool
		invalid bool
	}{
		{op, review.NewEntry{Entry: "ann@partner.example", Action: "allow"}, false, false},
		{op, review.NewEntry{Entry: "192.0.2.0/24", Action: "deny"}, false, false},
		{op, review.NewEntry{Entry: "ann@partner.example", Action: "allow", Unauthenticated: true}, true, false},
		{admin, review.NewEntry{Entry: "ann@partner.example", Action: "allow", Unauthenticated: true}, false, false},
		{op, review.NewEntry{Entry: "gmail.com", Action: "allow"}, false, true},
		{op, review.NewEntry{Entry: "gmail.com", Action: "allow", Wide: true}, true, false},
		{op, review.NewEntry{Entry: "ann@partner.example", Action: "permit"}, false, true},
		{op, review.NewEntry{Entry: "no entry at all", Action: "deny"}, false, true},
		{op, review.NewEntry{Entry: "a@b.example", Action: "deny", Until: time.Unix(1, 0)}, false, true},
		{branch, review.NewEntry{Entry: "a@b.example", Action: "deny"}, true, false},
		{branch, review.NewEntry{Entry: "a@b.example", Action: "deny", For: "@example.org"}, true, false},
		{branch, review.NewEntry{Entry: "a@b.example", Action: "deny", For: "@other.example"}, false, false},
		{auditor, review.NewEntry{Entry: "a@b.example", Action: "deny"}, true, false},
		{ana, review.NewEntry{Entry: "a@b.example", Action: "deny"}, true, false},
		{ana, review.NewEntry{Entry: "a@b.example", Action: "deny", For: "bob@example.org"}, true, false},
		{ana, review.NewEntry{Entry: "a@b.example", Action: "allow", For: "ann@example.org"}, false, false},
		{ana, review.NewEntry{Entry: "b.example", Action: "deny", For: "ann@example.org"}, false, false},
		{ana, review.NewEntry{Entry: "b.example", Action: "allow", For: "ann@example.org"}, true, false},
		{ana, review.NewEntry{Entry: "192.0.2.1", Action: "deny", For: "ann@example.org"}, true, false},
	} {
		b.clock.Add(time.Hour) // the same refusal within one would be counted
		before := b.lines(t)
		made, err := b.AddEntries(t.Context(), c.who, []review.NewEntry{c.entry})
		var input *review.InputError
		switch {
		case c.refused != errors.Is(err, review.ErrForbidden), c.invalid != errors.As(err, &input), (err == nil) != (len(made) == 1):
			t.Errorf("%s %+v: %v %v", c.who.Role, c.entry, made, err)
		case !c.invalid && b.lines(t) != before+1:
			t.Errorf("%s %+v: %d lines", c.who.Role, c.entry, b.lines(t)-before)
		}
	}
}

func TestEntriesInSight(t *testing.T) {
	b := newBed(t)
	admin, branch, ana := admin(), of("other.example"), ann()
	_, err := b.AddEntries(t.Context(), admin, []review.NewEntry{{Entry: "all@x.example", Action: "deny"}, {Entry: "b@x.example", Action: "deny", For: "@other.example"},
		{Entry: "c@x.example", Action: "allow", For: "ann@example.org", Note: "the new project"}, {Entry: "d@x.example", Action: "deny", For: "bob@example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	count := func(who *people.Actor, text string) int {
		list, err := b.Entries(t.Context(), who, text, false)
		if err != nil {
			t.Error(err)
		}
		return len(list)
	}
	for _, c := range []struct {
		who  *people.Actor
		text string
		want int
	}{{admin, "", 4}, {branch, "", 2}, {ana, "", 1}, {admin, "project ALLOW", 0}, {admin, "Project", 1}, {ana, "d@x.example", 0}} {
		if n := count(c.who, c.text); n != c.want {
			t.Errorf("%s %q: %d, want %d", c.who.Role, c.text, n, c.want)
		}
	}
	if _, err := b.RemoveEntries(t.Context(), ana, []review.EntryName{{Entry: "d@x.example", For: "bob@example.org"}}); !errors.Is(err, review.ErrForbidden) {
		t.Error(err)
	}
	if gone, err := b.RemoveEntries(t.Context(), ana, []review.EntryName{{Entry: "c@x.example", For: "ann@example.org"}}); err != nil || len(gone) != 1 {
		t.Error(gone, err)
	}
	if _, err := b.RemoveEntries(t.Context(), ana, []review.EntryName{{Entry: "c@x.example", For: "ann@example.org"}}); !errors.Is(err, review.ErrNotFound) {
		t.Error(err)
	}
	if n := count(admin, ""); n != 3 {
		t.Error(n)
	}
}
