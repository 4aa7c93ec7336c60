package review_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"postern/lists"
	"postern/people"
	"postern/review"
)

func asked(t testing.TB, b *bed, who *people.Actor, state string) *review.Page {
	t.Helper()
	page, err := b.Requests(t.Context(), who, state, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// A user asks, an operator approves: the copy that was asked for is released, the others stay.
func TestAskAndApprove(t *testing.T) {
	b := newBed(t)
	it := b.hold(t, "policy", "ann@example.org", "ben@example.org")
	refused(t, b, ann(), review.Act{Do: review.Release, IDs: ids(it.ID)}, review.ErrForbidden)
	done := do(t, b, ann(), review.Act{Do: review.Ask, IDs: ids(it.ID), Reason: "it is from my bank"})
	if done.Items[0].Result != "done" {
		t.Errorf("%+v", done)
	}
	if done = do(t, b, ann(), review.Act{Do: review.Ask, IDs: ids(it.ID)}); done.Items[0].Result != "already" {
		t.Errorf("%+v", done)
	}
	for who, want := range map[*people.Actor]int{operator(): 1, admin(): 1, ann(): 1, ben(): 0, of("other.example"): 0, of("example.org"): 1} {
		page := asked(t, b, who, "asked")
		if len(page.Rows) != want || page.Total.N != want {
			t.Errorf("%s: %+v", who.Login, page)
		}
		if p := list(t, b, who, review.Find{View: "asked"}); len(p.Rows) != want || !counts(p.Total, want) {
			t.Errorf("%s: the view has %+v", who.Login, p.Total)
		}
	}
	row := asked(t, b, operator(), "asked").Rows[0]
	if row.Asked.Comment != "it is from my bank" || row.Asked.By != "ann@example.org" || row.Asked.For != "ann@example.org" || row.Asked.State != "asked" {
		t.Errorf("%+v", row.Asked)
	}
	if row := list(t, b, ben(), review.Find{}).Rows[0]; row.Asked != nil {
		t.Errorf("%+v", row.Asked)
	}
	refused(t, b, ben(), review.Act{Do: review.Approve, IDs: ids(it.ID)}, review.ErrForbidden)
	b.sink.fate = func(string) review.Sent { return review.Sent{Fate: review.Unsent, Reply: "down"} }
	if done = do(t, b, operator(), review.Act{Do: review.Approve, IDs: ids(it.ID)}); done.Items[0].Result != "failed" || len(asked(t, b, ann(), "asked").Rows) != 1 {
		t.Errorf("%+v", done)
	}
	b.sink.fate = nil
	do(t, b, operator(), review.Act{Do: review.Approve, IDs: ids(it.ID), Reason: "yes"})
	if states(t, b, it.ID) != "released kept" || b.sink.all() != 1 {
		t.Error(states(t, b, it.ID))
	}
	row = asked(t, b, ann(), "approved").Rows[0]
	if row.Asked.Answer != "yes" || row.Asked.Decided == nil || row.Asked.Decided.By != "olga" {
		t.Errorf("%+v", row.Asked)
	}
	if done = do(t, b, operator(), review.Act{Do: review.Approve, IDs: ids(it.ID)}); done.Items[0].Result != "already" || b.sink.all() != 1 {
		t.Errorf("%+v", done)
	}
}

// What is denied can be asked for again; what is deleted or released otherwise is answered by that.
func TestDenyAndAnswers(t *testing.T) {
	b := newBed(t)
	it := b.hold(t, "policy", "ann@example.org")
	do(t, b, ann(), review.Act{Do: review.Ask, IDs: ids(it.ID)})
	do(t, b, operator(), review.Act{Do: review.Deny, IDs: ids(it.ID), Reason: "no: a forgery"})
	if page := asked(t, b, ann(), ""); len(page.Rows) != 1 || page.Rows[0].Asked.State != "denied" || page.Rows[0].Asked.Answer != "no: a forgery" {
		t.Errorf("%+v", page)
	}
	if states(t, b, it.ID) != "kept" {
		t.Error("denied and gone")
	}
	do(t, b, ann(), review.Act{Do: review.Ask, IDs: ids(it.ID)})
	do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(it.ID)})
	other := b.hold(t, "policy", "ann@example.org")
	do(t, b, ann(), review.Act{Do: review.Ask, IDs: ids(other.ID)})
	do(t, b, operator(), review.Act{Do: review.Delete, IDs: ids(other.ID)})
	page := asked(t, b, ann(), "")
	if len(page.Rows) != 3 || page.Rows[0].Asked.State != "denied" || page.Rows[1].Asked.State != "approved" || len(asked(t, b, ann(), "asked").Rows) != 0 {
		t.Errorf("%+v", page)
	}
	first, err := b.Requests(t.Context(), ann(), "", "", 2)
	if err != nil || len(first.Rows) != 2 || first.Next == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	if next, err := b.Requests(t.Context(), ann(), "", first.Next, 2); err != nil || len(next.Rows) != 1 || next.Next != "" {
		t.Errorf("%+v, %v", next, err)
	}
	if _, err := b.Requests(t.Context(), auditor(), "", "", 0); !errors.Is(err, review.ErrForbidden) {
		t.Error(err)
	}
}

func TestReleaseAndAllow(t *testing.T) {
	b := newBed(t)
	until := b.clock.Now().Add(720 * time.Hour)
	for _, c := range []struct {
		who   *people.Actor
		allow review.Allow
		want  error
	}{
		{ann(), review.Allow{Entry: "mallory@evil.example", Scope: "ann@example.org", Until: until}, nil},
		{ann(), review.Allow{Entry: "service@bank.example", Scope: "alias@example.org"}, nil},
		{ann(), review.Allow{Entry: "mallory@evil.example", Scope: "ben@example.org"}, review.ErrForbidden},
		{ann(), review.Allow{Entry: "mallory@evil.example", Scope: ""}, review.ErrForbidden},
		{ann(), review.Allow{Entry: "mallory@evil.example", Scope: "@example.org"}, review.ErrForbidden},
		{ann(), review.Allow{Entry: "evil.example", Scope: "ann@example.org"}, review.ErrForbidden},
		{ann(), review.Allow{Entry: "192.0.2.1", Scope: "ann@example.org"}, review.ErrForbidden},
		{of("example.org"), review.Allow{Entry: "evil.example", Scope: "@example.org"}, nil},
		{of("example.org"), review.Allow{Entry: "evil.example", Scope: ""}, review.ErrForbidden},
		{of("example.org"), review.Allow{Entry: "evil.example", Scope: "@other.example"}, review.ErrForbidden},
		{operator(), review.Allow{Entry: "evil.example", Scope: ""}, nil},
	} {
		it := b.hold(t, "spam", "ann@example.org")
		before, err := b.lists.List(t.Context(), lists.Query{})
		if err != nil {
			t.Fatal(err)
		}
		a := review.Act{Do: review.Release, IDs: ids(it.ID), Allow: &c.allow}
		if c.want != nil {
			refused(t, b, c.who, a, c.want)
		} else {
			done := do(t, b, c.who, a)
			if done.Items[0].Result != "done" || !strings.Contains(done.Words, "let through") || !strings.Contains(string(b.last(t).After), c.allow.Entry) {
				t.Errorf("%+v %s", done, b.last(t).After)
			}
		}
		after, err := b.lists.List(t.Context(), lists.Query{})
		if err != nil || (len(after) > len(before)) != (c.want == nil) {
			t.Errorf("%s %+v: %d entries, %v", c.who.Login, c.allow, len(after), err)
		}
		for _, e := range after {
			if e.Unauthenticated || !e.Allow {
				t.Errorf("%+v", e)
			}
		}
		if (b.sink.count(it.ID, "ann@example.org") == 1) != (c.want == nil) {
			t.Errorf("%s %+v: sent %d times", c.who.Login, c.allow, b.sink.count(it.ID, "ann@example.org"))
		}
	}
	it := b.hold(t, "spam", "ann@example.org")
	var input *review.InputError
	for _, allow := range []review.Allow{{Entry: "*@x", Scope: "ann@example.org"}, {Entry: "mallory@evil.example", Scope: "ann"}, {Entry: "com", Scope: ""},
		{Entry: "mallory@evil.example", Scope: "ann@example.org", Until: b.clock.Now().Add(-time.Hour)}} {
		if _, err := b.Do(t.Context(), operator(), review.Act{Do: review.Release, IDs: ids(it.ID), Allow: &allow}); !errors.As(err, &input) {
			t.Errorf("%+v: %v", allow, err)
		}
	}
	// What was not released lets nothing in.
	b.sink.fate = func(string) review.Sent { return review.Sent{Fate: review.Unsent, Reply: "down"} }
	before, _ := b.lists.List(t.Context(), lists.Query{})
	do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(it.ID), Allow: &review.Allow{Entry: "other.test.example"}})
	if after, _ := b.lists.List(t.Context(), lists.Query{}); len(after) != len(before) {
		t.Error("an entry without a release")
	}
}

// Marks are shared by those who look at mail for others, and each user's own.
func TestMarks(t *testing.T) {
	b := newBed(t)
	one, two := b.hold(t, "spam", "ann@example.org", "ben@example.org"), b.hold(t, "spam", "ann@example.org")
	do(t, b, ann(), review.Act{Do: review.Seen, IDs: ids(one.ID)})
	for who, want := range map[*people.Actor]int{ann(): 1, ben(): 1, operator(): 2} {
		if p := list(t, b, who, review.Find{View: "unseen"}); len(p.Rows) != want {
			t.Errorf("%s has %d unseen", who.Login, p.Total.N)
		}
	}
	do(t, b, operator(), review.Act{Do: review.Seen, IDs: ids(one.ID, two.ID)})
	if p := list(t, b, admin(), review.Find{Query: "seen"}); len(p.Rows) != 2 || p.Rows[0].Seen == nil || p.Rows[0].Seen.By != "olga" {
		t.Errorf("%+v", p)
	}
	do(t, b, operator(), review.Act{Do: review.Unseen, IDs: ids(one.ID)})
	do(t, b, operator(), review.Act{Do: review.Take, IDs: ids(two.ID)})
	if p := list(t, b, admin(), review.Find{Query: `assigned == "olga" and seen`}); len(p.Rows) != 1 || p.Rows[0].Assigned != "olga" {
		t.Errorf("%+v", p)
	}
	if p := list(t, b, operator(), review.Find{View: "mine"}); len(p.Rows) != 1 || p.Rows[0].ID != two.ID {
		t.Errorf("%+v", p)
	}
	if p := list(t, b, ann(), review.Find{Query: `assigned == "olga"`}); len(p.Rows) != 0 {
		t.Errorf("a user learns who has it: %+v", p)
	}
	if done := do(t, b, admin(), review.Act{Do: review.Take, IDs: ids(two.ID)}); done.Items[0].Result != "done" {
		t.Errorf("%+v", done)
	}
	if done := do(t, b, admin(), review.Act{Do: review.Leave, IDs: ids(two.ID)}); done.Items[0].Result != "done" {
		t.Errorf("%+v", done)
	}
	var query *review.QueryError
	if _, err := b.List(t.Context(), operator(), review.Find{Query: `clas == "spam"`}); !errors.As(err, &query) || query.Column != 1 || query.Hint == "" {
		t.Errorf("%+v", err)
	}
}

func TestViews(t *testing.T) {
	b := newBed(t)
	find := review.Find{Query: `class == "spam"`, Cursor: "77"}
	var input *review.InputError
	for _, name := range []string{"", "  ", "mine", "Unseen", strings.Repeat("x", 61), "a\nb"} {
		if err := b.SaveView(t.Context(), operator(), review.View{Name: name, Find: find}); !errors.As(err, &input) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for range 2 {
		if err := b.SaveView(t.Context(), operator(), review.View{Name: " My spam ", Find: find}); err != nil {
			t.Fatal(err)
		}
	}
	views, err := b.Views(t.Context(), operator())
	if err != nil || len(views) != 6 || views[5].Name != "My spam" || views[5].Find.Cursor != "" || views[5].Site || !views[0].Site {
		t.Errorf("%+v, %v", views, err)
	}
	if views, err = b.Views(t.Context(), ann()); err != nil || len(views) != 4 {
		t.Errorf("%+v, %v", views, err)
	}
	if err := b.DropView(t.Context(), ann(), "My spam"); !errors.Is(err, review.ErrNotFound) {
		t.Error(err)
	}
	if err := b.DropView(t.Context(), operator(), "My spam"); err != nil {
		t.Error(err)
	}
	if n := b.lines(t); n != 4 {
		t.Errorf("%d lines", n)
	}
}

// Answers are there to be told, once: those that a person gave, and those that a release gave.
func TestAnswersToBeTold(t *testing.T) {
	b := newBed(t)
	no, yes, open := b.hold(t, "policy", "ann@example.org"), b.hold(t, "policy", "ann@example.org"), b.hold(t, "policy", "ann@example.org")
	for _, it := range []string{no.ID, yes.ID, open.ID} {
		do(t, b, ann(), review.Act{Do: review.Ask, IDs: ids(it)})
	}
	untold := func() string {
		t.Helper()
		list, err := b.Untold(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, a := range list {
			out = append(out, a.Item+" "+a.For+" "+a.State+" "+a.Answer+" "+a.Decided.By)
			if err := b.Told(t.Context(), a.N); err != nil {
				t.Fatal(err)
			}
		}
		return strings.Join(out, "; ")
	}
	if got := untold(); got != "" {
		t.Error(got)
	}
	do(t, b, operator(), review.Act{Do: review.Deny, IDs: ids(no.ID), Reason: "a forgery"})
	b.clock.Add(time.Second)
	do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(yes.ID)})
	if got, want := untold(), no.ID+" ann@example.org denied a forgery olga; "+yes.ID+" ann@example.org approved  olga"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := untold(); got != "" {
		t.Errorf("told twice: %s", got)
	}
}
