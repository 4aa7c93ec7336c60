package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// Tests beside rules run without network and clamd; a failure says what differs, and where the
// test stands.
func TestRulesTest(t *testing.T) {
	s := newSite(t, "127.0.0.1:9", "rules: rules\n")
	const file = `rules:
  - {name: virus, when: clamav.infected, class: virus, do: quarantine, because: "found {{clamav.signature}}"}
  - {name: spoof, when: dmarc.result == "fail", class: spoof, do: reject, because: forged}
  - {name: big, when: message.size > 100, score: 2}
  - {name: hello, when: content.subject == "Hello" and score > 1, class: policy, do: quarantine, because: hi}
tests:
  - {name: a virus, facts: {clamav: {infected: true, signature: X}}, expect: {do: quarantine, rule: virus, class: virus, because: found X}}
  - {name: forged, facts: {dmarc: {result: fail}}, expect: {do: reject, rule: spoof}}
  - {name: no answer, facts: {dmarc: {result: fail, error: timed out}}, expect: {do: deliver, rule: ""}}
  - {name: by a file, message: ../mail/hello.eml, expect: {do: quarantine, rule: hello, score: 2}}
  - {name: file and facts, message: ../mail/hello.eml, facts: {message: {size: 5}}, expect: {do: deliver}}
`
	s.write(t, "mail/hello.eml", "From: a@friend.example\nTo: ana@example.org\nSubject: Hello\n\n"+strings.Repeat("hello ", 30)+"\n")
	s.write(t, "rules/10.yaml", file)
	if code, stdout, stderr := postern("rules", "test", "-c", s.conf); code != exitDone || stdout != "5 of 5 tests pass\n" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	s.write(t, "rules/10.yaml", file+`
  - {name: wrong, facts: {dmarc: {result: fail}}, expect: {do: deliver, rule: virus, because: "", score: 1, effects: ['add_header("a", "b")']}}
  - {name: no file, message: none.eml, expect: {do: deliver}}
  - {name: no size, facts: {message: {size: big}}, expect: {do: deliver}}
`)
	code, stdout, stderr := postern("rules", "test", "--rules", s.dir+"/rules")
	for _, want := range []string{
		`FAIL  test "wrong" (10.yaml:13)
      - do: deliver
      + do: reject
      - rule: "virus"
      + rule: "spoof"
      - because: ""
      + because: "forged"
      - score: 1
      + score: 0
      - effects: [add_header("a", "b")]
      + effects: []
`,
		`FAIL  test "no file" (10.yaml:14): message none.eml: no such file`, `facts of message: size cannot be a string`, "5 of 8 tests pass"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %s in\n%s", want, stdout)
		}
	}
	if code != exitFailed || !strings.Contains(stderr, "3 failed") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	s.write(t, "rules/20.yaml", "rules:\n  - {name: old, when: sender.domain == 'x.example', do: reject}\n  - {name: marked, when: client.tls, shadow: true, do: quarantine}\n")
	s.write(t, "rules/10.yaml", file)
	if code, stdout, _ := postern("rules", "test", "-c", s.conf); code != exitDone || stdout != "5 of 5 tests pass\n2 of 6 rules match in no test: old, marked\n" {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	var report testReport
	code, stdout, _ = postern("rules", "test", "-c", s.conf, "--json")
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != exitDone || report.All != 5 || !slices.Equal(report.Untouched, []string{"old", "marked"}) {
		t.Errorf("exit %d %v\n%s", code, err, stdout)
	}
	s.write(t, "rules/10.yaml", file+"  - {name: wrong, facts: {dmarc: {result: fail}}, expect: {do: deliver}}\n")
	if code, stdout, _ := postern("check", "-c", s.conf, "--offline"); code != exitFailed || !strings.Contains(stdout, `FAIL  test "wrong"`) {
		t.Errorf("check: exit %d\n%s", code, stdout)
	}
}
