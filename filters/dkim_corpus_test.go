package filters

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// moduleRoot walks up to go.mod.
func moduleRoot(t testing.TB) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

type corpusCase struct {
	ID, File, Zone, Why string
	Accept              []string
	Clock               int64
	AcceptAtClock       []string `json:"accept_at_clock"`
}

func readJSON(t testing.TB, path string, v any) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// readZone gives the keys of a corpus zone: lists of records, or the word for how a question
// fails.
func readZone(t testing.TB, path string) *fakeKeys {
	var z struct{ Records map[string]map[string]any }
	readJSON(t, path, &z)
	k := &fakeKeys{txt: map[string][]string{}, broken: map[string]bool{}}
	for name, types := range z.Records {
		name = strings.ToLower(name)
		if to, ok := types["CNAME"].([]any); ok {
			types = z.Records[to[0].(string)]
		}
		list, ok := types["TXT"].([]any)
		k.broken[name] = !ok
		for _, one := range list {
			k.txt[name] = append(k.txt[name], one.(string))
		}
	}
	return k
}

// corpusResult verifies one message of a corpus.
func corpusResult(t testing.TB, dir string, c corpusCase, now time.Time) DKIMFacts {
	msg, err := os.ReadFile(filepath.Join(dir, c.File))
	if err != nil {
		t.Fatal(err)
	}
	return verifyBytes(t, readZone(t, filepath.Join(dir, c.Zone)), msg, now)
}

// corpusNow is when the corpora were made; what they sign expires later or has expired.
var corpusNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// checkCorpus compares every case with the manifest and gives the ids that differ.
func checkCorpus(t *testing.T, dir string) (cases int, differ []string) {
	var m struct{ Cases []corpusCase }
	readJSON(t, filepath.Join(dir, "manifest.json"), &m)
	for _, c := range m.Cases {
		f := corpusResult(t, dir, c, corpusNow)
		if !slices.Contains(c.Accept, f.Result) {
			differ = append(differ, c.ID)
			t.Logf("%s: %s (%s), manifest %v: %s", c.ID, f.Result, f.Reason, c.Accept, c.Why)
		}
		if c.Clock != 0 {
			if f := corpusResult(t, dir, c, time.Unix(c.Clock, 0)); !slices.Contains(c.AcceptAtClock, f.Result) {
				differ = append(differ, c.ID+"@clock")
				t.Logf("%s at %d: %s (%s)", c.ID, c.Clock, f.Result, f.Reason)
			}
		}
	}
	return len(m.Cases), differ
}

// listedDifferences reads the ids in the table of docs/dkim-differences.md.
func listedDifferences(t *testing.T) (ids []string) {
	page, err := os.ReadFile(filepath.Join(moduleRoot(t), "docs/dkim-differences.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## Differences from the manifest")
	table, _, _ = strings.Cut(table, "\n## ")
	for _, line := range strings.Split(table, "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 3 && strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			ids = append(ids, strings.Trim(cells[1], " `"))
		}
	}
	return ids
}

// TestDKIMCorpus: every result is what the manifest accepts, or docs/dkim-differences.md says
// why it is not.
func TestDKIMCorpus(t *testing.T) {
	dir := filepath.Join(moduleRoot(t), "../shared/corpus/dkim")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("skipped: ../shared is not here")
	}
	n, differ := checkCorpus(t, dir)
	if n < 100 {
		t.Errorf("only %d cases", n)
	}
	if listed := listedDifferences(t); !slices.Equal(differ, listed) {
		t.Errorf("these differ: %v\ndocs/dkim-differences.md lists: %v", differ, listed)
	}
}

// TestDKIMSamples is the part of the corpus that is in the tree.
func TestDKIMSamples(t *testing.T) {
	if n, differ := checkCorpus(t, "testdata/dkim"); n < 70 || len(differ) > 0 {
		t.Errorf("%d cases, these differ: %v", n, differ)
	}
}
