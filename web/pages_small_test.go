package web

import (
	"context"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"postern/people"
	"postern/review"
)

// In the list of every message nothing can be chosen: nothing can be done there.
func TestTrackingHasNothingToChoose(t *testing.T) {
	b := newBed(t, people.Admin)
	for path, want := range map[string]bool{"/": true, "/log": false} {
		page := b.get(path)
		for _, sign := range []string{`id="pick-page"`, `name="do"`, `name="everything"`, `name="id"`} {
			if strings.Contains(page, sign) != want {
				t.Errorf("%s: %s is there: %v", path, sign, !want)
			}
		}
	}
}

// A subject of 900 characters leaves room for the message, and can be read whole.
func TestLongSubject(t *testing.T) {
	b := newBed(t, people.Operator)
	long := strings.Repeat("word ", 180) + "END"
	b.desk.rows[0].Subject = long
	page := b.get("/m/" + sampleID(1))
	_, head, _ := strings.Cut(page, "<h1>")
	head, rest, _ := strings.Cut(head, "</h1>")
	if len(head) > 200 || strings.Contains(head, "END") {
		t.Errorf("the head is %q", head)
	}
	if !strings.Contains(rest, `<details class="whole-subject"><summary>The whole subject</summary><p><bdi>`+long) {
		t.Error("the whole subject is nowhere")
	}
	if strings.Contains(b.get("/m/"+sampleID(2)), "whole-subject") {
		t.Error("a short subject is shown twice")
	}
}

// The API checks a draft for mistakes alone, as the editor does.
func TestTryRulesForErrorsOnly(t *testing.T) {
	d := &tryDesk{}
	for query, want := range map[string]int{"": 0, "?days=7": 7, "?errors_only=true": review.OnlyErrors, "?errors_only=true&days=7": review.OnlyErrors, "?errors_only=false&days=7": 7} {
		if w := apiCall(d, as(people.Admin), "POST", "/rules/try"+query, `{"files":[]}`); w.Code != 200 || d.days != want {
			t.Errorf("%q: %d, %d days, want %d", query, w.Code, d.days, want)
		}
	}
	if w := apiCall(d, as(people.Admin), "POST", "/rules/try?errors_only=yes", `{"files":[]}`); w.Code != 400 {
		t.Error(w.Code)
	}
}

type tryDesk struct {
	Desk
	days int
}

func (d *tryDesk) TryRules(_ context.Context, _ *people.Actor, _ review.Draft, days int) (*review.Trial, error) {
	d.days = days
	return &review.Trial{}, nil
}

// One person has so many streams open and no more; others have theirs, and one that ends makes room.
func TestW11_StreamsAreBounded(t *testing.T) {
	s := New(Config{Desk: &apiDesk{rows: make(chan review.Row)}, Log: quiet()})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := as(people.Operator)
		who.ID = r.Header.Get("X-Test-Person")
		s.mux.ServeHTTP(w, withActor(r, who))
	}))
	defer srv.Close()
	open := func(person string) (int, func()) {
		ctx, cancel := context.WithCancel(t.Context())
		r, _ := http.NewRequestWithContext(ctx, "GET", srv.URL+apiRoot+"/held/events", nil)
		r.Header.Set("X-Test-Person", person)
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, func() { cancel(); resp.Body.Close() }
	}
	var ends []func()
	for i := range mostStreams + 1 {
		code, end := open("ann")
		if want := map[bool]int{true: 200, false: 429}[i < mostStreams]; code != want {
			t.Errorf("stream %d: %d", i, code)
		}
		ends = append(ends, end)
	}
	code, end := open("ben")
	if ends = append(ends, end); code != 200 {
		t.Errorf("somebody else: %d", code)
	}
	for _, end := range ends {
		end()
	}
	for code := 429; code != 200; { // the server sees the end of a connection when it sees it
		if t.Context().Err() != nil {
			t.Fatal("no stream is free again")
		}
		code, end = open("ann")
		end()
	}
}

// W-13: what a page or a call refuses by itself is noted, too.
func TestW13_RefusalsOfPagesAreNoted(t *testing.T) {
	b := newBed(t, people.User)
	one := sampleID(1)
	for _, c := range [][3]string{
		{"GET", "/audit", "audit"}, {"GET", "/overview", "overview"}, {"GET", "/rules/edit?from=" + one, "draft-rule " + one}, {"POST", "/rules/rollback?n=3", "roll-back 3"},
		{"POST", "/m/" + one + "/pin", "pin-test " + one}, {"POST", "/m/" + one + "/download", "download " + one}, {"GET", "/people", "list-people"},
		{"GET", "/people/new", "add-person"}, {"GET", "/people/X", "show-person X"},
		{"GET", apiRoot + "/people", "list-people"}, {"POST", apiRoot + "/rules/rollback", "roll-back"}, {"POST", apiRoot + "/acts", "approve " + one},
		{"GET", apiRoot + "/held/" + one + "/raw", "raw-held " + one},
	} {
		b.desk.refused = nil
		body := ""
		if strings.HasSuffix(c[1], "/acts") {
			body = `{"do":"approve","ids":["` + one + `"]}`
		} else if strings.HasSuffix(c[1], "n=3") {
			body = "n=3"
		}
		r := httptest.NewRequestWithContext(t.Context(), c[0], c[1], strings.NewReader(body))
		r.Header.Set("Content-Type", map[bool]string{true: "application/json", false: "application/x-www-form-urlencoded"}[strings.HasPrefix(body, "{")])
		w := httptest.NewRecorder()
		b.ServeHTTP(w, r)
		if w.Code != 403 || len(b.desk.refused) != 1 || b.desk.refused[0] != c[2] {
			t.Errorf("%s %s: %d, noted %q, want %q", c[0], c[1], w.Code, b.desk.refused, c[2])
		}
	}
}

// An act on everything goes by a summary, and touches what that showed: what was there then, and no
// more than there were.
func TestEverythingIsWhatTheSummaryShowed(t *testing.T) {
	b := newBed(t, people.Operator)
	send := func(path string, form url.Values) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "POST", path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		b.ServeHTTP(w, r)
		return w
	}
	hidden := func(page string) url.Values {
		form := url.Values{}
		for _, m := range regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)"`).FindAllStringSubmatch(page, -1) {
			form.Set(m[1], html.UnescapeString(m[2]))
		}
		return form
	}
	list := url.Values{"do": {"delete"}, "list": {"/"}, "class": {"spam"}, "all": {"1"}, "expect": {"500"}}
	for _, form := range []url.Values{list, {"do": {"delete"}, "all": {"1"}, "asof": {"2026-11-22T18:14:00Z"}}, {"do": {"delete"}, "all": {"1"}, "asof": {"yesterday"}, "expect": {"3"}}} {
		if w := send("/act", form); w.Code != 400 || len(b.desk.done) != 0 {
			t.Errorf("%v without a summary: %d, %+v", form, w.Code, b.desk.done)
		}
	}
	for _, uncounted := range []bool{false, true} {
		b.desk.uncounted, b.desk.done = uncounted, nil
		w := send("/summary", list)
		page := w.Body.String()
		if w.Code != 200 || strings.Contains(page, "more than 12 messages?") != uncounted {
			t.Errorf("%d %s", w.Code, page)
		}
		if w := send("/act", hidden(page)); w.Code != 200 || len(b.desk.done) != 1 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		want := map[bool]int{false: len(b.desk.rows), true: 0}[uncounted]
		if a := b.desk.done[0]; a.Expect != want || a.Find == nil || !a.Find.Until.Equal(b.desk.now) || a.Find.Class != "spam" {
			t.Errorf("uncounted %v: %+v %+v", uncounted, a, a.Find)
		}
	}
}
