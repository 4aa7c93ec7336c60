package web

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"postern/review"
)

// status finds the answer to an error: its code, and words that tell nothing about the inside
// (W-15). An error that nobody labelled is 500.
func status(err error) (code int, words string) {
	var bad *callError
	var query *review.QueryError
	var input *review.InputError
	if code, words := peopleStatus(err); code != 0 {
		return code, words
	}
	switch {
	case errors.As(err, &bad):
		return bad.status, bad.words
	case errors.As(err, &query):
		return http.StatusBadRequest, query.Error()
	case errors.As(err, &input):
		return http.StatusBadRequest, input.Error()
	case errors.Is(err, review.ErrNotFound):
		return http.StatusNotFound, "There is no such thing, or not for you."
	case errors.Is(err, review.ErrForbidden):
		return http.StatusForbidden, strings.TrimSpace("You may not do that. " + reason(err, review.ErrForbidden))
	case errors.Is(err, review.ErrChanged):
		return http.StatusConflict, strings.TrimSpace("It is not as it was any more: look again. " + reason(err, review.ErrChanged))
	case errors.Is(err, review.ErrTooLate):
		return http.StatusConflict, "Too late: it is done."
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout, "It took too long. Try a shorter span of time or a narrower question."
	case errors.Is(err, context.Canceled):
		return 499, "" // the caller is gone
	}
	return http.StatusInternalServerError, "Something failed here. The log tells what, under this id."
}

// problem answers a call that failed.
func (s *Server) problem(w http.ResponseWriter, r *http.Request, err error) {
	code, words := status(err)
	id := requestID(r)
	if code == http.StatusInternalServerError {
		s.cfg.Log.Error("request failed", "request", id, "path", r.URL.Path, "error", err)
	}
	writeJSON(w, "application/problem+json", code, Problem{Type: "about:blank", Title: http.StatusText(code), Status: code, Detail: words, Instance: id})
}
