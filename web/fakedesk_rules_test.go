package web

import (
	"context"
	"strings"
	"time"

	"postern/people"
	"postern/review"
)

const sampleRules = `# Mail that pretends to be from somebody else.
rules:
  - name: boss-name
    when: from.name in staff and from.domain != "example.org"
    class: spoof
    do: quarantine
    because: "The name is that of {{from.name}} of example.org, but the address is at {{from.domain}}"

  # Banks and parcel services, whose names are borrowed most.
  - name: brand-lookalike
    when: >
      from.domain in brands and dmarc.result != "pass"
      and any(content.links, .host != from.domain)
    class: spoof
    do: quarantine
    because: "It says it is from {{from.domain}}, but DMARC failed and the link leads to {{links.host}}"
`

func (d *fakeDesk) Overview(_ context.Context, who *people.Actor, days int) (*review.Overview, error) {
	o := &review.Overview{Since: d.now.Add(-time.Duration(days) * 24 * time.Hour), Until: d.now, Step: "day", Asked: 3, Oldest: d.now.Add(-5 * time.Hour), Held: 412, Released: 19, Spam: 141}
	if days <= 2 {
		o.Step = "hour"
	}
	for i := range 30 {
		base := 900 + 180*(i*7%5) - 500*boolInt(i%7 > 4)
		o.Slots = append(o.Slots, review.Slot{At: o.Since.Add(time.Duration(i) * o.Until.Sub(o.Since) / 30), Delivered: base, Held: 9 + i*5%17, Refused: 140 + i*37%120, Deferred: 20 + i*13%31, Discarded: i % 3})
	}
	o.Rules = []review.RuleUse{
		{Rule: "spam-score", Class: "spam", Place: "40-spam.yaml:1", Do: "quarantine", Hits: 301, Held: 297, Released: 4, Spam: 120},
		{Rule: "macro-documents", Class: "attachment", Place: "15-files.yaml:9", Do: "quarantine", Hits: 58, Held: 58, Released: 13},
		{Rule: "brand-lookalike", Class: "spoof", Place: "20-spoof.yaml:12", Do: "quarantine", Hits: 41, Held: 41, Released: 1, Spam: 21},
		{Rule: "boss-name", Class: "spoof", Place: "20-spoof.yaml:3", Do: "quarantine", Hits: 12, Held: 12, Released: 1},
		{Rule: "new-domains", Class: "spam", Place: "30-new.yaml:3", Do: "reject", Hits: 88, Would: 88, Shadow: true},
		{Rule: "old-fax-gateway", Class: "policy", Place: "50-legacy.yaml:2", Do: "quarantine", Never: true},
	}
	o.Filters = []review.FilterUse{{Filter: "spf", Ran: 41822, Failed: 3, TimedOut: 12, Median: 18 * time.Millisecond, P95: 220 * time.Millisecond},
		{Filter: "dkim", Ran: 40119, Median: 2 * time.Millisecond, P95: 9 * time.Millisecond},
		{Filter: "clamav", Ran: 9120, TimedOut: 41, Median: 140 * time.Millisecond, P95: 1900 * time.Millisecond}}
	o.Open = []review.Alarm{{Rule: "spam-score", Since: d.now.Add(-40 * time.Minute), Why: "it held 212 messages in an hour, 14 is usual"}}
	o.Health = []review.Neighbour{{Name: "mail server 10.0.0.2:25", OK: true}, {Name: "clamd", OK: false, Why: "no answer for 4 minutes"}, {Name: "DNS", OK: true}, {Name: "store", OK: true, Why: "61 GB free"}}
	return o, nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (d *fakeDesk) Rulebook(ctx context.Context, who *people.Actor) (*review.Rulebook, error) {
	o, _ := d.Overview(ctx, who, 30)
	return &review.Rulebook{Version: "a91f3c", N: 41, Days: 30, Rules: o.Rules, Files: []review.RuleFile{{Name: "20-spoof.yaml", Text: sampleRules}, {Name: "40-spam.yaml", Text: "rules:\n  - name: spam-score\n    when: score >= 6\n    class: spam\n    do: quarantine\n    because: \"Spam score {{score}}\"\n"}},
		Warnings: []string{"50-legacy.yaml:2: old-fax-gateway can never match: 10-partners.yaml:4 decides before"},
		Tests:    []review.TestResult{{Name: "a bank that is one", File: "20-spoof.yaml", OK: true}, {Name: "the boss from home", File: "20-spoof.yaml", OK: false, Why: "want deliver, is quarantine (boss-name)"}}}, nil
}

func (d *fakeDesk) RuleHistory(context.Context, *people.Actor) ([]review.RuleVersion, error) {
	return []review.RuleVersion{{N: 41, At: d.now.Add(-2 * time.Hour), Who: "ben", How: "page", Note: "boss-name in force", Live: true, Rules: 6},
		{N: 40, At: d.now.Add(-50 * time.Hour), Who: "ana", How: "apply", Note: "fewer false positives", Rules: 5}}, nil
}

func (d *fakeDesk) RuleVersion(_ context.Context, _ *people.Actor, n int64) ([]review.RuleFile, error) {
	return []review.RuleFile{{Name: "20-spoof.yaml", Text: strings.Replace(sampleRules, "class: spoof", "class: spam", 1)}}, nil
}

func (d *fakeDesk) DraftRule(_ context.Context, who *people.Actor, id string) (*review.Draft, error) {
	return &review.Draft{Base: "a91f3c", Files: []review.RuleFile{{Name: "60-from-mail.yaml", Text: "rules:\n  - name: mail-like-this\n    when: sender.domain == \"mailer77.example\"\n    class: spam\n    do: quarantine\n    because: \"mail of mailer77.example is held\"\n"}}}, nil
}

func (d *fakeDesk) TryRules(_ context.Context, who *people.Actor, draft review.Draft, days int) (*review.Trial, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drafts = append(d.drafts, draft)
	for _, f := range draft.Files {
		for i, line := range strings.Split(f.Text, "\n") {
			if at := strings.Index(line, "sendr"); at >= 0 {
				return &review.Trial{Problems: []review.RuleProblem{{File: f.Name, Line: i + 1, Column: at + 1, Text: "there is no fact sendr.domain", Hint: "did you mean sender.domain?"}}}, nil
			}
		}
	}
	t := &review.Trial{Version: "b7720e", New: []string{"mail-like-this"}, Tests: []review.TestResult{{Name: "a bank that is one", File: "20-spoof.yaml", OK: true}}}
	if days > 0 {
		t.Replay = &review.Replayed{Days: days, Since: d.now.Add(-time.Duration(days) * 24 * time.Hour), Looked: 4120, Decisions: 4390, Unchanged: 4371, Undecidable: 7, Missing: []string{"links.youngest"},
			Changes: []review.Change{{What: "newly held", Rule: "mail-like-this", Was: "delivered", Because: "mail of mailer77.example is held", Count: 12, Rows: d.rows[:3]}}}
	}
	return t, nil
}

func (d *fakeDesk) ApplyRules(ctx context.Context, who *people.Actor, draft review.Draft) (*review.Trial, int64, error) {
	t, err := d.TryRules(ctx, who, draft, 0)
	if err == nil && len(t.Problems) > 0 {
		return t, 0, nil
	}
	return t, 42, err
}

func (d *fakeDesk) RollBack(context.Context, *people.Actor, int64, string) (int64, error) {
	return 43, nil
}

func (d *fakeDesk) PinTest(_ context.Context, who *people.Actor, id, name string) (string, error) {
	return "- name: " + name + "\n  facts:\n    spf.result: fail\n  expect: quarantine\n", nil
}
