package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/journal"
	"postern/mail"
	"postern/people"
	"postern/policies"
	"postern/review"
	"postern/store"
)

// A verdict is explained by the rules of then, also when others are in force; when nobody has
// those any more, that is said, and the values stay.
func TestDeskExplainsThePast(t *testing.T) {
	t.Parallel()
	s := newDeskSite(t, map[string]string{"10.yaml": holdingSet("one")})
	s.fate(t, "one")
	id, admin := s.last(t), person(people.Admin)
	explain := func() review.Explained {
		t.Helper()
		m, err := s.desk.Message(t.Context(), admin, id)
		if err != nil || len(m.Explain) != 1 {
			t.Fatal(m, err)
		}
		return m.Explain[0]
	}
	now := explain()
	if now.Gone != "" || len(now.Flips) == 0 || now.Steps[0].When == "" {
		t.Fatalf("%+v", now)
	}
	b, err := s.desk.Rulebook(t.Context(), admin)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.desk.ApplyRules(t.Context(), admin, review.Draft{Base: b.Version, Files: []review.RuleFile{{Name: "10.yaml", Text: holdingSet("two")}}}); err != nil {
		t.Fatal(err)
	}
	if then := explain(); !reflect.DeepEqual(then, now) {
		t.Errorf("under other rules it is explained as\n%+v, before as\n%+v", then, now)
	}
	if err := s.g.program.db.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec("DELETE FROM versions")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	d := newDeskRules(s.g.program) // without what it remembers
	list, err := d.Explain(t.Context(), id, nil)
	if err != nil || len(list) != 1 || !strings.Contains(list[0].Gone, "does not have version") || list[0].Steps[0].When != "" || list[0].Flips != nil ||
		list[0].Steps[0].Parts[0].Values != now.Steps[0].Parts[0].Values || list[0].Do != "quarantine" || !list[0].Steps[0].Decided {
		t.Errorf("%+v %v", list, err)
	}
}

// One finds, the others wait for it; who gives up does not stop it, an error is not kept, and a
// panic is one.
func TestCache(t *testing.T) {
	t.Parallel()
	var c cache[int]
	began, go1, found := make(chan struct{}), make(chan struct{}), 0
	slow := func(context.Context) (int, error) {
		found++
		close(began)
		<-go1
		return 7, nil
	}
	impatient, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() {
		_, err := c.get(impatient, "a", time.Hour, slow)
		gaveUp <- err
	}()
	<-began
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	got := make(chan int)
	for range 3 {
		go func() {
			n, err := c.get(t.Context(), "a", time.Hour, slow)
			if err != nil {
				t.Error(err)
			}
			got <- n
		}()
	}
	close(go1)
	for range 3 {
		if n := <-got; n != 7 {
			t.Error(n)
		}
	}
	if found != 1 {
		t.Errorf("found %d times", found)
	}
	for _, bad := range []func(context.Context) (int, error){
		func(context.Context) (int, error) { panic("oh") }, func(context.Context) (int, error) { return 0, errors.New("no") }} {
		if _, err := c.get(t.Context(), "b", time.Hour, bad); err == nil {
			t.Error("no error")
		}
	}
	if n, err := c.get(t.Context(), "b", time.Hour, func(context.Context) (int, error) { return 8, nil }); n != 8 || err != nil {
		t.Error(n, err)
	}
	if n, _ := c.get(t.Context(), "b", -1, func(context.Context) (int, error) { return 9, nil }); n != 9 {
		t.Error("what is too old is still given")
	}
}

// What keeps rules from being applied is said in words that help.
func TestDeskApplySaysWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	s := newDeskSite(t, map[string]string{"10.yaml": holdingSet("one"), ".git/HEAD": "x"})
	apply := func() error {
		t.Helper()
		b, err := s.desk.Rulebook(t.Context(), person(people.Admin))
		if err != nil {
			t.Fatal(err)
		}
		_, n, err := s.desk.ApplyRules(t.Context(), person(people.Admin), review.Draft{Base: b.Version, Files: []review.RuleFile{{Name: "20.yaml", Text: holdingSet("two")}}})
		if (n == 0) != (err != nil) {
			t.Errorf("%d %v", n, err)
		}
		return err
	}
	var input *review.InputError
	if err := apply(); !errors.As(err, &input) || !strings.Contains(input.Text, "holds .git") {
		t.Error(err)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, "rules/.git")); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 { // root may do it all the same
		if err := os.Chmod(s.dir, 0o500); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(s.dir, 0o700) })
		if err := apply(); !errors.As(err, &input) || !strings.Contains(input.Text, "sudo postern rules apply") {
			t.Error(err)
		}
		if err := os.Chmod(s.dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := apply(); err != nil {
		t.Error(err)
	}
}

// Whatever a stranger wrote, a rule drafted from it loads as one rule, and has the stranger's
// words in it as a text alone; or none is drafted.
func FuzzDeskDraft(f *testing.F) {
	for _, s := range []string{"Special offer", "x\"); do: deliver", "{{spf.result}}", "- name: evil\n  when: true", "a\\", "\u2028\u202e", "# x: y", "a'b`c", strings.Repeat("long ", 100)} {
		f.Add(s, "evil.example", "a.docm", false)
		f.Add(s, s, s, true)
	}
	cfg := defaultConfig()
	cfg.Domains = []string{"example.org"}
	set, err := newRuleSet(cfg, "rules", policies.Of("rules", policies.Files{"10.yaml": []byte("rules: []\n"), "20.yaml": []byte("rules:\n  - {name: x, when: spf.result == \"fail\", do: reject}\n")}))
	if err != nil {
		f.Fatal(err)
	}
	fs := filterList(cfg, outside{})
	policy, err := set.compile(fs)
	if err != nil {
		f.Fatal(err)
	}
	live := &candidate{set: set, rules: policy, filters: fs}
	d := &deskRules{p: &program{cfg: cfg, policy: &policyState{now: live}}}
	f.Fuzz(func(t *testing.T, subject, domain, name string, held bool) {
		put := func(v any) json.RawMessage {
			text, err := json.Marshal(v)
			if err != nil {
				t.Skip()
			}
			return text
		}
		o := journal.Outcome{Do: "deliver"}
		if held {
			o = journal.Outcome{Do: "quarantine", Rule: "x"}
		}
		e := &journal.Entry{ID: "01K9ZT0A6X2V9S3M8Q4R5W7Y1B", Envelope: mail.Envelope{Sender: mail.Address{Local: "a", Domain: domain}},
			Facts: map[string]json.RawMessage{"content": put(filters.ContentFacts{Subject: subject, From: []filters.From{{Address: "a@" + domain, Domain: domain}},
				Links: []filters.Link{{Host: name}}, Attachments: []filters.Attachment{{Name: name}}}), "dmarc": put(filters.DMARCFacts{Result: "pass"})}}
		draft, err := d.draftOf(e, &o)
		if err != nil {
			return // said to who asked
		}
		p, problems, err := d.plan(live, draft.Files)
		if err != nil || problems != nil {
			t.Fatal(problems, err)
		}
		named, err := newRuleSet(cfg, "", policies.Of("", p.files))
		if err != nil {
			t.Fatal(err)
		}
		next, err := named.compile(fs)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(next.Rules()); got != 2 {
			t.Errorf("%d rules are there with the drafted one:\n%s", got, draft.Files[0].Text)
		}
		for _, r := range next.Rules() {
			if r.Name != "x" && (strings.Contains(r.Because, "{{") || r.Do.String() == "deliver") {
				t.Errorf("%+v", r)
			}
		}
	})
}
