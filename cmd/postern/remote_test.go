package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/web"
)

// What a command says over the API is what it says here.
func TestServerFlag(t *testing.T) {
	m := newMatrix(t)
	id := m.hold(t, "ana@example.org")
	srv := httptest.NewServer(web.New(m.webConfig()))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(m.tokens["root"]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	far := []string{"--server", srv.URL, "--token-file", file}
	near := []string{"--data", m.cfg.Data}
	for _, args := range []string{"held list", "held list --json", "held list --state any --class spam --recipient ana@example.org --since 1d", "held list --class virus",
		"held show " + id, "held show --json " + id, "held raw " + id,
		"log search", "log search --json", "log search --result held --rule a-rule", "log search --id " + id, "log show --json " + id} {
		code, out, errs := postern(append(strings.Fields(args), near...)...)
		farCode, farOut, farErrs := postern(append(strings.Fields(args), far...)...)
		if code != 0 || farCode != code || farOut != out {
			t.Errorf("%s\nhere  %d %s%s\nthere %d %s%s", args, code, out, errs, farCode, farOut, farErrs)
		}
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"held show 01K9ZT0A6X2V9S3M8Q4R5W7Y1B", exitFailed, "not for you"},
		{"held release " + id, exitFailed, "internal server"},
		{"held delete " + id, exitDone, "deleted"},
		{"held delete " + id, exitFailed, "already"},
		{"log search --text a --reply b", exitUsage, "stand alone"},
	} {
		if code, out, errs := postern(append(strings.Fields(c.args), far...)...); code != c.code || !strings.Contains(out+errs, c.says) {
			t.Errorf("%s: %d %s%s", c.args, code, out, errs)
		}
	}
	for _, c := range []struct{ server, token, says string }{
		{"http://192.0.2.1", m.tokens["root"], "in clear"}, {"ftp://x", m.tokens["root"], "it is like https"}, {srv.URL, "", "needs a token"}, {srv.URL, "wrong", "does not know the token"},
	} {
		t.Setenv("POSTERN_TOKEN", c.token)
		if code, _, errs := postern("held", "list", "--server", c.server); code == 0 || !strings.Contains(errs, c.says) {
			t.Errorf("%s: %d %s", c.server, code, errs)
		}
	}
}
