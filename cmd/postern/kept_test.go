package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/journal"
)

// The journal does not keep what people wrote. log show says so, rather than that it was empty, and a
// test that is made of such a message has the text where it is still to be had, or says that it
// is not.
func TestTextsThatAreNotKept(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "rules: rules\n")
	s.write(t, "rules/10.yaml", `rules:
  - {name: noon, when: 'content.text contains "noon"', do: quarantine}
  - {name: lunch, when: 'content.subject contains "Lunch"', score: 2.5, effects: ['add_header("X-Lunch", "yes")']}
`)
	g := s.serve(t)
	sendMail(t, g.addr, letter("held", "Pills", "take them at noon\r\n"), "a@example.org")
	sendMail(t, g.addr, letter("gone", "Lunch", "at one\r\n"), "a@example.org")
	if err := g.program.journal.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries, _, err := g.program.journal.Search(t.Context(), journal.Query{})
	if err != nil || len(entries) != 2 {
		t.Fatal(err, len(entries))
	}
	gone, held := entries[0].ID, entries[1].ID
	run := func(code int, want []string, args ...string) string {
		t.Helper()
		got, stdout, stderr := postern(append(args, "-c", s.conf)...)
		for _, w := range want {
			if got != code || !strings.Contains(stdout+stderr, w) {
				t.Errorf("%v: exit %d, no %q in\n%s%s", args, got, w, stdout, stderr)
			}
		}
		return stdout
	}
	run(exitDone, []string{`← content.text: not kept`, "what would have changed it is not known without content.text"}, "log", "show", held)
	run(exitDone, []string{"\n  score            2.5\n", "not known without content.text"}, "log", "show", gone)

	file := filepath.Join(s.dir, "rules/10.yaml")
	run(exitDone, []string{"it passes"}, "rules", "pin", held, "-o", file)
	run(exitDone, []string{"it has no content.text, which rules read"}, "rules", "pin", gone, "-o", file, "--expect", "quarantine")
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), `text: "take them at noon`) || !strings.Contains(string(text), "# not kept, so empty here: content.text\n") {
		t.Errorf("%v\n%s", err, text)
	}
	// Another test of the same message is another test; and what people wrote is nobody's.
	run(exitDone, []string{"it has no content.text"}, "rules", "pin", held, "-o", file, "--anonymous")
	run(exitFailed, []string{"already"}, "rules", "pin", held, "-o", file, "--anonymous")
	if anonymous := run(exitDone, []string{held}, "rules", "pin", held, "--anonymous"); strings.Contains(anonymous, "take them") {
		t.Error(anonymous)
	}
}
