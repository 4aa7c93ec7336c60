package web

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The keys of docs/review.md are those of the help dialog, and both scripts know each of them.
func TestKeysAreDocumented(t *testing.T) {
	var table strings.Builder
	table.WriteString("| key | what it does |\n|---|---|\n")
	scripts := ""
	for _, file := range []string{"app.js", "list.js", "message.js"} {
		b, err := staticFiles.ReadFile("static/" + file)
		if err != nil {
			t.Fatal(err)
		}
		scripts += string(b)
	}
	for _, k := range keymap() {
		fmt.Fprintf(&table, "| `%s` | %s |\n", strings.Join(k.Keys, "` `"), k.Does)
		for _, name := range k.Keys {
			if name == "Esc" {
				name = "Escape"
			}
			if !strings.Contains(scripts, " "+name+": ") && !strings.Contains(scripts, fmt.Sprintf("%q: ", name)) {
				t.Errorf("no script carries out %s", name)
			}
		}
	}
	const file, from, to = "../docs/review.md", "<!-- keys: checked against the code -->\n", "<!-- end of keys -->"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(b), from)
	is, tail, found := strings.Cut(rest, to)
	if !found {
		t.Fatal("docs/review.md has no place for the keys")
	}
	if is == table.String() {
		return
	}
	if !*update {
		t.Fatalf("docs/review.md has other keys; go test ./web -run TestKeysAreDocumented -update writes them:\n%s", table.String())
	}
	if err := os.WriteFile(file, []byte(head+from+table.String()+to+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
