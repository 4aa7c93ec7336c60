package web

import (
	"net/http"
)

// route hands a request to whoever answers it. What nobody answers is told in the form of all
// other answers, with the navigation for who is signed in.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	if s.answered(r) {
		s.mux.ServeHTTP(w, r)
		return
	}
	m := &mute{header: http.Header{}}
	s.mux.ServeHTTP(m, r)
	if allow := m.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		s.refuse(w, r, &callError{http.StatusMethodNotAllowed, "This address is not for " + clip(r.Method) + ", but for " + allow + "."})
		return
	}
	words := "There is no such page. It may have moved, or the address is not whole."
	if isCall(r) {
		words = "There is no such call; see " + apiRoot + "/openapi.json."
	}
	s.refuse(w, r, &callError{http.StatusNotFound, words})
}

// answered tells whether there is a handler for a request.
func (s *Server) answered(r *http.Request) bool {
	_, pattern := s.mux.Handler(r)
	return pattern != ""
}

// mute takes the answer that a ServeMux makes by itself, for its header.
type mute struct{ header http.Header }

func (m *mute) Header() http.Header         { return m.header }
func (m *mute) Write(b []byte) (int, error) { return len(b), nil }
func (m *mute) WriteHeader(int)             {}
