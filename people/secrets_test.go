package people

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/store"

	"github.com/pquerna/otp/totp"
)

// A postbox keeps what was mailed.
type postbox struct{ texts chan string }

func (p *postbox) Send(_ context.Context, _ mail.Address, _, text string) error {
	p.texts <- text
	return nil
}

// W-14, W-09: what people prove themselves with stands in no log, no line about acts and no file of
// the data folder, whatever happens with it. The secret of a second factor has to be in the
// database, and is nowhere else.
func TestW14Secrets(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	box, acts, now := &postbox{make(chan string, 9)}, &notes{db: db}, time.Now()
	s, err := Open(t.Context(), Options{DB: db, Audit: acts, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), Hashing: Hashing{64, 1, 1},
		Clock: func() time.Time { return now }, MailSignIn: true, Mailer: box, Internal: func(mail.Address) bool { return true }, Origin: "https://postern.example"})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	secrets := map[string]string{"password": "canary password one", "new password": "canary password two", "wrong password": "canary password three", "typed as login": "canary password four"}
	link, err := s.SetUpLink(t.Context())
	must(err)
	_, secrets["set-up link"], _ = strings.Cut(link, "token=")
	g, err := s.SetUp(t.Context(), secrets["set-up link"], "root", "", secrets["password"], at("192.0.2.1"), "")
	must(err)
	secrets["first session"] = g.Cookie
	x, err := s.NewTOTP(t.Context(), g.Cookie)
	must(err)
	code, err := totp.GenerateCode(x.Text, now)
	must(err)
	g, codes, err := s.ConfirmTOTP(t.Context(), g.Cookie, secrets["password"], code, at("192.0.2.1"))
	must(err)
	secrets["session"] = g.Cookie
	for _, c := range codes {
		secrets["recovery code "+c] = c
	}
	_, secrets["token"], err = s.AddToken(t.Context(), g.Who, g.Who.ID, "t", nil, time.Hour)
	must(err)
	_, err = s.TokenActor(t.Context(), secrets["token"], at("192.0.2.1").From)
	must(err)
	must(s.SetPassword(t.Context(), g.Who, g.Who.ID, secrets["password"], secrets["new password"]))
	_, err = s.SignIn(t.Context(), "root", secrets["wrong password"], at("192.0.2.1"), "")
	if err == nil {
		t.Fatal("a wrong password")
	}
	_, err = s.SignIn(t.Context(), secrets["typed as login"], "x", at("192.0.2.1"), "")
	if err == nil {
		t.Fatal("no login")
	}
	secrets["browser"], err = s.AskLink(t.Context(), "ann@example.org", at("192.0.2.1"))
	must(err)
	text := <-box.texts
	_, after, _ := strings.Cut(text, "token=")
	secrets["mailed link"], _, _ = strings.Cut(after, "\n")
	_, after, _ = strings.Cut(text, "code  ")
	secrets["mailed code"] = strings.ReplaceAll(after[:9], " ", "")
	_, err = s.UseLink(t.Context(), secrets["mailed link"], "", secrets["browser"], at("192.0.2.1"), "")
	must(err)
	s.Close()
	must(db.Close())

	written, err := json.Marshal(acts.lines)
	must(err)
	places := map[string][]byte{"the log": log.Bytes(), "the log of acts": written}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			places[filepath.Base(path)], err = os.ReadFile(path)
		}
		return err
	})
	must(err)
	if len(places[store.File]) == 0 || len(acts.lines) < 8 {
		t.Fatalf("nothing was looked at: %d bytes, %d lines", len(places[store.File]), len(acts.lines))
	}
	for name, secret := range secrets {
		if len(secret) < 8 {
			t.Fatalf("%s is %q", name, secret)
		}
		for place, text := range places {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("the %s stands in %s", name, place)
			}
		}
	}
	for place, text := range places {
		if place != store.File && bytes.Contains(text, []byte(x.Text)) {
			t.Errorf("the secret of the second factor stands in %s", place)
		}
	}
}
