package web

import "net/http"

// pageRoutes names every page.
func (s *Server) pageRoutes() {
	s.mux.HandleFunc("GET /static/{file}", s.static)
}

// csrf is the token that forms carry.
func (s *Server) csrf(*http.Request) string { return "" }
