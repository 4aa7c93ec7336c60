package web

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"postern/preview"
	"postern/review"
)

// maxExport bounds the rows of a CSV file; the last line says when there are more.
const maxExport = 100_000

func (s *Server) exportHeld(w http.ResponseWriter, r *http.Request) { s.export(w, r, "/") }
func (s *Server) exportLog(w http.ResponseWriter, r *http.Request)  { s.export(w, r, "/log") }

// export gives a list as a CSV file (RFC 4180) that no spreadsheet takes for formulas (C-35).
func (s *Server) export(w http.ResponseWriter, r *http.Request, path string) {
	at := spotOf(path, r.URL.Query())
	at.Find.Cursor, at.Find.Limit = "", 500
	page, err := s.find(r, at)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	name := "held"
	if path == "/log" {
		name = "log"
	}
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="postern-%s-%s.csv"`, name, s.now().Format("2006-01-02")))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	control := http.NewResponseController(w)
	out := csv.NewWriter(w)
	_ = out.Write([]string{"id", "received", "state", "from_name", "from_address", "sender", "recipients", "subject", "class", "rule", "because", "score", "size", "spf", "dkim", "dmarc"})
	for n := 0; ; {
		for _, row := range page.Rows {
			_ = out.Write(cells(row, path == "/log"))
		}
		n += len(page.Rows)
		out.Flush()
		if err = out.Error(); err != nil || page.Next == "" {
			break
		}
		if n >= maxExport {
			_ = out.Write([]string{fmt.Sprintf("There are more than %d: narrow the list.", maxExport)})
			out.Flush()
			break
		}
		_ = control.SetWriteDeadline(time.Now().Add(time.Minute)) // each page has its own; a server without deadlines needs none
		at.Find.Cursor = page.Next
		if page, err = s.find(r, at); err != nil {
			break
		}
	}
	if err != nil && !errors.Is(err, r.Context().Err()) {
		s.cfg.Log.Warn("an export was cut", "request", requestID(r), "error", err)
		panic(http.ErrAbortHandler) // half a file must not look like a whole one
	}
}

func cells(r review.Row, log bool) []string {
	var to []string
	for _, c := range r.Copies {
		to = append(to, c.Recipient.Address.String())
	}
	state := string(r.State)
	if log {
		state = r.Result
	}
	out := []string{r.ID, r.Received.UTC().Format(time.RFC3339), state, r.FromName, r.FromAddress, r.Sender, strings.Join(to, " "), r.Subject, r.Class, r.Rule, r.Because,
		fmt.Sprint(r.Score), fmt.Sprint(r.Size), r.Auth.SPF, r.Auth.DKIM, r.Auth.DMARC}
	for i, x := range out {
		out[i] = inert(x)
	}
	return out
}

// inert makes a cell that spreadsheets show and never reckon with (OWASP, CSV injection): one that
// begins like a formula gets an apostrophe before it.
func inert(cell string) string {
	cell = preview.VisibleName(cell)
	if strings.ContainsAny(first(strings.TrimLeft(cell, " \u00a0\u3000")), "=+-@＝＋－＠|%") {
		return "'" + cell
	}
	return cell
}

func first(text string) string {
	for _, r := range text {
		return string(r)
	}
	return ""
}
