package web

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"postern/people"
	"postern/review"
)

// A diffLine is one line of the difference between two sets of rules.
type diffLine struct {
	Sign, Text string // sign: + - or a space; "@" names a file
}

func (s *Server) historyPage(w http.ResponseWriter, r *http.Request) {
	all, err := s.cfg.Desk.RuleHistory(r.Context(), actor(r))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "rules-history", screen{Title: "History of the rules", Area: "rules", Data: all})
}

// versionPage shows a set of the history, as what going back to it would change.
func (s *Server) versionPage(w http.ResponseWriter, r *http.Request) {
	n, err := pathNumber(r.PathValue("n"))
	var files []review.RuleFile
	var book *review.Rulebook
	if err == nil {
		files, err = s.cfg.Desk.RuleVersion(r.Context(), actor(r), n)
	}
	if err == nil {
		book, err = s.cfg.Desk.Rulebook(r.Context(), actor(r))
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	v := struct {
		N    int64
		Live bool
		Diff []diffLine
	}{n, n == book.N, diffFiles(book.Files, files)}
	s.show(w, r, http.StatusOK, "rules-version", screen{Title: fmt.Sprintf("Rules number %d", n), Area: "rules", Data: v})
}

func (s *Server) rollBack(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.PostFormValue("n"), 10, 64)
	if err != nil || n < 1 {
		s.fail(w, r, review.ErrNotFound)
		return
	}
	if !actor(r).May(people.ApplyRules) {
		s.forbid(w, r, "roll-back", strconv.FormatInt(n, 10))
		return
	}
	live, err := s.cfg.Desk.RollBack(r.Context(), actor(r), n, r.PostFormValue("note"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, fmt.Sprintf("/rules?applied=%d", live), http.StatusSeeOther)
}

// diffFiles tells what becomes of files when others come into force.
func diffFiles(from, to []review.RuleFile) []diffLine {
	text := func(files []review.RuleFile, name string) []string {
		i := slices.IndexFunc(files, func(f review.RuleFile) bool { return f.Name == name })
		if i < 0 || files[i].Text == "" {
			return nil
		}
		return strings.Split(strings.TrimSuffix(files[i].Text, "\n"), "\n")
	}
	var names []string
	for _, f := range slices.Concat(from, to) {
		if !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	var out []diffLine
	for _, name := range names {
		lines := diff(text(from, name), text(to, name))
		if len(lines) > 0 {
			out = append(append(out, diffLine{"@", name}), lines...)
		}
	}
	return out
}

// Bounds of a difference: lines around each change, and lines that are compared one by one.
const (
	diffAround = 3
	diffMost   = 3000
)

// diff is the difference of two texts by their longest common subsequence, with some lines around
// each change; nothing when they are the same.
func diff(a, b []string) []diffLine {
	if slices.Equal(a, b) {
		return nil
	}
	var all []diffLine
	if len(a) > diffMost || len(b) > diffMost { // too much to compare: all of both
		return append(signed("-", a), signed("+", b)...)
	}
	long := make([][]int, len(a)+1) // of the rest from there on
	for i := range long {
		long[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				long[i][j] = long[i+1][j+1] + 1
			} else {
				long[i][j] = max(long[i+1][j], long[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			all = append(all, diffLine{" ", a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && long[i+1][j] >= long[i][j+1]:
			all = append(all, diffLine{"-", a[i]})
			i++
		default:
			all = append(all, diffLine{"+", b[j]})
			j++
		}
	}
	return near(all)
}

func signed(sign string, lines []string) []diffLine {
	out := make([]diffLine, len(lines))
	for i, l := range lines {
		out[i] = diffLine{sign, l}
	}
	return out
}

// near keeps the changes and the lines around them.
func near(all []diffLine) []diffLine {
	keep := make([]bool, len(all))
	for i, l := range all {
		if l.Sign != " " {
			for k := max(0, i-diffAround); k < min(len(all), i+diffAround+1); k++ {
				keep[k] = true
			}
		}
	}
	var out []diffLine
	for i, l := range all {
		if keep[i] {
			out = append(out, l)
		} else if i > 0 && keep[i-1] {
			out = append(out, diffLine{" ", "…"})
		}
	}
	return out
}
