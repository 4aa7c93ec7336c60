package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"postern/filters"
	"postern/gateway"
	"postern/rules"

	"github.com/alecthomas/kong"
)

// The pages for people cannot go stale where the source can be asked.

const moduleRoot = "../.."

func pageText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(moduleRoot, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func pages(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(moduleRoot, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	out := []string{"README.md", "SECURITY.md"}
	for _, n := range names {
		out = append(out, filepath.Join("docs", filepath.Base(n)))
	}
	return out
}

// blocks gives the fenced blocks of a page whose first line is ``` and info.
func blocks(text, info string) (out []string) {
	fence := regexp.MustCompile("(?ms)^```" + regexp.QuoteMeta(info) + "\n(.*?)^```$")
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// sources parses every Go file that is no test.
func sources(t *testing.T, dir string) (files []*ast.File) {
	t.Helper()
	set := token.NewFileSet()
	err := filepath.WalkDir(filepath.Join(moduleRoot, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// docs/flow.md names functions and files that exist.
func TestFlowPageNamesWhatExists(t *testing.T) {
	functions := map[string]bool{}
	for _, f := range sources(t, ".") {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				functions[d.Name.Name] = true
			}
		}
	}
	n := 0
	for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(pageText(t, "docs/flow.md"), -1) {
		name, isFunction := strings.CutSuffix(m[1], "()")
		switch {
		case isFunction && !functions[name]:
			t.Errorf("there is no function %s", name)
		case !isFunction && strings.Contains(name, "/"):
			if _, err := os.Stat(filepath.Join(moduleRoot, name)); err != nil {
				t.Errorf("there is no %s", name)
			}
		case !isFunction:
			continue
		}
		n++
	}
	if n < 60 {
		t.Errorf("only %d names found", n)
	}
}

// Links between the pages lead somewhere.
func TestPagesLinks(t *testing.T) {
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	other := regexp.MustCompile(`[^a-z0-9 -]`)
	for _, name := range pages(t) {
		for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(pageText(t, name), -1) {
			file, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(file, ":") {
				continue
			}
			target := name
			if file != "" {
				target = filepath.Join(filepath.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join(moduleRoot, target)); err != nil {
				t.Errorf("%s: %s leads nowhere", name, m[1])
				continue
			}
			found := anchor == ""
			for _, h := range heading.FindAllStringSubmatch(pageText(t, target), -1) {
				slug := strings.ReplaceAll(other.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")
				found = found || slug == anchor
			}
			if !found {
				t.Errorf("%s: there is no heading for %s", name, m[1])
			}
		}
	}
}

// Every block that begins with ```yaml rule is a rule file that compiles without a warning.
func TestPagesRules(t *testing.T) {
	n := 0
	for _, name := range pages(t) {
		for _, text := range blocks(pageText(t, name), "yaml rule") {
			n++
			lists := fstest.MapFS{}
			for _, file := range []string{"partners.txt", "blocked.txt", "recipients.txt"} {
				lists[file] = &fstest.MapFile{Data: []byte("ana@example.org\n")}
			}
			p, err := rules.Compile([]rules.Source{{Name: name, Text: []byte(text)}},
				rules.Options{Vocabulary: filters.Vocabulary(), Effects: gateway.EffectSpecs(pageScope(t)), Files: lists})
			if err != nil {
				t.Errorf("%v\nin\n%s", err, text)
				continue
			}
			for _, w := range p.Lint() { // a page shows only what we would not complain about
				t.Error(w)
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d blocks found", n)
	}
}

// Every other yaml block is a piece of a configuration file.
func TestPagesConfiguration(t *testing.T) {
	for _, name := range pages(t) {
		for _, text := range blocks(pageText(t, name), "yaml") {
			if strings.HasPrefix(text, "# The built-in policy") {
				continue
			}
			c := defaultConfig()
			c.Hostname, c.Domains, c.Upstream.Servers = "mx.example.org", []string{"example.org"}, []string{"10.0.0.2:25"}
			err := c.parse(name, []byte(text))
			if err == nil {
				err = c.validate()
			}
			if err != nil {
				t.Errorf("%v\nin\n%s", err, text)
			}
		}
	}
}

// Every command line in the pages is one that postern takes.
func TestPagesCommandLines(t *testing.T) {
	n := 0
	line := regexp.MustCompile(`^(?:sudo )?(?:\./)?postern ((?:'[^']*'|[^#|>\\\n])*)`)
	for _, name := range pages(t) {
		text := pageText(t, name)
		candidates := strings.Split(strings.Join(blocks(text, "sh"), "\n"), "\n")
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
			candidates = append(candidates, strings.Join(strings.Fields(m[1]), " "))
		}
		for _, c := range candidates {
			m := line.FindStringSubmatch(c)
			if m == nil || strings.Contains(m[1], "COMMAND") {
				continue
			}
			n++
			var args []string
			for _, a := range regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s'"]+`).FindAllString(m[1], -1) {
				args = append(args, strings.Trim(a, `'"`))
			}
			var cmd cli
			p, err := newParser(&cmd, kong.Writers(io.Discard, io.Discard))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Parse(args); err != nil && !strings.HasPrefix(err.Error(), `expected "<`) && !strings.HasPrefix(err.Error(), "expected one of") {
				t.Errorf("%s: %s: %v", name, c, err)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d command lines found", n)
	}
}

// docs/operate.md has a row for every refusal that the gateway can say by itself.
func TestOperatePageHasEveryReply(t *testing.T) {
	text := pageText(t, "docs/operate.md")
	seen := map[string]bool{}
	check := func(code, why string) {
		if !seen[code] && !strings.Contains(text, "`"+code+"`") {
			t.Errorf("no row for %s (%s)", code, why)
		}
		seen[code] = true
	}
	line := regexp.MustCompile(`^([45]\d\d \d\.\d+\.\d+) (.*)$`)
	for _, f := range sources(t, "gateway") {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				s, _ := strconv.Unquote(n.Value)
				if m := line.FindStringSubmatch(s); n.Kind == token.STRING && m != nil {
					check(m[1], m[2])
				}
			case *ast.CompositeLit:
				if code, said := replyLiteral(n); code != "" {
					check(code, said)
				}
			}
			return true
		})
	}
	for _, m := range regexp.MustCompile(`(?m)^    reply: ([45]\d\d \d\.\d+\.\d+)`).FindAllStringSubmatch(string(rules.Builtin().Text), -1) {
		check(m[1], "the built-in policy")
	}
	if len(seen) < 20 {
		t.Errorf("only %d replies found", len(seen))
	}
}

// replyLiteral reads mail.Reply{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: "…"}.
func replyLiteral(c *ast.CompositeLit) (code, text string) {
	parts := map[string]ast.Expr{}
	for _, e := range c.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if k, ok := kv.Key.(*ast.Ident); ok {
				parts[k.Name] = kv.Value
			}
		}
	}
	number, ok := parts["Code"].(*ast.BasicLit)
	enhanced, ok2 := parts["Enhanced"].(*ast.CompositeLit)
	if !ok || !ok2 || number.Value[0] < '4' {
		return "", ""
	}
	var digits []string
	for _, e := range enhanced.Elts {
		if d, ok := e.(*ast.BasicLit); ok {
			digits = append(digits, d.Value)
		}
	}
	if s, ok := parts["Text"].(*ast.BasicLit); ok {
		text = s.Value
	}
	return number.Value + " " + strings.Join(digits, "."), text
}

// docs/operate.md explains every metric, and every field of the log line.
func TestOperatePageHasEveryMetric(t *testing.T) {
	text := pageText(t, "docs/operate.md")
	for _, f := range sources(t, "cmd/postern") {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.BasicLit); ok && s.Kind == token.STRING && regexp.MustCompile(`^"postern_[a-z_]+"$`).MatchString(s.Value) {
				if name := strings.Trim(s.Value, `"`); !strings.Contains(text, "`"+name) {
					t.Errorf("no row for the metric %s", name)
				}
			}
			return true
		})
	}
	for _, f := range sources(t, "journal") {
		if f.Name.Name != "journal" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok || len(c.Args) != 2 {
				return true
			}
			if fn, ok := c.Fun.(*ast.Ident); ok && fn.Name == "add" {
				if s, ok := c.Args[0].(*ast.BasicLit); ok && !strings.Contains(text, "`"+strings.Trim(s.Value, `"`)+"`") {
					t.Errorf("no row for the log field %s", s.Value)
				}
			}
			return true
		})
	}
}

// The unit waits longer for a stop than a message may take.
func TestUnitOutlastsADecision(t *testing.T) {
	m := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)min$`).FindStringSubmatch(pageText(t, "postern.service"))
	if m == nil {
		t.Fatal("no TimeoutStopSec")
	}
	minutes, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	need := time.Duration(defaultConfig().Grace) + gateway.DefaultLimits().Decide
	if got := time.Duration(minutes) * time.Minute; got <= need {
		t.Errorf("TimeoutStopSec is %v, a stop may take %v", got, need)
	}
	if !strings.Contains(pageText(t, "docs/operate.md"), fmt.Sprintf("%d minutes", minutes)) {
		t.Errorf("docs/operate.md does not say %d minutes", minutes)
	}
}

// pageScope is what rules on the pages may name.
func pageScope(t *testing.T) gateway.EffectScope {
	t.Helper()
	cfg := defaultConfig()
	cfg.Domains, cfg.Routes = []string{"example.org"}, []RouteConfig{{Name: "lab"}}
	return effectScope(cfg)
}
