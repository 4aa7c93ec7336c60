package web

// pageRoutes names every page.
func (s *Server) pageRoutes() {
	s.mux.HandleFunc("GET /static/{file}", s.static)
	s.signInRoutes()
	s.mux.HandleFunc("GET /{$}", s.heldPage)
	s.mux.HandleFunc("GET /log", s.logPage)
	s.mux.HandleFunc("GET /m/{id}", s.messagePage)
	s.mux.HandleFunc("GET /m/{id}/frame", s.messageFrame)
	s.mux.HandleFunc("GET /m/{id}/would-allow", s.wouldAllow)
	s.mux.HandleFunc("POST /m/{id}/pin", s.pin)
	s.mux.HandleFunc("POST /act", s.actForm)
	s.mux.HandleFunc("POST /summary", s.summaryPage)
	s.mux.HandleFunc("POST /undo/{id}", s.undoForm)
	s.mux.HandleFunc("POST /views", s.saveView)
	s.mux.HandleFunc("POST /views/drop", s.dropView)
}
