package web

// pageRoutes names every page.
func (s *Server) pageRoutes() {
	s.mux.HandleFunc("GET /static/{file}", s.static)
	s.signInRoutes()
}
