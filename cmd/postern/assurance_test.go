package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	assuranceResults = flag.String("assurance.results", "", "output of go test -json, which TestAssurancePage -update notes down")
	assuranceCommit  = flag.String("assurance.commit", "", "the commit that was tested")
)

const assurancePage = "../../docs/assurance.md"

// An assured page is what docs/assurance.md says now: results by row, and the lines of long runs
// by their test.
type assured struct {
	proofs, results map[string]string
	runs            map[string]string
}

func readAssurance(t *testing.T) (w assured, text string) {
	t.Helper()
	w = assured{map[string]string{}, map[string]string{}, map[string]string{}}
	b, err := os.ReadFile(assurancePage)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		switch first := strings.Trim(cells[0], " `"); {
		case len(cells) != 4 || first == "row" || first == "run":
		case regexp.MustCompile(`^[A-Z]-\d\d$`).MatchString(first):
			w.proofs[first], w.results[first] = strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3])
		default:
			w.runs[first] = strings.TrimSpace(line)
		}
	}
	return w, string(b)
}

// proof shows the tests of a row: by room, pages last.
func proof(r *requirement) string {
	var parts []string
	rooms := map[string][]string{}
	for _, name := range r.proofs() {
		room, test, isTest := strings.Cut(name, ".Test")
		page, isPage := strings.CutPrefix(name, "page ")
		switch {
		case isPage:
			rooms["~pages"] = append(rooms["~pages"], page)
		case isTest:
			rooms[room] = append(rooms[room], "Test"+test)
		case strings.Contains(name, ".Fuzz"):
			room, test, _ := strings.Cut(name, ".")
			rooms[room] = append(rooms[room], test)
		default:
			rooms["~~"] = append(rooms["~~"], name)
		}
	}
	for _, room := range slices.Sorted(maps.Keys(rooms)) {
		list := strings.Join(rooms[room], ", ")
		switch room {
		case "~pages":
			list = "pages: " + list
		case "~~":
		default:
			list = "`" + room + "`: " + list
		}
		parts = append(parts, list)
	}
	return strings.Join(parts, "; ")
}

// result says what the tests of a row came to; "" when none of them ran.
func result(r *requirement, ran map[string]*testRun, when string) string {
	count := map[string]int{}
	var bad []string
	left := 0
	for _, name := range r.proofs() {
		switch o := ran[name]; {
		case o != nil && o.action != "":
			if count[o.action]++; o.action != "pass" {
				bad = append(bad, o.action+": "+name)
			}
		case inSuite(name):
			left++
		}
	}
	if len(bad) == 0 && count["pass"] == 0 {
		return ""
	}
	said := append([]string{fmt.Sprintf("%d passed", count["pass"])}, bad...)
	if left > 0 {
		said = append(said, fmt.Sprintf("%d not run", left))
	}
	return strings.Join(append(said, when), ", ")
}

const assuranceIntro = `# Assurance

What Postern promises, row by row, and the tests that prove it. Made by ` + "`make assurance`" + `, which runs the long suites,
` + "`make lint`" + ` and then all tests; ` + "`go test ./cmd/postern -run TestAssurancePage -update`" + ` brings the names of tests up to date without running them.

A test is named after its row (` + "`TestS31_…`" + ` proves S-31), and a page of
[testdata/scenarios](../testdata/scenarios/README.md) says at its top which rows it proves. A row without either says so.

## Long runs

The counts are arguments: ` + "`make assurance KILLS=500 MESSAGES=100000`" + `; [testkit/assurance.sh](../testkit/assurance.sh) has them all.
One such run: ` + "`go test ./cmd/postern -run TestD03_Crash -v -crash.kills=500`" + `.

| run | what it found | when | commit |
|---|---|---|---|
`

// TestAssurancePage makes sure that docs/assurance.md knows every row, names no test that is gone,
// and calls no row proven that is not. That it lacks a new test makes it old, not wrong. With -update it is written anew, with -assurance.results the results too.
func TestAssurancePage(t *testing.T) {
	all, ran := requirements(t), testRuns(t, *assuranceResults)
	before, text := readAssurance(t)
	if !*update {
		checkAssurance(t, all, before)
		return
	}
	when := time.Now().UTC().Format(time.DateOnly)
	for name, o := range ran {
		if o.action != "" && len(o.figures) > 0 || o.action == "fail" && before.runs[name] != "" {
			found := strings.Join(o.figures, "; ")
			if o.action != "pass" {
				found = strings.TrimSuffix(o.action+": "+found, ": ")
			}
			before.runs[name] = fmt.Sprintf("| `%s` | %s | %s | %s |", name, found, when, *assuranceCommit)
		}
	}
	var b strings.Builder
	b.WriteString(assuranceIntro)
	for _, name := range slices.Sorted(maps.Keys(before.runs)) {
		b.WriteString(before.runs[name] + "\n")
	}
	b.WriteString("\n## Rows\n\n| row | what it asks for | tests | last result |\n|---|---|---|---|\n")
	for _, r := range all {
		proven, res := proof(r), result(r, ran, when)
		switch {
		case r.later != "":
			proven, res = "none: "+r.later, "–"
		case proven == "":
			proven, res = "**none**", "–"
		case res == "":
			if res = before.results[r.id]; res == "" || res == "–" {
				res = "not run since"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.id, r.asks, proven, res)
	}
	if b.String() != text {
		if err := os.WriteFile(assurancePage, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func checkAssurance(t *testing.T, all []*requirement, page assured) {
	for _, r := range all {
		said, there := page.proofs[r.id]
		switch {
		case !there:
			t.Errorf("%s is missing", r.id)
		case len(r.proofs()) == 0 && !strings.Contains(said, "none"):
			t.Errorf("%s: names %q, and nothing proves it", r.id, said)
		}
		for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(said, -1) {
			if !slices.ContainsFunc(r.proofs(), func(p string) bool { return strings.HasSuffix(p, "."+name) }) {
				t.Errorf("%s: there is no %s any more", r.id, name)
			}
		}
	}
	for id := range page.proofs {
		if !slices.ContainsFunc(all, func(r *requirement) bool { return r.id == id }) {
			t.Errorf("there is no row %s", id)
		}
	}
	if t.Failed() {
		t.Log("to write it anew: go test ./cmd/postern -run TestAssurancePage -update")
	}
}

// What ran, what was passed over and what is no Go test come out as the page says them.
func TestAssuranceResults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results")
	lines := `{"Action":"run","Package":"postern/gateway","Test":"TestS01_A"}
{"Action":"output","Package":"postern/gateway","Test":"TestS01_A/sub","Output":"  x_test.go:9: assurance: 3 of 4 | 0 lost\n"}
{"Action":"fail","Package":"postern/gateway","Test":"TestS01_A"}
{"Action":"pass","Package":"postern/gateway","Test":"TestS01_A"}
not JSON, as the compiler writes it
{"Action":"pass","Package":"postern/cmd/postern","Test":"TestScenarios/page/matrix-x"}
{"Action":"output","Test":"make lint","Output":"assurance: no finding"}
{"Action":"pass","Test":"make lint"}
{"Action":"run","Package":"postern/gateway","Test":"TestS01_Cut`
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	ran := testRuns(t, file)
	if got := ran["gateway.TestS01_A"]; got.action != "fail" || !slices.Equal(got.figures, []string{"3 of 4 / 0 lost"}) {
		t.Errorf("%+v", got)
	}
	pages := []*page{{name: "matrix-x"}, {name: "other"}}
	all := expanded([]string{"page matrix-*", "Fuzz*", "make lint", "go.sum"}, []string{"mail.FuzzHeader"}, pages)
	if want := []string{"page matrix-x", "mail.FuzzHeader", "make lint", "go.sum"}; !slices.Equal(all, want) {
		t.Errorf("%q", all)
	}
	for _, c := range []struct {
		tests []string
		want  string
	}{
		{all, "2 passed, 1 not run, today"},
		{[]string{"gateway.TestS01_A", "make lint"}, "1 passed, fail: gateway.TestS01_A, today"},
		{[]string{"gateway.TestS01_Cut"}, ""},
	} {
		if got := result(&requirement{tests: c.tests}, ran, "today"); got != c.want {
			t.Errorf("%q: %q", c.tests, got)
		}
	}
}
