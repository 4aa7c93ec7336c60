package web

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"postern/people"
	"postern/review"
)

// A ruleEditor is what the page shows on which rules are written.
type ruleEditor struct {
	*review.Rulebook
	File    review.RuleFile
	New     bool // the file is not in force yet
	Base    string
	Note    string
	Lines   int
	Days    int
	Trial   *review.Trial
	Errors  []marked
	Doubts  []marked
	Applied int64
	From    string // id of the message that the draft was made from
}

// A marked is a problem and the line it is in, with a caret below it.
type marked struct {
	review.RuleProblem
	Source, Caret string
}

// A ruleText is a file as the page of the rules shows it.
type ruleText struct {
	Name  string
	Lines []string
}

func (s *Server) rulesPage(w http.ResponseWriter, r *http.Request) {
	book, err := s.cfg.Desk.Rulebook(r.Context(), actor(r))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	applied, _ := strconv.ParseInt(r.URL.Query().Get("applied"), 10, 64)
	v := struct {
		*review.Rulebook
		Texts   []ruleText
		Failed  int
		Applied int64
	}{Rulebook: book, Applied: applied}
	for _, f := range book.Files {
		v.Texts = append(v.Texts, ruleText{f.Name, strings.Split(strings.TrimSuffix(f.Text, "\n"), "\n")})
	}
	for _, t := range book.Tests {
		if !t.OK {
			v.Failed++
		}
	}
	s.show(w, r, http.StatusOK, "rules", screen{Title: "Rules", Area: "rules", Data: v})
}

// rulePlace leads from a place, "20-spoof.yaml:12", to its line on the page of the rules.
func (s *Server) rulePlace(w http.ResponseWriter, r *http.Request) {
	file, line, _ := strings.Cut(r.PathValue("place"), ":")
	if n, err := strconv.Atoi(line); err == nil {
		http.Redirect(w, r, "/rules#"+lineID(file, n), http.StatusSeeOther)
		return
	}
	http.Redirect(w, r, "/rules", http.StatusSeeOther)
}

// lineID names a line of a rule file in the page.
func lineID(file string, line int) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, file)
	return fmt.Sprintf("l-%s-%d", safe, line)
}

// editPage opens the editor with a file that is in force, an empty one, or a draft from a message.
func (s *Server) editPage(w http.ResponseWriter, r *http.Request) {
	if !actor(r).May(people.DraftRules) {
		s.forbid(w, r, "draft-rule", r.URL.Query().Get("from"))
		return
	}
	book, err := s.cfg.Desk.Rulebook(r.Context(), actor(r))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	q := r.URL.Query()
	e := &ruleEditor{Rulebook: book, Base: book.Version, From: q.Get("from"), New: true, Days: 7, File: review.RuleFile{Name: q.Get("file")}}
	if e.From != "" {
		draft, err := s.cfg.Desk.DraftRule(r.Context(), actor(r), e.From)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		e.Base, e.Note = draft.Base, draft.Note
		if len(draft.Files) > 0 {
			e.File = draft.Files[0]
		}
	}
	for _, f := range book.Files {
		if f.Name == e.File.Name {
			e.New = false
			if e.From == "" {
				e.File = f
			}
		}
	}
	if e.From != "" { // what it would have matched, at once
		if e.Trial, err = s.cfg.Desk.TryRules(r.Context(), actor(r), e.draft(), 7); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	s.showEditor(w, r, http.StatusOK, e)
}

func (e *ruleEditor) draft() review.Draft {
	return review.Draft{Files: []review.RuleFile{e.File}, Base: e.Base, Note: e.Note}
}

func (s *Server) showEditor(w http.ResponseWriter, r *http.Request, status int, e *ruleEditor) {
	e.Lines = strings.Count(e.File.Text, "\n") + 1
	if e.Trial != nil {
		e.Errors, e.Doubts = mark(e.Trial.Problems, e.File), mark(e.Trial.Warnings, e.File)
	}
	sc := screen{Title: "Write rules", Area: "rules", Data: e}
	if byHtmx(r) {
		s.part(w, r, http.StatusOK, "rules-edit", "trial", sc)
		return
	}
	s.show(w, r, status, "rules-edit", sc)
}

// mark shows the lines that problems are in.
func mark(all []review.RuleProblem, file review.RuleFile) []marked {
	lines := strings.Split(file.Text, "\n")
	var out []marked
	for _, p := range all {
		m := marked{RuleProblem: p}
		if p.File == file.Name && p.Line >= 1 && p.Line <= len(lines) {
			m.Source = strings.ReplaceAll(lines[p.Line-1], "\t", " ")
			if p.Column >= 1 {
				m.Caret = strings.Repeat(" ", min(p.Column-1, len(m.Source))) + "^"
			}
		}
		out = append(out, m)
	}
	return out
}

// tryPage checks what stands in the editor; with do=apply it puts it in force.
func (s *Server) tryPage(w http.ResponseWriter, r *http.Request) {
	f := r.PostFormValue
	e := &ruleEditor{Base: f("base"), Note: f("note"), From: f("from"), New: f("new") == "1", File: review.RuleFile{Name: strings.TrimSpace(f("file")), Text: strings.ReplaceAll(f("text"), "\r\n", "\n")}}
	days, err := strconv.Atoi(f("days"))
	if err != nil || days < review.OnlyErrors || days > 30 {
		days = 0
	}
	e.Days = max(days, 1)
	status := http.StatusOK
	if f("do") == "apply" {
		draft := e.draft()
		draft.Force = f("force") == "1"
		e.Trial, e.Applied, err = s.cfg.Desk.ApplyRules(r.Context(), actor(r), draft)
		if err == nil && e.Applied > 0 {
			http.Redirect(w, r, fmt.Sprintf("/rules?applied=%d", e.Applied), http.StatusSeeOther)
			return
		}
		status = http.StatusUnprocessableEntity
	} else {
		e.Trial, err = s.cfg.Desk.TryRules(r.Context(), actor(r), e.draft(), days)
	}
	if err == nil && !byHtmx(r) {
		e.Rulebook, err = s.cfg.Desk.Rulebook(r.Context(), actor(r))
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.showEditor(w, r, status, e)
}
