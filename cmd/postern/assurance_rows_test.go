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
	named, pages := namedTests(t), readPages(t)
	fuzz := named["Fuzz*"]
	delete(named, "Fuzz*")
	for id, names := range named {
		if r := rows[id]; r != nil {
			r.tests = names
		} else {
			t.Errorf("%v are named after %s, which testdata/rows.txt does not have", names, id)
		}
	}
	for _, r := range all {
		r.also = expanded(r.also, fuzz, pages)
		for _, name := range r.also {
			if room, test, ok := strings.Cut(name, ".Test"); ok && !testsOf(t, room)["Test"+test] {
				t.Errorf("testdata/rows.txt: %s: there is no %s", r.id, name)
			}
		}
	}
	for _, p := range pages {
		for _, id := range p.rows {
			if r := rows[id]; r != nil {
				r.tests = append(r.tests, "page "+p.name)
			}
		}
	}
	for _, r := range all {
		r.also = slices.DeleteFunc(r.also, func(name string) bool { return slices.Contains(r.tests, name) })
	}
	return all
}

// expanded puts in place of a pattern all that it stands for. One that stands for nothing stays.
func expanded(names, fuzz []string, pages []*page) (out []string) {
	for _, name := range names {
		found := []string{}
		if name == "Fuzz*" {
			found = fuzz
		}
		for _, p := range pages {
			if same, _ := filepath.Match(name, "page "+p.name); same {
				found = append(found, "page "+p.name)
			}
		}
		if len(found) == 0 {
			found = []string{name}
		}
		out = append(out, found...)
	}
	return out
}

// inSuite says whether a proof is part of go test ./...; make lint and a page of text are not.
func inSuite(proof string) bool {
	return strings.Contains(proof, ".Test") || strings.Contains(proof, ".Fuzz") || strings.HasPrefix(proof, "page ")
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

// namedTests gives the tests of each row, as room.Test, in order; all fuzz targets under "Fuzz*".
func namedTests(t *testing.T) map[string][]string {
	t.Helper()
	const root = "../.."
	named := map[string][]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return err
		}
		room := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(file)), root+"/")
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && (strings.HasPrefix(fn.Name.Name, "Test") || strings.HasPrefix(fn.Name.Name, "Fuzz")) {
				ids := rowsOf(fn)
				if strings.HasPrefix(fn.Name.Name, "Fuzz") {
					ids = append(ids, "Fuzz*")
				}
				for _, id := range ids {
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
// twice has its worst result. What is no Go test (make lint) has its name alone, without a package.
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
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e struct{ Action, Package, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Test == "" {
			continue
		}
		name := inRoom(e.Package, e.Test)
		if page, ok := strings.CutPrefix(e.Test, "TestScenarios/page/"); ok {
			name = "page " + page
		}
		_, figure, told := strings.Cut(e.Output, "assurance: ")
		if told { // of a subtest, too
			whole, _, _ := strings.Cut(e.Test, "/")
			name = inRoom(e.Package, whole)
		}
		r := out[name]
		if r == nil {
			r = &testRun{}
			out[name] = r
		}
		switch {
		case e.Action == "pass", e.Action == "fail", e.Action == "skip":
			if e.Action == "fail" || r.action == "" || r.action == "skip" {
				r.action = e.Action
			}
		case told:
			r.figures = append(r.figures, strings.ReplaceAll(strings.TrimSpace(figure), "|", "/"))
		}
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	return out
}

func inRoom(pkg, test string) string {
	if pkg == "" {
		return test
	}
	return strings.TrimPrefix(pkg, "postern/") + "." + test
}
