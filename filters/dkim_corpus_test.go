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

// dkimModuleRoot walks up to go.mod.
func dkimModuleRoot(t testing.TB) string {
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

type dkimCase struct {
	ID, File, Zone, Why string
	Accept              []string
	Clock               int64
	AcceptAtClock       []string `json:"accept_at_clock"`
}

func readDKIMJSON(t testing.TB, path string, v any) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// readDKIMZone gives the keys of a corpus zone: lists of records, or the word for how a question
// fails.
func readDKIMZone(t testing.TB, path string) *fakeKeys {
	var z struct{ Records map[string]map[string]any }
	readDKIMJSON(t, path, &z)
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

// dkimResult verifies one message of a corpus.
func dkimResult(t testing.TB, dir string, c dkimCase, now time.Time) DKIMFacts {
	msg, err := os.ReadFile(filepath.Join(dir, c.File))
	if err != nil {
		t.Fatal(err)
	}
	return verifyBytes(t, readDKIMZone(t, filepath.Join(dir, c.Zone)), msg, now)
}

// dkimCorpusNow is when the corpora were made; what they sign expires later or has expired.
var dkimCorpusNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// checkDKIMCorpus compares every case with the manifest and gives the ids that differ.
func checkDKIMCorpus(t *testing.T, dir string) (cases int, differ []string) {
	var m struct{ Cases []dkimCase }
	readDKIMJSON(t, filepath.Join(dir, "manifest.json"), &m)
	for _, c := range m.Cases {
		f := dkimResult(t, dir, c, dkimCorpusNow)
		if !slices.Contains(c.Accept, f.Result) {
			differ = append(differ, c.ID)
			t.Logf("%s: %s (%s), manifest %v: %s", c.ID, f.Result, f.Reason, c.Accept, c.Why)
		}
		if c.Clock != 0 {
			if f := dkimResult(t, dir, c, time.Unix(c.Clock, 0)); !slices.Contains(c.AcceptAtClock, f.Result) {
				differ = append(differ, c.ID+"@clock")
				t.Logf("%s at %d: %s (%s)", c.ID, c.Clock, f.Result, f.Reason)
			}
		}
	}
	return len(m.Cases), differ
}

// listedDKIMDifferences reads the ids in the table of docs/dkim-differences.md.
func listedDKIMDifferences(t *testing.T) (ids []string) {
	page, err := os.ReadFile(filepath.Join(dkimModuleRoot(t), "docs/dkim-differences.md"))
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
	dir := filepath.Join(dkimModuleRoot(t), "../shared/corpus/dkim")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("skipped: ../shared is not here")
	}
	n, differ := checkDKIMCorpus(t, dir)
	if n < 100 {
		t.Errorf("only %d cases", n)
	}
	if listed := listedDKIMDifferences(t); !slices.Equal(differ, listed) {
		t.Errorf("these differ: %v\ndocs/dkim-differences.md lists: %v", differ, listed)
	}
}

// TestDKIMSamples is the part of the corpus that is in the tree.
func TestDKIMSamples(t *testing.T) {
	if n, differ := checkDKIMCorpus(t, "testdata/dkim"); n < 70 || len(differ) > 0 {
		t.Errorf("%d cases, these differ: %v", n, differ)
	}
}
