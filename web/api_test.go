package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"postern/people"
	"postern/review"
)

var update = flag.Bool("update", false, "write golden files")

// apiDesk answers what its fields say.
type apiDesk struct {
	Desk
	find review.Find
	act  review.Act
	err  error
	rows chan review.Row
}

func (d *apiDesk) List(_ context.Context, _ *people.Actor, f review.Find) (*review.Page, error) {
	d.find = f
	return &review.Page{Rows: []review.Row{{ID: "A", Subject: "</script>"}}, Next: "n"}, d.err
}

func (d *apiDesk) Refuse(context.Context, *people.Actor, string, string) error {
	return review.ErrForbidden
}

func (d *apiDesk) Do(_ context.Context, _ *people.Actor, a review.Act) (*review.Done, error) {
	d.act = a
	return &review.Done{Count: 1}, d.err
}

func (d *apiDesk) Content(context.Context, *people.Actor, string, string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("Subject: x\r\n\r\n<script>")), d.err
}

func (d *apiDesk) Arrivals(context.Context, *people.Actor) (<-chan review.Row, error) {
	return d.rows, d.err
}

// apiCall asks a handler of the API as somebody.
func apiCall(d Desk, who *people.Actor, method, path, body string) *httptest.ResponseRecorder {
	return apiCallWith(New(Config{Desk: d, Log: quiet()}), who, method, path, body)
}

func apiCallWith(s *Server, who *people.Actor, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), method, apiRoot+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	s.route(w, withRequestID(withActor(r, who)))
	return w
}

func as(role people.Role) *people.Actor {
	return &people.Actor{Person: people.Person{Login: string(role), Role: role}, By: people.ByToken}
}

func TestAPICalls(t *testing.T) {
	inner := errors.New("open /var/lib/postern/postern.db: permission denied")
	for _, c := range []struct {
		name, method, path, body string
		who                      *people.Actor
		err                      error
		status                   int
		says                     string
	}{
		{"a list", "GET", "/held?query=a+b&limit=7", "", as(people.Operator), nil, 200, `"next":"n"`},
		{"markup stays data", "GET", "/held", "", as(people.Operator), nil, 200, `\u003c/script\u003e`},
		{"nobody", "GET", "/held", "", nil, nil, 401, "Sign in"},
		{"a role without the permission", "POST", "/acts", `{"do":"release","ids":["A"]}`, as(people.Auditor), nil, 403, "You may not"},
		{"an unknown parameter", "GET", "/held?querry=x", "", as(people.Operator), nil, 400, `querry`},
		{"a limit too large", "GET", "/held?limit=501", "", as(people.Operator), nil, 400, "limit"},
		{"a limit below nothing", "GET", "/held?limit=-1", "", as(people.Operator), nil, 400, "limit"},
		{"a time that is none", "GET", "/held?since=yesterday", "", as(people.Operator), nil, 400, "RFC 3339"},
		{"an act", "POST", "/acts", `{"do":"release","ids":["A"]}`, as(people.Operator), nil, 200, `"count":1`},
		{"an act on nothing", "POST", "/acts", `{"do":"release"}`, as(people.Operator), nil, 400, "with which messages"},
		{"an act on both", "POST", "/acts", `{"do":"release","ids":["A"],"find":{}}`, as(people.Operator), nil, 400, "not both"},
		{"an unknown act", "POST", "/acts", `{"do":"burn","ids":["A"]}`, as(people.Operator), nil, 400, "burn"},
		{"an unknown field", "POST", "/acts", `{"do":"release","ids":["A"],"too":["x"]}`, as(people.Operator), nil, 400, "too"},
		{"two objects", "POST", "/acts", `{"do":"release","ids":["A"]}{}`, as(people.Operator), nil, 400, "more behind"},
		{"no JSON", "POST", "/acts", `do=release`, as(people.Operator), nil, 400, "the body"},
		{"a shorthand", "POST", "/held/A/release", `{"reason":"known"}`, as(people.Operator), nil, 200, `"count":1`},
		{"GET changes nothing", "GET", "/held/A/release", "", as(people.Operator), nil, 405, "but for POST"},
		{"an inner error", "GET", "/held", "", as(people.Operator), inner, 500, "The log tells what"},
		{"not there", "GET", "/held", "", as(people.Operator), fmt.Errorf("x: %w", review.ErrNotFound), 404, "not for you"},
		{"a query that makes no sense", "GET", "/held", "", as(people.Operator), &review.QueryError{Column: 3, Problem: "no field \"clas\"", Hint: "did you mean class?"}, 400, "column 3"},
		{"changed meanwhile", "POST", "/acts", `{"do":"release","ids":["A"]}`, as(people.Operator), review.ErrChanged, 409, "look again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &apiDesk{err: c.err}
			w := apiCall(d, c.who, c.method, c.path, c.body)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if strings.Contains(w.Body.String(), "/var/lib") {
				t.Error("the inside is told")
			}
			if w.Code >= 400 {
				var p Problem
				if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code || p.Instance == "" || w.Header().Get("Content-Type") != "application/problem+json" {
					t.Errorf("no problem as in RFC 9457: %v %+v", err, p)
				}
			}
		})
	}
}

func TestAPIBodies(t *testing.T) {
	big := `{"do":"release","ids":["` + strings.Repeat("x", maxJSON) + `"]}`
	if w := apiCall(&apiDesk{}, as(people.Operator), "POST", "/acts", big); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d", w.Code)
	}
	s := New(Config{Desk: &apiDesk{}, Log: quiet()})
	r := httptest.NewRequestWithContext(context.Background(), "POST", apiRoot+"/acts", strings.NewReader(`{"do":"release","ids":["A"]}`))
	r.Header.Set("Content-Type", "text/plain") // what a form of another site can send
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, withActor(r, as(people.Operator)))
	if w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("%d", w.Code)
	}
}

func TestAPIFind(t *testing.T) {
	d := &apiDesk{}
	apiCall(d, as(people.Operator), "GET", "/held?query=rule+%3D%3D+%22x%22&view=unseen&state=any&class=spam&rule=r&recipient=@a.example&sender=%3C%3E&since=2026-01-02T03:04:05Z&until=2026-02-02T03:04:05Z&limit=9&cursor=c", "")
	want := review.Find{Query: `rule == "x"`, View: "unseen", State: "any", Class: "spam", Rule: "r", Recipient: "@a.example", Sender: "<>", Limit: 9, Cursor: "c",
		Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Until: time.Date(2026, 2, 2, 3, 4, 5, 0, time.UTC)}
	if d.find != want {
		t.Errorf("%+v", d.find)
	}
}

func TestAPIRaw(t *testing.T) {
	w := apiCall(&apiDesk{}, as(people.Operator), "GET", `/held/..%2F..%2Fx%22%0d%0aSet-Cookie:%20a/raw`, "")
	if d := w.Header().Get("Content-Disposition"); w.Code != 200 || !strings.HasPrefix(d, "attachment;") || strings.ContainsAny(d, "/\r\n") || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("%d %q", w.Code, d)
	}
	if w := apiCall(&apiDesk{}, as(people.Auditor), "GET", "/held/A/raw", ""); w.Code != 403 {
		t.Errorf("%d", w.Code)
	}
}

func TestAPIEvents(t *testing.T) {
	d := &apiDesk{rows: make(chan review.Row, 1)}
	s := New(Config{Desk: d, Log: quiet()})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, withActor(r, as(people.Operator))) }))
	defer srv.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", srv.URL+apiRoot+"/held/events", nil)
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	d.rows <- review.Row{ID: "A", Subject: "line\nevent: x"}
	var lines []string
	for in := bufio.NewScanner(resp.Body); in.Scan(); {
		if lines = append(lines, in.Text()); strings.HasPrefix(in.Text(), "data:") {
			break
		}
	}
	got := strings.Join(lines, "\n")
	if !strings.Contains(got, "event: held\nid: A\ndata: {") || strings.Contains(got, "\nevent: x") {
		t.Errorf("%s", got)
	}
	close(d.rows)
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Error(err)
	}
}

// The files beside the documentation are made from the list of calls.
func TestAPIDescription(t *testing.T) {
	page, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), "<!-- calls -->\n")
	_, after, ok2 := strings.Cut(rest, "<!-- end -->")
	if !ok || !ok2 {
		t.Fatal("docs/api.md has no place for the calls")
	}
	for file, want := range map[string]string{"../docs/openapi.json": string(OpenAPI()), "../docs/api.md": before + "<!-- calls -->\n" + callTable() + "<!-- end -->" + after} {
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s is out of date: make api (%v)", file, err)
		}
	}
}

func callTable() string {
	var b strings.Builder
	b.WriteString("| call | permission | what it does |\n|---|---|---|\n")
	for _, e := range endpoints() {
		needs := "`" + e.needs.String() + "`"
		if e.open {
			needs = "any"
		}
		fmt.Fprintf(&b, "| `%s %s` | %s | %s |\n", e.method, e.path, needs, e.does)
	}
	return b.String()
}

func TestAPINames(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range endpoints() {
		for _, k := range []string{e.name, e.method + " " + e.path} {
			if seen[k] {
				t.Errorf("%s twice", k)
			}
			seen[k] = true
		}
		if e.method == "GET" && e.body != nil {
			t.Errorf("%s: a GET with a body", e.name)
		}
		if !strings.HasSuffix(e.does, ".") {
			t.Errorf("%s: %q is no sentence", e.name, e.does)
		}
	}
}
