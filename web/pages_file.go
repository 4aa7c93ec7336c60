package web

import (
	"io"
	"net/http"
	"strconv"

	"postern/people"
	"postern/preview"
	"postern/review"
)

// minZipPassword keeps forms that were made by hand from weak ones.
const minZipPassword = 16

// download gives an attachment, or the whole message, as an encrypted zip archive: nothing on the
// way and nothing on the reviewer's machine opens it by itself. The password is the one that the
// page showed beside the button; nobody keeps it.
func (s *Server) download(w http.ResponseWriter, r *http.Request) {
	if !actor(r).May(people.Download) {
		s.fail(w, r, review.ErrForbidden)
		return
	}
	password := r.PostFormValue("password")
	if len(password) < minZipPassword || len(password) > 200 {
		s.fail(w, r, badForm("Load the page again: its password is missing."))
		return
	}
	id := r.PathValue("id")
	m, err := s.cfg.Desk.Message(r.Context(), actor(r), id)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	body, err := s.content(r.Context(), actor(r), id, "download")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer body.Close()
	name, content := fileName(id)+".eml", io.Reader(body.Open())
	if which := r.PostFormValue("file"); which != "message" {
		p, err := s.read(r.Context(), m, body)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		n, err := strconv.Atoi(which)
		found := false
		for _, a := range p.Attachments {
			if found = err == nil && a.Index == n && n >= 0; found {
				name = a.Name
				break
			}
		}
		if !found {
			s.fail(w, r, review.ErrNotFound)
			return
		}
		pr, pw := io.Pipe()
		defer pr.Close()
		go func() { pw.CloseWithError(preview.CopyAttachment(r.Context(), body, n, pw)) }()
		content = pr
	}
	h := w.Header() // C-33: never shown, always a file
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", preview.ContentDisposition(fileName(id)+".zip"))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	if err := preview.Zip(w, name, content, password); err != nil {
		s.cfg.Log.Warn("a download was cut", "request", requestID(r), "id", id, "error", err)
		panic(http.ErrAbortHandler) // what was sent is no archive: the connection says so
	}
}
