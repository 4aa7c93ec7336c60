package rules

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// lint gives the warnings of rules in the short form "rule code".
func lint(t *testing.T, text string, change ...func(*Options)) []string {
	t.Helper()
	var out []string
	for _, w := range compile(t, text, change...).Lint() {
		out = append(out, w.Rule+" "+w.Code)
	}
	return out
}

// listOf makes rules a, b, c of "do: condition".
func listOf(rules []string) string {
	var b strings.Builder
	b.WriteString("rules:\n")
	for i, r := range rules {
		does, when, _ := strings.Cut(r, ": ")
		key := "do: "
		if strings.Trim(does, "-0123456789") == "" {
			key = "score: "
		}
		fmt.Fprintf(&b, "  - name: %c\n    when: |\n      %s\n    %s%s\n", 'a'+i, when, key, does)
	}
	return b.String()
}

// TestLintFinds: each of these sets of rules has what the linter says, and nothing else.
func TestLintFinds(t *testing.T) {
	for _, c := range []struct {
		want  string
		rules []string
	}{
		// never matches
		{"a never-matches", []string{`quarantine: false`}},
		{"a never-matches", []string{`quarantine: spf.result == "pass" and spf.result == "fail"`}},
		{"a never-matches", []string{`quarantine: spf.result == "pass" and spf.result in ["fail", "none"]`}},
		{"a never-matches", []string{`quarantine: spf.result == "pass" and not (spf.result in ["pass", "none"])`}},
		{"a never-matches", []string{`quarantine: client.trusted and not client.trusted`}},
		{"a never-matches", []string{`quarantine: client.trusted and client.trusted == false`}},
		{"a never-matches", []string{`quarantine: message.size > 100 and message.size < 50`}},
		{"a never-matches", []string{`quarantine: message.size > 100 and 100 >= message.size`}},
		{"a never-matches", []string{`quarantine: message.size == 5 and message.size != 5`}},
		{"a never-matches", []string{`quarantine: (spf.result == "pass" or spf.result == "none") and spf.result == "fail"`}},
		{"a never-matches", []string{`quarantine: not (dmarc.policy in ["none", "quarantine", "reject"]) and dmarc.policy != ""`}},
		{"b never-matches", []string{`2: spf.result == "fail"`, `quarantine: score > 5 and score < 2`}},
		// values that are not there
		{"a unknown-value", []string{`quarantine: spf.result == "bad"`}},
		{"a unknown-value", []string{`quarantine: "Fail" == spf.result`}},
		{"a unknown-value", []string{`quarantine: spf.result in ["fail", "hardfail"]`}},
		{"a unknown-value", []string{`quarantine: client.trusted or any(dkim.signatures, .result == "neutral")`}},
		{"a unknown-value", []string{`quarantine: content.header["X-Spam"] == "yes"`}},
		{"a unknown-value", []string{`quarantine: "X-Spam" in content.header`}},
		{"a unknown-value", []string{`quarantine: sender.domain == "Spam.example"`}},
		// never reached
		{"b never-reached", []string{`quarantine: true`, `reject: spf.result == "fail"`}},
		{"b never-reached", []string{`quarantine: spf.result in ["fail", "softfail"]`, `reject: spf.result == "fail" and message.size > 5`}},
		{"b never-reached", []string{`quarantine: message.size > 100`, `quarantine: message.size >= 200`}},
		{"b never-reached", []string{`quarantine: client.trusted or content.gtube`, `reject: content.gtube`}},
		{"b never-reached", []string{`quarantine: content.gtube`, `3: content.gtube and client.trusted`}},
		{"c never-reached", []string{`quarantine: spf.result == "pass" or content.gtube`, `quarantine: spf.result != "pass"`, `reject: content.malformed`}},
		{"b never-reached", []string{`quarantine: any(content.attachments, .name endsWith ".exe")`, `reject: spf.result == "fail" and any(content.attachments, .name endsWith ".exe")`}},
		// repeats, contradicts
		{"b repeats", []string{`quarantine: content.gtube and client.trusted`, `quarantine: client.trusted and content.gtube`}},
		{"b repeats", []string{`2: content.gtube`, `2: content.gtube == true`}},
		{"b contradicts", []string{`quarantine: content.gtube or client.trusted`, `reject: client.trusted or content.gtube`}},
		{"b contradicts", []string{`quarantine: spf.result != "pass"`, `discard: not (spf.result == "pass")`}},
		// who sent it
		{"a from-without-proof", []string{`deliver: any(content.from, .domain == "partner.example")`}},
		{"a from-without-proof", []string{`deliver: content.from[0].address == "boss@partner.example" and spf.result == "pass"`}},
		{"a from-without-proof", []string{`deliver: any(content.from, .domain == "partner.example") and dkim.result == "pass"`}},
		{"a from-without-proof", []string{`deliver: content.header["from"] contains "partner.example" and dmarc.result != "fail"`}},
		{"a from-without-proof", []string{`deliver: dmarc.result == "pass" and client.trusted or any(content.from, .domain == "partner.example")`}},
		{"a from-without-proof", []string{`deliver: sender.domain == "partner.example"`}},
		{"a from-without-proof", []string{`deliver: inList(sender.address, "partners.txt")`}},
		{"a from-without-proof", []string{`deliver: client.helo == "mx.partner.example"`}},
		{"a from-without-proof", []string{`deliver: dmarc.domain == "partner.example"`}},
		{"a from-without-proof", []string{`deliver: spf.domain == "partner.example" and spf.result != "fail"`}},
		{"a from-alone", []string{`quarantine: any(content.from, .domain == "shop.example")`}},
		{"a from-alone", []string{`reject: any(content.from, isSubdomain(.domain, "shop.example"))`}},
		{"a from-alone", []string{`discard: content.gtube or content.from[0].address in ["a@shop.example"]`}},
		// whole providers
		{"a whole-provider", []string{`deliver: sender.domain == "gmail.com" and spf.result == "pass"`}},
		{"a whole-provider", []string{`deliver: any(content.from, .domain in ["outlook.com", "partner.example"]) and dmarc.result == "pass"`}},
		{"a whole-provider", []string{`deliver: glob(sender.address, "*@hotmail.com") and spf.result == "pass"`}},
		{"a whole-provider", []string{`deliver: any(dkim.signatures, .result == "pass" and .domain == "sendgrid.net")`}},
		{"a whole-provider", []string{`deliver: inNetwork(client.addr, "40.0.0.0/8")`}},
		{"a whole-provider", []string{`deliver: inNetwork(client.addr, "2a01::/16")`}},
		{"a whole-provider", []string{`deliver: spf.result == "pass"`}},
		{"a whole-provider", []string{`deliver: dmarc.result == "pass" and not content.gtube`}},
	} {
		got := lint(t, listOf(c.rules), func(o *Options) { o.Files = listFiles() })
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%q: %q, want %q", c.rules, got, c.want)
		}
	}
}

// TestLintIsSilent: none of these is a mistake.
func TestLintIsSilent(t *testing.T) {
	for _, rules := range [][]string{
		{`deliver: true`},
		{`quarantine: spf.result == "fail"`, `reject: spf.result == "softfail"`, `deliver: true`},
		{`quarantine: spf.result == "fail" and content.gtube`, `reject: spf.result == "fail"`, `reject: content.gtube`},
		{`quarantine: spf.result == ""`},
		{`quarantine: spf.result != "pass"`, `defer: spf.error != ""`},
		{`2: spf.result == "fail"`, `3: content.gtube`, `quarantine: score > 1`, `discard: score > 4`, `1: content.gtube and client.trusted`},
		{`2: content.gtube`, `1: content.gtube`, `quarantine: score > 2`},
		{`quarantine: score > 2`, `2: content.gtube`, `quarantine: score > 2`},
		{`quarantine: message.size > 100`, `reject: message.size > 50`},
		{`quarantine: message.size > 100 and message.size < 200`, `reject: message.size > 100 and message.size <= 200`},
		{`quarantine: content.header["x-spam"] == "YES"`, `quarantine: content.subject == "Spam"`},
		{`quarantine: sender.domain == "spam.example"`, `reject: sender.domain endsWith ".example"`},
		{`reject: isSubdomain(sender.domain, "spam.example")`},
		{`deliver: any(content.from, inList(.address, "partners.txt")) and dmarc.result == "pass"`},
		{`deliver: sender.domain == "partner.example" and spf.result == "pass"`},
		{`deliver: any(content.from, .domain == "partner.example") and sender.domain == "partner.example" and spf.result == "pass"`},
		{`deliver: any(content.from, .address == "ann@gmail.com") and dmarc.result == "pass"`},
		{`deliver: any(dkim.signatures, .result == "pass" and .domain == "partner.example")`},
		{`deliver: inNetwork(client.addr, "192.0.2.0/24", "10.0.0.0/8", "fd00::/8")`},
		{`deliver: client.trusted`},
		{`deliver: dmarc.domain == "partner.example" and dmarc.result == "pass"`},
		{`deliver: spf.domain == "partner.example" and spf.result == "pass"`},
		{`deliver: len(content.from) == 1 and rcpt.local == "abuse"`},
		{`deliver: client.addr == "192.0.2.7" and any(content.from, .domain == "gmail.com")`},
		{`deliver: rcpt.local in ["postmaster", "abuse"]`},
		{`deliver: sender.address == "" and rcpt.local == "postmaster"`},
		{`deliver: dmarc.result == "pass" and rcpt.local == "newsletter"`},
		{`deliver: content.header["list-id"] contains "golang-nuts" and dmarc.result == "pass"`},
		{`quarantine: any(content.from, .domain == rcpt.domain) and dmarc.result != "pass"`},
		{`quarantine: any(content.from, .domain == "bank.example") and dmarc.result == "fail"`},
		{`quarantine: any(content.from, .name contains "Ann Boss" and .domain != "example.org")`},
		{`quarantine: any(content.from, .domain == "shop.example") and rcpt.local == "boss"`},
		{`defer: any(content.from, .domain == "shop.example")`},
		{`quarantine: len(content.from) != 1`},
	} {
		if got := lint(t, listOf(rules), func(o *Options) { o.Files = listFiles() }); len(got) != 0 {
			t.Errorf("%q: %q", rules, got)
		}
	}
	for _, off := range [][]string{nil, {"clamav"}, {"clamav", "dkim"}} {
		if w := builtinPolicy(t, func(o *Options) { o.Off = off }).Lint(); len(w) != 0 {
			t.Errorf("the built-in policy without %v: %v", off, w)
		}
	}
	text, err := os.ReadFile("../testdata/rules/good-all.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := lint(t, string(text)); len(got) != 0 {
		t.Error(got)
	}
}

func TestLintOfOffShadowAndDates(t *testing.T) {
	off := func(o *Options) { o.Off = []string{"clamav", "dkim"} }
	got := lint(t, listOf([]string{`quarantine: clamav.infected or dkim.result == "fail" and clamav.too_big`, `quarantine: content.gtube`}), off)
	if strings.Join(got, ", ") != "a filter-off, a filter-off" {
		t.Error(got)
	}
	for text, want := range map[string]string{
		`{name: a, when: 'true', do: reject, shadow: true}, {name: b, when: client.trusted, do: deliver}`:                                                  "",
		`{name: a, when: client.trusted, do: reject}, {name: b, when: client.trusted, do: quarantine, shadow: true}`:                                       "",
		`{name: a, when: client.trusted, do: reject, until: 2026-12-01}, {name: b, when: client.trusted, do: quarantine}`:                                  "",
		`{name: a, when: client.trusted, do: reject}, {name: b, when: client.trusted, do: quarantine, until: 2026-12-01}`:                                  "b never-reached",
		`{name: a, when: client.trusted, effects: ['tag_subject("x")']}, {name: b, when: client.trusted, effects: ['tag_subject("y")']}`:                   "",
		`{name: a, when: client.trusted, effects: ['tag_subject("x")']}, {name: b, when: client.trusted, effects: ['tag_subject("x")']}`:                   "b repeats",
		`{name: a, when: client.trusted, do: deliver, effects: ['tag_subject("x")']}, {name: b, when: 'client.trusted and content.gtube', do: quarantine}`: "b never-reached",
	} {
		if got := strings.Join(lint(t, "rules: ["+text+"]"), ", "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestWarningsArePrintedLikeErrors: with place, caret and what to do, and as JSON.
func TestWarningsArePrintedLikeErrors(t *testing.T) {
	w := compile(t, "rules:\n  - name: a\n    when: client.trusted or spf.result == \"fial\"\n    do: quarantine\n").Lint()
	if len(w) != 1 {
		t.Fatal(w)
	}
	want := "test.yaml:3:43: rule a: spf.result is never \"fial\" [unknown-value]\n" +
		"    3 |     when: client.trusted or spf.result == \"fial\"\n" +
		"      |                                           ^ did you mean fail?"
	if got := w[0].String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	b, err := json.Marshal(w[0])
	if err != nil || string(b) != `{"rule":"a","file":"test.yaml","line":3,"column":43,"code":"unknown-value","message":"spf.result is never \"fial\"","hint":"did you mean fail?"}` {
		t.Errorf("%s %v", b, err)
	}
}

// TestLintIsTrue: what is said never to match never matches, and what is said never to be
// reached never decides, whatever the facts are.
func TestLintIsTrue(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 3))
	said := make(map[string]int)
	for range 1500 {
		text := randomRules(r)
		p := compile(t, text)
		dead := make(map[string]string)
		for _, w := range p.Lint() {
			if w.Code != "unknown-value" {
				dead[w.Rule] = w.Code
				said[w.Code]++
			}
		}
		for range 10 {
			if len(dead) == 0 {
				break
			}
			facts := randomFacts(r)
			for name, f := range facts {
				for f == errTest { // an unknown lets a rule be passed over that decides otherwise
					f = randomFacts(r)[name]
				}
				facts[name] = f
			}
			for _, s := range decide(t, p, facts).Steps {
				if code := dead[s.Rule]; code == "never-matches" && s.Matched || (code == "never-reached" || code == "contradicts" || code == "repeats") && s.Matched && s.Do != None {
					t.Fatalf("%s: %s, but it does %v\n%s", s.Rule, code, s.Do, text)
				}
			}
		}
	}
	if said["never-matches"] < 20 || said["never-reached"] < 20 {
		t.Errorf("the test is too weak: %v", said)
	}
}
