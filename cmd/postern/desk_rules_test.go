package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/audit"
	"postern/lists"
	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/review"
	"postern/web"
)

var _ web.Desk = (*review.Desk)(nil)

// person is somebody acting at the desk.
func person(role people.Role, domains ...string) *people.Actor {
	return &people.Actor{Person: people.Person{ID: string(role), Login: string(role), Role: role, Domains: domains}, By: people.ByPage}
}

// lines gives what the log of acts has of one act, newest first.
func actLines(t *testing.T, p *program, act string) (out []audit.Line) {
	t.Helper()
	all, err := p.audit.List(t.Context(), audit.Query{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if l.Act == act {
			out = append(out, l)
		}
	}
	return out
}

// deskSite is a gateway with rules, and what the desk needs to be asked.
type deskSite struct {
	*site
	g    *running
	desk *review.Desk
	sent int
}

func newDeskSite(t *testing.T, files map[string]string) *deskSite {
	t.Helper()
	s := &deskSite{site: newSite(t, newSink(t, nil).addr, "rules: rules\n")}
	for name, text := range files {
		s.write(t, "rules/"+name, text)
	}
	s.g = s.serve(t)
	s.desk = s.g.program.desk
	return s
}

// fate sends a message and tells what became of it.
func (s *deskSite) fate(t *testing.T, subject string, to ...string) string {
	t.Helper()
	s.sent++
	if to == nil {
		to = []string{"a@example.org"}
	}
	reply := sendMail(t, s.g.addr, letter(fmt.Sprint("desk", s.sent), subject, "x\r\n"), to...)
	if strings.HasPrefix(reply, "250 2.0.0 OK 0") {
		return "held"
	}
	return reply[:3]
}

// last is the id of the newest message.
func (s *deskSite) last(t *testing.T) string {
	t.Helper()
	if err := s.g.program.journal.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	page, err := s.desk.Track(t.Context(), person(people.Admin), review.Find{Limit: 1})
	if err != nil || len(page.Rows) == 0 {
		t.Fatal(err)
	}
	return page.Rows[0].ID
}

// Apply through the desk changes what the running gateway does, and only when nobody else was
// quicker; rollback leads back. Each leaves exactly one line.
func TestDeskAppliesRules(t *testing.T) {
	t.Parallel()
	s := newDeskSite(t, map[string]string{"10.yaml": holdingSet("one"), "list.txt": "a.example\n"})
	admin, ctx := person(people.Admin), t.Context()
	b, err := s.desk.Rulebook(ctx, admin)
	if err != nil || b.Builtin || b.N != 1 || len(b.Files) != 1 || b.Fixed != "" || len(b.Tests) != 1 || !b.Tests[0].OK {
		t.Fatalf("%+v %v", b, err)
	}
	draft := review.Draft{Base: b.Version, Note: "because two", Files: []review.RuleFile{{Name: "20.yaml", Text: holdingSet("two")}}}
	if got := s.fate(t, "two"); got != "250" {
		t.Fatal(got)
	}
	trial, n, err := s.desk.ApplyRules(ctx, admin, draft)
	if err != nil || n != 2 || !slices.Equal(trial.New, []string{"hold-two"}) || len(trial.Tests) != 2 {
		t.Fatalf("%+v %d %v", trial, n, err)
	}
	if got := s.fate(t, "two"); got != "held" {
		t.Error(got)
	}
	if text, err := os.ReadFile(filepath.Join(s.dir, "rules/list.txt")); err != nil || string(text) != "a.example\n" {
		t.Errorf("the list: %q %v", text, err)
	}
	if _, n, err = s.desk.ApplyRules(ctx, admin, draft); !errors.Is(err, review.ErrChanged) || n != 0 {
		t.Errorf("a draft of rules that are not in force any more: %d, %v", n, err)
	}
	after, err := s.desk.Rulebook(ctx, admin)
	if err != nil || after.Version != trial.Version || after.N != 2 || len(after.Files) != 2 {
		t.Errorf("%+v %v", after, err)
	}

	// Tests that fail keep it from being applied, unless somebody insists; mistakes always do.
	failing := review.Draft{Base: after.Version, Files: []review.RuleFile{{Name: "30.yaml", Text: failingRules}}}
	if trial, n, err = s.desk.ApplyRules(ctx, admin, failing); err != nil || n != 0 || trial.Failed != 1 {
		t.Errorf("%+v %d %v", trial, n, err)
	}
	mistaken := review.Draft{Base: after.Version, Force: true, Files: []review.RuleFile{{Name: "30.yaml", Text: "rules: [{name: x, when: spf.reslt == \"fail\", do: reject}]\n"}}}
	if trial, n, err = s.desk.ApplyRules(ctx, admin, mistaken); err != nil || n != 0 || len(trial.Problems) != 1 || trial.Problems[0].File != "30.yaml" || trial.Problems[0].Line != 1 || trial.Problems[0].Column < 2 {
		t.Errorf("%+v %d %v", trial, n, err)
	}
	failing.Force = true
	if trial, n, err = s.desk.ApplyRules(ctx, admin, failing); err != nil || n != 3 {
		t.Errorf("%+v %d %v", trial, n, err)
	}

	// Back, with a file taken away by hand in between.
	if is, err := s.desk.RollBack(ctx, admin, 1, ""); err != nil || is != 4 {
		t.Errorf("%d %v", is, err)
	}
	if got := s.fate(t, "two"); got != "250" {
		t.Error(got)
	}
	list, err := s.desk.RuleHistory(ctx, admin)
	if err != nil || len(list) != 4 || !list[0].Live || list[1].Live || list[3].Live || list[0].Who != "admin" || list[2].Note != "because two" || !list[1].Forced {
		t.Errorf("%+v %v", list, err)
	}
	if files, err := s.desk.RuleVersion(ctx, admin, 2); err != nil || len(files) != 2 || files[1].Text != holdingSet("two") {
		t.Errorf("%+v %v", files, err)
	}
	for _, n := range []int64{0, -1, 99} {
		if _, err := s.desk.RuleVersion(ctx, admin, n); !errors.Is(err, review.ErrNotFound) {
			t.Errorf("version %d: %v", n, err)
		}
	}
	s.write(t, "rules/10.yaml", holdingSet("hand"))
	now, err := s.desk.Rulebook(ctx, admin)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.desk.ApplyRules(ctx, admin, review.Draft{Base: now.Version, Files: draft.Files}); !errors.Is(err, review.ErrChanged) {
		t.Errorf("what somebody is changing by hand would be lost: %v", err)
	}
	if _, err := s.desk.RollBack(ctx, admin, 2, "rescue"); err != nil {
		t.Error(err)
	}
	if list, err = s.desk.RuleHistory(ctx, admin); err != nil || len(list) != 6 || list[1].How != "reload" || list[0].Note != "rescue" {
		t.Errorf("%+v %v", list, err)
	}

	var results []string
	for _, l := range actLines(t, s.g.program, "apply-rules") {
		results = append(results, l.Result)
	}
	if want := []string{"failed", "done", "refused", "refused", "failed", "done"}; !slices.Equal(results, want) {
		t.Errorf("lines %v, want %v", results, want)
	}
	if got := len(actLines(t, s.g.program, "roll-back")); got != 2 {
		t.Errorf("%d lines of two rollbacks", got)
	}
}

// Two who apply at once: one of them wins.
func TestDeskApplyIsOneAtATime(t *testing.T) {
	t.Parallel()
	s := newDeskSite(t, map[string]string{"10.yaml": holdingSet("one")})
	b, err := s.desk.Rulebook(t.Context(), person(people.Admin))
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	for i := range 4 {
		go func() {
			_, _, err := s.desk.ApplyRules(t.Context(), person(people.Admin), review.Draft{Base: b.Version,
				Files: []review.RuleFile{{Name: fmt.Sprintf("2%d.yaml", i), Text: holdingSet(fmt.Sprint("s", i))}}})
			errs <- err
		}()
	}
	won := 0
	for range 4 {
		if err := <-errs; err == nil {
			won++
		} else if !errors.Is(err, review.ErrChanged) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d of four won", won)
	}
}

// What the gateway cannot take is not put in its place, and without a folder nothing is.
func TestDeskWithoutAFolder(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "")
	g := s.serve(t)
	desk, admin := g.program.desk, person(people.Admin)
	b, err := desk.Rulebook(t.Context(), admin)
	if err != nil || !b.Builtin || b.Fixed == "" || len(b.Files) != 1 || !strings.Contains(b.Files[0].Text, "dmarc-reject") || len(b.Rules) < 10 {
		t.Fatalf("%+v %v", b, err)
	}
	var input *review.InputError
	if _, _, err := desk.ApplyRules(t.Context(), admin, review.Draft{Base: b.Version, Files: []review.RuleFile{{Name: "10.yaml", Text: holdingSet("x")}}}); !errors.As(err, &input) {
		t.Error(err)
	}
	if _, err := desk.RollBack(t.Context(), admin, 1, ""); !errors.As(err, &input) {
		t.Error(err)
	}
	trial, err := desk.TryRules(t.Context(), admin, review.Draft{Files: []review.RuleFile{{Name: "10.yaml", Text: holdingSet("x")}}}, 1)
	if err != nil || len(trial.Problems) > 0 || len(trial.Gone) < 10 || len(trial.New) != 1 {
		t.Errorf("%+v %v", trial, err)
	}
	sendMail(t, g.addr, letter("1", "Special offer for you", "see https://pay.evil.example/x\r\n"), "a@example.org")
	if err := g.program.journal.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	page, err := desk.Track(t.Context(), admin, review.Find{})
	if err != nil {
		t.Fatal(err)
	}
	draft, err := desk.DraftRule(t.Context(), admin, page.Rows[0].ID)
	if err != nil || len(draft.Files) != 1 || !strings.HasPrefix(draft.Files[0].Text, "include: builtin\n") {
		t.Fatalf("%+v %v", draft, err)
	}
	if trial, err = desk.TryRules(t.Context(), admin, *draft, 7); err != nil || len(trial.Gone) > 0 || len(trial.Replay.Matches) != 1 || trial.Replay.Matches[0].Count != 1 {
		t.Errorf("%+v %v", trial, err)
	}
}

// Hostile drafts: names that lead elsewhere, tests that read files of the machine.
func TestDeskDraftsReachNothing(t *testing.T) {
	t.Parallel()
	s := newDeskSite(t, map[string]string{"10.yaml": holdingSet("one")})
	operator := person(people.Operator)
	try := func(name, text string) *review.Trial {
		t.Helper()
		trial, err := s.desk.TryRules(t.Context(), operator, review.Draft{Files: []review.RuleFile{{Name: name, Text: text}}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return trial
	}
	for _, name := range []string{"../x.yaml", "/etc/x.yaml", ".x.yaml", "a/b.yaml", "x.yml", "", "x.yaml\n", strings.Repeat("x", 200) + ".yaml"} {
		if trial := try(name, holdingSet("x")); len(trial.Problems) != 1 {
			t.Errorf("%q: %+v", name, trial)
		}
	}
	secret := filepath.Join(s.dir, "secret.eml")
	if err := os.WriteFile(secret, []byte("Subject: canary\r\n\r\nx\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{secret, "../secret.eml", "/etc/passwd"} {
		trial := try("20.yaml", fmt.Sprintf("rules: [{name: x, when: 'content.subject != \"\"', do: reject, because: \"{{content.subject}}\"}]\ntests: [{name: t, message: %q, expect: {because: y}}]\n", file))
		if trial.Failed != 1 || strings.Contains(fmt.Sprintf("%+v", trial), "canary") || !strings.Contains(trial.Tests[1].Why, "not in the folder") {
			t.Errorf("%s: %+v", file, trial)
		}
	}
	if trial := try("20.yaml", "rules: [{name: x, when: 'inList(sender.domain, \"/etc/passwd\")', do: reject}]\n"); len(trial.Problems) == 0 {
		t.Errorf("%+v", trial)
	}
	if trial := try("10.yaml", " "); len(trial.Problems) != 1 || !strings.Contains(trial.Problems[0].Text, "no rule file left") {
		t.Errorf("%+v", trial)
	}
	if _, _, err := s.desk.ApplyRules(t.Context(), operator, review.Draft{}); !errors.Is(err, review.ErrForbidden) {
		t.Error(err)
	}
	if _, err := s.desk.TryRules(t.Context(), person(people.Auditor), review.Draft{}, 0); !errors.Is(err, review.ErrForbidden) {
		t.Error(err)
	}
}

// An operator of some domains sees nothing of the mail of others: not in a trial, a draft, a pin,
// the numbers, or what explain tells.
func TestDeskRulesInSight(t *testing.T) {
	t.Parallel()
	s := newDeskSite(t, map[string]string{"10.yaml": holdingSet("one")})
	s.replace(t, "domains: [example.org]", "domains: [example.org, other.example]")
	s.g.stop(t)
	s.g = s.serve(t)
	s.desk = s.g.program.desk
	s.fate(t, "two", "a@example.org")
	foreign := s.last(t)
	s.fate(t, "two", "b@other.example")
	s.fate(t, "one", "a@example.org", "b@other.example")
	both := s.last(t)
	ctx := t.Context()
	draft := review.Draft{Files: []review.RuleFile{{Name: "20.yaml", Text: holdingSet("two")}}}
	for who, want := range map[*people.Actor]int{person(people.Operator): 2, person(people.Operator, "other.example"): 1, person(people.Operator, "none.example"): 0} {
		trial, err := s.desk.TryRules(ctx, who, draft, 1)
		if err != nil {
			t.Fatal(err)
		}
		count, rows := 0, 0
		for _, c := range trial.Replay.Changes {
			count, rows = count+c.Count, rows+len(c.Rows)
		}
		looked := map[int]int{2: 3, 1: 2, 0: 0}[want]
		if count != want || rows != want || trial.Replay.Matches[0].Count != want || trial.Replay.Looked != looked {
			t.Errorf("%v: %+v", who.Domains, trial.Replay)
		}
		o, err := s.desk.Overview(ctx, who, 1)
		if err != nil {
			t.Fatal(err)
		}
		delivered, held := 0, 0
		for _, x := range o.Slots {
			delivered, held = delivered+x.Delivered, held+x.Held
		}
		if delivered != want || held != min(want, 1) || (o.Filters != nil) != (who.Domains == nil) || o.Held != want {
			t.Errorf("%v: %d delivered, %d held, %+v", who.Domains, delivered, held, o)
		}
	}
	room := newDeskRules(s.g.program)
	for _, domains := range [][]string{nil, {}, {"a b"}, {"a", "b"}} { // one behind the other, out of one cache
		o, err := room.Overview(ctx, 1, domains)
		if err != nil || (o.Held > 0) != (domains == nil) {
			t.Errorf("%q: %+v %v", domains, o, err)
		}
	}
	some := person(people.Operator, "other.example")
	if _, err := s.desk.DraftRule(ctx, some, foreign); !errors.Is(err, review.ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.desk.PinTest(ctx, person(people.Admin, "other.example"), foreign, ""); !errors.Is(err, review.ErrForbidden) {
		t.Error(err)
	}
	m, err := s.desk.Message(ctx, some, both)
	if err != nil || len(m.Explain) != 1 || m.Explain[0].Recipient != "b@other.example" || m.Explain[0].Rule != "hold-one" {
		t.Errorf("%+v %v", m, err)
	}
	user := &people.Actor{Person: people.Person{ID: "u", Login: "u", Role: people.User, Addresses: []mail.Address{m.Envelope.Recipients[0].Address}}, Rights: people.DefaultRights()}
	if m, err := s.desk.Message(ctx, user, both); err != nil || m.Explain != nil {
		t.Errorf("%+v %v", m, err)
	}
}

// A pinned test has no names of people, passes, and is part of the rules from then on.
func TestDeskPinsTests(t *testing.T) {
	t.Parallel()
	s := newDeskSite(t, map[string]string{"10.yaml": holdingSet("one"), "20.yaml": holdingSet("two")})
	s.fate(t, "one", "ana@example.org")
	id, admin := s.last(t), person(people.Admin)
	text, err := s.desk.PinTest(t.Context(), admin, id, "invoices stay held")
	if err != nil || strings.Contains(text, "ana") || !strings.Contains(text, `name: "invoices stay held"`) || !strings.Contains(text, "rule: \"hold-one\"") {
		t.Fatalf("%s %v", text, err)
	}
	file, err := os.ReadFile(filepath.Join(s.dir, "rules/10.yaml"))
	if err != nil || !strings.Contains(string(file), "invoices stay held") {
		t.Errorf("%s %v", file, err)
	}
	b, err := s.desk.Rulebook(t.Context(), admin)
	if err != nil || len(b.Tests) != 3 || b.N != 2 {
		t.Errorf("%+v %v", b, err)
	}
	var input *review.InputError
	if _, err := s.desk.PinTest(t.Context(), admin, id, "invoices stay held"); !errors.As(err, &input) {
		t.Errorf("twice: %v", err)
	}
	if _, err := s.desk.PinTest(t.Context(), admin, id, "x\ny"); !errors.As(err, &input) {
		t.Error(err)
	}
	if _, err := s.desk.PinTest(t.Context(), person(people.Operator), id, ""); !errors.Is(err, review.ErrForbidden) {
		t.Error(err)
	}
	var results []string
	for _, l := range actLines(t, s.g.program, "pin-test") {
		results = append(results, l.Result)
	}
	if want := []string{"refused", "failed", "failed", "done"}; !slices.Equal(results, want) {
		t.Errorf("lines %v, want %v", results, want)
	}
}

// What an entry would have let in: held mail of who is proven to be it, and no other.
func TestDeskWouldAllow(t *testing.T) {
	t.Parallel()
	s := newDeskSite(t, map[string]string{"10.yaml": "include: builtin\nrules: [{name: spammy, when: 'content.subject contains \"offer\"', do: quarantine, class: spam}]\n"})
	s.fate(t, "an offer")
	id := s.last(t)
	s.fate(t, "another offer", "b@example.org")
	s.fate(t, "lunch")
	admin := person(people.Admin)
	would := func(who *people.Actor, a review.Allow) *review.Effect {
		t.Helper()
		f, err := s.desk.WouldAllow(t.Context(), who, id, a)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for scope, want := range map[string]int{"": 2, "a@example.org": 1, "@example.org": 2, "c@example.org": 0} {
		if f := would(admin, review.Allow{Entry: "friend.example", Scope: scope}); f.In != want || len(f.Rows) != want || f.Looked != 3 || f.Unsure != 0 || f.Why != "" {
			t.Errorf("for %q: %+v", scope, f)
		} else if want > 0 && f.Rows[0].Subject == "" {
			t.Errorf("%+v", f.Rows)
		}
	}
	if f := would(admin, review.Allow{Entry: "stranger.example"}); f.In != 0 {
		t.Errorf("%+v", f)
	}
	if _, err := s.desk.Do(t.Context(), admin, review.Act{Do: review.Spam, IDs: []string{id}}); err != nil {
		t.Fatal(err)
	}
	if f := would(admin, review.Allow{Entry: "friend.example"}); f.In != 2 || f.Spam != 1 {
		t.Errorf("%+v", f)
	}
	if _, err := s.g.program.lists.Add(t.Context(), denyEntry(t, "friend.example", "b@example.org")); err != nil {
		t.Fatal(err)
	}
	for s.g.program.lists.Index().Len() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if f := would(admin, review.Allow{Entry: "friend.example"}); f.In != 1 || f.Denied != 1 {
		t.Errorf("%+v", f)
	}
	if _, err := s.desk.WouldAllow(t.Context(), person(people.Operator, "other.example"), id, review.Allow{Entry: "friend.example"}); !errors.Is(err, review.ErrNotFound) {
		t.Error(err)
	}
}

// The overview is what the journal and the quarantine say, also after a crash.
func TestDeskOverviewAfterACrash(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "rules: rules\n")
	s.write(t, "rules/10.yaml", holdingSet("one"))
	g := s.start(t)
	for i, subject := range []string{"one", "two", "one", "three"} {
		sendMail(t, g.addr, letter(fmt.Sprint(i), subject, "x\r\n"), "a@example.org", "b@example.org")
	}
	g.log.must(t, 4, "msg", "message")
	g.kill(t)
	again := s.serve(t)
	admin := person(people.Admin)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var o *review.Overview
	for {
		var err error
		d := newDeskRules(again.program) // without what it remembers
		if o, err = d.Overview(ctx, 1, nil); err != nil {
			t.Fatal(err)
		}
		if !o.Counting {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	delivered, held := 0, 0
	for _, x := range o.Slots {
		delivered, held = delivered+x.Delivered, held+x.Held
	}
	if delivered != 2 || held != 2 || o.Held != 4 || o.Released != 0 {
		t.Errorf("%d %d %+v", delivered, held, o)
	}
	if u := o.Rules[0]; u.Rule != "hold-one" || u.Hits != 2 || u.Held != 4 || u.Never {
		t.Errorf("%+v", u)
	}
	page, err := again.program.desk.List(ctx, admin, review.Find{})
	if err != nil || len(page.Rows) != 2 {
		t.Fatal(err)
	}
	if _, err := again.program.desk.Do(ctx, admin, review.Act{Do: review.Release, IDs: []string{page.Rows[0].ID}}); err != nil {
		t.Fatal(err)
	}
	it, err := again.program.quarantine.Get(ctx, page.Rows[0].ID)
	if err != nil || it.State != quarantine.Released {
		t.Fatal(it, err)
	}
	if o, err = newDeskRules(again.program).Overview(ctx, 30, nil); err != nil || o.Released != 2 || o.Rules[0].Released != 2 || o.Step != "day" || len(o.Slots) != 30 {
		t.Errorf("%+v %v", o, err)
	}
	for _, n := range o.Health {
		if !n.OK {
			t.Errorf("%+v", n)
		}
	}
}

func denyEntry(t *testing.T, value, scope string) *lists.Entry {
	t.Helper()
	e, err := lists.ParseEntry(value)
	if err != nil {
		t.Fatal(err)
	}
	e.Scope = scope
	return &e
}
