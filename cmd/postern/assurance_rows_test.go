package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A requirement is a row with what proves it.
type requirement struct {
	id, asks string
	also     []string // names of tests without the row in their name, or of other proofs
	later    string   // why there is no proof
	tests    []string // "room.TestName", or "page NAME"
}

// proofs names all that proves the row, tests first.
func (r *requirement) proofs() []string { return append(slices.Clone(r.tests), r.also...) }

// requirements reads testdata/rows.txt and finds the tests and pages of each row.
func requirements(t *testing.T) []*requirement {
	t.Helper()
	text, err := os.ReadFile("../../testdata/rows.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []*requirement
	rows := map[string]*requirement{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, " | ")
		r := &requirement{id: fields[0], asks: fields[1]}
		if len(fields) > 2 {
			var waits bool
			if r.later, waits = strings.CutPrefix(fields[2], "later: "); !waits {
				r.later, r.also = "", strings.Split(fields[2], ", ")
			}
		}
		all = append(all, r)
		rows[r.id] = r
	}
	for id, names := range namedTests(t) {
		if r := rows[id]; r != nil {
			r.tests = names
		} else {
			t.Errorf("%v are named after %s, which testdata/rows.txt does not have", names, id)
		}
	}
	for _, r := range all {
		for _, name := range r.also {
			if room, test, ok := strings.Cut(name, ".Test"); ok && !testsOf(t, room)["Test"+test] {
				t.Errorf("testdata/rows.txt: %s: there is no %s", r.id, name)
			}
		}
	}
	for _, p := range readPages(t) {
		for _, id := range p.rows {
			if r := rows[id]; r != nil {
				r.tests = append(r.tests, "page "+p.name)
			}
		}
	}
	return all
}

var (
	rowName = regexp.MustCompile(`^(?:Test|Fuzz)((?:[SACDWP]\d\d_?)+)`)
	rowDoc  = regexp.MustCompile(`^(?:[SACDWP]-\d\d(?:, )?)+:`)
	rowID   = regexp.MustCompile(`[SACDWP]-?\d\d`)
)

// rowsOf gives the rows of a test: those in its name, S-31 and S-36 for TestS31S36_Memory, and
// those that its comment begins with.
func rowsOf(test *ast.FuncDecl) []string {
	var ids []string
	named := rowName.FindStringSubmatch(test.Name.Name)
	if named == nil {
		named = []string{"", ""}
	}
	for _, id := range rowID.FindAllString(named[1]+" "+rowDoc.FindString(test.Doc.Text()), -1) {
		if id = id[:1] + "-" + id[len(id)-2:]; !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// namedTests gives the tests of each row, as room.Test, in order.
func namedTests(t *testing.T) map[string][]string {
	t.Helper()
	const root = "../.."
	named := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return err
		}
		room := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), root+"/")
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && (strings.HasPrefix(fn.Name.Name, "Test") || strings.HasPrefix(fn.Name.Name, "Fuzz")) {
				for _, id := range rowsOf(fn) {
					named[id] = append(named[id], room+"."+fn.Name.Name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for id := range named {
		slices.Sort(named[id])
	}
	return named
}

// A testRun is what a run of a test came to, and the figures that it told.
type testRun struct {
	action  string // pass, fail, skip
	figures []string
}

// testRuns reads the output of go test -json: by the names that requirements have. What was run
// twice has its last result.
func testRuns(t *testing.T, file string) map[string]*testRun {
	t.Helper()
	out := map[string]*testRun{}
	if file == "" {
		return out
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct{ Action, Package, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Test == "" {
			continue
		}
		name := strings.TrimPrefix(e.Package, "postern/") + "." + e.Test
		if page, ok := strings.CutPrefix(e.Test, "TestScenarios/page/"); ok {
			name = "page " + page
		}
		switch e.Action {
		case "run":
			if out[name] == nil {
				out[name] = &testRun{}
			}
		case "pass", "fail", "skip":
			if r := out[name]; r != nil && (e.Action == "fail" || r.action == "" || r.action == "skip") {
				r.action = e.Action
			}
		case "output":
			if _, figure, ok := strings.Cut(e.Output, "assurance: "); ok { // of a subtest, too
				whole, _, _ := strings.Cut(e.Test, "/")
				name = strings.TrimPrefix(e.Package, "postern/") + "." + whole
				out[name].figures = append(out[name].figures, strings.TrimSpace(figure))
			}
		}
	}
	return out
}
