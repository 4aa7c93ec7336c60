package web

import (
	"net/http"
	"net/url"
	"strings"

	"postern/lists"
	"postern/people"
	"postern/review"
)

// maxShownEntries bounds the page of the lists; who looks for one among more types a word of it.
const maxShownEntries = 500

// A listView is the page of what is allowed and denied.
type listView struct {
	Entries []*lists.Entry
	More    int // that are not shown
	Text    string
	Expired bool
	New     review.NewEntry
	Days    string
	For     []choice
	Wrong   string
	Said    string
	Admin   bool
}

// listsPage shows what is allowed and denied.
func (s *Server) listsPage(w http.ResponseWriter, r *http.Request) {
	said := map[string]string{"added": "It is on the list.", "removed": "Taken off the lists."}
	s.showLists(w, r, http.StatusOK, listView{Said: said[r.URL.Query().Get("done")]})
}

func (s *Server) showLists(w http.ResponseWriter, r *http.Request, code int, v listView) {
	who := actor(r)
	v.Text, v.Expired, v.Admin = r.FormValue("text"), r.FormValue("expired") == "1", who.Role == people.Admin
	all, err := s.cfg.Desk.Entries(r.Context(), who, v.Text, v.Expired)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	v.Entries = all[:min(len(all), maxShownEntries)]
	v.More = len(all) - len(v.Entries)
	v.For = listScopes(who)
	s.show(w, r, code, "lists", screen{Title: "Allowed and denied", Area: "lists", Data: v})
}

// listScopes are for whom somebody may make an entry; other addresses in sight are typed.
func listScopes(who *people.Actor) []choice {
	only, all := who.Sight()
	var out []choice
	if all {
		out = append(out, choice{lists.Everybody, "everybody"})
	}
	for _, o := range only {
		label := o
		if strings.HasPrefix(o, "@") {
			label = "everybody at " + o[1:]
		}
		out = append(out, choice{o, label})
	}
	return out
}

// addEntries puts what a form says on the lists: one entry a line.
func (s *Server) addEntries(w http.ResponseWriter, r *http.Request) {
	n := review.NewEntry{Action: r.PostFormValue("action"), For: r.PostFormValue("for"), Note: r.PostFormValue("note"),
		Unauthenticated: r.PostFormValue("unauthenticated") == "1", Wide: r.PostFormValue("wide") == "1"}
	if own := strings.TrimSpace(r.PostFormValue("recipient")); own != "" {
		n.For = own
	}
	until, err := allowOf(r)
	n.Until = until.Until
	var all []review.NewEntry
	for _, text := range words(r.PostFormValue("entries")) {
		n.Entry = text
		all = append(all, n)
	}
	if err == nil {
		_, err = s.cfg.Desk.AddEntries(r.Context(), actor(r), all)
	}
	if err == nil {
		http.Redirect(w, r, "/lists?done=added", http.StatusSeeOther)
		return
	}
	code, _, said := failure(err)
	if code == http.StatusInternalServerError {
		s.fail(w, r, err)
		return
	}
	n.Entry = r.PostFormValue("entries")
	s.showLists(w, r, code, listView{New: n, Days: r.PostFormValue("days"), Wrong: said})
}

// removeEntries takes the entries that are ticked off the lists. A tick names an entry and, behind
// a space, for whom it is.
func (s *Server) removeEntries(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.fail(w, r, badForm("The form cannot be read."))
		return
	}
	var names []review.EntryName
	for _, tick := range r.PostForm["entry"] {
		value, scope, _ := strings.Cut(tick, " ")
		names = append(names, review.EntryName{Entry: value, For: scope})
	}
	if len(names) == 0 {
		s.fail(w, r, badForm("Choose at least one entry first."))
		return
	}
	if _, err := s.cfg.Desk.RemoveEntries(r.Context(), actor(r), names); err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/lists?"+url.Values{"done": {"removed"}, "text": {r.PostFormValue("text")}}.Encode(), http.StatusSeeOther)
}
