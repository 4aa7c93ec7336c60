package rules

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func whenRule(expr string) []Source {
	return []Source{{"t.yaml", []byte("rules:\n  - name: a\n    do: discard\n    when: |\n      " + strings.ReplaceAll(expr, "\n", "\n      ") + "\n")}}
}

// TestF10_NoExpressionCanRunAway: each of these would cost seconds or gigabytes, or kill the
// process, in the expression language as it comes.
func TestF10_NoExpressionCanRunAway(t *testing.T) {
	for name, expr := range map[string]string{
		"string growth":     `reduce(1..28, #acc + #acc, "aaaa") == ""`,
		"loops":             `let r = 1..400; all(r, all(r, all(r, true)))`,
		"loops of facts":    `all(content.headers["a"], all(content.headers["b"], all(content.headers["c"], true)))`,
		"many loops":        strings.TrimSuffix(strings.Repeat(`all(content.defects, all(content.defects, true)) and `, 4), " and "),
		"deep brackets":     strings.Repeat("(", 4000) + "true" + strings.Repeat(")", 4000),
		"deep not":          strings.Repeat("!", 8000) + "true",
		"long":              `"` + strings.Repeat("a", 9000) + `" == ""`,
		"many nodes":        strings.Repeat("true and ", 600) + "true",
		"long regexp":       `content.subject matches "` + strings.Repeat("a", 1001) + `"`,
		"big regexp":        `content.subject matches "(a{1000}){1}(b{1000}){1}c{1000}"`,
		"dynamic regexp":    `content.subject matches ("a" + content.subject)`,
		"range of facts":    `any(1..message.size, true)`,
		"long range":        `any(1..1000, true)`,
		"concatenation":     strings.Repeat("content.subject + ", 17) + `"" == ""`,
		"doubling":          `let a = content.subject + "x"; a == ""`,
		"power":             `2 ** message.size > 1`,
		"long glob":         `glob(content.subject, "` + strings.Repeat("*a", 101) + `")`,
		"replace":           `len(content.subject | replace("", "aaaaaaaaa")) > 0`,
		"map":               `len(map(content.defects, # + #)) > 1`,
		"fromJSON":          `fromJSON(content.subject) == 1`,
		"whole environment": `$env | keys() | len() > 0`,
		"hidden fact":       `$env["client"].addr == ""`,
		"optional env":      `$env?.client.addr == ""`,
		"get":               `get(client, "addr") == ""`,
		"group as a value":  `client == client`,
		"dynamic fact":      `client[sender.local] == ""`,
		"method":            `dmarc.AuthResult() == "x"`,
		"clock":             `now() > message.received`,
		"reduce":            `reduce(content.defects, # + #acc, "") == ""`,
		"sort":              `len(sort(content.defects)) > 0`,
		"group by":          `len(groupBy(content.defects, #)) > 0`,
		"repeat":            `repeat(content.subject, 1000) == ""`,
		"to JSON":           `toJSON(content.headers) == ""`,
		"from base 64":      `fromBase64(content.subject) == ""`,
		"type":              `type(content.from) == "array"`,
		"deep brackets []":  strings.Repeat("[", 4000) + strings.Repeat("]", 4000) + " == []",
		"deep ternary":      strings.Repeat("true ? true : (", 600) + "true" + strings.Repeat(")", 600),
		"three deep":        `any(content.attachments, any(.names, any(content.defects, # == "x")))`,
		"two statements":    `client.trusted; true`,
		"a map":             `{"a": 1}.a == 1`,
		"dynamic pattern":   `content.subject matches content.header["x"]`,
		"pattern by let":    `let p = client.helo; content.subject matches p`,
	} {
		_, err := Compile(whenRule(expr), testOptions())
		if err == nil {
			t.Errorf("%s: compiled", name)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: the message has %d bytes", name, len(err.Error()))
		}
	}
}

// TestC20_YAMLCannotRunAway: nesting and length are refused before the parser sees them.
func TestC20_YAMLCannotRunAway(t *testing.T) {
	for name, s := range map[string]string{
		"brackets": strings.Repeat("[", 100000), "braces": strings.Repeat("{a: ", 100000), "dashes": strings.Repeat("- ", 100000),
		"anchors": strings.Repeat("&a ", 100000), "long file": strings.Repeat("# x\n", 1<<19), "control": "rules: \x00", "carriage return": "rules: []\r# x", "no UTF-8": "rules: \xff",
		"laughs": "a: &a [x, x]\nb: &b [*a, *a]\nrules: *b\n",
	} {
		_, err := Compile([]Source{{"t.yaml", []byte(s)}}, testOptions())
		if err == nil {
			t.Errorf("%s: compiled", name)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: the message has %d bytes", name, len(err.Error()))
		}
	}
}

// FuzzRuleFile: whatever a rule file holds, Compile ends, with errors that have a place in
// that file, or with a policy that decides.
func FuzzRuleFile(f *testing.F) {
	files, _ := filepath.Glob("../testdata/rules/*.yaml")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add(string(builtin))
	f.Add("rules:\n  - {name: a, when: 'a\r\r\r\rb'}\n  -") // line ends for the YAML parser, not for us
	o := testOptions()
	o.Files = listFiles()
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Compile([]Source{{"t.yaml", []byte(s)}}, o)
		if err != nil {
			checkErrors(t, err, s)
			return
		}
		decideAll(t, p)
		p.Lint()
	})
}

// FuzzExpression: the same for one expression, as a condition and in a sentence.
func FuzzExpression(f *testing.F) {
	for _, s := range leafPool {
		f.Add(s)
	}
	for _, fn := range Functions() {
		f.Add(fn.Example)
	}
	f.Add(`let d = domainOf(sender.address); any(content.from, .domain == d)`)
	f.Add(`content.from | filter(.name != "") | len() > 1 ? spf.result == "x" : not clamav.infected`)
	o := testOptions()
	o.Files = listFiles()
	f.Fuzz(func(t *testing.T, s string) {
		src := whenRule(s)[0]
		src.Text = append(src.Text, "    because: |\n      {{"+strings.ReplaceAll(s, "\n", "\n      ")+"}}\n"...)
		p, err := Compile([]Source{src}, o)
		if err != nil {
			checkErrors(t, err, string(src.Text))
			return
		}
		decideAll(t, p)
		p.Lint()
	})
}

// FuzzTemplate: whatever a sentence, a reply or an argument of an effect holds, it loads or is
// refused with its place; what it says is bounded, and what is said to a client is printable.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"from {{sender.address}}", "{{", "}}{{", "{{'}}'}}", "{{\"}}\" + client.helo}} x", "{{content.from[0].name}}",
		"{{spf.result}}{{}}", "{{ {{client.addr}} }}", "{{join(content.defects, ', ')}}", "\u202e{{score}}\u2028", "{{message.received}}{{content.defects}}"} {
		f.Add(s, "a\r\n250 ok\x00ü")
	}
	o := testOptions()
	f.Fuzz(func(t *testing.T, s, said string) {
		indented := "|\n      " + strings.ReplaceAll(s, "\n", "\n      ") + "\n"
		src := Source{"t.yaml", []byte("rules:\n  - name: a\n    when: true\n    do: reject\n    because: " + indented +
			"    reply: |\n      550 5.7.1 " + strings.ReplaceAll(s, "\n", " ") + "\n    effects:\n      - add_header(\"X\", " + strconv.Quote(s) + ")\n")}
		p, err := Compile([]Source{src}, o)
		if err != nil {
			checkErrors(t, err, string(src.Text))
			return
		}
		facts := factMap{"client": clientFacts{Helo: said}, "sender": addressFacts{Address: said}, "content": contentFacts{Subject: said, Defects: []string{said}}}.all()
		v, _ := p.Decide(facts)
		if len(v.Because) > maxSentence || strings.ContainsAny(v.Because, "\r\n\x00") || !utf8.ValidString(v.Because) {
			t.Fatalf("%q", v.Because)
		}
		if v.Reply != nil && (len(v.Reply.Text) > maxSentence || strings.ContainsFunc(v.Reply.Text, func(r rune) bool { return r < ' ' || r > '~' })) {
			t.Fatalf("%q", v.Reply.Text)
		}
		for _, a := range v.Effects[0].Args {
			if len(a) > maxArgument || strings.ContainsAny(a, "\r\n\x00") {
				t.Fatalf("%q", a)
			}
		}
	})
}

func checkErrors(t *testing.T, err error, text string) {
	t.Helper()
	list, ok := err.(Errors)
	if !ok || len(list) == 0 {
		t.Fatalf("%T %v", err, err)
	}
	lines := strings.Count(text, "\n") + 2
	for _, e := range list {
		if e.Line < 1 || e.Line > lines || e.Column < 1 || e.Msg == "" {
			t.Errorf("no place: %+v", e)
		}
	}
}

// decideAll decides with everything known and with everything failed.
func decideAll(t *testing.T, p *Policy) {
	t.Helper()
	broken := factMap{}
	for name := range testVocabulary() {
		broken[name] = errTest
	}
	for _, facts := range []factMap{factMap{}.all(), broken, clean()} {
		v, waiting := p.Decide(facts)
		if waiting != nil || v.Do == None || v.Because == "" && v.Do != None && v.Rule == "" {
			t.Fatalf("%+v %v", v, waiting)
		}
		if len(v.Because) > maxSentence {
			t.Fatalf("%d bytes: %s", len(v.Because), v.Because)
		}
	}
}
