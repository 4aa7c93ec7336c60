package web

import (
	"bytes"
	"fmt"
	"image/png"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/people"

	"github.com/pquerna/otp/totp"
)

// W-02: the set-up link makes one administrator, who sets up a second factor before anything else.
func TestW02SetUp(t *testing.T) {
	x := newSite(t, httpsOrigin, func(o *people.Options) { o.AdminTOTP = true })
	for _, p := range []string{"admin", "password", "postern", "changeme", ""} {
		for _, login := range []string{"admin", "root", "postern", "administrator", ""} {
			x.clock = x.clock.Add(10 * time.Minute)
			if w := x.browser().post("/sign-in", "login", login, "password", p); w.Code == 303 {
				t.Fatalf("%s with %q is in", login, p)
			}
		}
	}
	link, err := x.people.SetUpLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(link)
	if err != nil || !strings.HasPrefix(link, httpsOrigin+"/setup?token=") {
		t.Fatal(link, err)
	}
	key := u.Query().Get("token")
	b := x.browser()
	if w := b.get(u.RequestURI()); w.Code != 200 || !strings.Contains(w.Body.String(), key) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := b.get("/setup?token=" + strings.Repeat("A", 43)); w.Code != 410 {
		t.Errorf("another link: %d", w.Code)
	}
	fields := func(change ...string) []string {
		f := map[string]string{"key": key, "login": "Root", "name": "R", "password": testPassword, "again": testPassword}
		for i := 0; i < len(change); i += 2 {
			f[change[i]] = change[i+1]
		}
		return []string{"key", f["key"], "login", f["login"], "name", f["name"], "password", f["password"], "again", f["again"]}
	}
	for name, f := range map[string][]string{"short": fields("password", "short", "again", "short"), "two passwords": fields("again", "x"), "no login": fields("login", "a b")} {
		if w := b.post("/setup", f...); w.Code != 422 || !strings.Contains(w.Body.String(), `role="alert"`) {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	if w := b.post("/setup", fields()...); w.Code != 303 || !strings.HasPrefix(w.Header().Get("Location"), "/sign-in/set-up") {
		t.Fatalf("%d %s %s", w.Code, w.Header().Get("Location"), w.Body)
	}
	for _, again := range []*browser{b, x.browser()} {
		if w := again.post("/setup", fields("login", "eve")...); w.Code != 410 {
			t.Errorf("the link works twice: %d", w.Code)
		}
	}
	if link, err := x.people.SetUpLink(t.Context()); err != nil || link != "" {
		t.Errorf("another link is made: %s %v", link, err)
	}
	for _, path := range []string{"/", "/account", "/people", "/account/totp", "/api/v1/me"} {
		if w := b.get(path); w.Code == 200 {
			t.Errorf("%s is open without a second factor", path)
		}
	}
	enrol(t, x, b, "/sign-in/set-up")
	if w := b.get("/people"); w.Code != 200 || !strings.Contains(w.Body.String(), "root") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A set-up link is too old after a day.
func TestW02SetUpLinkEnds(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	link, err := x.people.SetUpLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	x.clock = x.clock.Add(24 * time.Hour)
	_, path, _ := strings.Cut(link, httpsOrigin)
	if w := x.browser().get(path); w.Code != 410 {
		t.Errorf("%d", w.Code)
	}
	if again, err := x.people.SetUpLink(t.Context()); err != nil || again == link {
		t.Errorf("%s %v", again, err)
	}
}

// enrol sets up a second factor and gives its secret and the codes for its loss.
func enrol(t *testing.T, x *site, b *browser, path string, more ...string) (secret string, codes []string) {
	t.Helper()
	page := b.get(path).Body.String()
	m := regexp.MustCompile(`<code>([A-Z2-7]{32})</code>`).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no secret in %s", page)
	}
	if img, err := png.Decode(bytes.NewReader(b.get(path + ".png").Body.Bytes())); err != nil || img.Bounds().Dx() != 240 {
		t.Errorf("no picture: %v", err)
	}
	if again := b.get(path).Body.String(); !strings.Contains(again, m[1]) {
		t.Error("each look at the page makes another secret")
	}
	if w := b.post(path, append(more, "code", "000000")...); w.Code != 422 {
		t.Errorf("a wrong code: %d", w.Code)
	}
	code, err := totp.GenerateCode(m[1], x.clock)
	if err != nil {
		t.Fatal(err)
	}
	before := b.session()
	w := b.post(path, append(more, "code", code)...)
	codes = regexp.MustCompile(`[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}`).FindAllString(w.Body.String(), -1)
	if w.Code != 200 || len(codes) != 10 || b.session() == before {
		t.Fatalf("%d %d codes %s", w.Code, len(codes), w.Body)
	}
	return m[1], codes
}

// W-04: with a second factor neither password nor code alone opens anything; each code opens once.
func TestW04SecondFactor(t *testing.T) {
	x := newSite(t, httpsOrigin, func(o *people.Options) { o.AdminTOTP = true })
	root := x.add("root", people.Admin)
	b := x.browser()
	if w := b.post("/sign-in", "login", "root", "password", testPassword, "next", "/people"); !strings.HasPrefix(w.Header().Get("Location"), "/sign-in/set-up?next=%2Fpeople") {
		t.Fatal(w.Header())
	}
	secret, recovery := enrol(t, x, b, "/sign-in/set-up")
	code := func() string {
		c, err := totp.GenerateCode(secret, x.clock)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	begin := func() *browser {
		t.Helper()
		b := x.browser()
		if w := b.post("/sign-in", "login", "root", "password", testPassword); w.Header().Get("Location") != "/sign-in/code?next=%2F" {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
		return b
	}
	open := func(b *browser) bool { return b.get("/api/v1/me").Code == 200 }
	b = begin()
	if open(b) || b.get("/").Code == 200 || b.get("/sign-in/set-up").Code != 303 || b.get("/account/totp.png").Code == 200 {
		t.Error("a password alone opens something")
	}
	if w := b.post("/sign-in/code", "code", code()); w.Code == 303 {
		t.Error("the code that set it up was taken once more")
	}
	x.clock = x.clock.Add(30 * time.Second)
	half, now := b.session(), code()
	if w := b.post("/sign-in/code", "code", now); w.Code != 303 || !open(b) || b.session() == half {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	old := x.browser()
	old.cookies["s"] = &http.Cookie{Name: x.cookieName(sessionCookie), Value: half}
	if open(old) {
		t.Error("the session of before is signed in, too")
	}
	b = begin()
	if w := b.post("/sign-in/code", "code", now); w.Code == 303 {
		t.Error("a code was taken twice")
	}
	x.clock = x.clock.Add(time.Minute)
	var wg sync.WaitGroup // at the same time
	var mu sync.Mutex
	in := 0
	now = code()
	for _, b := range []*browser{begin(), begin(), begin(), begin()} {
		wg.Go(func() {
			if b.post("/sign-in/code", "code", now).Code == 303 {
				mu.Lock()
				in++
				mu.Unlock()
			}
		})
	}
	if wg.Wait(); in != 1 {
		t.Errorf("%d browsers came in with one code", in)
	}
	b = begin()
	if w := b.post("/sign-in/code", "code", strings.ToUpper(recovery[0])); w.Code != 303 || !open(b) {
		t.Errorf("a recovery code: %d", w.Code)
	}
	b = begin()
	if w := b.post("/sign-in/code", "code", recovery[0]); w.Code == 303 {
		t.Error("a recovery code was taken twice")
	}
	b = begin()
	looked := 0
	for i := range 1000 {
		if b.post("/sign-in/code", "code", fmt.Sprintf("%06d", i)).Code != 429 {
			looked++
		}
	}
	if looked > 10 {
		t.Errorf("%d guesses of a code were looked at", looked)
	}
	x.clock = x.clock.Add(10 * time.Minute)
	if w := b.post("/sign-in/code", "code", code()); w.Code == 303 && strings.HasPrefix(w.Header().Get("Location"), "/?") {
		t.Error("half a sign-in lasts longer than ten minutes")
	}
	boss := &people.Actor{Person: people.Person{Login: "boss", Role: people.Admin}, By: people.ByCommand}
	if err := x.people.DropTOTP(t.Context(), boss, root.ID, ""); err != nil {
		t.Fatal(err)
	}
	x.clock = x.clock.Add(time.Hour)
	if w := x.browser().post("/sign-in", "login", "root", "password", testPassword); !strings.HasPrefix(w.Header().Get("Location"), "/sign-in/set-up") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}
