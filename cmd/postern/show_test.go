package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"postern/journal"
	"postern/mail"
	"postern/quarantine"
	"postern/rules"
)

// Every command has --help with an example (the command line is a contract).
func TestEveryCommandHasAnExample(t *testing.T) {
	var walk func(path []string, cmd reflect.Type)
	walk = func(path []string, cmd reflect.Type) {
		var out, errs bytes.Buffer
		if code := run(append(append([]string{}, path...), "--help"), &out, &errs); code != exitDone || errs.Len() > 0 {
			t.Errorf("%v --help: %d %s", path, code, errs.String())
		}
		if want := strings.Join(append([]string{"postern"}, path...), " "); !strings.Contains(out.String(), "Example:") || strings.Count(out.String(), want) < 2 {
			t.Errorf("%v --help has no example of it:\n%s", path, out.String())
		}
		checkLines(t, out.String(), 100)
		for i := range cmd.NumField() {
			if f := cmd.Field(i); strings.Contains(string(f.Tag), "cmd:") {
				walk(append(append([]string{}, path...), strings.ToLower(f.Name)), f.Type)
			}
		}
	}
	walk(nil, reflect.TypeFor[cli]())
}

func TestMistakesOnTheCommandLineSayWhereToLook(t *testing.T) {
	for args, want := range map[string]string{
		"":                           "",
		"held":                       "See postern held --help",
		"held list --state foo":      "it is kept, spam, releasing, released, deleted or any\nSee postern held list --help",
		"log search --result refusd": "did you mean refused?",
		"held show":                  "See postern held show --help",
		"serve --listne :25":         "did you mean \"--listen\"",
		"try --ip x no.eml":          "--ip \"x\" is no IP address\nSee postern try --help",
	} {
		var out, errs bytes.Buffer
		if code := run(strings.Fields(args), &out, &errs); code != exitUsage || !strings.Contains(errs.String(), want) {
			t.Errorf("postern %s: %d %s", args, code, errs.String())
		}
	}
}

// What strangers sent can neither break lines nor steer the terminal, and lines stay short.
func TestStrangersTextOnATerminal(t *testing.T) {
	hostile := "x\n\x1b[31mred\r\u202e\u0085\u009b31m\u200b\u2028\x7f\U000e0041" + strings.Repeat("wide ", 100)
	addr := mail.Address{Local: "ana", Domain: "example.org"}
	env := mail.Envelope{ID: "01M81NKBQJATZV5BCAGC5588C4", Sender: addr, Client: mail.Client{Addr: netip.MustParseAddr("192.0.2.1"), Helo: hostile}}
	facts, err := json.Marshal(map[string]any{"subject": hostile, "list": strings.Split(strings.Repeat("a,", 300), ","), "header": map[string]string{hostile: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	walk, err := json.Marshal([]rules.Step{{Rule: "a", Result: rules.True, Matched: true, Leaves: []rules.Leaf{{Text: hostile + " content.subject"}}}, {Rule: "b", Result: rules.Unknown, Why: hostile, Leaves: []rules.Leaf{{Text: hostile}, {Text: "y"}}}})
	if err != nil {
		t.Fatal(err)
	}
	e := &journal.Entry{ID: env.ID, Received: time.Now(), Envelope: env, Subject: hostile, From: hostile, Result: "held", Reply: mail.Reply{Code: 250, Text: hostile},
		Outcomes: []journal.Outcome{{Recipient: addr, Do: "quarantine", Verdict: "reject", Rule: "a", Because: hostile, Reply: hostile, Upstream: hostile, Rules: walk}},
		Steps:    []journal.Step{{What: "relay", Why: hostile}},
		Filters:  []journal.Timing{{Name: "content", State: "failed", Error: hostile}}, Facts: map[string]json.RawMessage{"content": facts}}
	it := &quarantine.Item{ID: env.ID, State: quarantine.Released, Envelope: env, Subject: hostile, From: hostile,
		Copies: []quarantine.Copy{{Recipient: mail.RcptTo{Address: addr}, Because: hostile, Note: hostile, By: "ana"}}}
	var out bytes.Buffer
	printFound(&out, e)
	printEntry(&out, e, &explanation{flips: [][]rules.Flip{{{Leaf: hostile, Rule: "x"}, {Fact: "content.subject", From: hostile, To: "y"}}},
		facts: []*factTable{newFactTable(e.Facts)}})
	printHeld(&out, it)
	printItem(&out, it)
	checkLines(t, out.String(), 120)
	for _, want := range []string{"content.subject = ", "content.list[9] = ", "301 in all", "(the rules said reject)", "RELEASED | "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

// The JSON of a command may land on a terminal, too, and says the same all the same.
func TestStrangersTextInJSON(t *testing.T) {
	want := "x\n\x1b[31mred\u009b31m\u202e\u200b\u2028\x7f\U000e0041 äöü 日本 <&>\\\""
	var out bytes.Buffer
	if err := printObject(&out, want); err != nil {
		t.Fatal(err)
	}
	checkLines(t, out.String(), 200)
	var got string
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	if !strings.Contains(out.String(), "äöü 日本") {
		t.Errorf("what everybody can read is escaped: %s", out.String())
	}
}

func checkLines(t *testing.T, text string, most int) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if n := utf8.RuneCountInString(line); n > most {
			t.Errorf("%d columns: %s", n, line)
		}
		if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsGraphic(r) }); i >= 0 {
			t.Errorf("a control character: %q", line)
		}
	}
}
