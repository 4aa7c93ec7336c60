package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/audit"
	"postern/journal"
	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/quarantine/quarantinetest"
	"postern/web"
)

// An operation is one call as the OpenAPI description has it.
type operation struct {
	method, path, name string
	needs              string // permission; "": whoever is signed in
}

// describedCalls reads them from the description itself: what stands in it is what is tested.
func describedCalls(t *testing.T) (ops []operation) {
	var doc struct {
		Paths map[string]map[string]struct {
			ID         string `json:"operationId"`
			Permission string `json:"x-permission"`
		}
	}
	if err := json.Unmarshal(web.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			ops = append(ops, operation{strings.ToUpper(method), path, op.ID, op.Permission})
		}
	}
	slices.SortFunc(ops, func(a, b operation) int { return strings.Compare(a.name, b.name) })
	return ops
}

// bodyOf is what a call needs to be taken seriously.
func bodyOf(name, id string) string {
	switch name {
	case "act", "summary":
		return fmt.Sprintf(`{"do":"delete","ids":[%q]}`, id)
	case "releaseHeld", "deleteHeld", "reportSpam", "askRelease":
		return `{"reason":"because"}`
	case "wouldAllow":
		return `{"entry":"ann@partner.example","for":"ana@example.org"}`
	case "pinTest":
		return `{"name":"a test"}`
	case "downloadAttachment":
		return `{"password":"long enough"}`
	case "saveView":
		return `{"name":"mine","find":{"class":"spam"}}`
	case "addEntries":
		return `{"entries":[{"entry":"x@y.example","action":"deny","for":"ana@example.org"}]}`
	case "removeEntries":
		return `{"entries":[{"entry":"x@y.example","for":"ana@example.org"}]}`
	case "tryRules", "applyRules":
		return `{"files":[],"base":""}`
	case "rollBack":
		return `{"n":1}`
	case "setPassword":
		return `{"old":"x","new":"a long password"}`
	case "setDigest":
		return `{"interval":"weekly"}`
	case "addToken":
		return `{"name":"t","days":1}`
	case "resetPassword":
		return `{"password":"another long password"}`
	case "addPerson", "changePerson":
		return `{"login":"new@example.org","role":"user"}`
	}
	return ""
}

// A matrix is a site with people of each role, and mail to some of them.
type matrix struct {
	*program
	pages  http.Handler
	tokens map[string]string // by login
	held   int
}

// The people: ana and bob are users of example.org, dora sees the other domain alone.
func matrixPeople() []people.Person {
	return []people.Person{
		{Login: "root", Role: people.Admin}, {Login: "olga", Role: people.Operator}, {Login: "dora", Role: people.Operator, Domains: []string{"other.example"}},
		{Login: "aude", Role: people.Auditor},
		{Login: "ana@example.org", Role: people.User, Addresses: []mail.Address{quarantinetest.Address("ana@example.org")}},
	}
}

func newMatrix(t *testing.T) *matrix {
	s := newSite(t, "127.0.0.1:1", "web: {listen: \"127.0.0.1:0\"}\n")
	s.replace(t, "domains: [example.org]", "domains: [example.org, other.example]")
	m := &matrix{program: s.serve(t).program, tokens: map[string]string{}}
	m.pages = web.New(m.webConfig())
	root := &people.Actor{Person: people.Person{ID: "local", Login: "local", Role: people.Admin}, By: people.ByCommand}
	for _, p := range matrixPeople() {
		made, err := m.people.Add(t.Context(), root, p, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, m.tokens[p.Login], err = m.people.AddToken(t.Context(), root, made.ID, "test", nil, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// canary stands in everything that is neither for ana nor in the sight of dora.
const canary = "for-nobody-else"

// hold has a message of the class spam held for somebody, with its entry in the journal.
func (m *matrix) hold(t *testing.T, to string) string {
	t.Helper()
	m.held++
	it := quarantinetest.Item(time.Now().UTC().Add(time.Duration(m.held)*time.Microsecond).Truncate(time.Microsecond), to)
	it.State = quarantine.Kept
	it.Copies[0].Class, it.Copies[0].Rule = "spam", "a-rule"
	if to == "bob@example.org" {
		it.Subject, it.Copies[0].Because, it.From = canary, canary, canary+" <x@"+canary+".example>"
	}
	text := "From: x@bank.example\r\nSubject: " + it.Subject + "\r\nMIME-Version: 1.0\r\nContent-Type: application/x-thing; name=f.bin\r\n\r\n" + it.Subject + "\r\n"
	if err := m.quarantine.Hold(t.Context(), it, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	e := &journal.Entry{ID: it.ID, Received: it.Received, Envelope: it.Envelope, Subject: it.Subject, From: it.From, Result: "held",
		Outcomes: []journal.Outcome{{Recipient: it.Copies[0].Recipient.Address, Do: "quarantine", Rule: "a-rule", Class: "spam", Because: it.Copies[0].Because, Held: it.ID}}}
	if err := m.journal.RecordDurably(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	return it.ID
}

// call makes one with a token; "" without.
func (m *matrix) call(t *testing.T, login, method, path, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if strings.HasSuffix(path, "/events") {
		ctx, cancel = context.WithTimeout(ctx, 200*time.Millisecond) // a stream ends with its caller
		defer cancel()
	}
	r := httptest.NewRequestWithContext(ctx, method, m.cfg.Web.Origin+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if login != "" {
		r.Header.Set("Authorization", "Bearer "+m.tokens[login])
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	m.pages.ServeHTTP(w, r)
	return w
}

func (m *matrix) lines(t *testing.T) int64 {
	t.Helper()
	list, err := m.audit.List(t.Context(), audit.Query{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		return 0
	}
	return list[0].N
}

// Every call by every role on own, foreign and unknown messages (W-07, W-08): nothing is done or
// told beyond what the role and the sight allow, and each change leaves exactly one line.
func TestW07_AccessMatrix(t *testing.T) {
	m := newMatrix(t)
	foreign := m.hold(t, "bob@example.org")
	for _, op := range describedCalls(t) {
		for _, p := range matrixPeople() {
			who := &people.Actor{Person: p}
			t.Run(op.name+"/"+p.Login, func(t *testing.T) {
				m.cell(t, op, who, foreign)
			})
		}
	}
}

// cell tries one call as one person.
func (m *matrix) cell(t *testing.T, op operation, who *people.Actor, foreign string) {
	may := op.needs == ""
	for p := range people.Permission(people.All) {
		may = may || p.String() == op.needs && who.May(p)
	}
	one := strings.Contains(op.path, "{id}") && (strings.Contains(op.path, "/held/") || strings.Contains(op.path, "/log/"))
	named := one || op.name == "act" || op.name == "summary"
	try := func(id string) (*httptest.ResponseRecorder, int64) {
		before := m.lines(t)
		path := strings.NewReplacer("{id}", id, "{n}", "0", "{name}", "nothing").Replace(op.path)
		w := m.call(t, who.Login, op.method, path, bodyOf(op.name, id))
		return w, m.lines(t) - before
	}
	small := who.Role == people.User || len(who.Domains) > 0
	if !named {
		w, lines := try("0")
		m.judge(t, op, w, lines, may)
		if small && bytes.Contains(w.Body.Bytes(), []byte(canary)) {
			t.Errorf("leaks: %s", w.Body)
		}
		return
	}
	own := m.hold(t, "ana@example.org")
	if who.Login == "dora" {
		own = m.hold(t, "dan@other.example")
	}
	w, lines := try(own)
	m.judge(t, op, w, lines, may)
	w, _ = try(quarantinetest.ID(time.Now()))
	if may && one && w.Code != http.StatusNotFound {
		t.Errorf("an unknown id: %d %s", w.Code, w.Body)
	}
	if !small {
		return // who sees everything would act on it
	}
	strange, _ := try(foreign)
	if may && answered(strange, foreign) != answered(w, "") {
		t.Errorf("a foreign id is told from an unknown one:\n%s\n%s", answered(strange, foreign), answered(w, ""))
	}
	if bytes.Contains(strange.Body.Bytes(), []byte(canary)) {
		t.Errorf("leaks: %s", strange.Body)
	}
	if it, err := m.quarantine.Get(t.Context(), foreign); err != nil || it.State != quarantine.Kept {
		t.Fatalf("somebody else's mail: %+v %v", it, err)
	}
}

// answered is an answer without what differs by chance.
func answered(w *httptest.ResponseRecorder, id string) string {
	var v map[string]any
	_ = json.Unmarshal(w.Body.Bytes(), &v)
	delete(v, "instance")
	text, _ := json.Marshal(v)
	s := string(text)
	if id != "" {
		s = strings.ReplaceAll(s, id, "ID")
	}
	return fmt.Sprint(w.Code, " ", s)
}

// judge checks the answer to a call on something own.
func (m *matrix) judge(t *testing.T, op operation, w *httptest.ResponseRecorder, lines int64, may bool) {
	t.Helper()
	switch {
	case !may && w.Code != http.StatusForbidden:
		t.Errorf("without the permission: %d %s", w.Code, w.Body)
	case may && (w.Code == http.StatusUnauthorized || w.Code >= 500):
		t.Errorf("with the permission: %d %s", w.Code, w.Body)
	case !may && lines != 1:
		t.Errorf("the refusal left %d lines in the log of acts", lines)
	case w.Code < 300 && op.method != "GET" && op.name != "summary" && op.name != "wouldAllow" && op.name != "tryRules" && lines != 1:
		t.Errorf("a change left %d lines in the log of acts", lines)
	}
}

// No change without a session, from another origin, or by GET (W-06).
func TestW06_EveryChange(t *testing.T) {
	m := newMatrix(t)
	id := m.hold(t, "ana@example.org")
	session := m.signIn(t)
	for _, op := range describedCalls(t) {
		path := strings.NewReplacer("{id}", id, "{n}", "0", "{name}", "nothing").Replace(op.path)
		if w := m.call(t, "", op.method, path, bodyOf(op.name, id)); w.Code != http.StatusUnauthorized && w.Code != http.StatusForbidden {
			t.Errorf("%s without a session: %d %s", op.name, w.Code, w.Body)
		}
		if op.method == "GET" {
			continue
		}
		if w := m.call(t, "root", "GET", path, ""); w.Code < 400 && !described(t, "GET", op.path) {
			t.Errorf("%s by GET: %d %s", op.name, w.Code, w.Body)
		}
		for _, origin := range []string{"https://evil.example", "null"} {
			w := m.call(t, "", op.method, path, bodyOf(op.name, id), func(r *http.Request) {
				r.Header.Set("Origin", origin)
				r.AddCookie(&http.Cookie{Name: "postern", Value: session})
			})
			if w.Code != http.StatusForbidden {
				t.Errorf("%s from %s: %d %s", op.name, origin, w.Code, w.Body)
			}
		}
	}
	if it, err := m.quarantine.Get(t.Context(), id); err != nil || it.State != quarantine.Kept {
		t.Errorf("%+v %v", it, err)
	}
}

// signIn signs an operator in with a password and gives the session's cookie, which works.
func (m *matrix) signIn(t *testing.T) string {
	t.Helper()
	root := &people.Actor{Person: people.Person{ID: "local", Login: "local", Role: people.Admin}, By: people.ByCommand}
	olga, err := m.people.Get(t.Context(), root, "olga")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.people.SetPassword(t.Context(), root, olga.ID, "", "a long password"); err != nil {
		t.Fatal(err)
	}
	g, err := m.people.SignIn(t.Context(), "olga", "a long password", people.Visitor{From: netip.MustParseAddr("192.0.2.1")}, "")
	if err != nil {
		t.Fatal(err)
	}
	w := m.call(t, "", "GET", "/api/v1/me", "", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "postern", Value: g.Cookie}) })
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return g.Cookie
}

// described tells whether a path has a call with the method, also where a name stands for an id.
func described(t *testing.T, method, path string) bool {
	return slices.ContainsFunc(describedCalls(t), func(o operation) bool {
		return o.method == method && (o.path == path || o.path == path[:strings.LastIndexByte(path, '/')]+"/{id}" || o.path == path[:strings.LastIndexByte(path, '/')]+"/{n}")
	})
}
