package main

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/people"
)

// typing runs a command with standard input.
func typing(t *testing.T, text string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}
	w.Close()
	old := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = old }()
	return postern(args...)
}

// Accounts and tokens are kept on the command line, and passwords come from standard input alone.
func TestUserCommands(t *testing.T) {
	s := newSite(t, "127.0.0.1:1", "")
	if err := s.serve(t).stop(t); err != nil {
		t.Fatal(err)
	}
	const good = "correct horse battery\n"
	for _, c := range []struct {
		in, args, want string
		code           int
	}{
		{"", "list", "Nobody may sign in yet*", exitDone},
		{"short\n", "add root --role admin", "*at least 12 characters*", exitUsage},
		{"", "add root --role admin", "*no password was given*", exitFailed},
		{good, "add root --role admin", "root is an admin.", exitDone},
		{good, "add Root --role user", "*the login is taken*", exitFailed},
		{good, "add ana@example.org --role god", "*there is no role*", exitUsage},
		{good, "add ana@example.org --role operator --domain example.org --name Ana", "ana@example.org is an operator.", exitDone},
		{"", "add ben@example.org --address info@example.org --no-password", "ben@example.org is a user.*mailed link*", exitDone},
		{"", "add cid@example.org --address nonsense", "*--address*nonsense*", exitUsage},
		{"", "list", "operator*ana@example.org*@example.org*password; never signed in\nuser*ben@example.org*info@example.org; no password*\nadmin*root*", exitDone},
		{good, "passwd nobody", "*there is no such person", exitFailed},
		{good, "passwd ana@example.org", "ana@example.org has a new password*", exitDone},
		{"", "change ana@example.org --role auditor --domain \x00", "auditor*ana@example.org*", exitDone},
		{"", "change ana@example.org --no-totp", "*no second factor any more.", exitDone},
		{"", "change root --role user", "*somebody has to be administrator*", exitFailed},
		{"", "remove root ben@example.org", "*ben@example.org: removed\npostern: root: somebody has to be*", exitFailed},
		{"", "token add ana@example.org --scope sea", "*there is no permission \"sea\"*", exitUsage},
		{"", "token add ana@example.org", "*--scope*", exitUsage},
		{"", "token add ana@example.org --scope see --expires 400d", "*at most 366 days*", exitUsage},
		{"", "token remove x", "*there is no such token*", exitFailed},
	} {
		args := append([]string{"user"}, strings.Fields(c.args)...)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "\x00", "")
		}
		code, stdout, stderr := typing(t, c.in, append(args, "-c", s.conf)...)
		if text := strings.TrimSpace(stdout + stderr); code != c.code || !glob(c.want, text) {
			t.Errorf("user %s: exit code %d\n%s\nwant %d\n%s", c.args, code, text, c.code, c.want)
		}
	}
	code, token, stderr := typing(t, "", "user", "token", "add", "ana@example.org", "--scope", "see", "--scope", "journal", "-c", s.conf)
	token = strings.TrimSpace(token)
	if code != exitDone || !strings.HasPrefix(token, people.TokenPrefix) || strings.Contains(stderr, token) {
		t.Fatalf("%d %s %s", code, token, stderr)
	}
	_, out, _ := typing(t, "", "user", "token", "list", "--json", "-c", s.conf)
	var shown people.Token
	if err := json.Unmarshal([]byte(out), &shown); err != nil || shown.Login != "ana@example.org" || len(shown.Scopes) != 2 || strings.Contains(out, token) {
		t.Errorf("%s: %v", out, err)
	}
	if code, _, _ := typing(t, "", "user", "token", "remove", shown.ID, "-c", s.conf); code != exitDone {
		t.Error(code)
	}
}

// W-02: before anybody chose a password nobody signs in; the link of the first start works once.
func TestW02SetUpLink(t *testing.T) {
	s := newSite(t, "127.0.0.1:1", "web: {listen: \"127.0.0.1:0\"}\n")
	g := s.serve(t)
	file := filepath.Join(s.data, people.SetUpFile)
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", st, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	link, err := url.Parse(strings.TrimSpace(string(text)))
	if err != nil || len(link.Query().Get("token")) != 43 {
		t.Fatalf("%s %v", text, err)
	}
	if err := g.stop(t); err != nil {
		t.Fatal(err)
	}
	g = s.serve(t)
	if again, err := os.ReadFile(file); err != nil || string(again) != string(text) {
		t.Errorf("another link at the next start: %s %v", again, err)
	}
	if code, _, stderr := typing(t, "correct horse battery\n", "user", "add", "root", "--role", "admin", "-c", s.conf); code != exitDone {
		t.Fatal(stderr)
	}
	if err := g.stop(t); err != nil {
		t.Fatal(err)
	}
	if err := s.serve(t).stop(t); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the link is still there: %v", err)
	}
}
