package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/encoding/json"

	"postern/filters"
	"postern/journal"
	"postern/mail"
	"postern/policies"
	"postern/review"
)

// asGolden compares text with a file, or writes it with -update.
func asGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("..", "..", "testdata", "desk", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s is out of date (-update writes it; read the diff): %v\n%s", file, err, got)
	}
}

var anID = regexp.MustCompile(`\b01[0-9A-HJKMNP-TV-Z]{24}\b`)

// What explain tells of mail that is held by score, refused by DMARC, delivered beside a shadow,
// and of which a filter gave no answer.
func TestDeskExplainGolden(t *testing.T) {
	t.Parallel()
	s := newDeskSite(t, map[string]string{"10.yaml": `include: builtin
rules:
  - {name: pills, when: 'content.subject contains "pills" and not lists.allowed', score: 3}
  - {name: stranger, when: not history.known and len(content.links) > 0, score: 2.5}
  - {name: spam, when: score >= 5, class: spam, do: quarantine, because: "score {{score}}"}
  - {name: dark, when: 'content.subject startsWith "Lunch"', do: reject, shadow: true, because: no lunch}
  - {name: big, when: 'message.size > 1000000 or content.header["x-big"] == "yes"', do: quarantine}
`})
	var b strings.Builder
	for _, m := range []struct{ from, subject, body string }{
		{"friend.example", "Cheap pills", "see http://shop.evil.example/\r\n"},
		{"bank.example", "Your account", "x\r\n"},
		{"friend.example", "Lunch?", "x\r\n"},
	} {
		s.sent++
		text := strings.Replace(letter(fmt.Sprint("golden", s.sent), m.subject, m.body), "friend.example", m.from, 1)
		sendMail(t, s.g.addr, text, "a@example.org")
		list, err := newDeskRules(s.g.program).Explain(t.Context(), s.last(t), nil)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		fmt.Fprintf(&b, "== %s: %s\n", m.from, m.subject)
		writeExplained(&b, &list[0])
	}
	asGolden(t, "explain.golden", anID.ReplaceAllString(b.String(), "ID"))
}

func writeExplained(b *strings.Builder, x *review.Explained) {
	fmt.Fprintf(b, "%s by %q for %s\n", x.Do, x.Rule, x.Recipient)
	for _, s := range x.Steps {
		fmt.Fprintf(b, "%-21s %-10s %s", s.Place, s.Result, s.Rule)
		for _, note := range []struct {
			is   bool
			text string
		}{{s.Decided, "decided"}, {s.Shadow, "shadow"}, {s.Breaker, "breaker open"}, {s.Do != "", s.Do}, {s.Score != 0, fmt.Sprintf("score %+g", s.Score)}, {s.Why != "", s.Why}} {
			if note.is {
				b.WriteString("; " + note.text)
			}
		}
		b.WriteString("\n")
		if s.Result == review.StepNotAsked || s.Result == review.StepNo && len(s.Parts) > 3 {
			continue
		}
		for _, p := range s.Parts {
			fmt.Fprintf(b, "    %-10s %s\n", p.Value, clip(p.Text, wide))
			if p.Values != "" || p.Why != "" {
				fmt.Fprintf(b, "               %s\n", strings.Trim(p.Values+" | "+p.Why, " |"))
			}
		}
	}
	for _, s := range x.Sources {
		var facts []string
		for name, v := range s.Facts {
			facts = append(facts, name+" "+v)
		}
		slices.Sort(facts)
		fmt.Fprintf(b, "source %s, %s: %s\n", s.Filter, s.State, strings.Join(facts, ", "))
	}
	for _, f := range x.Flips {
		fmt.Fprintf(b, "flip   %s\n", f)
	}
	for _, s := range []string{x.NoFlips, x.Shadow, x.Gone} {
		if s != "" {
			fmt.Fprintf(b, "note   %s\n", s)
		}
	}
	b.WriteString("\n")
}

// Rules drafted from messages of all kinds: each loads, raises no doubt, and is text of which a
// stranger wrote no line.
func TestDeskDraftGolden(t *testing.T) {
	t.Parallel()
	from := func(address string) []filters.From {
		return []filters.From{{Name: "x", Address: address, Domain: address[strings.LastIndexByte(address, '@')+1:]}}
	}
	delivered, held := journal.Outcome{Do: "deliver"}, journal.Outcome{Do: "quarantine", Rule: "own", Place: "20-own.yaml:2"}
	for _, x := range []struct {
		name    string
		o       journal.Outcome
		sender  string
		content *filters.ContentFacts
		dmarc   string
		spf     string
		files   policies.Files
	}{
		{"plain", delivered, "a@shop.example", &filters.ContentFacts{From: from("a@shop.example"), Subject: "Re: Special offer 4711 for you only"}, "pass", "pass", nil},
		{"link", delivered, "a@shop.example", &filters.ContentFacts{From: from("a@shop.example"), Links: []filters.Link{{Host: "www.shop.example"}, {Host: "gmail.com"}, {Host: "evil.example"}}}, "none", "pass", nil},
		{"spoof", held, "a@evil.example", &filters.ContentFacts{From: from("boss@bank.example"), Attachments: []filters.Attachment{{Name: "Invoice.DOCM"}}}, "fail", "pass", nil},
		{"provider", delivered, "x@gmail.com", &filters.ContentFacts{From: from("x@gmail.com"), Subject: "Hi"}, "pass", "pass", nil},
		{"null", held, "", nil, "", "none", nil},
		{"envelope", held, "a@evil.example", nil, "", "pass", nil},
		{"hostile", delivered, "a@evil.example", &filters.ContentFacts{From: from("a@evil.example"), Subject: "x\"); do: deliver {{spf.result}} # \u202e\n- name: evil\u2028 'quoted' \\ words", Attachments: []filters.Attachment{{Name: "a.{{x}}"}}}, "pass", "pass", nil},
		{"rtl", delivered, "a@evil.example", &filters.ContentFacts{From: from("a@evil.example"), Subject: "مرحبا بكم في المتجر"}, "pass", "pass", nil},
		{"taken", delivered, "a@evil.example", &filters.ContentFacts{From: from("a@evil.example")}, "pass", "pass",
			policies.Files{"10.yaml": []byte("rules:\n- {name: from-evil-example, when: spf.result == \"fail\", do: reject}\n\ntests:\n- {name: t, facts: {spf: {result: fail}}, expect: {do: reject}}\n"), "90.yaml": []byte("shadow: true\nrules:\n- {name: dark, when: true, do: reject}\n")}},
		{"before", held, "a@evil.example", &filters.ContentFacts{From: from("a@evil.example")}, "pass", "pass",
			policies.Files{"10-early.yaml": []byte("rules: [{name: x, when: spf.result == \"fail\", do: reject}]\n"), "20-own.yaml": []byte("rules:\n  - {name: own, when: content.size > 1, do: quarantine}\n")}},
		{"one-line", held, "a@evil.example", &filters.ContentFacts{From: from("a@evil.example")}, "pass", "pass",
			policies.Files{"00-first.yaml": []byte("rules: [{name: x, when: spf.result == \"fail\", do: reject}]\n")}},
	} {
		cfg := defaultConfig()
		cfg.Domains = []string{"example.org"}
		var folder *policies.Set
		if x.files != nil {
			cfg.Rules = "rules"
			folder = policies.Of("rules", x.files)
		}
		set, err := newRuleSet(cfg, cfg.Rules, folder)
		if err != nil {
			t.Fatal(err)
		}
		fs := filterList(cfg, outside{})
		policy, err := set.compile(fs)
		if err != nil {
			t.Fatal(x.name, err)
		}
		e := &journal.Entry{ID: "01K9ZT0A6X2V9S3M8Q4R5W7Y1B", Facts: map[string]json.RawMessage{}, Envelope: mail.Envelope{Client: mail.Client{Addr: netip.MustParseAddr("192.0.2.7")}}}
		if x.sender != "" {
			if e.Envelope.Sender, err = mail.ParseAddress(x.sender, true); err != nil {
				t.Fatal(err)
			}
		}
		put := func(name string, v any) {
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			e.Facts[name] = text
		}
		if x.content != nil {
			put("content", x.content)
			put("dmarc", filters.DMARCFacts{Result: x.dmarc, Domain: x.content.From[0].Domain})
		}
		put("spf", filters.SPFFacts{Result: x.spf})
		live := &candidate{set: set, rules: policy, filters: fs}
		d := &deskRules{p: &program{cfg: cfg, policy: &policyState{now: live}}}
		cfg.Rules = "" // nothing stands on disk
		draft, err := d.draftOf(e, &x.o)
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		p, problems, err := d.plan(live, draft.Files)
		if err != nil || problems != nil {
			t.Fatal(x.name, problems, err)
		}
		if err := p.look(cfg, fs); err != nil || len(p.Lint) > 0 {
			t.Errorf("%s: %v %v", x.name, err, p.Lint)
		}
		var b strings.Builder
		for _, f := range draft.Files {
			fmt.Fprintf(&b, "## %s\n%s", f.Name, f.Text)
		}
		asGolden(t, "draft-"+x.name+".golden", b.String())
	}
}
