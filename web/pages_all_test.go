package web

import (
	"strings"
	"testing"
	"time"

	"postern/people"
)

// Every page is there for who may see it, and carries no script or style of its own.
func TestEveryPage(t *testing.T) {
	b := newBed(t, people.Admin)
	for name, path := range everyPage() {
		began := time.Now()
		body := b.get(path)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		for _, bad := range []string{" style=", "<style", "onclick", `"javascript:`, `"http://`, `"https://`} {
			if body = strings.ReplaceAll(body, "http://www.w3.org", ""); strings.Contains(body, bad) && name != "raw" {
				t.Errorf("%s has %q", name, bad)
			}
		}
	}
}
