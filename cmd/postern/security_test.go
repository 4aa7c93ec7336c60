package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// SECURITY.md promises nothing that no test proves: each row that it names has tests in
// docs/assurance.md, and each test that it names is there.
func TestP07_ThreatModelIsProven(t *testing.T) {
	t.Parallel()
	page, table := pageText(t, "SECURITY.md"), pageText(t, "docs/assurance.md")
	proven := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([A-Z]-\d\d) \| [^|]* \| ([^|]*) \|`).FindAllStringSubmatch(table, -1) {
		proven[m[1]] = !strings.HasPrefix(m[2], "**none**")
	}
	n := 0
	row := func(id string) {
		t.Helper()
		if n++; !proven[id] && id != "P-10" { // which it says is not built
			t.Errorf("%s has no test", id)
		}
	}
	for _, m := range regexp.MustCompile(`\b([A-Z])-(\d\d)(?:…[A-Z]-(\d\d))?`).FindAllStringSubmatch(page, -1) {
		row(m[1] + "-" + m[2])
		if m[3] == "" {
			continue
		}
		first, _ := strconv.Atoi(m[2])
		last, _ := strconv.Atoi(m[3])
		for i := first + 1; i <= last; i++ {
			id := m[1] + "-" + strconv.Itoa(100 + i)[1:]
			if _, there := proven[id]; there {
				row(id)
			}
		}
	}
	if n < 80 {
		t.Errorf("only %d rows are named", n)
	}
	var tests strings.Builder
	for _, dir := range []string{"cmd/postern", "cmd/sbom", "doctor"} {
		files, err := filepath.Glob(filepath.Join(moduleRoot, dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(text)
		}
	}
	for _, name := range regexp.MustCompile(`\bTest\w+`).FindAllString(page, -1) {
		if !strings.Contains(tests.String(), "func "+name+"(") {
			t.Errorf("there is no %s", name)
		}
	}
}
