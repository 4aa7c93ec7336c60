package web

import (
	"context"
	"net/http"

	"github.com/oklog/ulid/v2"

	"postern/people"
)

type contextKey int

const (
	actorKey contextKey = iota
	requestKey
	clientKey
	sessionKey
	formKey
)

// withActor gives a request somebody who makes it.
func withActor(r *http.Request, who *people.Actor) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), actorKey, who))
}

// actor is who makes a request; nil when nobody is signed in.
func actor(r *http.Request) *people.Actor {
	who, _ := r.Context().Value(actorKey).(*people.Actor)
	return who
}

// withRequestID names a request: what people are shown when something fails, and the log.
func withRequestID(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), requestKey, ulid.Make().String()))
}

// requestID is that name.
func requestID(r *http.Request) string {
	id, _ := r.Context().Value(requestKey).(string)
	return id
}
