package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A fault is a rule file with one mistake, the line where it stands, and what the message
// proposes; "" where nothing can be proposed.
type fault struct {
	text string
	line int
	more int // lines behind it on which the fault may be told as well
	hint string
}

// sound is a good file; faults are put into copies of it.
const sound = `rules:
  - name: first
    when: client.trusted
    do: deliver
    because: it is from {{client.addr}}
    effects: [add_header("X-A", "{{client.helo}}")]
  - name: second
    when: >-
      CONDITION
    class: spam
    do: reject
    because: 'we heard {{client.helo}}'
    reply: 550 5.7.1 no, {{client.addr}}
    unknown: quarantine
    shadow: false
    from: 2026-12-01
    until: 2027-01-01
  - name: third
    when: spf.result == "fail"
    score: 2.5
tests:
  - name: a test
    facts: {spf: {result: fail}, content: {from: [{name: A}]}}
    expect: {do: deliver, rule: "", score: 2.5}
`

const conditionLine = 9

// inCondition makes a file of an expression that is wrong.
func inCondition(expr, hint string) fault {
	return fault{strings.Replace(sound, "CONDITION", expr, 1), conditionLine, 0, hint}
}

// inLine puts another text in place of the first one found in the sound file.
func inLine(old, text, hint string) fault {
	s := strings.Replace(sound, "CONDITION", "client.trusted", 1)
	at := strings.Index(s, old)
	if at < 0 {
		panic("no " + old)
	}
	return fault{s[:at] + text + s[at+len(old):], 1 + strings.Count(s[:at], "\n"), strings.Count(text, "\n"), hint}
}

// misspellings are ways in which people mistype a word: a letter left out, two swapped, one
// doubled, another one.
func misspellings(word string) (out []string) {
	m := len(word) / 2
	out = append(out, word[:m]+word[m+1:], word[:m]+word[m:m+1]+word[m:])
	for i := m; i > 0; i-- {
		if word[i-1] != word[i] && word[i-1] != '_' && word[i] != '_' {
			out = append(out, word[:i-1]+word[i:i+1]+word[i-1:i]+word[i+1:])
			break
		}
	}
	return append(out, word[:m]+"x"+word[m+1:])
}

// conditionOn is a sound condition about a fact.
func conditionOn(f Fact) string {
	switch {
	case f.Type == "bool":
		return f.Name
	case f.Type == "string":
		return f.Name + ` == "x"`
	case f.Type == "int" || f.Type == "float":
		return f.Name + " > 5"
	case f.Type == "time":
		return f.Name + ` > date("2026-12-01")`
	}
	return "len(" + f.Name + ") > 0"
}

// misspelled are files in which one name is mistyped; the right one must be proposed.
func misspelled(known map[string]bool) (out []fault) {
	add := func(word string, of func(wrong string) fault) {
		for _, wrong := range misspellings(word) {
			if !known[wrong] && wrong != word {
				out = append(out, of(wrong))
			}
		}
	}
	for _, f := range Describe(testVocabulary()) {
		if strings.Contains(f.Name, "[]") {
			continue
		}
		filter, fact, _ := strings.Cut(f.Name, ".")
		add(fact, func(wrong string) fault {
			return inCondition(strings.Replace(conditionOn(f), f.Name, filter+"."+wrong, 1), "did you mean "+fact+"?")
		})
	}
	for _, name := range testVocabulary().names() {
		add(name, func(wrong string) fault {
			return inCondition(`client.trusted or `+wrong+`.error == ""`, "did you mean "+name+"?")
		})
	}
	for _, f := range Functions() {
		if len(f.Name) > 3 {
			add(f.Name, func(wrong string) fault {
				return inCondition("string("+strings.Replace(f.Example, f.Name+"(", wrong+"(", 1)+`) == "x"`, "did you mean "+f.Name+"?")
			})
		}
	}
	for _, key := range []string{"name", "when", "class", "because", "reply", "unknown", "shadow", "until", "effects"} {
		add(key, func(wrong string) fault { return inLine(" "+key+": ", " "+wrong+": ", "did you mean "+key+"?") })
	}
	for _, key := range []string{"rules", "tests"} {
		add(key, func(wrong string) fault { return inLine(key+":", wrong+":", "did you mean "+key+"?") })
	}
	for _, class := range classes() {
		add(class, func(wrong string) fault { return inLine("class: spam", "class: "+wrong, "did you mean "+class+"?") })
	}
	for _, do := range dispositions[1:] {
		add(do, func(wrong string) fault { return inLine("do: reject", "do: "+wrong, "did you mean "+do+"?") })
	}
	for _, word := range unknownWords {
		add(word, func(wrong string) fault {
			return inLine("unknown: quarantine", "unknown: "+wrong, "did you mean "+word+"?")
		})
	}
	for _, e := range testOptions().Effects {
		add(e.Name, func(wrong string) fault {
			args := strings.TrimSuffix(strings.Repeat(`"x", `, len(e.Params)), ", ")
			return inLine(`add_header("X-A", "{{client.helo}}")`, wrong+"("+args+")", "did you mean "+e.Name+"?")
		})
	}
	add("helo", func(wrong string) fault {
		return inLine("'we heard {{client.helo}}'", "'we heard {{client."+wrong+"}}'", "did you mean helo?")
	})
	add("addr", func(wrong string) fault {
		return inLine("no, {{client.addr}}", "no, {{client."+wrong+"}}", "did you mean addr?")
	})
	add("result", func(wrong string) fault {
		return inLine("{spf: {result: fail}", "{spf: {"+wrong+": fail}", "did you mean result?")
	})
	return out
}

// written are faults made by hand.
func written() (out []fault) {
	for _, expr := range []string{
		``, `client.trusted and`, `and client.trusted`, `client.trusted or or client.trusted`, `(client.trusted`, `client.trusted)`, `client.trusted client.trusted`,
		`client.addr = "x"`, `client.addr === "x"`, `client.addr => "x"`, `client.addr == "x`, `client.addr == x"`, `client.addr == 'x"`, `client.addr <> "x"`,
		`client.`, `.trusted`, `client..addr == "x"`, `client`, `client == "x"`, `"client.trusted"`, `client.addr`, `message.size`, `5`, `nil`, `[]`, `len(content.from)`,
		`client.addr == 5`, `client.addr > 5`, `client.trusted == "true"`, `client.trusted == 1`, `message.size == "5"`, `message.size > "big"`, `message.received > 5`,
		`message.received == "2026-12-01"`, `content.from == "x"`, `content.from.address == "x"`, `content.from[0] == "x"`, `content.from["x"].address == "x"`,
		`content.defects == "x"`, `client.addr in "x" + 5`, `client.addr in [1, 2] and message.size in ["x"] and client.addr.x`, `client.addr contains 5`, `client.addr startsWith client.trusted`, `not client.addr`, `-client.trusted`,
		`client.addr matches "["`, `client.addr matches "(?<x"`, `client.addr matches "a{5000}"`, `client.addr matches client.helo`, `client.addr matches 5`,
		`any(content.from, .address)`, `any(content.from, .nobody == "x")`, `any(content.from)`, `any(client.addr, # == "x")`, `any(content.from, # == "x")`, `all(.address == "x")`,
		`count(content.from, .address == "x")`, `filter(content.from, .address == "x")`, `len()`, `len(5) > 1`, `len(content.from, 5) > 1`, `lower(5) == "x"`, `lower() == "x"`, `int("x", "y") > 1`,
		`inNetwork(client.addr)  and client.nothing`, `inNetwork(client.addr, "300.0.0.0/8")`, `inNetwork(client.addr, "10.0.0.0/8", "ten")`, `inNetwork(client.addr, 10)`, `inNetwork(5, "10.0.0.0/8")`,
		`glob(client.addr)`, `glob(client.addr, "")`, `glob(client.addr, client.helo)`, `glob(5, "*")`, `matchesAny(client.addr, "")`, `isSubdomain("x")`, `isSubdomain(sender.domain, "*.x.example")`,
		`hasWord(client.helo)`, `hasWord(client.helo, "")`, `hasExtension(client.helo, ".exe")`, `hasExtension(client.helo, "a,b")`, `inList(client.helo)`, `inList(client.helo, "nothere.txt")`, `inList(client.helo, "/etc/passwd")`,
		`distance(client.helo) < 2`, `distance(client.helo, "") < 2`, `distance(client.helo, "x")`, `distance(client.helo, 5) < 2`,
		`between(message.received, "Mon", "08:00", "18:00")`, `between(message.received, "Man", "08:00", "18:00", "UTC")`, `between(message.received, "Mon", "8:00", "18:00", "UTC")`,
		`between(message.received, "Mon", "08:00", "08:00", "UTC")`, `between(message.received, "Mon", "08:00", "18:00", "Mars/Base")`, `age(5) > duration("1h")`, `age("x") > duration("1h")`,
		`age(message.received) > 5`, `duration("1 day") > duration("1h")`, `date("tomorrow") < message.received`, `date(client.addr) < message.received`, `now() > message.received`,
		`$env.client.trusted`, `let x = 5; x`, `true; false`, `{"a": 1}`, `map(content.from, .address) == []`, `reduce(content.defects, #acc + #, "") == ""`, `repeat("x", 5) == "x"`,
		`1..1000 == []`, `any(1..1000, # > 5)`, `2 ** 8 > 5`, `clamav.error != ""`, `spf.error != "" or client.trusted`, `not (spf.error == "")`, `client.trusted ? 1 : 2`, `client.trusted ? "a"`, `client.addr ?? 5`,
		`client.addr[`, `client.addr]`, `content.header[x] == "y"`, `content.header[5] == "y"`, `content.headers["x"] == "y"`, `"\q" == client.addr`, "`x == client.addr", `client.addr == “x”`, `client.trusted && && true`, `client.trusted || | true`, `client.addr @ "x"`, `client.addr == "x" # and more`,
	} {
		out = append(out, inCondition(expr, ""))
	}
	for _, c := range [][2]string{
		{"name: second", "name: first"}, {"name: second", "name: Second One"}, {"name: second", "name: -x"}, {"name: second", `name: ""`}, {"name: second", "name: [a]"}, {"name: second", "nickname: b"},
		{"do: reject", "do: nothing"}, {"do: reject", "do:"}, {"do: reject", "do: none"}, {"do: reject", "do: [reject]"}, {"do: reject", "do: &x reject"}, {"do: reject", "do: *x"}, {"do: reject", "do: !!str reject"},
		{"class: spam", "class: bad"}, {"class: spam", "class:"}, {"class: spam", "class: spam\n    class: spam"},
		{"score: 2.5", "score: many"}, {"score: 2.5", "score: 1e9"}, {"score: 2.5", "score: .nan"}, {"score: 2.5", "score: {}"},
		{"reply: 550", "reply: 250"}, {"reply: 550", "reply: 451"}, {"reply: 550", "reply: 999"}, {"reply: 550 5.7.1", "reply: 550 4.7.1"}, {"reply: 550 5.7.1 no, {{client.addr}}", "reply: no"}, {"reply: 550 5.7.1", "reply: 521 5.7.1"},
		{"'we heard {{client.helo}}'", "'we heard {{client.helo'"}, {"'we heard {{client.helo}}'", "'we heard {{}}'"}, {"'we heard {{client.helo}}'", "'we heard {{client}}'"}, {"'we heard {{client.helo}}'", "'we heard {{content.from}}'"},
		{"'we heard {{client.helo}}'", "'we heard {{1 +}}'"}, {"'we heard {{client.helo}}'", "'we heard {{$env}}'"}, {"'we heard {{client.helo}}'", "'we heard {{nobody}}'"}, {"'we heard {{client.helo}}'", "'we heard"}, {"'we heard {{client.helo}}'", "[a, b]"},
		{"unknown: quarantine", "unknown: no"}, {"unknown: quarantine", "unknown: 5"}, {"unknown: quarantine", "unknown: reject"}, {"shadow: false", "shadow: perhaps"}, {"shadow: false", "shadow: 1"},
		{"from: 2026-12-01", "from: 1.12.2026"}, {"from: 2026-12-01", "from: 2026-13-01"}, {"until: 2027-01-01", "until: soon"},
		{`add_header("X-A", "{{client.helo}}")`, `add_header("X-A")`}, {`add_header("X-A", "{{client.helo}}")`, `add_header("X-A", "b", "c")`}, {`add_header("X-A", "{{client.helo}}")`, `add_header(X-A, "b")`},
		{`add_header("X-A", "{{client.helo}}")`, `add_header("X-A", "{{client.none}}")`}, {`add_header("X-A", "{{client.helo}}")`, `add_header "X-A"`}, {`add_header("X-A", "{{client.helo}}")`, `delete_all()`}, {`[add_header("X-A", "{{client.helo}}")]`, `yes`},
		{"tests:", "include: nothing\ntests:"}, {"  - name: third", " - name: third"}, {"  - name: third", "\t- name: third"}, {"tests:", "tests: x\nmore:"}, {"- name: a test", "- name: a test\n    expectation: x"},
		{"rule: \"\"", "rule: nobody"}, {"do: deliver, rule", "do: maybe, rule"}, {"score: 2.5}", "score: lots}"}, {"{spf: {result: fail}", "{xxx: {result: fail}"}, {"expect: {do", "expect: {done"}, {"facts: {spf", "facts: [spf"}, {"rules:", "rules: x\nrest:"},
		{"when: client.trusted\n    do: deliver", "when:\n    do: deliver"}, {"when: client.trusted\n    do: deliver", "when: [client.trusted]\n    do: deliver"}, {"rules:", "\x01rules:"}, {"rules:", "\xffrules:"}, {"rules:", "--- x\n---\nrules:"},
	} {
		out = append(out, inLine(c[0], c[1], ""))
	}
	return out
}

// TestFaultyFiles: each of hundreds of faulty files is refused with the place of its fault and
// a caret below it, and a misspelled name with the right one.
func TestFaultyFiles(t *testing.T) {
	o := testOptions()
	o.Files = listFiles()
	if _, err := Compile([]Source{{"rules.yaml", []byte(strings.Replace(sound, "CONDITION", "client.trusted", 1))}}, o); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{scoreWord: true, "from": true} // a mistyped word may be another one
	for _, f := range Functions() {
		known[f.Name] = true
	}
	for _, f := range Describe(testVocabulary()) {
		known[f.Name[strings.LastIndexByte(f.Name, '.')+1:]] = true
	}
	all := append(misspelled(known), written()...)
	distinct := make(map[string]bool)
	for _, f := range all {
		distinct[f.text] = true
		checkFault(t, o, f)
	}
	if len(distinct) < 300 {
		t.Errorf("only %d files", len(distinct))
	}
	t.Logf("%d faulty files", len(distinct))
}

func checkFault(t *testing.T, o Options, f fault) {
	t.Helper()
	name := fmt.Sprintf("line %d: %s", f.line, strings.Split(f.text, "\n")[f.line-1])
	_, err := Compile([]Source{{"rules.yaml", []byte(f.text)}}, o)
	list, ok := err.(Errors)
	if !ok || len(list) == 0 {
		t.Errorf("%s: it loads (%v)", name, err)
		return
	}
	at := slices.IndexFunc(list, func(e *Error) bool { return e.Line >= f.line && e.Line <= f.line+f.more })
	if at < 0 {
		t.Errorf("%s: the error is elsewhere:\n%v", name, err)
		return
	}
	e := list[at]
	if f.hint != "" && e.Hint != f.hint {
		t.Errorf("%s: proposes %q, want %q\n%v", name, e.Hint, f.hint, err)
	}
	lines := strings.Split(e.Snippet, "\n")
	if e.File != "rules.yaml" || e.Column < 1 || e.Msg == "" || len(lines) != 2 || !strings.HasSuffix(lines[1], "^") || len([]rune(lines[1])) != e.Column+8 {
		t.Errorf("%s: no place or caret: %+v", name, e)
	}
	if strings.Contains(e.Msg, "interface {}") || strings.Contains(e.Msg, "rules.") || len(e.Msg) > 300 {
		t.Errorf("%s: not in words for people: %s", name, e.Msg)
	}
}
