package web

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/people"
	"postern/review"
)

// The key pages, as they are written. Read the difference before you write them anew (-update).
func TestGoldenPages(t *testing.T) {
	version := regexp.MustCompile(`\?v=[0-9a-f]+`)
	for _, p := range []struct {
		name, path string
		role       people.Role
	}{{"list", "/", people.Operator}, {"list-user", "/", people.User}, {"list-wrong", "/?q=recieved+%3E+1", people.Operator}, {"message", "/m/" + sampleID(2), people.Admin}, {"message-auditor", "/m/" + sampleID(2), people.Auditor},
		{"message-user", "/m/" + sampleID(1), people.User}, {"overview", "/overview", people.Admin}, {"requests", "/requests", people.Operator}, {"audit", "/audit", people.Auditor}} {
		b := newBed(t, p.role)
		if p.role == people.User {
			for i := range b.desk.rows {
				b.desk.rows[i].May = []review.Verb{review.Ask, review.Delete, review.Spam}
			}
		}
		got := version.ReplaceAllString(b.get(p.path), "")
		lines := strings.Split(got, "\n")
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " ")
		}
		got = strings.Join(lines, "\n")
		got = regexp.MustCompile(`(name="password" value="|class="password">)[A-Z2-7]+`).ReplaceAllString(got, "${1}PASSWORD")
		file := filepath.Join("testdata", "pages", p.name+".html")
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is another page than %s; -update writes it", p.path, file)
		}
	}
}
