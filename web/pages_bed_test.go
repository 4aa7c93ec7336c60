package web

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"postern/mail"
	"postern/people"
)

func person(role people.Role) *people.Actor {
	a := &people.Actor{Person: people.Person{ID: "P1", Login: "ana", Name: "Ana Ortiz", Role: role, Addresses: []mail.Address{addr("ana@example.org")}}, By: people.ByPage, From: netip.MustParseAddr("192.0.2.7")}
	if role == people.User {
		a.Rights = people.DefaultRights()
	}
	return a
}

// A bed is the pages over sample mail, for somebody who is signed in.
type bed struct {
	*Server
	t    testing.TB
	desk *fakeDesk
	who  *people.Actor
}

func newBed(t testing.TB, role people.Role) *bed {
	d := newFakeDesk()
	s := New(Config{Desk: d, Origin: "http://127.0.0.1", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	s.now = sampleTime
	return &bed{s, t, d, person(role)}
}

func (b *bed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.route(w, withActor(withRequestID(r), b.who))
}

func (b *bed) get(path string) string {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.ServeHTTP(w, httptest.NewRequestWithContext(b.t.Context(), "GET", path, nil))
	body, _ := io.ReadAll(w.Result().Body)
	if w.Code != http.StatusOK {
		b.t.Fatalf("GET %s: %d\n%s", path, w.Code, body)
	}
	return string(body)
}
