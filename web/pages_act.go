package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/mail"
	"postern/people"
	"postern/review"
)

// maxPicked bounds what a form names one by one; everything that matches has no bound.
const maxPicked = 500

// An outcome is what the page after an act shows.
type outcome struct {
	Done   *review.Done
	Do     review.Verb
	Failed []review.ItemDone
	Back   string
}

// A question is the page before an act on many messages.
type question struct {
	*review.Summary
	Do    review.Verb
	Many  string // "412 messages"
	At    spot
	IDs   []string
	All   bool
	AsOf  string // up to when there were as many
	Risky []rowView
}

// actOf reads an act from a form. Which messages: the ids, or with all=1 everything that matches
// the list of the form.
func actOf(r *http.Request) (review.Act, error) {
	if err := r.ParseForm(); err != nil {
		return review.Act{}, err
	}
	f := r.PostForm
	a := review.Act{Do: review.Verb(f.Get("do")), IDs: f["id"], Also: f["also"], Reason: f.Get("reason"), Copy: f.Get("copy") == "1", Again: f.Get("again") == "1", Danger: f.Get("danger") == "1", Undoing: f.Get("now") != "1"}
	if _, known := needed(a.Do); !known {
		return a, badForm("There is no such act.")
	}
	if f.Get("all") == "1" || f.Get("everything") == "1" {
		find, err := shownFind(r)
		if err != nil {
			return a, err
		}
		a.IDs, a.Find = nil, &find
		a.Expect, _ = strconv.Atoi(f.Get("expect"))
	} else if len(a.IDs) == 0 {
		return a, badForm("Choose at least one message first.")
	}
	if len(a.IDs) > maxPicked {
		return a, badForm(fmt.Sprintf("At most %d messages can be chosen one by one. Choose everything that matches instead.", maxPicked))
	}
	for _, to := range f["to"] {
		address, err := mail.ParseAddress(to, true)
		if err != nil {
			return a, badForm("A recipient is not an address.")
		}
		a.To = append(a.To, address)
	}
	if f.Get("allow") != "" {
		allow, err := allowOf(r)
		if err != nil {
			return a, err
		}
		a.Allow = &allow
	}
	return a, nil
}

// shownFind is what an act on everything is about: what the list shows, and after a summary no
// message that came later.
func shownFind(r *http.Request) (review.Find, error) {
	find := back(r).Find
	given := r.PostFormValue("asof")
	if given == "" {
		return find, nil
	}
	asOf, err := time.Parse(time.RFC3339Nano, given)
	if err != nil {
		return find, badForm("Begin with the list again: it does not say when you looked.")
	}
	if find.Until.IsZero() || asOf.Before(find.Until) {
		find.Until = asOf
	}
	return find, nil
}

// summed tells a form that comes from a summary: it says up to when, and how many there were. Where
// they were too many to be counted it says so.
func summed(r *http.Request, a review.Act) bool {
	return a.Find == nil || r.PostFormValue("asof") != "" && (a.Expect > 0 || r.PostFormValue("more") == "1")
}

// allowOf reads the entry of the lists that goes with a release.
func allowOf(r *http.Request) (review.Allow, error) {
	a := review.Allow{Entry: r.FormValue("allow"), Scope: r.FormValue("for"), Note: r.FormValue("note")}
	switch days := r.FormValue("days"); days {
	case "", "0":
	default:
		n, err := strconv.Atoi(days)
		if err != nil || n < 1 || n > 3660 {
			return a, badForm("How long it holds is a number of days.")
		}
		a.Until = time.Now().Add(time.Duration(n) * 24 * time.Hour).Truncate(time.Second)
	}
	return a, nil
}

// badForm is a form that makes no sense; its words are for who filled it in.
func badForm(words string) error { return &callError{http.StatusBadRequest, words} }

// actForm does what a form says. Which messages it was done with, and how it can be undone, is the
// answer.
func (s *Server) actForm(w http.ResponseWriter, r *http.Request) {
	a, err := actOf(r)
	if err == nil && !summed(r, a) {
		err = badForm("What is done with everything is told first. Begin with the list again.")
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	done, err := s.cfg.Desk.Do(r.Context(), actor(r), a)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	o := outcome{Done: done, Do: a.Do, Back: back(r).Here()}
	for _, i := range done.Items {
		if i.Result != "done" && i.Result != "already" {
			o.Failed = append(o.Failed, i)
		}
	}
	if len(o.Failed) == 0 && slices.Contains([]review.Verb{review.Seen, review.Unseen, review.Take, review.Leave}, a.Do) {
		http.Redirect(w, r, o.Back, http.StatusSeeOther)
		return
	}
	s.show(w, r, http.StatusOK, "done", screen{Title: "Done", Area: "held", Data: o})
}

// summaryPage says what an act on many messages would do, and asks.
func (s *Server) summaryPage(w http.ResponseWriter, r *http.Request) {
	a, err := actOf(r)
	if err == nil && a.Do == "" {
		err = badForm("Say what is to be done.")
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if slices.Contains([]review.Verb{review.Seen, review.Unseen, review.Take, review.Leave}, a.Do) && a.Find == nil {
		s.actForm(w, r) // nothing leaves and nothing is lost: no question
		return
	}
	sum, err := within(r.Context(), 2*s.patience, func(ctx context.Context) (*review.Summary, error) { return s.cfg.Desk.Summary(ctx, actor(r), a) })
	if err != nil {
		s.fail(w, r, err)
		return
	}
	q := question{Summary: sum, Do: a.Do, Many: countWords(sum.Items) + " " + noun(sum.Items.N, "message"), At: back(r), IDs: a.IDs, All: a.Find != nil,
		AsOf: sum.Until.Format(time.RFC3339Nano), Risky: s.rowViews(sum.Dangerous, false)}
	s.show(w, r, http.StatusOK, "summary", screen{Title: verbName(a.Do) + ": " + q.Many, Area: "held", Data: q})
}

func (s *Server) undoForm(w http.ResponseWriter, r *http.Request) {
	if err := s.cfg.Desk.Undo(r.Context(), actor(r), r.PathValue("id")); err != nil {
		s.fail(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "done", screen{Title: "Undone", Area: "held", Data: outcome{Back: back(r).Here()}})
}

// wouldAllow is the part of the form Release and allow that says what the entry would have let in.
func (s *Server) wouldAllow(w http.ResponseWriter, r *http.Request) {
	a, err := allowOf(r)
	if err == nil && a.Entry == "" {
		err = badForm("Say whom to allow.")
	}
	var e *review.Effect
	if err == nil {
		e, err = s.cfg.Desk.WouldAllow(r.Context(), actor(r), r.PathValue("id"), a)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	sc := screen{Title: "What it would have let in", Area: "held", Data: struct {
		*review.Effect
		Shown []rowView
		ID    string
	}{e, s.rowViews(e.Rows, false), r.PathValue("id")}}
	if byHtmx(r) {
		s.part(w, r, http.StatusOK, "effect", "effect", sc)
		return
	}
	s.show(w, r, http.StatusOK, "effect", sc)
}

// pin writes a test beside the rules that expects what is right for this message.
func (s *Server) pin(w http.ResponseWriter, r *http.Request) {
	if !actor(r).May(people.ApplyRules) {
		s.forbid(w, r, "pin-test", r.PathValue("id"))
		return
	}
	text, err := s.cfg.Desk.PinTest(r.Context(), actor(r), r.PathValue("id"), strings.TrimSpace(r.PostFormValue("name")))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "pinned", screen{Title: "Pinned as a test", Area: "held", Data: struct{ Test, Back string }{text, "/m/" + r.PathValue("id")}})
}

func (s *Server) saveView(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimSpace(r.PostFormValue("name"))
	if name == "" || len(name) > 200 {
		s.fail(w, r, badForm("A view needs a name of at most 60 characters."))
		return
	}
	at := back(r)
	at.Find.Cursor = ""
	if err := s.cfg.Desk.SaveView(r.Context(), actor(r), review.View{Name: name, Find: at.Find}); err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, at.Here(), http.StatusSeeOther)
}

func (s *Server) dropView(w http.ResponseWriter, r *http.Request) {
	if err := s.cfg.Desk.DropView(r.Context(), actor(r), r.PostFormValue("name")); err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
