package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"postern/people"
)

// apiRoot is where the API stands; another version would stand beside it.
const apiRoot = "/api/v1"

// maxJSON bounds the body of a call (W-11).
const maxJSON = 1 << 20

// An endpoint is one call of the API: what it is for, what it takes and gives. The router, the
// OpenAPI description and the tests of who may do what are all made from the list of them.
type endpoint struct {
	method, path string
	name         string // operationId
	does         string // a sentence
	needs        people.Permission
	open         bool    // everybody who is signed in, whatever the permissions
	params       []param // of the query; those of the path stand in path
	body         reflect.Type
	answer       reflect.Type
	media        string // of the answer; "": JSON
	act          string // as the log of acts calls it; "": by its name
	call         func(c *call) (any, error)
}

// actName is how the log of acts calls it: words with dashes.
func (e *endpoint) actName() string {
	if e.act != "" {
		return e.act
	}
	return regexp.MustCompile("[A-Z]").ReplaceAllStringFunc(e.name, func(s string) string { return "-" + strings.ToLower(s) })
}

// A param is one of the query.
type param struct {
	name, is string // is: string, integer, date-time, boolean
	means    string
}

// A call is one request to an endpoint.
type call struct {
	ctx    context.Context
	who    *people.Actor
	r      *http.Request
	w      http.ResponseWriter
	desk   Desk
	server *Server
	people People
	body   any // pointer to the endpoint's body
}

// written is the answer of a call that has written it by itself.
type written struct{}

// A callError is a call that makes no sense; its words are for the caller.
type callError struct {
	status int
	words  string
}

func (e *callError) Error() string { return e.words }

func badCall(format string, args ...any) error {
	return &callError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// text, number, yes and moment read parameters of the query.
func (c *call) text(name string) string { return c.r.URL.Query().Get(name) }

func (c *call) number(name string, otherwise, most int) (int, error) {
	s := c.text(name)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > most {
		return 0, badCall("%s: %q is no number from 0 to %d", name, clip(s), most)
	}
	return n, nil
}

func (c *call) yes(name string) (bool, error) {
	switch s := c.text(name); s {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, badCall("%s: %q is neither true nor false", name, clip(s))
	}
}

func (c *call) moment(name string) (time.Time, error) {
	s := c.text(name)
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, badCall("%s: %q is no time as in RFC 3339, such as 2026-11-22T08:00:00Z", name, clip(s))
	}
	return t, nil
}

// clip bounds what a caller said, where we say it back.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// api registers every endpoint.
func (s *Server) api() {
	for _, e := range endpoints() {
		s.mux.Handle(e.method+" "+apiRoot+e.path, s.endpoint(e))
	}
	s.mux.HandleFunc("GET "+apiRoot+"/openapi.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(OpenAPI())
	})
}

// endpoint answers calls of one endpoint.
func (s *Server) endpoint(e endpoint) http.Handler {
	known := map[string]bool{}
	for _, p := range e.params {
		known[p.name] = true
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := actor(r)
		if who == nil {
			w.Header().Set("WWW-Authenticate", `Bearer realm="postern"`)
			s.problem(w, r, &callError{http.StatusUnauthorized, "Sign in, or send a token: Authorization: Bearer …"})
			return
		}
		for name := range r.URL.Query() {
			if !known[name] {
				s.problem(w, r, badCall("there is no parameter %q", clip(name)))
				return
			}
		}
		c := &call{ctx: r.Context(), who: who, r: r, w: w, desk: s.cfg.Desk, people: s.cfg.People, server: s}
		if !e.open && !who.May(e.needs) {
			s.problem(w, r, s.cfg.Desk.Refuse(r.Context(), who, e.actName(), r.PathValue("id")))
			return
		}
		if e.body == typeOf[Reason]() && r.ContentLength == 0 {
			c.body = &Reason{} // nothing of it has to be said
		} else if e.body != nil {
			c.body = reflect.New(e.body).Interface()
			if err := readJSON(w, r, c.body); err != nil {
				s.problem(w, r, err)
				return
			}
		}
		answer, err := e.call(c)
		if _, done := answer.(written); done && err == nil {
			return
		}
		if err != nil {
			s.problem(w, r, err)
			return
		}
		if answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		writeJSON(w, "application/json", http.StatusOK, answer)
	})
}

// readJSON reads one object and nothing else (W-11).
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	if m, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || m != "application/json" {
		return &callError{http.StatusUnsupportedMediaType, "Send application/json."}
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxJSON))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		var more json.RawMessage
		if again := d.Decode(&more); !errors.Is(again, io.EOF) {
			err = errors.New("there is more behind the object")
		}
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &callError{http.StatusRequestEntityTooLarge, "At most 1 MiB."}
	case err != nil:
		return badCall("the body: %v", err)
	}
	return nil
}

// writeJSON answers with a value.
func writeJSON(w http.ResponseWriter, media string, status int, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(true) // whatever a browser takes it for
	if err := e.Encode(v); err != nil {
		http.Error(w, "{}", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// A Problem is how the API says that a call failed (RFC 9457).
type Problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail,omitempty"`
	Instance string `json:"instance,omitempty"` // names the request in the log
}
