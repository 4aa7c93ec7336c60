package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/policies"
)

// holdingSet is a folder whose rules hold a subject, with a test that says so.
func holdingSet(subject string) string {
	return holding(subject) + fmt.Sprintf("tests:\n  - {name: holds %[1]s, facts: {content: {subject: %[1]s}}, expect: {do: quarantine, rule: hold-%[1]s}}\n", subject)
}

func TestRulesPlan(t *testing.T) {
	t.Parallel()
	s := newSite(t, "127.0.0.1:9", "rules: rules\n")
	s.write(t, "rules/10.yaml", holdingSet("one"))
	s.write(t, "rules/20.yaml", holdingSet("gone"))
	s.write(t, "rules/recipients.txt", "ana@example.org\n")
	s.write(t, "new/10.yaml", strings.Replace(holdingSet("one"), "its subject is one", "the subject is one", 1))
	s.write(t, "new/30.yaml", `rules: [{name: unknown-user, when: 'not inList(rcpt.address, "recipients.txt")', do: reject}]`+"\n")
	plan := func(code int, args ...string) (stdout, stderr string) {
		t.Helper()
		got, stdout, stderr := postern(append([]string{"rules", "plan", "-c", s.conf, filepath.Join(s.dir, "new")}, args...)...)
		if got != code {
			t.Errorf("exit %d, want %d\n%s%s", got, code, stdout, stderr)
		}
		return stdout, stderr
	}
	text, _ := plan(exitDone)
	for _, want := range []string{"file    changed  10.yaml", "file    new      30.yaml", "file    gone     20.yaml", "stays   recipients.txt",
		"rule    new      unknown-user", "rule    changed  hold-one", "rule    gone     hold-gone", "tests   1 of 1 tests pass", "It may be applied: 2 rules"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	text, _ = plan(exitDone, "--json")
	wantFields(t, lines(t, text)[0], map[string]any{"ok": true, "files.0.file": "10.yaml", "files.0.what": "changed", "carried.0": "recipients.txt",
		"rules.all": 2, "rules.new.0": "unknown-user", "tests.tests": 1, "errors": "[]"})

	s.write(t, "new/30.yaml", failingRules)
	text, errs := plan(exitFailed)
	if !strings.Contains(text, `FAIL  test "wrong" (30.yaml:2)`) || strings.Contains(text, "may be applied") || !strings.Contains(errs, "1 of 2 tests") {
		t.Errorf("%s%s", text, errs)
	}
	s.write(t, "new/30.yaml", "rules: [{name: x, when: spf.reslt == \"fail\", do: reject}]\n")
	text, errs = plan(exitFailed)
	if !strings.Contains(text, filepath.Join("new", "30.yaml")+":1:") || !strings.Contains(text, "^ did you mean result?") || !strings.Contains(errs, "must not be applied") {
		t.Errorf("%s%s", text, errs)
	}
	text, _ = plan(exitFailed, "--json")
	wantFields(t, lines(t, text)[0], map[string]any{"ok": false, "errors.0.line": 1, "errors.0.hint": "did you mean result?", "tests": nil})
	if code, _, stderr := postern("rules", "plan", "-c", s.conf, filepath.Join(s.dir, "rules")); code != exitFailed || !strings.Contains(stderr, "in force itself") {
		t.Errorf("the folder in force: exit %d, %s", code, stderr)
	}
	if code, _, stderr := postern("rules", "plan", "-c", s.conf, filepath.Join(s.dir, "none")); code != exitFailed || !strings.Contains(stderr, "no such file") {
		t.Errorf("no folder: exit %d, %s", code, stderr)
	}
}

// Apply puts a set in force in the running gateway, the history knows it, and rollback leads
// back, also to what was changed by hand.
func TestRulesApply(t *testing.T) {
	t.Parallel()
	inside := newSink(t, nil)
	s := newSite(t, inside.addr, "rules: rules\n")
	s.write(t, "rules/10.yaml", holdingSet("one"))
	s.write(t, "rules/list.txt", "a.example\n")
	g := s.start(t)
	command := func(code int, args ...string) string {
		t.Helper()
		got, stdout, stderr := s.child(t, append(args, "-c", s.conf)...)
		if got != code {
			t.Errorf("postern %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got, code, stdout, stderr)
		}
		return stdout + stderr
	}
	sent := 0
	held := func(want string) {
		t.Helper()
		for _, subject := range []string{"one", "two", "three", "hand"} {
			sent++ // the same message twice would be one that is sent again
			reply := sendMail(t, g.addr, letter(fmt.Sprint(sent), subject, "x\r\n"), "a@example.org")
			if strings.HasPrefix(reply, "250 2.0.0 OK 0") != (subject == want) {
				t.Errorf("%s: %s, want %q held", subject, reply, want)
			}
		}
	}
	apply := func(code int, subject string, args ...string) string {
		t.Helper()
		s.write(t, "new/10.yaml", holdingSet(subject))
		return command(code, append([]string{"rules", "apply", filepath.Join(s.dir, "new"), "--note", "because " + subject}, args...)...)
	}
	held("one")
	sendMail(t, g.addr, letter("two", "two", "x\r\n"), "a@example.org")
	for strings.Count(command(exitDone, "log", "search", "--json"), "\n") < 5 { // written soon after the reply
		time.Sleep(20 * time.Millisecond)
	}
	open := mustDial(t, g.addr)
	if text := apply(exitDone, "two"); !strings.Contains(text, "In force as version 2") || !regexp.MustCompile(`(?s)replay  5 messages, 5 decisions: 2 unchanged, 2 newly held, 1 newly delivered.*2 newly held by hold-two \(was delivered\)`).MatchString(text) {
		t.Error(text)
	}
	held("two")
	if reply, _, err := open.mail("eve@friend.example", []string{"a@example.org"}, []byte(letter("one", "one", "x\r\n"))); err != nil || !strings.HasPrefix(reply, "250 2.0.0 OK 0") {
		t.Errorf("a session ends under the policy that it began with: %s, %v", reply, err)
	}
	if text, err := os.ReadFile(filepath.Join(s.dir, "rules/list.txt")); err != nil || string(text) != "a.example\n" {
		t.Errorf("the list that was there: %q, %v", text, err)
	}

	s.write(t, "rules/10.yaml", holdingSet("hand"))
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	g.log.must(t, 3, "msg", "policy in force")
	held("hand")
	s.write(t, "rules/10.yaml", strings.Replace(holdingSet("hand"), "its subject", "the subject", 1)) // not even reloaded
	apply(exitDone, "three", "--json")
	held("three")

	list := lines(t, command(exitDone, "rules", "history", "--json"))
	want := []string{"apply 5 because three", "reload 4 found in the folder, changed by hand", "reload 3 files changed by hand", "apply 2 because two", "start 1 found at the start"}
	for i, w := range want {
		if i >= len(list) || fmt.Sprintf("%v %v %v", list[i]["how"], list[i]["n"], list[i]["note"]) != w {
			t.Fatalf("history has %v, want %q", list, want)
		}
	}
	if list[0]["who"] != whoami() {
		t.Errorf("by %v", list[0]["who"])
	}
	if text := command(exitDone, "rules", "history", "3"); !strings.Contains(text, "hold-hand") {
		t.Error(text)
	}
	if text := command(exitDone, "rules", "rollback", "3"); !strings.Contains(text, "In force as version 6") {
		t.Error(text)
	}
	held("hand")
	command(exitFailed, "rules", "rollback", "77")

	// What must not be applied is not, unless somebody insists.
	s.write(t, "new/10.yaml", failingRules)
	if text := command(exitFailed, "rules", "apply", filepath.Join(s.dir, "new")); !strings.Contains(text, "must not be applied") {
		t.Error(text)
	}
	held("hand")
	command(exitDone, "rules", "apply", "--force", filepath.Join(s.dir, "new"))
	g.log.must(t, 1, "msg", "rules whose tests fail are taken by force")
	held("")
	g.kill(t)
	g = s.start(t) // what was taken by force is taken by a restart too
	held("")
	s.write(t, "new/10.yaml", "rules: [{name: x, when: nothing, do: reject}]\n")
	command(exitFailed, "rules", "apply", "--force", filepath.Join(s.dir, "new"))
	held("")
}

// A gateway that refuses what apply brings has the set before put back; without a gateway the
// files are in place for the next one.
func TestRulesApplyRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "rules: rules\n")
	s.write(t, "rules/10.yaml", holdingSet("one"))
	g := s.serve(t)
	s.write(t, "new/10.yaml", holdingSet("two"))
	s.write(t, "elsewhere/10.yaml", holdingSet("one"))
	code, stdout, stderr := postern("rules", "apply", "-c", s.conf, "--rules", filepath.Join(s.dir, "elsewhere"), filepath.Join(s.dir, "new"))
	if code != exitFailed || !strings.Contains(stderr, "refused the rules") || !strings.Contains(stderr, "reads its rules from") {
		t.Errorf("exit %d, %s%s", code, stdout, stderr)
	}
	if files, err := policies.ReadAll(filepath.Join(s.dir, "elsewhere")); err != nil || !strings.Contains(string(files["10.yaml"]), "hold-one") {
		t.Errorf("not put back: %q, %v", files, err)
	}
	s.replace(t, "domains: [example.org]", "domains: [example.org, new.example]") // the gateway knows nothing of it yet
	s.write(t, "bcc/10.yaml", "rules: [{name: archive, when: true, effects: ['bcc(\"all@new.example\")']}]\n")
	code, stdout, stderr = postern("rules", "apply", "-c", s.conf, filepath.Join(s.dir, "bcc"))
	if code != exitFailed || !strings.Contains(stderr, "refused the rules") || !strings.Contains(stderr, "new.example") {
		t.Errorf("exit %d, %s%s", code, stdout, stderr)
	}
	if files, err := policies.ReadAll(filepath.Join(s.dir, "rules")); err != nil || !strings.Contains(string(files["10.yaml"]), "hold-one") {
		t.Errorf("not put back: %q, %v", files, err)
	}
	g.healthy(t, "")
	g.stop(t)
	if code, stdout, stderr := postern("rules", "apply", "-c", s.conf, filepath.Join(s.dir, "new")); code != exitDone || !strings.Contains(stdout, "the next one that starts takes it") {
		t.Errorf("without a gateway: exit %d, %s%s", code, stdout, stderr)
	}
	if files, err := policies.ReadAll(filepath.Join(s.dir, "rules")); err != nil || !strings.Contains(string(files["10.yaml"]), "hold-two") {
		t.Errorf("%q, %v", files, err)
	}
	s.configure(t, "")
	if code, _, stderr := postern("rules", "apply", "-c", s.conf, filepath.Join(s.dir, "new")); code != exitFailed || !strings.Contains(stderr, "names no folder") {
		t.Errorf("without a folder: exit %d, %s", code, stderr)
	}
}

// rules list tells of each rule what it did, what it costs, and the state of its breaker.
func TestRulesList(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "rules: rules\n")
	s.write(t, "rules/10.yaml", holdingSet("one")+"")
	s.write(t, "rules/20.yaml", strings.Replace(holding("two"), "    do:", "    shadow: true\n    do:", 1))
	s.write(t, "rules/30.yaml", "rules: [{name: dear, when: 'any(content.attachments, any(.names, # matches \"(a+)+x\")) or all(content.headers[\"received\"], # contains \"x\")', score: 1}]\n")
	g := s.serve(t)
	for i, subject := range []string{"one", "one", "two", "three"} {
		sendMail(t, g.addr, letter(fmt.Sprint(i), subject, "x\r\n"), "a@example.org", "b@example.org")
	}
	g.log.must(t, 4, "msg", "message")
	g.stop(t) // all is in the journal
	code, stdout, stderr := postern("rules", "list", "-c", s.conf, "--json")
	if code != exitDone {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	list := lines(t, stdout)
	if len(list) != 3 {
		t.Fatalf("%d rules", len(list))
	}
	wantFields(t, list[0], map[string]any{"name": "hold-one", "hits": 2, "shadow_hits": 0, "line": 2, "breaker_state.mode": "tag", "do": "quarantine"})
	wantFields(t, list[1], map[string]any{"name": "hold-two", "hits": 0, "shadow_hits": 2, "last_hit": nil, "shadow": true})
	wantFields(t, list[2], map[string]any{"name": "dear", "hits": 2, "breaker_state": nil}) // the score of those that nobody held before
	for _, r := range list {
		if us, ok := r["cost_us"].(float64); !ok || us < 0 || us > 1e6 { // what it is, the machine says
			t.Errorf("%s costs %v us", r["name"], r["cost_us"])
		}
	}
	if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(list[0]["last_hit"])); err != nil {
		t.Error(err)
	}
	if _, stdout, _ := postern("rules", "list", "-c", s.conf); !regexp.MustCompile(`(?m)^hold-one +quarantine +policy +2 +\w.* us +.*10\.yaml:2$`).MatchString(stdout) {
		t.Error(stdout)
	}
	if code, stdout, _ := postern("rules", "list", "-c", s.conf, "--since", "0s"); code != exitDone || !strings.Contains(stdout, "never") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}
