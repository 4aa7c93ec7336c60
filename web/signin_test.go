package web

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/mail"
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

// outbox takes the mails.
type outbox struct {
	mu    sync.Mutex
	mails []string
	to    []string
	sent  chan struct{}
}

func (o *outbox) Send(_ context.Context, to mail.Address, subject, text string) error {
	o.mu.Lock()
	o.mails, o.to = append(o.mails, text), append(o.to, to.String())
	o.mu.Unlock()
	o.sent <- struct{}{}
	return nil
}

func (o *outbox) wait(t *testing.T) (path, code string) {
	t.Helper()
	select {
	case <-o.sent:
	case <-time.After(10 * time.Second):
		t.Fatal("no mail")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	text := o.mails[len(o.mails)-1]
	m := regexp.MustCompile(`https://postern\.example(/sign-in/link\?token=\S+)\n[\s\S]*code  (\d{4} \d{4})`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no link in %s", text)
	}
	return m[1], m[2]
}

func mailSite(t *testing.T) (*site, *outbox) {
	o := &outbox{sent: make(chan struct{}, 100)}
	x := newSite(t, httpsOrigin, func(p *people.Options) {
		p.MailSignIn, p.Mailer = true, o
		p.Internal = func(a mail.Address) bool { return a.Domain == "example.org" }
	})
	t.Cleanup(x.people.Close)
	return x, o
}

// C-38: what opens every link and sends every form that it finds signs nobody in and uses nothing
// up; the browser that asked does, by link or by code, once.
func TestC38MailLinks(t *testing.T) {
	x, box := mailSite(t)
	b := x.browser()
	if w := b.post("/sign-in/ask", "address", "Ann@Example.org"); w.Code != 303 || w.Header().Get("Location") != "/sign-in/asked" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	path, code := box.wait(t)
	if box.to[0] != "ann@example.org" {
		t.Error(box.to)
	}
	for range 3 {
		scanner := x.browser()
		scanner.from = "203.0.113.9:1"
		page := scanner.get(path)
		token, _ := url.Parse(path)
		for _, f := range [][]string{{"token", token.Query().Get("token")}, {"code", code}, {"token", token.Query().Get("token"), "code", code}} {
			if w := scanner.post("/sign-in/link", f...); w.Code == 303 || scanner.session() != "" {
				t.Fatalf("a scanner is signed in: %d", w.Code)
			}
		}
		if strings.Contains(page.Body.String(), "<form") || page.Code != 200 {
			t.Errorf("a form for scanners: %d %s", page.Code, page.Body)
		}
	}
	if w := b.get(path); w.Code != 200 || b.session() != "" || !strings.Contains(w.Body.String(), `name="token"`) {
		t.Fatalf("the GET did more than show a button: %d %s", w.Code, w.Body)
	}
	token, _ := url.Parse(path)
	old := *b
	old.cookies = map[string]*http.Cookie{}
	for k, v := range b.cookies {
		old.cookies[k] = v
	}
	if w := b.post("/sign-in/link", "token", token.Query().Get("token")); w.Code != 303 || b.get("/api/v1/me").Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := old.post("/sign-in/link", "token", token.Query().Get("token")); w.Code == 303 {
		t.Error("the link worked twice")
	}
	if w := old.post("/sign-in/link", "code", code); w.Code == 303 {
		t.Error("its code worked after it")
	}
	p, err := x.people.Get(t.Context(), &people.Actor{Person: people.Person{Role: people.Admin}}, "ann@example.org")
	if err != nil || p.Role != people.User || len(p.Addresses) != 1 {
		t.Errorf("%+v %v", p, err)
	}
	other := x.browser()
	other.post("/sign-in/ask", "address", "ann@example.org")
	_, code = box.wait(t)
	if w := other.post("/sign-in/link", "code", "0000 0000"); w.Code == 303 {
		t.Error("a wrong code")
	}
	if w := other.post("/sign-in/link", "code", code); w.Code != 303 || other.get("/api/v1/me").Code != 200 {
		t.Errorf("by code: %d %s", w.Code, w.Body)
	}
}

// Links go to people inside who sign in that way, and nobody learns who that is.
func TestMailLinksTellNothing(t *testing.T) {
	x, box := mailSite(t)
	x.add("op@example.org", people.Operator)
	x.add("pw@example.org", people.User)
	answers := map[string]bool{}
	for i, address := range []string{"ann@example.org", "op@example.org", "pw@example.org", "ann@elsewhere.example"} {
		b := x.browser()
		b.from = fmt.Sprintf("192.0.2.%d:1", i+1)
		w := b.post("/sign-in/ask", "address", address)
		wrong := b.post("/sign-in/link", "code", "12345678")
		answers[fmt.Sprint(w.Code, w.Header().Get("Location"), len(b.cookies), wrong.Code, wrong.Body.Len())] = true
	}
	if len(answers) != 1 {
		t.Errorf("answers differ: %v", answers)
	}
	box.wait(t)
	x.people.Close()
	if len(box.to) != 1 || box.to[0] != "ann@example.org" {
		t.Errorf("mails to %v", box.to)
	}
}

// A link ends after a quarter of an hour, a code after five wrong ones, and nobody's mailbox is filled.
func TestMailLinksEnd(t *testing.T) {
	x, box := mailSite(t)
	b := x.browser()
	b.post("/sign-in/ask", "address", "ann@example.org")
	path, code := box.wait(t)
	for range 5 {
		b.post("/sign-in/link", "code", "00000000")
	}
	if w := b.post("/sign-in/link", "code", code); w.Code == 303 {
		t.Error("a code after five wrong ones")
	}
	b.post("/sign-in/ask", "address", "ann@example.org")
	path, code = box.wait(t)
	x.clock = x.clock.Add(15 * time.Minute)
	if w := b.post("/sign-in/link", "code", code); w.Code == 303 || strings.Contains(b.get(path).Body.String(), "<form") {
		t.Error("a link after a quarter of an hour")
	}
	for i := range 100 {
		c := x.browser()
		c.from = fmt.Sprintf("10.0.%d.1:1", i)
		c.post("/sign-in/ask", "address", "ann@example.org")
	}
	x.people.Close()
	if len(box.to) > 6 {
		t.Errorf("%d mails", len(box.to))
	}
	asked := 0
	for i := range 100 {
		if b.post("/sign-in/ask", "address", fmt.Sprintf("u%d@example.org", i)).Code == 303 {
			asked++
		}
	}
	if asked > 12 {
		t.Errorf("one browser asked for %d links", asked)
	}
}

// The pages of accounts: everybody has the own one; others' are the administrator's.
func TestAccountPages(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	x.add("root", people.Admin)
	x.add("ann@example.org", people.User)
	root, ann := x.browser().signIn("root"), x.browser().signIn("ann@example.org")
	if w := ann.get("/account"); w.Code != 200 || !strings.Contains(w.Body.String(), "(this one)") || !strings.Contains(w.Body.String(), "ann@example.org") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, path := range []string{"/people", "/people/new", "/people/x"} {
		if w := ann.get(path); w.Code != 403 {
			t.Errorf("%s for a user: %d", path, w.Code)
		}
	}
	w := root.post("/people/new", "login", "eve@example.org", "name", "<b>Eve", "role", "user", "addresses", "eve@example.org\ninfo@example.org", "password", testPassword, "again", testPassword)
	eve := w.Header().Get("Location")
	if w.Code != 303 || !strings.HasPrefix(eve, "/people/") {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := root.get(eve); w.Code != 200 || !strings.Contains(w.Body.String(), "&lt;b&gt;Eve") || !strings.Contains(w.Body.String(), "info@example.org") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for name, fields := range map[string][]string{
		"taken": {"login", "ROOT", "role", "user"}, "no role": {"login", "y"}, "no address": {"login", "y", "role", "user", "addresses", "<script>"},
		"two passwords": {"login", "y", "role", "user", "password", "a", "again", "b"},
	} {
		if w := root.post("/people/new", fields...); w.Code < 400 || !strings.Contains(w.Body.String(), `role="alert"`) || strings.Contains(w.Body.String(), "<script>") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	hers := x.browser().signIn("eve@example.org")
	if w := ann.post(eve+"/remove", "x", "y"); w.Code != 403 {
		t.Errorf("%d", w.Code)
	}
	if w := root.post(eve, "login", "eve@example.org", "role", "auditor", "domains", "example.org"); w.Code != 303 || hers.get("/api/v1/me").Code != 401 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := root.get("/people"); !strings.Contains(w.Body.String(), "auditor") {
		t.Error(w.Body)
	}
	if w := root.post(eve+"/password", "password", testPassword+"!", "again", testPassword+"!"); w.Code != 303 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := hers.post("/sign-in", "login", "eve@example.org", "password", testPassword+"!"); w.Code != 303 {
		t.Errorf("%d", w.Code)
	}
	if w := root.post(eve+"/sessions", "x", "y"); w.Code != 303 || hers.get("/api/v1/me").Code != 401 {
		t.Errorf("%d", w.Code)
	}
	if w := root.post(eve+"/remove", "x", "y"); w.Code != 303 || root.get(eve).Code != 404 {
		t.Errorf("%d", w.Code)
	}
	// One's own password: the old one is needed, and every session ends.
	if w := ann.post("/account/password", "old", "wrong", "password", testPassword+"!", "again", testPassword+"!"); w.Code != 422 || ann.get("/account").Code != 200 {
		t.Errorf("%d", w.Code)
	}
	if w := ann.post("/account/password", "old", testPassword, "password", testPassword+"!", "again", testPassword+"!"); w.Code != 303 || ann.get("/account").Code == 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ann.post("/sign-in", "login", "ann@example.org", "password", testPassword+"!"); w.Code != 303 {
		t.Errorf("%d", w.Code)
	}
	// Tokens.
	w = ann.post("/account/tokens", "name", "a program", "days", "9", "scope", "see")
	token := regexp.MustCompile(`postern_[A-Za-z0-9_-]{43}`).FindString(w.Body.String())
	if w.Code != 200 || token == "" || strings.Contains(ann.get("/account").Body.String(), token) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for name, fields := range map[string][]string{"no scope": {"name", "x", "days", "1"}, "for ever": {"name", "x", "days", "9999", "scope", "see"}, "no name": {"days", "1", "scope", "see"}, "a wrong scope": {"name", "x", "days", "1", "scope", "god"}} {
		if w := ann.post("/account/tokens", fields...); w.Code != 422 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	// A second factor of one's own will.
	secret, _ := enrol(t, x, ann, "/account/totp", "password", testPassword+"!")
	if secret == "" || ann.get("/account").Code != 200 {
		t.Error("signed out by setting up the second factor")
	}
	if w := ann.post("/account/totp/remove", "password", testPassword+"!"); w.Code != 303 || ann.get("/account").Code == 200 {
		t.Errorf("%d", w.Code)
	}
	ann.post("/sign-in", "login", "ann@example.org", "password", testPassword+"!")
	id := regexp.MustCompile(`name="id" value="([0-9a-f]{16})"`).FindStringSubmatch(ann.get("/account").Body.String())
	if w := ann.post("/account/sessions", "id", id[1]); w.Code != 303 || ann.get("/account").Code == 200 {
		t.Errorf("%d", w.Code)
	}
}

// W-15: when what is beneath fails, a page says a number and nothing else.
func TestW15ErrorsTellNothing(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	x.add("ann", people.Operator)
	in := x.browser().signIn("ann")
	x.closeStore()
	for _, path := range []string{"/", "/account", "/people", "/api/v1/me", "/setup?token=" + strings.Repeat("A", 43)} {
		w := in.get(path)
		if w.Code < 500 || strings.Contains(w.Body.String(), "sql") || strings.Contains(w.Body.String(), "database") || strings.Contains(w.Body.String(), "/tmp") || strings.Contains(w.Body.String(), ".go") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := x.browser().post("/sign-in", "login", "ann", "password", testPassword); w.Code != 500 || !strings.Contains(w.Body.String(), "under the number") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	s := New(Config{People: x.people, Origin: httpsOrigin, Log: quiet()})
	s.mux.HandleFunc("GET /static/panic/now", func(http.ResponseWriter, *http.Request) { panic("the inside") })
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), "GET", "/static/panic/now", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "the inside") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
