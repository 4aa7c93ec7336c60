package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/policies"
	"postern/testkit"
)

// wholeSet is a set of three files that each say which set they are of. The tests of each fail
// where a part of it is missing or of another set, so that they hold for what is left when one
// file was cut off.
func wholeSet(version int) policies.Files {
	file := func(letter string) []byte {
		text := fmt.Sprintf("rules:\n  - {name: %s, when: true, score: 0, effects: ['add_header(\"X-Set-%s\", \"%d\")']}\n%s", strings.ToLower(letter), letter, version, strings.Repeat("# padding\n", 200))
		return fmt.Appendf([]byte(text), "tests:\n  - {name: whole %s, facts: {}, expect: {do: deliver, effects: ['add_header(\"X-Set-A\", \"%d\")', 'add_header(\"X-Set-B\", \"%d\")', 'add_header(\"X-Set-C\", \"%d\")']}}\n", letter, version, version, version)
	}
	return policies.Files{"10.yaml": file("A"), "20.yaml": file("B"), "30.yaml": file("C")}
}

var reloadRounds = flag.Int("reload.rounds", 200, "how often TestC23_ReloadUnderLoad reloads the rules")

// C-23: while real sessions run, the rules are reloaded 200 times: from whole sets, and from
// ones that are broken, half-written, missing or whose tests fail. Each message is judged by one
// whole set that was put there, never by a part or a mixture.
func TestC23_ReloadUnderLoad(t *testing.T) {
	t.Parallel()
	inside := newSink(t, nil)
	s := newSite(t, inside.addr, "rules: rules\n")
	dir := filepath.Join(s.dir, "rules")
	if err := policies.Swap(dir, wholeSet(0)); err != nil {
		t.Fatal(err)
	}
	g := s.serve(t)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for n := range 3 {
		clients.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond): // leave the reloads some of the machine
				}
				x, err := dial(g.addr)
				if err != nil {
					t.Error(err)
					return
				}
				for range 2 { // the second message of a session is judged by the set of the first
					id := fmt.Sprintf("%d-%d", n, i)
					if reply, _, err := x.mail("eve@friend.example", []string{"a@example.org"}, []byte(letter(id, "load", "x\r\n"))); err != nil || !strings.HasPrefix(reply, "250") {
						t.Errorf("%q, %v", reply, err)
					}
				}
				x.conn.Close()
			}
		})
	}
	allowed, refused := map[string]bool{"0": true}, 0
	put := func(version int) {
		t.Helper()
		allowed[fmt.Sprint(version)] = true
		if err := policies.Swap(dir, wholeSet(version)); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Error(err)
		}
	}
	for round := 1; round <= *reloadRounds; round++ {
		var writer sync.WaitGroup
		next, want := wholeSet(round), "refused"
		switch round % 8 {
		case 0, 4:
			put(round)
			want = "taken"
		case 1: // a syntax error
			write("20.yaml", append(next["20.yaml"], "rules: [\n"...))
		case 2: // a fact that does not exist
			write("20.yaml", []byte("rules:\n  - {name: b, when: spf.reslt == \"pass\", do: reject}\n"))
		case 3: // cut off somewhere, and left so
			cut := next["20.yaml"]
			write("20.yaml", cut[:len(cut)*(round%37)/200])
		case 5: // a file of the set is missing
			if err := os.Remove(filepath.Join(dir, "20.yaml")); err != nil {
				t.Fatal(err)
			}
		case 6: // the folder is missing
			if err := os.Rename(dir, dir+".away"); err != nil {
				t.Fatal(err)
			}
		case 7: // written file by file this very moment: the old set or the new one, whole
			allowed[fmt.Sprint(round)] = true
			want = ""
			writer.Go(func() {
				for _, name := range []string{"30.yaml", "10.yaml", "20.yaml"} {
					write(name, next[name][:len(next[name])/2])
					time.Sleep(time.Duration(round%11) * time.Millisecond)
					write(name, next[name])
				}
			})
		}
		err := g.program.loadPolicy(policies.Reloaded)
		writer.Wait()
		if want == "refused" && err == nil || want == "taken" && err != nil {
			t.Errorf("round %d: %v, want it %s", round, err, want)
		}
		if err != nil {
			refused++
		}
		if round%8 == 6 {
			if err := os.Rename(dir+".away", dir); err != nil {
				t.Fatal(err)
			}
		}
		if round%4 != 0 { // for the next fault to be the only one
			if err := policies.Swap(dir, wholeSet(round-round%4)); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	clients.Wait()
	set := regexp.MustCompile(`(?m)^X-Set-([ABC]): (\d+)\r$`)
	seen, mails := map[string]bool{}, inside.taken()
	for _, m := range mails {
		found := set.FindAllStringSubmatch(string(m.Data), -1)
		if len(found) != 3 || found[0][2] != found[1][2] || found[1][2] != found[2][2] || !allowed[found[0][2]] {
			t.Fatalf("judged by a partial set: %q", found)
		}
		seen[found[0][2]] = true
	}
	if len(seen) < min(20, *reloadRounds/10) || refused < *reloadRounds*6/10 {
		t.Errorf("%d messages saw %d sets; %d reloads were refused", len(mails), len(seen), refused)
	}
	testkit.Figure(t, "%d messages under %d sets, each judged by one whole set; %d of %d reloads refused", len(mails), len(seen), refused, *reloadRounds)
}

const failingRules = `rules: [{name: forged, when: dmarc.result == "fail", class: spoof, do: reject, because: forged}]
tests: [{name: wrong, facts: {dmarc: {result: fail}}, expect: {do: deliver}}]
`

// Rules whose tests fail are refused by a start, by a reload and by check, until somebody insists.
func TestFailingTestsAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "rules: rules\n")
	s.write(t, "rules/10.yaml", failingRules)
	if code, _, stderr := s.child(t, "serve", "-c", s.conf); code != exitFailed || !strings.Contains(stderr, `FAIL  test "wrong"`) || !strings.Contains(stderr, "--force-rules") {
		t.Errorf("serve: exit %d, %s", code, stderr)
	}
	if code, stdout, stderr := postern("check", "--offline", "-c", s.conf); code != exitFailed || !strings.Contains(stdout, "FAIL  1 of 1 tests") || stderr == "" {
		t.Errorf("check: exit %d, %s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := postern("check", "--offline", "--force", "-c", s.conf); code != exitDone || !strings.Contains(stdout, "warn  1 of 1 tests") {
		t.Errorf("check --force: exit %d, %s%s", code, stdout, stderr)
	}

	s.write(t, "rules/10.yaml", strings.Replace(failingRules, "do: deliver", "do: reject", 1))
	g := s.start(t)
	s.write(t, "rules/10.yaml", failingRules)
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	said := g.log.must(t, 1, "msg", "reload: the old policy stays in force")
	if text := fmt.Sprint(said["error"]); !strings.Contains(text, `test "wrong" (10.yaml:2)`) || !strings.Contains(text, "+ do: reject") {
		t.Errorf("the log should say which test: %v", text)
	}
	g.healthy(t, "rules")
	if _, text := g.get(t, "/metrics"); !strings.Contains(text, `postern_reloads_total{outcome="failed"} 1`) {
		t.Error("the metrics do not tell of the refused reload")
	}

	cfg, err := loadConfig(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Data, cfg.forceRules = filepath.Join(s.dir, "other"), true
	log := newWatchedLog()
	p, err := build(t.Context(), cfg, newLog(cfg, log))
	if err != nil {
		t.Fatalf("by force: %v", err)
	}
	defer p.close()
	log.must(t, 1, "msg", "rules whose tests fail are taken by force")
	if failing := (*failingTests)(nil); errors.As(p.policy.error, &failing) {
		t.Error("what was taken by force is no failure any more")
	}
}

// A set that was in force before is taken by a start even when one of its tests fails by now;
// a set that was not is refused.
func TestKnownRulesStart(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "rules: rules\n")
	const file = `rules: [{name: hello, when: 'content.subject == "Hello"', do: quarantine, because: hi}]
tests: [{name: a mail, message: ../mail/hello.eml, expect: {do: quarantine}}]
`
	s.write(t, "rules/10.yaml", file)
	s.write(t, "mail/hello.eml", "From: a@friend.example\nSubject: Hello\n\nhello\n")
	s.serve(t).stop(t)
	if err := os.Remove(filepath.Join(s.dir, "mail/hello.eml")); err != nil {
		t.Fatal(err)
	}
	g := s.serve(t)
	g.log.must(t, 1, "msg", "tests beside the rules fail, but these rules were in force before: they are taken")
	if err := g.program.loadPolicy(policies.Reloaded); err == nil {
		t.Error("a reload takes them, too")
	}
	g.stop(t)
	s.write(t, "rules/10.yaml", file+"# changed\n")
	if code, _, stderr := s.child(t, "serve", "-c", s.conf); code != exitFailed || !strings.Contains(stderr, "1 of 1 tests") {
		t.Errorf("serve: exit %d, %s", code, stderr)
	}
}

func TestCheckJSON(t *testing.T) {
	t.Parallel()
	s := newSite(t, "127.0.0.1:9", "rules: rules\n")
	check := func(code int, args ...string) map[string]any {
		t.Helper()
		got, stdout, stderr := postern(append([]string{"check", "--json", "--offline", "-c", s.conf}, args...)...)
		if got != code || stderr != "" {
			t.Errorf("exit %d, want %d: %s", got, code, stderr)
		}
		return lines(t, stdout)[0]
	}
	s.write(t, "rules/10.yaml", failingRules)
	wantFields(t, check(exitFailed), map[string]any{"ok": false, "errors.0.message": "1 of 1 tests beside the rules fail: a start and a reload refuse them",
		"tests.failed": 1, "tests.failures.0.test": "wrong", "rules.0.name": "forged", "rules.0.earliest": "end of data", "rules.0.needs.0": "dmarc"})
	wantFields(t, check(exitDone, "--force"), map[string]any{"ok": true, "warnings.0": "1 of 1 tests beside the rules fail", "checks.0.state": "warn"})
	s.write(t, "rules/10.yaml", "rules:\n  - {name: x, when: spf.reslt == \"fail\", do: reject}\n")
	wantFields(t, check(exitFailed), map[string]any{"ok": false, "errors.0.line": 2, "errors.0.file": filepath.Join(s.dir, "rules/10.yaml"),
		"errors.0.hint": "did you mean result?", "version": nil})
}
