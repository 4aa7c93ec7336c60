package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"postern/journal"
	"postern/people"
	"postern/review"
)

// A listing is what the page of a list shows.
type listing struct {
	At    spot
	Log   bool
	Rows  []rowView
	Next  string // address of the older ones
	Total review.Count
	Chips []chipView
	Views []viewLink
	Saved []viewLink
	Verbs []review.Verb // for many at once
	Wrong *queryWrong
	Words string // of queries, for completion
}

// A chipView is a chip and where it leads.
type chipView struct {
	review.Chip
	Link string
}

// A viewLink is one view of the rail.
type viewLink struct {
	Label, Link, Name string
	On                bool
	Count             *review.Count
}

// A queryWrong shows what is wrong with a query, with a caret below it.
type queryWrong struct {
	*review.QueryError
	Caret string // spaces up to the place, and ^
}

func (s *Server) heldPage(w http.ResponseWriter, r *http.Request) { s.listPage(w, r, "/") }
func (s *Server) logPage(w http.ResponseWriter, r *http.Request)  { s.listPage(w, r, "/log") }

func (s *Server) listPage(w http.ResponseWriter, r *http.Request, path string) {
	at := spotOf(path, r.URL.Query())
	l := listing{At: at, Log: path == "/log"}
	if !l.Log { // what is told there can be looked at, and no more
		l.Verbs = bulkVerbs(actor(r))
	}
	page, err := s.find(r, at)
	var wrong *review.QueryError
	switch {
	case errors.As(err, &wrong):
		l.Wrong = &queryWrong{wrong, caret(wrong)}
		page = &review.Page{}
	case err != nil:
		s.fail(w, r, err)
		return
	}
	l.Rows, l.Total = s.rowViews(page.Rows, l.Log), page.Total
	if page.Next != "" {
		l.Next = at.Link("cursor", page.Next)
	}
	area := "held"
	if l.Log {
		area = "log"
	}
	if byHtmx(r) {
		block := "rows"
		if r.URL.Query().Get("part") == "check" {
			block = "check"
		}
		s.part(w, r, http.StatusOK, "list", block, screen{Area: area, Data: l})
		return
	}
	l.Chips, l.Words = chips(at, page.Chips), queryWords(l.Log)
	if l.Views, l.Saved, err = s.rail(r, at, page.Chips); err != nil {
		s.fail(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "list", screen{Title: listTitle(at, actor(r)), Area: area, Data: l})
}

func (s *Server) find(r *http.Request, at spot) (*review.Page, error) {
	if r.URL.Query().Get("part") == "check" {
		at.Find.Limit = 1
	}
	list := s.cfg.Desk.List
	if at.Path == "/log" {
		list = s.cfg.Desk.Track
	}
	return within(r.Context(), s.patience, func(ctx context.Context) (*review.Page, error) { return list(ctx, actor(r), at.Find) })
}

// caret points at the column of a query's error.
func caret(e *review.QueryError) string {
	if e.Column < 1 {
		return ""
	}
	return strings.Repeat(" ", min(e.Column-1, 400)) + "^"
}

func chips(at spot, all []review.Chip) []chipView {
	var out []chipView
	for _, c := range all {
		if c.Count.N == 0 && !c.Count.More && !c.On {
			continue
		}
		name, value, _ := strings.Cut(c.Name, ":")
		if c.On {
			value = ""
		}
		out = append(out, chipView{c, at.Link(name, value)})
	}
	return out
}

// views are the ready-made ones: the name that the Desk knows, and what people read.
func views(who *people.Actor, log bool) [][2]string {
	switch {
	case log:
		return nil
	case who.Role == people.User:
		return [][2]string{{"", "Waiting"}, {"asked", "Asked for"}, {"released", "Released"}, {"all", "Everything"}}
	}
	return [][2]string{{"", "Waiting"}, {"mine", "Mine"}, {"unseen", "Not seen yet"}, {"asked", "Asked for release"},
		{"expiring", "Expiring soon"}, {"released", "Released"}, {"spam", "Called spam"}, {"deleted", "Deleted"}, {"all", "Everything"}}
}

// results are the ends a message can come to, for the rail of the journal.
func results() []string {
	return []string{"", "delivered", "held", "mixed", "refused", "deferred", "discarded", "command", "abandoned"}
}

func (s *Server) rail(r *http.Request, at spot, counts []review.Chip) (ready, saved []viewLink, err error) {
	count := func(name string) *review.Count {
		for _, c := range counts {
			if c.Name == name {
				return &c.Count
			}
		}
		return nil
	}
	if at.Path == "/log" {
		for _, x := range results() {
			label := className(x)
			if x == "" {
				label = "Every message"
			}
			ready = append(ready, viewLink{Label: label, Link: at.Link("result", x), On: at.Find.Result == x, Count: count("result:" + x)})
		}
		return ready, nil, nil
	}
	for _, v := range views(actor(r), false) {
		ready = append(ready, viewLink{Label: v[1], Link: spot{Path: "/", Find: review.Find{View: v[0]}}.Here(), On: at.Find.View == v[0], Count: count("view:" + v[0])})
	}
	own, err := s.cfg.Desk.Views(r.Context(), actor(r))
	for _, v := range own {
		if v.Site {
			continue // they stand above
		}
		there := spot{Path: "/", Find: v.Find}
		saved = append(saved, viewLink{Label: v.Name, Name: v.Name, Link: there.Here(), On: there.Here() == at.Here()})
	}
	return ready, saved, err
}

func listTitle(at spot, who *people.Actor) string {
	if at.Path == "/log" {
		return "Tracking"
	}
	for _, v := range views(who, false) {
		if v[0] == at.Find.View && v[0] != "" {
			return v[1] + ": held mail"
		}
	}
	return "Held mail"
}

// bulkVerbs are what somebody may do with many messages at once.
func bulkVerbs(who *people.Actor) []review.Verb {
	var out []review.Verb
	for _, x := range []struct {
		may people.Permission
		do  review.Verb
	}{{people.Release, review.Release}, {people.Delete, review.Delete}, {people.ReportSpam, review.Spam}} {
		if who.May(x.may) {
			out = append(out, x.do)
		}
	}
	if len(out) > 0 && who.Role != people.User {
		out = append(out, review.Seen, review.Take)
	}
	return out
}

// queryWords are the fields that a query may name, with what each tells, for completion: a JSON
// list of pairs.
func queryWords(log bool) string {
	fields := review.HeldFields()
	if log {
		fields = journal.Fields()
	}
	var out [][2]string
	for name, f := range fields {
		if f.Is == "" {
			out = append(out, [2]string{name, f.Doc + "   " + f.Example})
		}
	}
	slices.SortFunc(out, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	b, _ := json.Marshal(out) // strings alone
	return string(b)
}
