package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"postern/people"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// The layout names nobody's parts to somebody who may not see them, and no page fetches anything from elsewhere.
func TestLayoutShowsWhatTheRoleMay(t *testing.T) {
	s := New(Config{Log: quiet()})
	for role, wants := range map[people.Role]string{
		people.Admin:    "/ /log /requests /lists /overview /rules /audit /people",
		people.Operator: "/ /log /requests /lists /overview /rules",
		people.Auditor:  "/ /log /overview /rules /audit",
		people.User:     "/ /requests /lists",
	} {
		who := &people.Actor{Person: people.Person{Login: "x", Name: "<b>X</b>", Role: role}}
		w := httptest.NewRecorder()
		r := withActor(httptest.NewRequestWithContext(context.Background(), "GET", "/", nil), who)
		s.show(w, r, 200, "problem", screen{Title: "A title", Data: "words"})
		body := w.Body.String()
		_, nav, _ := strings.Cut(body, `aria-label="Main">`)
		nav, _, _ = strings.Cut(nav, "</nav>")
		var got []string
		for _, part := range strings.Split(nav, `href="`)[1:] {
			link, _, _ := strings.Cut(part, `"`)
			got = append(got, link)
		}
		if strings.Join(got, " ") != wants {
			t.Errorf("%s sees %v, want %s", role, got, wants)
		}
		if strings.Contains(body, "<b>X") || strings.Contains(body, "//cdn") || strings.Contains(body, " style=") || strings.Contains(body, "<style") {
			t.Errorf("%s: unescaped name, something from elsewhere or an inline style:\n%s", role, body)
		}
	}
}

// What others wrote is what VENDORED.txt says, byte for byte.
func TestVendoredFiles(t *testing.T) {
	for dir, file := range map[string]string{"static": "htmx.min.js", "testdata": "axe.min.js"} {
		list, err := os.ReadFile(dir + "/VENDORED.txt")
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(dir + "/" + file)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		if !strings.Contains(string(list), hex.EncodeToString(sum[:])) {
			t.Errorf("%s/%s is not the file that VENDORED.txt names", dir, file)
		}
	}
}
