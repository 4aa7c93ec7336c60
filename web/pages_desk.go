package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"

	"postern/audit"
	"postern/people"
	"postern/review"
)

// requestsPage lists the wishes of users that mail be released.
func (s *Server) requestsPage(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	state := q.Get("state")
	if state == "" {
		state = "asked"
	}
	ask := state
	if ask == "all" {
		ask = ""
	}
	page, err := s.cfg.Desk.Requests(r.Context(), actor(r), ask, q.Get("cursor"), 50)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	v := struct {
		Rows  []rowView
		Total review.Count
		Next  string
		Spans []viewLink
	}{Rows: s.rowViews(page.Rows, false), Total: page.Total}
	if page.Next != "" {
		v.Next = "/requests?" + url.Values{"state": {state}, "cursor": {page.Next}}.Encode()
	}
	for _, x := range [][2]string{{"asked", "Waiting"}, {"approved", "Approved"}, {"denied", "Denied"}, {"all", "All"}} {
		v.Spans = append(v.Spans, viewLink{Label: x[1], Link: "/requests?state=" + x[0], On: state == x[0]})
	}
	s.show(w, r, http.StatusOK, "requests", screen{Title: "Requests for release", Area: "requests", Data: v})
}

// auditLines is how many lines of the log of acts stand on a page.
const auditLines = 100

func (s *Server) auditPage(w http.ResponseWriter, r *http.Request) {
	if !actor(r).May(people.ReadAudit) {
		s.forbid(w, r, "audit", "")
		return
	}
	before, err := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64)
	if err != nil || before < 0 {
		before = 0
	}
	lines, err := s.cfg.Desk.Audit(r.Context(), actor(r), before, auditLines)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	v := struct {
		Lines []audit.Line
		Next  string
	}{Lines: lines}
	if len(lines) == auditLines {
		v.Next = fmt.Sprintf("/audit?before=%d", lines[len(lines)-1].N)
	}
	s.show(w, r, http.StatusOK, "audit", screen{Title: "Who did what", Area: "audit", Data: v})
}

// isMessage tells ids of messages, ULIDs and their parts, from other objects of the log of acts.
func isMessage(id string) bool {
	if len(id) < 26 || len(id) > 32 {
		return false
	}
	_, err := ulid.ParseStrict(id[:26])
	return err == nil && strings.Trim(id[26:], "-0123456789") == ""
}
