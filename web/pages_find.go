package web

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"postern/review"
)

// A spot is a list as its address names it: which list, and what of it.
type spot struct {
	Path string // "/" held mail, "/log" every message
	Find review.Find
}

// spotOf reads a spot from an address. What makes no sense is left out; the Desk says what is
// wrong with a query.
func spotOf(path string, q url.Values) spot {
	f := review.Find{Query: q.Get("q"), View: q.Get("view"), Class: q.Get("class"), Rule: q.Get("rule"), Recipient: q.Get("to"),
		Sender: q.Get("from"), Result: q.Get("result"), Cursor: q.Get("cursor"), Since: day(q.Get("since")), Until: day(q.Get("until"))}
	return spot{Path: path, Find: f}
}

func day(text string) time.Time {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// values is what an address carries of a spot; spotOf reads it back.
func (s spot) values() url.Values {
	q := url.Values{}
	for _, x := range s.Fields() {
		q.Set(x.Name, x.Value)
	}
	return q
}

// A field is one name and value of a form.
type field struct{ Name, Value string }

// Fields are what a form carries of a spot, without the cursor.
func (s spot) Fields() []field {
	f := s.Find
	all := []field{{"q", f.Query}, {"view", f.View}, {"class", f.Class}, {"rule", f.Rule}, {"to", f.Recipient}, {"from", f.Sender}, {"result", f.Result}}
	if !f.Since.IsZero() {
		all = append(all, field{"since", f.Since.Format(time.DateOnly)})
	}
	if !f.Until.IsZero() {
		all = append(all, field{"until", f.Until.Format(time.DateOnly)})
	}
	var out []field
	for _, x := range all {
		if x.Value != "" {
			out = append(out, x)
		}
	}
	return out
}

// Narrows are what narrows the list besides the query and the view, each with the address of the
// list without it.
func (s spot) Narrows() []field {
	var out []field
	for _, x := range s.Fields() {
		if x.Name != "q" && x.Name != "view" && x.Name != "class" {
			out = append(out, x)
		}
	}
	return out
}

// Link is the address of the list with one thing set otherwise; an empty value takes it out.
func (s spot) Link(name, value string) string {
	q := s.values()
	q.Del("cursor")
	if q.Set(name, value); value == "" {
		q.Del(name)
	}
	return address(s.Path, q)
}

// Here is the address of the list, on its first page.
func (s spot) Here() string { return address(s.Path, s.values()) }

// Export is the address of the list as a CSV file.
func (s spot) Export() string {
	return address(strings.TrimSuffix(s.Path, "/")+"/export.csv", s.values())
}

// Plain tells a list that nothing narrows.
func (s spot) Plain() bool { return len(s.Fields()) == 0 }

func address(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// back is the list from which a form came, for the way back. Only lists of ours are taken.
func back(r *http.Request) spot {
	if r.PostFormValue("list") == "/log" {
		return spotOf("/log", r.PostForm)
	}
	return spotOf("/", r.PostForm)
}
