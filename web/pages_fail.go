package web

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"postern/review"
)

// fail answers with what went wrong. What nobody may know reads as if there were nothing.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, title, words := failure(err)
	if status == http.StatusInternalServerError {
		s.cfg.Log.Error("a page failed", "request", requestID(r), "path", r.URL.Path, "error", err)
		words += " Its number is " + requestID(r) + "."
	}
	if byHtmx(r) {
		s.part(w, r, status, "problem", "alert", screen{Title: title, Data: words})
		return
	}
	s.show(w, r, status, "problem", screen{Title: title, Data: words})
}

// forbid refuses what somebody may not do at all. That it was tried is noted (W-13).
func (s *Server) forbid(w http.ResponseWriter, r *http.Request, act, object string) {
	s.fail(w, r, s.cfg.Desk.Refuse(r.Context(), actor(r), act, object))
}

func failure(err error) (status int, title, words string) {
	var form *callError
	var input *review.InputError
	switch {
	case errors.As(err, &form):
		return form.status, "That makes no sense", form.words
	case errors.As(err, &input):
		return http.StatusUnprocessableEntity, "That does not work so", sentence(input.Error())
	case errors.Is(err, review.ErrNotFound):
		return http.StatusNotFound, "Not found", "There is no such message here, or it is not yours to see."
	case errors.Is(err, review.ErrForbidden):
		return http.StatusForbidden, "Not allowed", "You may not do this. " + reason(err, review.ErrForbidden)
	case errors.Is(err, review.ErrChanged):
		return http.StatusConflict, "It has changed", "Meanwhile it is not as you saw it. Look again, then decide. " + reason(err, review.ErrChanged)
	case errors.Is(err, review.ErrTooLate):
		return http.StatusConflict, "Too late", "It is done and cannot be undone any more."
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return http.StatusGatewayTimeout, "It took too long", "Try a shorter span of time or a narrower question."
	}
	var wrong *review.QueryError
	if errors.As(err, &wrong) {
		return http.StatusBadRequest, "The query makes no sense", wrong.Error()
	}
	return http.StatusInternalServerError, "That did not work", "Something went wrong here. Nothing was changed as far as is known; the log says what it was."
}

// reason is what an error says besides its kind.
func reason(err, kind error) string {
	text := strings.TrimSuffix(strings.TrimSuffix(err.Error(), kind.Error()), ": ")
	return sentence(strings.TrimPrefix(text, kind.Error()+": "))
}

// sentence makes one of the words of an error.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}
