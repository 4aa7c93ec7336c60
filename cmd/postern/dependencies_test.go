package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// P-06: the program uses few modules directly, and each has its reason in testdata/dependencies.txt.
func TestP06_DependenciesHaveReasons(t *testing.T) {
	text, err := os.ReadFile("../../testdata/dependencies.txt")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	others := 0
	for line := range strings.Lines(string(text)) {
		if line[0] == '#' {
			continue
		}
		module, why, _ := strings.Cut(strings.TrimSpace(line), " | ")
		if listed = append(listed, module); why == "" {
			t.Errorf("%s has no reason", module)
		}
		if !strings.HasPrefix(module, "golang.org/x/") {
			others++
		}
	}
	if others > 25 {
		t.Errorf("%d modules of other people", others)
	}
	used := goList(t, `{{with .Module}}{{.Path}}{{end}}`, importsOf(t)...)
	for _, module := range used {
		if !slices.Contains(listed, module) {
			t.Errorf("%s is used, and testdata/dependencies.txt has no reason for it", module)
		}
	}
	for _, module := range listed {
		if !slices.Contains(used, module) {
			t.Errorf("%s is in testdata/dependencies.txt, and not used", module)
		}
	}
}

// importsOf lists what the program's own packages import from other people.
func importsOf(t *testing.T) []string {
	t.Helper()
	all := goList(t, `{{with .Module}}{{if eq .Path "postern"}}{{range $.Imports}}{{.}}{{"\n"}}{{end}}{{end}}{{end}}`, "-deps", "postern/cmd/postern")
	return slices.DeleteFunc(all, func(path string) bool {
		host, _, _ := strings.Cut(path, "/")
		return !strings.Contains(host, ".")
	})
}

// goList gives the lines of go list, in order, each once.
func goList(t *testing.T, format string, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-f", format}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Compact(slices.Sorted(strings.FieldsSeq(string(out))))
}
