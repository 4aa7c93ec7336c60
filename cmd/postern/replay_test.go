package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/journal"
	"postern/rules"
)

// replaySite is a gateway that has judged a few messages by rules with shadows among them.
func replaySite(t *testing.T) (s *site, ids map[string]string) {
	t.Helper()
	s, _, ids = replayed(t)
	return s, ids
}

func replayed(t *testing.T) (s *site, g *running, ids map[string]string) {
	t.Helper()
	s = newSite(t, newSink(t, nil).addr, "rules: rules\n")
	s.write(t, "rules/10.yaml", `rules:
  - {name: pills, when: 'content.subject contains "pills"', do: quarantine, class: spam, because: "{{content.subject}}"}
  - {name: lunch, when: 'content.subject contains "Lunch"', do: reject, shadow: true, because: "no lunch for {{rcpt.local}}"}
  - {name: never, when: clamav.infected, do: reject, shadow: true}
  - {name: scanned, when: 'clamav.error != ""', do: quarantine, shadow: true, gather: true}
`)
	g = s.serve(t)
	sendMail(t, g.addr, letter("pills", "Cheap pills", "take them at noon\r\n"), "a@example.org", "b@example.org")
	sendMail(t, g.addr, letter("lunch", "Lunch", "x\r\n"), "a@example.org")
	sendMail(t, g.addr, letter("plain", "Nothing \"special\"\\", "x\r\n"), "b@example.org")
	if err := g.program.journal.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries, _, err := g.program.journal.Search(t.Context(), journal.Query{})
	if err != nil || len(entries) != 3 {
		t.Fatal(err, len(entries))
	}
	ids = map[string]string{}
	for i, name := range []string{"plain", "lunch", "pills"} {
		ids[name] = entries[i].ID
	}
	return s, g, ids
}

func TestRulesShadow(t *testing.T) {
	t.Parallel()
	s, ids := replaySite(t)
	code, stdout, stderr := postern("rules", "shadow", "-c", s.conf, "--since", "1h", "--json")
	var r shadowReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitDone {
		t.Fatal(err, code, stderr)
	}
	if r.Decisions != 4 || len(r.Rules) != 3 || r.Rules[0].Rule != "lunch" {
		t.Fatalf("%s", stdout)
	}
	l := r.Rules[0]
	if l.Seen != 2 || l.Matched != 1 || l.Would != 1 || len(l.Changes) != 1 || l.Changes[0].Was != "deliver" || l.Changes[0].Would != "reject" ||
		l.Changes[0].Examples[0].ID != ids["lunch"] || l.Changes[0].Examples[0].Because != "no lunch for a" || l.Changes[0].Examples[0].Recipient != "a@example.org" {
		t.Errorf("%s", stdout)
	}
	code, stdout, _ = postern("rules", "shadow", "-c", s.conf)
	for _, want := range []string{"LOOKED AT  MATCHED  UNDECIDED  WOULD CHANGE", "        2        1          0             1  lunch\n",
		"lunch: 1 would be refused (was delivered)\n  " + ids["lunch"], "Lunch | no lunch for a", "never: 2 not decided, the last time since clamav is off"} {
		if code != exitDone || !strings.Contains(stdout, want) {
			t.Errorf("exit %d, no %q in\n%s", code, want, stdout)
		}
	}
	s2 := newSite(t, "127.0.0.1:9", "")
	if code, _, stderr := postern("rules", "shadow", "-c", s2.conf); code != exitFailed || !strings.Contains(stderr, "it is not there") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

func TestRulesReplay(t *testing.T) {
	t.Parallel()
	s, ids := replaySite(t)
	s.write(t, "new/10.yaml", `rules:
  - {name: noon, when: 'content.text contains "noon"', do: reject, because: at noon}
  - {name: list, when: lists.denied, do: discard}
  - {name: lunch, when: 'content.subject contains "Lunch"', do: quarantine}
`)
	run := func(args ...string) *replayReport {
		t.Helper()
		code, stdout, stderr := postern(append([]string{"rules", "replay", "-c", s.conf, "--json"}, args...)...)
		r := &replayReport{}
		if err := json.Unmarshal([]byte(stdout), r); err != nil || code != exitDone {
			t.Fatalf("exit %d, %v %s", code, err, stderr)
		}
		return r
	}
	if r := run("--since", "1h"); r.Messages != 3 || r.Decisions != 4 || r.Unchanged != 4 || r.Contradictions != 0 {
		t.Errorf("by the same rules: %+v", r)
	}
	r := run("--rules", s.dir+"/new")
	if r.Undecidable != 4 || len(r.Missing) != 1 || r.Missing[0] != (missingFact{"content.text", 4}) {
		t.Errorf("%+v", r)
	}
	// One is in quarantine: its text is looked at again, and lists that nobody asked then as they are now.
	r = run("--rules", s.dir+"/new", "--recompute")
	if r.GatheredAgain != 1 || r.Refused != 2 || r.Undecidable != 2 || len(r.Changes) != 1 || r.Changes[0].Count != 2 {
		t.Fatalf("%+v", r)
	}
	if x := r.Changes[0]; x.Was != "quarantine" || x.WasRule != "pills" || x.Would != "reject" || x.Rule != "noon" || x.Examples[0].ID != ids["pills"] ||
		x.Examples[1].Recipient != "b@example.org" || x.Examples[0].Because != "at noon" || time.Since(x.Examples[0].Received) > time.Hour {
		t.Errorf("%+v", x)
	}
	code, stdout, _ := postern("rules", "replay", "-c", s.conf, "--rules", s.dir+"/new")
	if code != exitDone || !strings.Contains(stdout, "3 messages, 4 decisions: 0 unchanged, 4 undecidable\n") || !strings.Contains(stdout, "     4  content.text\n") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	if code, _, stderr := postern("rules", "replay", "-c", s.conf, "--rules", s.dir+"/none"); code != exitFailed || !strings.Contains(stderr, "none") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

func TestRulesPin(t *testing.T) {
	t.Parallel()
	s, ids := replaySite(t)
	file := filepath.Join(s.dir, "rules/10.yaml")
	pin := func(code int, words string, args ...string) string {
		t.Helper()
		got, stdout, stderr := postern(append([]string{"rules", "pin", "-c", s.conf}, args...)...)
		if got != code || !strings.Contains(stdout+stderr, words) {
			t.Fatalf("%v: exit %d, want %d and %q\n%s%s", args, got, code, words, stdout, stderr)
		}
		return stdout
	}
	// Printed: a file by itself that loads, and passes with the rules that decided.
	s.write(t, "rules/20.yaml", pin(exitDone, `- name: "`+ids["pills"], ids["pills"]))
	s.write(t, "rules/30.yaml", pin(exitDone, `subject: "Nothing \"special\"\\"`, ids["plain"]))
	if code, stdout, stderr := postern("rules", "test", "-c", s.conf); code != exitDone || !strings.Contains(stdout, "2 of 2 tests pass") {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	// Added to a file: it says whether it passes.
	before, _ := os.ReadFile(file)
	pin(exitDone, "it passes with the rules as they are", ids["plain"], "-o", file, "--recipient", "b@example.org")
	pin(exitDone, "- do: quarantine\n      + do: deliver", ids["lunch"], "--expect", "quarantine", "-o", file)
	after, _ := os.ReadFile(file)
	if !strings.HasPrefix(string(after), string(before)+"tests:\n") || strings.Count(string(after), "\ntests:\n") != 1 || strings.Count(string(after), "- name: \"") != 2 {
		t.Errorf("%s", after)
	}
	if code, stdout, _ := postern("rules", "test", "-c", s.conf); code != exitFailed || !strings.Contains(stdout, "3 of 4 tests pass") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	// It stays as it was when something is wrong.
	pin(exitFailed, "already", ids["plain"], "-o", file)
	s.write(t, "odd/1.yaml", "tests: []\n")
	pin(exitFailed, "by hand", ids["plain"], "-o", s.dir+"/odd/1.yaml")
	s.write(t, "odd/1.yaml", "rules: [{name: a, when: nonsense, do: reject}]\n")
	pin(exitFailed, "unknown name nonsense", ids["plain"], "-o", s.dir+"/odd/1.yaml")
	s.write(t, "odd/1.yaml", "rules: []\n")
	pin(exitFailed, `there is no rule "pills"`, ids["pills"], "-o", s.dir+"/odd/1.yaml")
	pin(exitDone, "it passes", ids["pills"], "--expect", "deliver", "-o", s.dir+"/odd/1.yaml")
	pin(exitFailed, "no entry", "01K9ZT0A6X2V9S3M8Q4R5W7Y1B")
	pin(exitFailed, "not asked about a copy", ids["plain"], "--recipient", "a@example.org")
	pin(exitUsage, "--expect", ids["plain"], "--expect", "none")
	// Without names of people, and what no rule reads.
	text := pin(exitDone, "do: quarantine", ids["pills"], "--anonymous")
	for _, no := range []string{"eve", "a@example.org", "headers", "spf", "helo"} {
		if strings.Contains(text, no) {
			t.Errorf("%q is in\n%s", no, text)
		}
	}
	if !strings.Contains(text, `subject: "Cheap pills"`) || !strings.Contains(text, `local: "user1"`) {
		t.Error(text)
	}
}

func TestWithTest(t *testing.T) {
	p := &pin{name: "n", facts: map[string]map[string]any{"spf": {"result": "fail"}}, do: "deliver"}
	entry := p.text("")
	if want := "- name: \"n\"\n  facts:\n    spf:\n      result: \"fail\"\n  expect: {do: deliver}\n"; entry != want {
		t.Fatalf("%s", entry)
	}
	indented := p.text("  ")
	for text, want := range map[string]string{
		"":                              "tests:\n" + indented,
		"rules: []":                     "rules: []\ntests:\n" + indented,
		"tests:\n- {name: a}\n":         "tests:\n- {name: a}\n" + entry,
		"tests: # all\n    - {name: a}": "tests: # all\n    - {name: a}\n" + p.text("    "),
		"tests:\n  - {name: a}\n\n# the rules\nrules:\n  - {name: b}\n": "tests:\n  - {name: a}\n" + indented + "\n# the rules\nrules:\n  - {name: b}\n",
		"tests:\n  - {name: a}\n\n\n":                                   "tests:\n  - {name: a}\n" + indented + "\n\n",
	} {
		got, err := withTest(text, p)
		if err != nil || got != want {
			t.Errorf("%q: %v\n%q\nwant\n%q", text, err, got, want)
		}
	}
}

// What the YAML of tests cannot hold is written so that it comes back as it was.
func TestPinnedTextsComeBack(t *testing.T) {
	for _, s := range []string{"", "a \"b\" \\ c", "x\ny\tz\r", "\x00\x1b\u0085\u2028\ufeff\U000e0041🙂ü", strings.Repeat("long ", 500), "'", "# no: comment", "{{x}}"} {
		p := &pin{name: "n", facts: map[string]map[string]any{"content": {"subject": s, "headers": map[string]any{"x-" + s: []any{s, s}},
			"from": []any{map[string]any{"name": s, "address": "a@b.example", "domain": "b.example"}}}}, do: "deliver"}
		var errs rules.Errors
		policy, err := rules.Compile([]rules.Source{{Name: "a.yaml", Text: []byte("tests:\n" + p.text("  "))}}, rules.Options{Vocabulary: filters.Vocabulary()})
		if errors.As(err, &errs) || err != nil {
			t.Errorf("%q: %v\n%s", s, err, p.text(""))
			continue
		}
		facts := policy.Tests()[0].Facts["content"]
		if fmt.Sprintf("%q", facts["subject"]) != fmt.Sprintf("%q", s) || fmt.Sprintf("%q", facts["headers"].(map[string]any)["x-"+s]) != fmt.Sprintf("%q", []string{s, s}) {
			t.Errorf("%q came back as %q", s, facts)
		}
	}
}

// log show names the change that would have led elsewhere, by the rules of then.
func TestLogShowTellsWhatWouldTurnIt(t *testing.T) {
	t.Parallel()
	s, ids := replaySite(t)
	s.write(t, "rules/10.yaml", "rules: []\n") // the history has what was in force
	code, stdout, stderr := postern("log", "show", "-c", s.conf, "--json", ids["pills"])
	if code != exitDone {
		t.Fatal(code, stderr)
	}
	wantFields(t, lines(t, stdout)[0], map[string]any{"outcomes.0.place": "10.yaml:2", "outcomes.0.flip.0.fact": "content.subject",
		"outcomes.0.flip.0.from": "Cheap pills", "outcomes.0.flip.0.to": "something else", "outcomes.0.flip.0.do": "deliver", "facts.sender.address": "eve@friend.example"})
	code, stdout, _ = postern("log", "show", "-c", s.conf, ids["lunch"])
	for _, want := range []string{"in the shadow    refused by lunch, were it live: no lunch for a", "content.subject: Lunch → pills gives quarantine (rule pills)",
		"pills    false    content.subject contains \"pills\"  ← content.subject = \"Lunch\""} {
		if code != exitDone || !strings.Contains(stdout, want) {
			t.Errorf("exit %d, no %q in\n%s", code, want, stdout)
		}
	}
}

func TestTryTellsWhatWouldTurnIt(t *testing.T) {
	dir := t.TempDir()
	tryFile(t, dir, "1.yaml", `rules: [{name: big, when: message.size > 10, do: quarantine}]`)
	code, stdout, stderr := postern("try", "--rules", dir, "--zone", tryFile(t, t.TempDir(), "zone", ""), tryFile(t, t.TempDir(), "m.eml", tryPlain))
	if want := "one of these would have changed it\n    message.size: "; code != exitDone || !strings.Contains(stdout, want) || !strings.Contains(stdout, "→ 10 gives deliver (no rule objects)") {
		t.Errorf("exit %d %s\n%s", code, stderr, stdout)
	}
	code, stdout, _ = postern("try", "--json", "--rules", dir, "--zone", tryFile(t, t.TempDir(), "zone", ""), tryFile(t, t.TempDir(), "m.eml", tryPlain))
	if code != exitDone {
		t.Fatal(code)
	}
	wantFields(t, lines(t, stdout)[0], map[string]any{"verdicts.0.flip.0.fact": "message.size", "verdicts.0.flip.0.to": "10", "verdicts.0.flip.0.do": "deliver"})
}

// Mail that is delivered as before, but tagged or stripped otherwise, is a change of its own.
func TestReplayTellsOtherEffects(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "rules: rules\n")
	s.write(t, "rules/10.yaml", `rules:
  - {name: tag, when: 'content.subject contains "offer"', effects: [tag_subject("[ad]"), add_header("X-From", "{{sender.domain}}")]}
  - {name: note, when: 'content.subject contains "big"', effects: [add_header("X-Big", "yes")]}
`)
	g := s.serve(t)
	for i, subject := range []string{"offer", "big offer", "plain"} {
		sendMail(t, g.addr, letter(fmt.Sprint("effects", i), subject, "x\r\n"), "a@example.org")
	}
	if err := g.program.journal.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		rules   string
		changed int
		effects string
	}{
		{`[tag_subject("[ad]"), add_header("X-From", "{{sender.domain}}")]}`, 0, ""},
		{`[add_header("X-From", "{{spf.result}}"), tag_subject("[ad]")]}`, 0, ""}, // what shows facts is compared by its name
		{`[tag_subject("[AD]"), add_header("X-From", "{{sender.domain}}")]}`, 2, `+tag_subject("[AD]") -tag_subject`},
		{`[tag_subject("[ad]")]}`, 2, `-add_header`},
		{`[tag_subject("[ad]"), add_header("X-From", "{{sender.domain}}"), add_header("X-New", "1")]}`, 2, `+add_header("X-New", "1")`},
	} {
		s.write(t, "other/10.yaml", `rules:
  - {name: note, when: 'content.subject contains "big"', effects: [add_header("X-Big", "yes")]}
  - {name: tag, when: 'content.subject contains "offer"', effects: `+x.rules+"\n")
		code, stdout, stderr := postern("rules", "replay", "-c", s.conf, "--rules", filepath.Join(s.dir, "other"), "--json")
		var r replayReport
		if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitDone {
			t.Fatal(err, code, stderr)
		}
		got := ""
		if len(r.Changes) > 0 {
			got = strings.Join(r.Changes[0].Effects, " ")
		}
		if r.Effects != x.changed || r.Unchanged != 3-x.changed || got != x.effects {
			t.Errorf("%s: %s", x.rules, stdout)
		}
	}
}
