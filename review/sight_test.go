package review_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/audit"
	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/quarantine/quarantinetest"
	"postern/review"
)

func list(t testing.TB, b *bed, who *people.Actor, f review.Find) *review.Page {
	t.Helper()
	page, err := b.List(t.Context(), who, f)
	if err != nil {
		t.Fatalf("%s %+v: %v", who.Login, f, err)
	}
	return page
}

// counts tells whether a count is right; on a busy machine it may have been cut short.
func counts(c review.Count, want int) bool { return c.N == want || c.More && c.N < want }

func rowIDs(p *review.Page) []string {
	out := []string{}
	for _, r := range p.Rows {
		out = append(out, r.ID)
	}
	return out
}

// TestW07_OnlyOwn: users see own copies only, wherever they look; of the others not even that they
// are there.
func TestW07_OnlyOwn(t *testing.T) {
	b := newBed(t)
	both := b.hold(t, "spam", "ann@example.org", "ben@example.org")
	hers := b.hold(t, "spam", "Alias@Example.org")
	his := b.hold(t, "spam", "ben@example.org")
	virus := b.hold(t, "virus", "ann@example.org")
	other := b.hold(t, "spam", "x@other.example")
	for _, c := range []struct {
		who  *people.Actor
		find review.Find
		want []string
	}{
		{ann(), review.Find{}, ids(hers.ID, both.ID)},
		{ben(), review.Find{}, ids(his.ID, both.ID)},
		{ann(), review.Find{Recipient: "ben"}, ids()},
		{ann(), review.Find{Recipient: "@example.org"}, ids(hers.ID, both.ID)},
		{ann(), review.Find{Query: "ben@example.org"}, ids()},
		{ann(), review.Find{Query: `rcpt == "ben@example.org"`}, ids()},
		{ann(), review.Find{Query: `not (rcpt == "ann@example.org")`}, ids(hers.ID)},
		{ann(), review.Find{Class: "virus"}, ids()},
		{ann(), review.Find{Query: `class == "virus"`}, ids()},
		{ann(), review.Find{View: "all", Query: `id == "` + his.ID + `"`}, ids()},
		{of("other.example"), review.Find{}, ids(other.ID)},
		{of("example.org"), review.Find{}, ids(virus.ID, his.ID, hers.ID, both.ID)},
		{auditor(), review.Find{}, ids(other.ID, virus.ID, his.ID, hers.ID, both.ID)},
		{actor(people.User, "nobody"), review.Find{}, ids()},
		{actor("none", "nobody", "ann@example.org"), review.Find{}, ids()},
	} {
		page, err := b.List(t.Context(), c.who, c.find)
		if c.who.Role == "none" {
			if !errors.Is(err, review.ErrForbidden) {
				t.Errorf("%s: %v", c.who.Login, err)
			}
			continue
		}
		if err != nil || !slices.Equal(rowIDs(page), c.want) || !counts(page.Total, len(c.want)) {
			t.Errorf("%s %+v: %v (%v), want %v", c.who.Login, c.find, rowIDs(page), err, c.want)
			continue
		}
		n, cut := 0, false
		for _, chip := range page.Chips {
			if strings.HasPrefix(chip.Name, "class:") {
				n += chip.Count.N
				cut = cut || chip.Count.More
			}
		}
		if c.find.Query == "" && c.find.Recipient == "" && c.find.Class == "" && !counts(review.Count{N: n, More: cut}, len(c.want)) {
			t.Errorf("%s: chips %+v", c.who.Login, page.Chips)
		}
		text, _ := json.Marshal(page)
		if c.who.Login == "ann@example.org" && strings.Contains(string(text), "ben") {
			t.Errorf("%s", text)
		}
	}
	// The state of the others' copies does not show either.
	do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(both.ID), To: []mail.Address{quarantinetest.Address("ben@example.org")}})
	if page := list(t, b, ann(), review.Find{View: "released"}); len(page.Rows) != 0 {
		t.Errorf("%+v", page.Rows)
	}
	if page := list(t, b, ben(), review.Find{}); !slices.Equal(rowIDs(page), ids(his.ID)) {
		t.Errorf("%+v", page.Rows)
	}
	m, err := b.Message(t.Context(), ann(), both.ID)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := json.Marshal(m); strings.Contains(string(text), "ben") || strings.Contains(string(text), "released") {
		t.Errorf("%s", text)
	}
	// What is not there and what is somebody else's answer alike, and each attempt is noted.
	for _, id := range ids(his.ID, virus.ID, other.ID, quarantinetest.ID(b.clock.Now()), "nonsense", "") {
		if id == "" {
			continue
		}
		before := b.lines(t)
		if _, err := b.Message(t.Context(), ann(), id); err != review.ErrNotFound {
			t.Errorf("look at %s: %v", id, err)
		}
		if _, err := b.Content(t.Context(), ann(), id, "text"); err != review.ErrNotFound {
			t.Errorf("read %s: %v", id, err)
		}
		for _, v := range []review.Verb{review.Release, review.Delete, review.Spam, review.Seen, review.Ask} {
			if _, err := b.Do(t.Context(), ann(), review.Act{Do: v, IDs: ids(id)}); err != review.ErrNotFound {
				t.Errorf("%s %s: %v", v, id, err)
			}
		}
		if n := b.lines(t) - before; n != 7 {
			t.Errorf("%d lines", n)
		}
	}
}

// user+tag@ is the user's, when the site says so.
func TestW07_Subaddress(t *testing.T) {
	b := newBed(t)
	plain, tagged := b.hold(t, "spam", "ann@example.org"), b.hold(t, "spam", "ann+shop@example.org")
	b.hold(t, "spam", "annika+x@example.org", "ann+x@other.example")
	who := ann()
	if page := list(t, b, who, review.Find{}); !slices.Equal(rowIDs(page), ids(plain.ID)) {
		t.Errorf("%v", rowIDs(page))
	}
	who.Subaddress = true
	if page := list(t, b, who, review.Find{}); !slices.Equal(rowIDs(page), ids(tagged.ID, plain.ID)) || !counts(page.Total, 2) {
		t.Errorf("%v", rowIDs(page))
	}
	do(t, b, who, review.Act{Do: review.Release, IDs: ids(tagged.ID)})
}

// TestW08_Roles: each role may what its permissions say, and nothing else.
func TestW08_Roles(t *testing.T) {
	b := newBed(t)
	roles := map[string]*people.Actor{"admin": admin(), "operator": operator(), "auditor": auditor(), "user": ann(), "nobody": nil}
	token := admin()
	token.By, token.Scopes = people.ByToken, []people.Permission{people.SeeMail}
	roles["token"] = token
	for _, c := range []struct {
		class string
		act   review.Verb
		may   string
	}{
		{"spam", review.Release, "admin operator user"},
		{"virus", review.Release, "admin"},
		{"malformed", review.Release, "admin"},
		{"policy", review.Release, "admin operator"},
		{"spam", review.Delete, "admin operator user"},
		{"spam", review.Spam, "admin operator user"},
		{"spam", review.Seen, "admin operator auditor user token"},
		{"spam", review.Take, "admin operator"},
		{"spam", review.Approve, "admin operator"},
		{"spam", review.Deny, "admin operator"},
		{"policy", review.Ask, "operator user"},
	} {
		for name, who := range roles {
			it := b.hold(t, c.class, "ann@example.org")
			before := b.lines(t)
			_, err := b.Do(t.Context(), who, review.Act{Do: c.act, IDs: ids(it.ID)})
			if want := slices.Contains(strings.Fields(c.may), name); (err == nil) != want {
				t.Errorf("%s %s of %s: %v", name, c.act, c.class, err)
			}
			if err != nil && (!errors.Is(err, review.ErrForbidden) && !errors.Is(err, review.ErrNotFound) || states(t, b, it.ID) != "kept") {
				t.Errorf("%s %s of %s: %v, and it is %s", name, c.act, c.class, err, states(t, b, it.ID))
			}
			if n := b.lines(t) - before; n != 1 {
				t.Errorf("%s %s of %s left %d lines", name, c.act, c.class, n)
			}
		}
	}
	it := b.hold(t, "spam", "ann@example.org")
	for name, who := range roles {
		r, err := b.Content(t.Context(), who, it.ID, "text")
		if want := slices.Contains([]string{"admin", "operator", "user"}, name); (err == nil) != want {
			t.Errorf("%s reads: %v", name, err)
		}
		if err == nil {
			r.Close()
		}
		if r, err := b.Content(t.Context(), who, it.ID, "download"); err == nil {
			r.Close()
			if name != "admin" && name != "operator" {
				t.Errorf("%s downloads", name)
			}
		}
		if _, err := b.Audit(t.Context(), who, 0, 10); (err == nil) != (name == "admin" || name == "auditor") {
			t.Errorf("%s reads the log of acts: %v", name, err)
		}
		if _, err := b.Track(t.Context(), who, review.Find{}); (err == nil) != (name == "admin" || name == "operator" || name == "auditor") {
			t.Errorf("%s tracks: %v", name, err)
		}
	}
}

// TestW13_Reads: each read of a message is noted, and so is each that was refused.
func TestW13_Reads(t *testing.T) {
	b := newBed(t)
	it := b.hold(t, "spam", "ann@example.org")
	for _, why := range []string{"text", "html", "raw"} {
		r, err := b.Content(t.Context(), ann(), it.ID, why)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		r.Close()
		if err != nil || !strings.HasSuffix(string(text), "hello\r\n") {
			t.Errorf("%q, %v", text, err)
		}
		if l := b.last(t); l.Act != "read" || l.Object != it.ID || l.Who != "ann@example.org" || l.Note != why || l.Result != "done" {
			t.Errorf("%+v", l)
		}
	}
	if _, err := b.Content(t.Context(), ben(), it.ID, "text"); !errors.Is(err, review.ErrNotFound) {
		t.Error(err)
	}
	if l := b.last(t); l.Result != "refused" || l.Who != "ben@example.org" || b.lines(t) != 4 {
		t.Errorf("%+v", l)
	}
}

// Random persons do random things with random messages: what changes is in their sight and theirs
// by right, and what they are shown names nobody else.
func TestW07_NothingOutOfSight(t *testing.T) {
	b := newBed(t)
	r := rand.New(rand.NewPCG(1, 2))
	everybody := []string{"ann@example.org", "ben@example.org", "cid@other.example", "dot@other.example"}
	classes := []string{"spam", "spoof", "virus", "malformed", "attachment", "policy", "undelivered"}
	actors := []*people.Actor{operator(), admin(), auditor(), ann(), ben(), of("other.example"), actor(people.User, "cid", "cid@other.example")}
	verbs := []review.Verb{review.Release, review.Delete, review.Spam, review.Ask, review.Approve, review.Deny, review.Seen, review.Take}
	var held []string
	for range 40 {
		to := slices.Clone(everybody)
		r.Shuffle(len(to), func(i, j int) { to[i], to[j] = to[j], to[i] })
		it := quarantinetest.Item(b.clock.Now(), to[:1+r.IntN(4)]...)
		for i := range it.Copies {
			it.Copies[i].Class = classes[r.IntN(len(classes))]
		}
		b.clock.Add(1e9)
		quarantinetest.Hold(t, b.held, it, []byte("Subject: x\r\n\r\nhello\r\n"))
		held = append(held, it.ID)
	}
	for range 150 {
		who, verb := actors[r.IntN(len(actors))], verbs[r.IntN(len(verbs))]
		a := review.Act{Do: verb, Reason: "x"}
		if r.IntN(4) == 0 && verb != review.Ask && verb != review.Approve && verb != review.Deny {
			a.Find = &review.Find{Class: classes[r.IntN(len(classes))], Recipient: []string{"", everybody[r.IntN(4)]}[r.IntN(2)]}
		} else {
			for range 1 + r.IntN(3) {
				a.IDs = append(a.IDs, held[r.IntN(len(held))])
			}
		}
		if r.IntN(4) == 0 && len(a.IDs) == 1 {
			a.To = []mail.Address{quarantinetest.Address(everybody[r.IntN(4)])}
		}
		before := snapshot(t, b, held)
		b.clock.Add(time.Hour) // the same refusal within one would be counted
		lines := b.lines(t)
		_, err := b.Do(t.Context(), who, a)
		var input *review.InputError
		if n := b.lines(t) - lines; n != 1 && !(n == 0 && errors.As(err, &input)) {
			t.Errorf("%s %+v left %d lines, %v", who.Login, a, n, err)
		}
		for i, it := range snapshot(t, b, held) {
			for k, c := range it.Copies {
				if was := before[i].Copies[k]; was.State != c.State {
					checkRight(t, who, &a, &was, &c)
				}
			}
		}
	}
	for _, who := range actors {
		for _, view := range []string{"", "all", "released", "deleted", "asked"} {
			for _, row := range list(t, b, who, review.Find{View: view, Limit: 500}).Rows {
				for _, c := range row.Copies {
					if !who.Sees(c.Recipient.Address) || who.Right(c.Class) < people.RightSee {
						t.Errorf("%s is shown a copy of %s, %s", who.Login, c.Recipient.Address, c.Class)
					}
				}
				if row.Asked != nil && !who.Sees(quarantinetest.Address(row.Asked.For)) {
					t.Errorf("%s is shown a request for %s", who.Login, row.Asked.For)
				}
			}
		}
	}
}

func snapshot(t testing.TB, b *bed, held []string) (out []*quarantine.Item) {
	t.Helper()
	for _, id := range held {
		it, err := b.held.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, it)
	}
	return out
}

func checkRight(t testing.TB, who *people.Actor, a *review.Act, was, is *quarantine.Copy) {
	t.Helper()
	to := is.Recipient.Address
	ok := who.Sees(to) && who.Right(is.Class) >= people.RightSee && is.By == who.Login
	switch is.State {
	case quarantine.Released:
		ok = ok && (a.Do == review.Release || a.Do == review.Approve) && who.May(people.Release) && who.Right(is.Class) >= people.RightRelease &&
			(is.Class != "virus" && is.Class != "malformed" || who.May(people.ReleaseDangerous))
	case quarantine.Deleted:
		ok = ok && a.Do == review.Delete && who.May(people.Delete)
	case quarantine.Spam:
		ok = ok && a.Do == review.Spam && who.May(people.ReportSpam)
	default:
		ok = false
	}
	if a.Find != nil {
		ok = ok && (a.Find.Class == "" || a.Find.Class == is.Class) && (a.Find.Recipient == "" || a.Find.Recipient == to.String())
	}
	if len(a.To) > 0 {
		ok = ok && a.To[0] == to
	}
	if !ok {
		t.Errorf("%s: %+v made of a copy for %s (%s) that was %s: %s by %s", who.Login, a, to, is.Class, was.State, is.State, is.By)
	}
}

// An auditor of some domains reads what was done with their mail.
func TestW13_AuditInSight(t *testing.T) {
	b := newBed(t)
	mine, both, other := b.hold(t, "spam", "ann@example.org"), b.hold(t, "spam", "ann@example.org", "x@other.example"), b.hold(t, "spam", "x@other.example")
	for _, it := range []*quarantine.Item{mine, both, other} {
		do(t, b, operator(), review.Act{Do: review.Release, IDs: ids(it.ID)})
	}
	who := auditor()
	if lines, err := b.Audit(t.Context(), who, 0, 10); err != nil || len(lines) != 3 {
		t.Errorf("%+v, %v", lines, err)
	}
	who.Domains = []string{"example.org"}
	if lines, err := b.Audit(t.Context(), who, 0, 10); err != nil || len(lines) != 1 || lines[0].Object != mine.ID {
		t.Errorf("%+v, %v", lines, err)
	}
}

// What strangers write into a request is an error for them, and never one of ours.
func TestW11_HostileInput(t *testing.T) {
	b := newBed(t)
	b.hold(t, "spam", "ann@example.org")
	for _, f := range []review.Find{{Cursor: "x"}, {Cursor: "-1"}, {Cursor: "99999999999999999999"}, {View: "no"}, {State: "held"}, {Query: strings.Repeat("x", 5000)},
		{Query: `subject == `}, {Query: `rcpt == "a' OR 1=1 --"`}, {Query: "'; DROP TABLE items; --"}, {Query: "\x00\xff"}, {Sender: "%"}, {Recipient: "@"}, {Rule: "\"'"},
		{Recipient: "_____________________"}, {Limit: -5}, {Limit: 1 << 30}, {Class: "spam' OR '1'='1"}} {
		var input *review.InputError
		var query *review.QueryError
		page, err := b.List(t.Context(), operator(), f)
		if err != nil && !errors.As(err, &input) && !errors.As(err, &query) {
			t.Errorf("%+v: %v", f, err)
		}
		if err == nil && f.Limit == 0 && f.Query != "" && len(page.Rows) != 0 {
			t.Errorf("%+v finds %d", f, len(page.Rows))
		}
		if _, err := b.Track(t.Context(), operator(), f); err != nil && !errors.As(err, &input) && !errors.As(err, &query) {
			t.Errorf("track %+v: %v", f, err)
		}
	}
	var input *review.InputError
	many := make([]string, 501)
	for i := range many {
		many[i] = strings.Repeat("x", i+1)
	}
	for _, a := range []review.Act{{}, {Do: "explode", IDs: ids("x")}, {Do: review.Delete}, {Do: review.Delete, IDs: ids("x"), Find: &review.Find{}}, {Do: review.Delete, IDs: many},
		{Do: review.Ask, Find: &review.Find{}}, {Do: review.Release, IDs: ids("x"), Reason: strings.Repeat("x", 2000)}, {Do: review.Release, IDs: ids("x"), Reason: "\xff"},
		{Do: review.Delete, Find: &review.Find{View: "no"}}, {Do: review.Release, IDs: ids("x", "y"), To: []mail.Address{{Local: "a", Domain: "b"}}}, {Do: review.Delete, IDs: ids("x"), Allow: &review.Allow{}}} {
		if _, err := b.Do(t.Context(), operator(), a); !errors.As(err, &input) {
			t.Errorf("%+v: %v", a, err)
		}
	}
	if n := b.lines(t); n != 0 {
		t.Errorf("%d lines", n)
	}
}

// However much others did, an auditor of some domains gets full pages until the log ends.
func TestW13_AuditPagesAreFull(t *testing.T) {
	b := newBed(t)
	mine := b.hold(t, "spam", "ann@example.org")
	var wg sync.WaitGroup
	note := func(n int, object string) {
		for range n {
			wg.Go(func() {
				if err := b.log.Note(context.Background(), audit.Line{Who: "x", Act: "read", Object: object}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	note(3, mine.ID)
	note(5200, "elsewhere")
	note(1, mine.ID)
	who := auditor()
	who.Domains = []string{"example.org"}
	lines, err := b.Audit(t.Context(), who, 0, 3)
	if err != nil || len(lines) != 3 || lines[2].N != 2 {
		t.Fatalf("%+v, %v", lines, err)
	}
	if lines, err = b.Audit(t.Context(), who, lines[2].N, 3); err != nil || len(lines) != 1 || lines[0].N != 1 {
		t.Errorf("%+v, %v", lines, err)
	}
}

// What somebody may not do leaves a line, once an hour; so does a look at what is out of sight.
func TestW13_RefusalsLeaveLines(t *testing.T) {
	b := newBed(t)
	virus, policy := b.hold(t, "virus", "ann@example.org"), b.hold(t, "policy", "ann@example.org")
	do(t, b, ann(), review.Act{Do: review.Ask, IDs: ids(policy.ID)})
	for _, c := range []struct {
		who  *people.Actor
		act  string
		try  func(who *people.Actor) error
		want error
	}{
		{operator(), "release", func(who *people.Actor) error {
			_, err := b.Do(t.Context(), who, review.Act{Do: review.Release, IDs: ids(virus.ID)})
			return err
		}, review.ErrForbidden},
		{of("example.org"), "release", func(who *people.Actor) error {
			_, err := b.Do(t.Context(), who, review.Act{Do: review.Release, IDs: ids(virus.ID), Undoing: true})
			return err
		}, review.ErrForbidden},
		{auditor(), "approve", func(who *people.Actor) error {
			_, err := b.Do(t.Context(), who, review.Act{Do: review.Approve, IDs: ids(policy.ID)})
			return err
		}, review.ErrForbidden},
		{ann(), "approve", func(who *people.Actor) error {
			_, err := b.Do(t.Context(), who, review.Act{Do: review.Approve, IDs: ids(policy.ID)})
			return err
		}, review.ErrForbidden},
		{ben(), "undo", func(who *people.Actor) error { return b.Undo(t.Context(), who, "01KAQX7M2N0000000000000001") }, review.ErrNotFound},
		{ben(), "look", func(who *people.Actor) error { _, err := b.Message(t.Context(), who, policy.ID); return err }, review.ErrNotFound},
		{auditor(), "read", func(who *people.Actor) error { _, err := b.Content(t.Context(), who, policy.ID, "text"); return err }, review.ErrForbidden},
	} {
		before := b.lines(t)
		for range 20 {
			if err := c.try(c.who); !errors.Is(err, c.want) {
				t.Errorf("%s by %s: %v", c.act, c.who.Login, err)
			}
		}
		if l := b.last(t); b.lines(t)-before != 1 || l.Who != c.who.Login || l.Act != c.act || l.Result != "refused" || l.Object == "" {
			t.Errorf("%d lines, the last %+v", b.lines(t)-before, l)
		}
	}
}

// An act on many messages none of which is in sight leaves nothing behind but a count.
func TestW11_ActsOnNothingLeaveNothing(t *testing.T) {
	b := newBed(t)
	it := b.hold(t, "spam", "ann@example.org")
	for i := range 5 {
		var ids []string
		for k := range 100 {
			ids = append(ids, fmt.Sprintf("unknown-%d-%d", i, k))
		}
		if _, err := b.Do(t.Context(), ben(), review.Act{Do: review.Delete, IDs: append(ids, it.ID)}); !errors.Is(err, review.ErrNotFound) {
			t.Error(err)
		}
	}
	var acts, items int
	if err := b.db.Reader().QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM review_acts), (SELECT count(*) FROM review_act_items)").Scan(&acts, &items); err != nil || acts+items > 0 {
		t.Errorf("%d acts, %d items, %v", acts, items, err)
	}
	if n := b.lines(t); n != 1 {
		t.Errorf("%d lines", n)
	}
	if done := do(t, b, ann(), review.Act{Do: review.Delete, IDs: ids("unknown", it.ID)}); done.Tally.Done != 1 || done.Tally.Refused != 1 {
		t.Errorf("%+v", done)
	}
}
