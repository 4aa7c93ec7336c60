package web

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"postern/people"
	"postern/review"
)

// W-11: a user who asks without end is told to wait, others are not, and it passes.
func TestW11_UsersHaveAPace(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	p := x.add("una@example.org", people.User)
	x.add("ben@example.org", people.User)
	x.add("olga", people.Operator)
	x.now = func() time.Time { return x.clock }
	una, ben, olga := x.browser().signIn("una@example.org"), x.browser().signIn("ben@example.org"), x.browser().signIn("olga")
	for range paceBurst - 10 {
		x.paces.take(p.ID, x.clock)
	}
	for i := range 10 {
		for _, b := range []*browser{una, olga} {
			if w := b.get(apiRoot + "/me"); w.Code != 200 {
				t.Fatalf("request %d: %d", i, w.Code)
			}
		}
	}
	if w := una.get(apiRoot + "/me"); w.Code != 429 || w.Header().Get("Retry-After") == "" || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := una.get("/"); w.Code != 429 || !strings.Contains(w.Body.String(), "Wait a little") {
		t.Errorf("%d", w.Code)
	}
	for _, b := range []*browser{ben, olga} {
		if w := b.get(apiRoot + "/me"); w.Code != 200 {
			t.Errorf("somebody else: %d", w.Code)
		}
	}
	x.clock = x.clock.Add(time.Minute)
	if w := una.get(apiRoot + "/me"); w.Code != 200 {
		t.Errorf("a minute later: %d", w.Code)
	}
}

// slowDesk searches until it is stopped, as the store does.
type slowDesk struct {
	Desk
}

func (slowDesk) List(ctx context.Context, _ *people.Actor, _ review.Find) (*review.Page, error) {
	<-ctx.Done()
	return nil, errors.New("interrupted (9)")
}

func (d slowDesk) Track(ctx context.Context, who *people.Actor, f review.Find) (*review.Page, error) {
	return d.List(ctx, who, f)
}

func (slowDesk) Summary(ctx context.Context, _ *people.Actor, _ review.Act) (*review.Summary, error) {
	<-ctx.Done()
	return nil, errors.New("interrupted (9)")
}

// A search that takes too long ends, and says so.
func TestW11_SearchesEnd(t *testing.T) {
	s := New(Config{Desk: slowDesk{}, Log: quiet()})
	s.patience = 10 * time.Millisecond
	for _, path := range []string{"/", "/log", "/export.csv", "/log/export.csv", apiRoot + "/held", apiRoot + "/log"} {
		w := httptest.NewRecorder()
		s.route(w, withRequestID(withActor(httptest.NewRequestWithContext(t.Context(), "GET", path, nil), as(people.Operator))))
		if w.Code != 504 || !strings.Contains(w.Body.String(), "narrower question") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	w := apiCallWith(s, as(people.Operator), "POST", "/acts/summary", `{"do":"delete","find":{}}`)
	if w.Code != 504 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
