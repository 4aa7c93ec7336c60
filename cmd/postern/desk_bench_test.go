package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/lists"
	"postern/review"
)

// deskBench is the rules room over many entries of the journal, under the built-in policy and as
// many rules again.
func deskBench(b *testing.B, n int) (*deskRules, *review.Draft) {
	b.Helper()
	j, fs, policy := benchJournal(b, n)
	cfg := &Config{Hostname: "mx.example.org", Domains: []string{"example.org"}}
	set, err := newRuleSet(cfg, "", nil)
	if err != nil {
		b.Fatal(err)
	}
	c := &candidate{set: set, rules: policy, filters: fs, tests: &testReport{}}
	p := &program{cfg: cfg, stores: &stores{journal: j, lists: &lists.Store{}}, policy: &policyState{now: c}}
	var text strings.Builder
	text.WriteString("include: builtin\nrules:\n")
	for i := range 40 {
		fmt.Fprintf(&text, "  - {name: own-%d, when: 'any(content.links, .host == \"h%d.example\") and dmarc.result != \"pass\" or content.subject contains \"offer %d\"', do: quarantine}\n", i, i, i)
	}
	return newDeskRules(p), &review.Draft{Files: []review.RuleFile{{Name: "20.yaml", Text: text.String()}}}
}

// While somebody types: mistakes and doubts of 55 rules.
func BenchmarkDeskErrors(b *testing.B) {
	d, draft := deskBench(b, 1)
	for b.Loop() {
		t, err := d.Try(b.Context(), draft, review.OnlyErrors, nil)
		if err != nil || len(t.Problems) > 0 {
			b.Fatal(t, err)
		}
	}
}

// An entry of the lists against past mail, of which every message is held.
func BenchmarkDeskWouldAllow(b *testing.B) {
	const n = 20_000
	d, _ := deskBench(b, n)
	e, err := lists.ParseEntry("friend.example")
	if err != nil {
		b.Fatal(err)
	}
	live := d.p.policy.current()
	for b.Loop() {
		t := &allowTrial{policy: live.rules, entry: &e, index: (&lists.Index{}).With(e), facts: newStoredFacts(newFactReader(live.filters, nil)), out: &review.Effect{}}
		if _, _, err := backwards(b.Context(), d.p.journal, time.Now(), 365, t.message); err != nil || t.out.Looked == 0 {
			b.Fatal(t.out, err)
		}
		b.ReportMetric(float64(t.out.Looked), "looked")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/message")
}
