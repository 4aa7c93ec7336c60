package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/filters"
	"postern/rules"
)

var update = flag.Bool("update", false, "write golden files")

// rooms says which room may import which: the architecture document that cannot go stale.
var rooms = map[string][]string{
	"postern/mail":            {},
	"postern/store":           {},
	"postern/search":          {},
	"postern/filters":         {"postern/mail"},
	"postern/filters/dnsfake": {"postern/filters"},
	"postern/rules":           {"postern/mail", "postern/search"},
	"postern/quarantine":      {"postern/mail", "postern/store", "postern/search"},
	"postern/breaker":         {},
	"postern/backup":          {"postern/store", "postern/quarantine"},
	"postern/policies":        {"postern/store"},
	"postern/journal":         {"postern/mail", "postern/store", "postern/search"},
	"postern/lists":           {"postern/mail", "postern/store"},
	"postern/greylist":        {"postern/store"},
	"postern/tally":           {"postern/journal", "postern/store"},
	"postern/gateway":         {"postern/mail", "postern/filters", "postern/rules", "postern/quarantine", "postern/journal", "postern/recall"},
	"postern/recall":          {"postern/store"},
	"postern/testkit":         {},
	"postern/doctor":          {"postern/mail", "postern/filters"},
	"postern/audit":           {"postern/store"},
	"postern/people":          {"postern/mail", "postern/store", "postern/audit"},
	"postern/preview":         {"postern/mail", "postern/filters"},
	"postern/review": {"postern/mail", "postern/rules", "postern/quarantine", "postern/journal", "postern/lists", "postern/policies",
		"postern/store", "postern/people", "postern/audit", "postern/search"},
	"postern/digest": {"postern/mail", "postern/store", "postern/quarantine", "postern/people", "postern/review", "postern/audit"},
	"postern/web": {"postern/mail", "postern/rules", "postern/quarantine", "postern/journal", "postern/lists", "postern/people", "postern/audit",
		"postern/review", "postern/preview", "postern/digest", "postern/search"},
}

// fences says where a third party may be imported.
var fences = map[string][]string{
	"github.com/expr-lang/expr":           {"postern/rules"},
	"github.com/emersion/go-smtp":         {"postern/gateway"},
	"github.com/baruwa-enterprise/clamd":  {"postern/filters"},
	"github.com/miekg/dns":                {"postern/filters", "postern/filters/dnsfake"},
	"github.com/emersion/go-message":      {"postern/filters"},
	"github.com/emersion/go-msgauth":      {"postern/filters", "postern/cmd/postern"}, // the demo signs with it
	"modernc.org/sqlite":                  {"postern/store"},
	"github.com/jackc/pgx":                {"postern/store"},
	"github.com/lib/pq":                   {"postern/store"},
	"github.com/minio/minio-go":           {"postern/quarantine"},
	"github.com/aws/aws-sdk-go-v2":        {"postern/quarantine"},
	"github.com/alecthomas/kong":          {"postern/cmd/postern"},
	"net/http":                            {"postern/cmd/postern", "postern/web", "postern/people"}, // people: OIDC
	"github.com/microcosm-cc/bluemonday":  {"postern/preview"},
	"github.com/coreos/go-oidc":           {"postern/people"},
	"github.com/coreos/go-systemd":        {"postern/cmd/postern"},
	"golang.org/x/oauth2":                 {"postern/people"},
	"github.com/pquerna/otp":              {"postern/people"},
	"github.com/nwaples/rardecode":        {"postern/filters"},
	"github.com/ulikunitz/xz":             {"postern/filters"},
	"filippo.io/bigmod":                   {"postern/filters"},
	"github.com/caddyserver/certmagic":    {"postern/cmd/postern"},
	"os/exec":                             {"postern/testkit"},
	"github.com/prometheus/client_golang": {"postern/cmd/postern"},
}

// wireFiles are the only ones that may know go-smtp.
var wireFiles = []string{"listener.go", "adapter.go", "session.go"}

type listed struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

func list(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports", "postern/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestHouseImports(t *testing.T) {
	for _, p := range list(t) {
		allowed, room := rooms[p.ImportPath]
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, "postern/") {
				if imp == "postern/cmd/postern" {
					t.Errorf("%s imports the front door", p.ImportPath)
				}
				if room && !slices.Contains(allowed, imp) {
					t.Errorf("%s must not import %s", p.ImportPath, imp)
				}
			}
			for party, where := range fences {
				if (imp == party || strings.HasPrefix(imp, party+"/")) && !slices.Contains(where, p.ImportPath) && !strings.HasPrefix(p.ImportPath, "postern/bench") {
					t.Errorf("%s imports %s, which only %v may", p.ImportPath, imp, where)
				}
			}
			if p.ImportPath == "postern/mail" && strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") && !strings.HasPrefix(imp, "golang.org/x/net/idna") {
				t.Errorf("mail imports %s", imp)
			}
		}
		if !room && !strings.HasPrefix(p.ImportPath, "postern/cmd/") && !strings.HasPrefix(p.ImportPath, "postern/bench") && !strings.HasSuffix(p.ImportPath, "test") {
			t.Errorf("%s is a room without a line in this table", p.ImportPath)
		}
	}
}

// Rules are pure: text and facts in, verdict out. No clock but message.received, no I/O.
func TestHouseRulesArePure(t *testing.T) {
	forbidden := []string{"os", "net", "net/http", "syscall", "database/sql", "log", "log/slog", "math/rand", "math/rand/v2", "crypto/rand"}
	for _, p := range list(t) {
		if p.ImportPath != "postern/rules" {
			continue
		}
		for _, imp := range p.Imports {
			if slices.Contains(forbidden, imp) {
				t.Errorf("rules import %s", imp)
			}
		}
		for _, file := range p.GoFiles {
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, filepath.Join(p.Dir, file), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "After", "NewTimer", "Sleep"}, s.Sel.Name) {
						t.Errorf("%s: time.%s", set.Position(s.Pos()), s.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

// No init, no variable of a package that anything could change: what runs is what is written.
func TestHouseNoHiddenState(t *testing.T) {
	for _, p := range list(t) {
		for _, file := range p.GoFiles {
			path := filepath.Join(p.Dir, file)
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			if p.ImportPath == "postern/gateway" {
				for _, i := range f.Imports {
					if i.Path.Value == `"github.com/emersion/go-smtp"` && !slices.Contains(wireFiles, file) {
						t.Errorf("%s knows go-smtp; only %v may", file, wireFiles)
					}
				}
			}
			names := map[string]bool{}
			for _, d := range f.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					if d.Recv == nil && d.Name.Name == "init" {
						t.Errorf("%s has an init", path)
					}
				case *ast.GenDecl:
					if d.Tok == token.VAR {
						for _, s := range d.Specs {
							for _, n := range s.(*ast.ValueSpec).Names {
								names[n.Name] = true
							}
						}
					}
				}
			}
			delete(names, "_")
			ast.Inspect(f, func(n ast.Node) bool { // assignments to package variables of this file
				if a, ok := n.(*ast.AssignStmt); ok && a.Tok == token.ASSIGN {
					for _, l := range a.Lhs {
						if id, ok := l.(*ast.Ident); ok && names[id.Name] && !shadowed(f, id) {
							t.Errorf("%s: assignment to the package variable %s", set.Position(id.Pos()), id.Name)
						}
					}
				}
				return true
			})
		}
	}
}

// shadowed reports whether a function around id declares a name of its own like it.
func shadowed(f *ast.File, id *ast.Ident) bool {
	found := false
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || id.Pos() < fn.Pos() || id.Pos() > fn.End() {
			continue
		}
		ast.Inspect(fn, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Field:
				for _, name := range n.Names {
					found = found || name.Name == id.Name
				}
			case *ast.AssignStmt:
				if n.Tok == token.DEFINE {
					for _, l := range n.Lhs {
						if d, ok := l.(*ast.Ident); ok {
							found = found || d.Name == id.Name
						}
					}
				}
			case *ast.ValueSpec:
				for _, name := range n.Names {
					found = found || name.Name == id.Name
				}
			}
			return true
		})
	}
	return found
}

// docs/rules.md lists every fact, function and effect from the code itself: between the two
// marks stands what this test writes with -update.
func TestRulesPage(t *testing.T) {
	const file, begin, end = "../../docs/rules.md", "<!-- generated: make rules -->\n", "<!-- end of generated -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s lacks its marks", file)
	}
	want := before + begin + referencePage() + end + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(text) {
		t.Errorf("%s is out of date: run make rules", file)
	}
}

func referencePage() string {
	var b strings.Builder
	cell := func(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
	r := newReference()
	b.WriteString("### Facts\n\nBy filter. The cost is what its facts take at most; what is known at RCPT can refuse before the message comes.\n" +
		"`any(…)` asks whether it holds for one element of a list. For one fact with its example: `postern rules facts spf.result`.\n\n| filter | what it finds out | cost | known at |\n|---|---|---|---|\n")
	for _, f := range r.Filters {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s | %s |\n", f.Name, f.Name, cell(f.Doc), f.Cost, f.Known)
	}
	for _, f := range r.Filters {
		fmt.Fprintf(&b, "\n#### %s\n\n| fact | type | meaning | example |\n|---|---|---|---|\n", f.Name)
		for _, fact := range r.Facts {
			if fact.Filter == f.Name {
				fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` |\n", fact.Name, cell(fact.Type), cell(fact.told()), cell(fact.Example))
			}
		}
	}
	b.WriteString("\n#### Words of content.defects\n\n| word | meaning | malformed |\n|---|---|---|\n")
	for _, d := range filters.DefectWords() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", d.Word, cell(d.Doc), map[bool]string{true: "yes"}[d.Malformed])
	}
	b.WriteString("\n### Functions\n\n| function | what it does | example | gives |\n|---|---|---|---|\n")
	for _, f := range r.Functions {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | `%s` |\n", cell(f.Signature), cell(f.Doc), cell(f.Example), cell(f.Result))
	}
	b.WriteString("\n### Effects\n\n| effect | what it does |\n|---|---|\n")
	for _, e := range r.Effects {
		fmt.Fprintf(&b, "| `%s` | %s |\n", e.Usage, cell(e.Doc))
	}
	fmt.Fprintf(&b, "\n### The built-in policy\n\n```yaml\n%s```\n", rules.Builtin().Text)
	return b.String()
}

// Every filter says what it finds out and what that costs; every example of a fact is a condition
// that loads, without a warning, and reads that fact.
func TestRulesReferenceIsWhole(t *testing.T) {
	r := newReference()
	for _, f := range r.Filters {
		if len(f.Doc) < 20 || f.Cost == "" || f.Known == "" {
			t.Errorf("%+v", f)
		}
	}
	for _, f := range r.Facts {
		if f.Doc == "" || f.Example == "" || f.Cost == "" {
			t.Errorf("%+v", f)
		}
		text := fmt.Sprintf("rules: [{name: a, when: '%s', do: quarantine}]", strings.ReplaceAll(f.Example, "'", "''"))
		p, err := rules.Compile([]rules.Source{{Name: "example.yaml", Text: []byte(text)}}, rules.Options{Vocabulary: filters.Vocabulary()})
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		for _, w := range p.Lint() {
			if w.Code != "from-alone" { // an example is of one fact
				t.Errorf("%s: %v", f.Example, w)
			}
		}
		last := f.Name[strings.LastIndexByte(f.Name, '.')+1:]
		if !strings.Contains(f.Example, "."+last) || !slices.Contains(p.Needs(), f.Filter) {
			t.Errorf("%s: the example %s needs %v", f.Name, f.Example, p.Needs())
		}
	}
}

// No test data or page names a path of some machine.
func TestHouseNoForeignPaths(t *testing.T) {
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.Name() == ".git" { // a file in a work tree of git worktree
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Contains(text, []byte("/wo"+"rk/")) {
			t.Errorf("%s names a path of one machine", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
