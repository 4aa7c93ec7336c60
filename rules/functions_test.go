package rules

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

func listFiles() fstest.MapFS {
	return fstest.MapFS{
		"partners.txt":   {Data: []byte("# ours\n.Example.org # all below\n@b.example\nann@c.example\r\n\n")},
		"lists/deny.txt": {Data: []byte("bad.example\n")},
		"broken.txt":     {Data: []byte("a@b.example\ntwo words\n")},
	}
}

// TestFunctionExamples runs the example of every function that rules may call.
func TestFunctionExamples(t *testing.T) {
	for _, f := range Functions() {
		if f.Doc == "" || !strings.HasPrefix(f.Signature, f.Name+"(") || !strings.Contains(f.Example, f.Name+"(") {
			t.Errorf("%s is not described", f.Name)
		}
		p := compile(t, rulesOf("name: a\n    when: true\n    do: discard\n    because: >-\n      {{"+f.Example+"}}"), func(o *Options) { o.Files = listFiles() })
		if v := decide(t, p, factMap{}.all()); v.Because != f.Result {
			t.Errorf("%s gives %q, the documentation says %q", f.Example, v.Because, f.Result)
		}
	}
}

func TestFunctions(t *testing.T) {
	for expr, want := range map[string]bool{
		`inNetwork("192.0.2.9", "192.0.2.0/24")`:         true,
		`inNetwork("::ffff:192.0.2.9", "192.0.2.0/24")`:  true,
		`inNetwork("192.0.2.9", "192.0.2.9")`:            true,
		`inNetwork("2001:db8::1", "2001:db8::/32")`:      true,
		`inNetwork("2001:db9::1", "2001:db8::/32")`:      false,
		`inNetwork("nonsense", "0.0.0.0/0")`:             false,
		`domainOf("no address") == ""`:                   true,
		`domainOf("\"a@b\"@C.example.") == "c.example"`:  true,
		`orgDomain("example.org") == "example.org"`:      true,
		`orgDomain("a.b.Example.COM.") == "example.com"`: true,
		`orgDomain("com") == "com"`:                      true,
		`orgDomain("") == ""`:                            true,
		`isSubdomain("badexample.org", "example.org")`:   false,
		`isSubdomain("A.Example.ORG", "example.org")`:    true,
		`isSubdomain("example.org", "a.example.org")`:    false,
		`isSubdomain("example.org", client.helo)`:        false,
		`glob("", "*")`:                                                          true,
		`glob("abc", "a?c")`:                                                     true,
		`glob("abc", "a?")`:                                                      false,
		`glob("aXbXc", "a*x*c")`:                                                 true,
		`glob("ÄB", "ä?")`:                                                       true,
		`glob("aab", "*ab")`:                                                     true,
		`glob("abab", "*aba")`:                                                   false,
		`glob("a.b", "a[.]b")`:                                                   false,
		`matchesAny("x", "a*", "b*")`:                                            false,
		`hasWord("reinvoiced", "invoice")`:                                       false,
		`hasWord("invoice", "invoice")`:                                          true,
		`hasWord("INVOICE.pdf", "invoice")`:                                      true,
		`hasWord("please wire transfer now", "wire transfer")`:                   true,
		`hasWord("Größe", "größe")`:                                              true,
		`hasWord("groß", "gro")`:                                                 false,
		`inList("x@sub.example.org", "partners.txt")`:                            true,
		`inList("example.org", "partners.txt")`:                                  true,
		`inList("x@badexample.org", "partners.txt")`:                             false,
		`inList("X@B.example", "partners.txt")`:                                  true,
		`inList("b.example", "partners.txt")`:                                    false,
		`inList("x@sub.b.example", "partners.txt")`:                              false,
		`inList("ann@c.example", "partners.txt")`:                                true,
		`inList("bob@c.example", "partners.txt")`:                                false,
		`hasExtension("a.tar.gz", "gz exe")`:                                     true,
		`hasExtension("exe", "gz exe")`:                                          false,
		`hasExtension("a.exe.txt", "gz exe")`:                                    false,
		`hasExtension("", "exe")`:                                                false,
		`hasExtension("...", "exe")`:                                             false,
		`hasExtension("a.EXE\u00a0 .", "exe")`:                                   true,
		`inList("", "partners.txt")`:                                             false,
		`inList("bad.example", "lists/deny.txt")`:                                true,
		`content.header["x-none"] contains "y"`:                                  false,
		`message.received < date("2026-12-01")`:                                  true,
		`message.received + duration("24h") < date("2026-12-01T00:00:00+01:00")`: true,
		`1 < len(content.subject + "abc") < 4`:                                   true,
		`"a" in ["a", "b"] and "c" not in ["a"]`:                                 true,
	} {
		p := compile(t, rulesOf("name: a\n    when: >-\n      "+expr+"\n    do: discard"), func(o *Options) { o.Files = listFiles() })
		v := decide(t, p, factMap{}.all())
		if got := v.Do == Discard; got != want || v.Do == Quarantine {
			t.Errorf("%s is %v, want %v (%s)", expr, got, want, v.Because)
		}
	}
}

func TestArgumentsAreCheckedAtLoad(t *testing.T) {
	for expr, want := range map[string]string{
		`inList(client.helo, "missing.txt")`:   "does not exist",
		`inList(client.helo, "../etc/passwd")`: "no path below",
		`inList(client.helo, "/etc/passwd")`:   "no path below",
		`inList(client.helo, "broken.txt")`:    "broken.txt:2: one address",
		`inList(client.helo, client.addr)`:     "needs a text written in the rule",
		`inList(client.helo, "partner.txt")`:   "did you mean partners.txt?",
		`inList(client.helo, "list/deny.txt")`: "did you mean lists/deny.txt?",

		`inNetwork(client.addr, "192.0.2.0/33")`:                                    `"192.0.2.0/33" is no network: write 192.0.2.0/24`,
		`inNetwork(client.addr, "example.org")`:                                     "is no network",
		`glob(client.helo, "")`:                                                     "the pattern is empty",
		`matchesAny(client.helo, "a", client.addr)`:                                 "needs a text written in the rule",
		`isSubdomain(sender.domain, "*.example.org")`:                               "write example.org for it and all below it",
		`hasWord(content.subject, "  ")`:                                            "the word is empty",
		`hasExtension(client.helo, "*.exe")`:                                        "is no extension",
		`distance(sender.domain, rcpt.domain) < 2`:                                  "needs a text written in the rule",
		`distance(sender.domain, "") < 2`:                                           "is empty",
		`distance(sender.domain, "` + strings.Repeat("x", 65) + `") < 2`:            "at most 64 characters",
		`distance(sender.domain` + strings.Repeat(`, "x"`, 51) + `) < 2`:            "at most 50 names",
		`between(message.received, "Mon-Fry", "08:00", "18:00", "UTC")`:             "did you mean Fri?",
		`between(message.received, "", "08:00", "18:00", "UTC")`:                    "is no weekday",
		`between(message.received, "Mon", "8", "18:00", "UTC")`:                     `"8" is no time of day`,
		`between(message.received, "Mon", "08:00", "25:00", "UTC")`:                 `"25:00" is no time of day`,
		`between(message.received, "Mon", "08:00", "08:00", "UTC")`:                 "the one it begins at",
		`between(message.received, "Mon", "08:00", "18:00", "Europe/Berlyn")`:       `there is no time zone "Europe/Berlyn"`,
		`between(message.received, "Mon", "08:00", "18:00", "Local")`:               "there is no time zone",
		`between(message.received, "Mon", "08:00", "18:00", "../../../etc/passwd")`: "there is no time zone",
		`between(message.received, "Mon", "08:00", "18:00", client.helo)`:           "needs a text written in the rule",
		`between(client.helo, "Mon", "08:00", "18:00", "UTC")`:                      "cannot use string",
		`age("yesterday") > duration("1h")`:                                         `"yesterday" is no moment`,
		`age(message.received) > "1h"`:                                              "mismatched types",
		`age(message.received) > duration("1 hour")`:                                "is no span of time",
		`message.received > date("1.12.2026")`:                                      "is no date",
	} {
		o := testOptions()
		o.Files = listFiles()
		_, err := Compile([]Source{{"t.yaml", []byte(rulesOf("name: a\n    when: '" + expr + "'\n    do: discard"))}}, o)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "t.yaml:3:") {
			t.Errorf("%s: %v", expr, err)
		}
	}
}

// TestC20_PatternsAreBounded: a pattern that makes naive matchers explode is harmless.
func TestC20_PatternsAreBounded(t *testing.T) {
	if fits(strings.Repeat("a", 1<<18), strings.Repeat("*a", 90)+"b") {
		t.Error("it fits")
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("abc", "a*c")
	f.Add("ab\xffc", "?b*?")
	f.Fuzz(func(t *testing.T, s, p string) {
		if len(s) > 20 || len(p) > 8 {
			return
		}
		if got, want := fits(s, p), slowFits([]rune(s), []rune(p)); got != want {
			t.Errorf("fits(%q, %q) = %v", s, p, got)
		}
	})
}

// slowFits is the plain definition.
func slowFits(s, p []rune) bool {
	switch {
	case len(p) == 0:
		return len(s) == 0
	case p[0] == '*':
		return slowFits(s, p[1:]) || len(s) > 0 && slowFits(s[1:], p)
	}
	return len(s) > 0 && (p[0] == '?' || fold(p[0]) == fold(s[0])) && slowFits(s[1:], p[1:])
}

func ExampleFunctions() {
	fmt.Println(Functions()[0].Signature)
	// Output: inNetwork(address, network, …) bool
}
