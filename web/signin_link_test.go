package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/mail"
	"postern/people"
)

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
	another := x.browser() // that asked as well, for somebody else
	another.post("/sign-in/ask", "address", "bob@example.org")
	box.wait(t)
	token, _ := url.Parse(path)
	if w := another.get(path); strings.Contains(w.Body.String(), "<form") {
		t.Errorf("a form in another browser: %s", w.Body)
	}
	for _, f := range [][]string{{"token", token.Query().Get("token")}, {"code", code}} {
		if w := another.post("/sign-in/link", f...); w.Code == 303 || another.session() != "" {
			t.Errorf("another browser that asked is signed in: %d", w.Code)
		}
	}
	if w := b.get(path); w.Code != 200 || b.session() != "" || !strings.Contains(w.Body.String(), `name="token"`) {
		t.Fatalf("the GET did more than show a button: %d %s", w.Code, w.Body)
	}
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
	_, code := box.wait(t)
	for range 5 {
		b.post("/sign-in/link", "code", "00000000")
	}
	if w := b.post("/sign-in/link", "code", code); w.Code == 303 {
		t.Error("a code after five wrong ones")
	}
	b.post("/sign-in/ask", "address", "ann@example.org")
	path, code := box.wait(t)
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
