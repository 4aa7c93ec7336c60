package web

import (
	"context"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"postern/people"
)

// Config is what a Server needs.
type Config struct {
	Desk   Desk
	Origin string // as browsers see it: https://quarantine.example.org, without a path
	Log    *slog.Logger
}

// A Server answers for pages and API. It is an http.Handler.
type Server struct {
	cfg    Config
	mux    *http.ServeMux
	pages  map[string]*template.Template
	hashes map[string]string // of the embedded files
	now    func() time.Time
}

// New makes a server. Nothing in it needs closing. It panics when an embedded template cannot be
// read, which tests would have found.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, mux: http.NewServeMux(), now: time.Now}
	var err error
	if s.hashes, err = hashAssets(); err == nil {
		s.pages, err = s.parsePages()
	}
	if err != nil {
		panic("web: " + err.Error())
	}
	s.pageRoutes()
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

type contextKey struct{}

// withActor gives a request somebody who makes it.
func withActor(r *http.Request, who *people.Actor) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), contextKey{}, who))
}

// actor is who makes a request; nil when nobody is signed in.
func actor(r *http.Request) *people.Actor {
	who, _ := r.Context().Value(contextKey{}).(*people.Actor)
	return who
}
