package web

import (
	"net/http"
	"strconv"

	"postern/people"
	"postern/review"
)

// minZipPassword keeps forms that were made by hand from weak ones.
const minZipPassword = 16

// download gives an attachment, or the whole message, as an encrypted zip archive. The password is
// the one that the page showed beside the button; nobody keeps it.
func (s *Server) download(w http.ResponseWriter, r *http.Request) {
	password, id, which := r.PostFormValue("password"), r.PathValue("id"), r.PostFormValue("file")
	if !actor(r).May(people.Download) {
		s.forbid(w, r, "download", id)
		return
	}
	if len(password) < minZipPassword || len(password) > 128 {
		s.fail(w, r, badForm("Load the page again: its password is missing."))
		return
	}
	if which == "message" {
		body, end, err := s.content(r.Context(), actor(r), id, "download")
		if err != nil {
			s.fail(w, r, err)
			return
		}
		defer end()
		if err := s.writeZip(w, r, id, id+".eml", body.Open(), password); err != nil {
			s.fail(w, r, err)
		}
		return
	}
	n, err := strconv.ParseInt(which, 10, 32)
	if err != nil {
		err = review.ErrNotFound
	} else {
		err = s.sendZip(w, r, id, n, password)
	}
	if err != nil {
		s.fail(w, r, err)
	}
}
