package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

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
