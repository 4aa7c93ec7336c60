package gateway

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/filters"
	"postern/mail"
)

// Files hidden by every trick of the corpora: after a strip none of them is in what is delivered,
// in no reading, or the message is held.
func TestStripHoldsOrRemovesEveryTrick(t *testing.T) {
	what := []string{".zip", ".exe", ".doc", ".com", "application/zip"}
	removed, held, none := 0, 0, 0
	for _, dir := range []string{"corpus/mime-evasion", "corpus/attachment-names", "corpus/mime", "corpus/tnef"} {
		walkCorpus(t, dir, func(name string, raw []byte) {
			out, hold, notes := edit(t, string(raw), strip(what...), banner("Care"))
			note := notes[strip(what...).String()]
			switch {
			case hold != "":
				held++
				return
			case note == "nothing to remove":
				none++
			default:
				removed++
			}
			o, err := filters.ReadOutline(t.Context(), mail.BodyOf([]byte(out)))
			if err != nil {
				t.Fatal(err)
			}
			files := o.Loose
			for _, s := range o.Sections {
				files = append(files, s.Files...)
			}
			for i := range files {
				if strips(what, &files[i]) {
					t.Errorf("%s: %s is still there (%s)", name, files[i].Name, note)
				}
			}
			before, err := leavesOf(raw)
			if err != nil {
				return
			}
			after, err := leavesOf([]byte(out))
			if err != nil || len(after) != len(before) {
				t.Errorf("%s: %d parts became %d (%v)", name, len(before), len(after), err)
				return
			}
			for i := range before {
				if before[i] != after[i] && !strings.Contains(after[i], "has removed from this message") && !strings.Contains(after[i], "Care") {
					t.Errorf("%s: part %d was changed", name, i)
				}
			}
		})
	}
	t.Logf("%d removed, %d held, %d with nothing to remove", removed, held, none)
	if removed < 20 || held < 20 {
		t.Error("the corpus is not what it was")
	}
}

// walkCorpus gives each message of a folder beside the project as it is sent.
func walkCorpus(t *testing.T, name string, each func(name string, raw []byte)) {
	t.Helper()
	dir := filepath.Join("..", "..", "shared", name)
	if _, err := os.Stat(dir); err != nil {
		t.Skip("skipped: ../shared is not here")
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".eml" {
			return err
		}
		raw, err := os.ReadFile(path)
		raw = bytes.ReplaceAll(bytes.ReplaceAll(raw, crlf, []byte("\n")), []byte("\n"), crlf)
		each(filepath.Base(path), raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
