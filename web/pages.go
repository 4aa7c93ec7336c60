package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"postern/people"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed static/*
var staticFiles embed.FS

// A screen is what each page is made from.
type screen struct {
	Title string
	Area  string        // the part of the navigation that it belongs to: held log requests overview rules audit people account
	Who   *people.Actor // nil: nobody is signed in, and there is no navigation
	Token string        // for forms, against requests from elsewhere
	Data  any
}

// Can tells the templates what the person who looks may do.
func (s screen) Can(permission string) bool {
	for p := range people.Permission(people.All) {
		if p.String() == permission {
			return s.Who != nil && s.Who.May(p)
		}
	}
	return false
}

// With hands a part of a page its own data, and lets it keep the rest.
func (s screen) With(data any) screen { s.Data = data; return s }

// Operator tells who looks after other people's mail from who sees only own mail.
func (s screen) Operator() bool { return s.Who != nil && s.Who.Role != people.User }

// parsePages reads all templates. Each page has the layout and the shared parts in it.
func (s *Server) parsePages() (map[string]*template.Template, error) {
	base, err := template.New("layout.html").Funcs(s.words()).ParseFS(pageFiles, "pages/layout.html", "pages/part_*.html")
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil {
		return nil, err
	}
	out := map[string]*template.Template{}
	for _, file := range files {
		name := path.Base(file)
		if name == "layout.html" || strings.HasPrefix(name, "part_") {
			continue
		}
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(pageFiles, file)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out[strings.TrimSuffix(name, ".html")] = t
	}
	return out, nil
}

// show answers with a whole page: the template web/pages/NAME.html, whose block "main" stands
// in the layout.
func (s *Server) show(w http.ResponseWriter, r *http.Request, status int, name string, sc screen) {
	s.answer(w, r, status, name, "layout.html", sc)
}

// part answers with one block of a page, for htmx.
func (s *Server) part(w http.ResponseWriter, r *http.Request, status int, name, block string, sc screen) {
	s.answer(w, r, status, name, block, sc)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, status int, name, block string, sc screen) {
	sc.Who, sc.Token = actor(r), s.csrf(r)
	var b bytes.Buffer
	if err := s.pages[name].ExecuteTemplate(&b, block, sc); err != nil {
		s.cfg.Log.Error("a page could not be made", "request", requestID(r), "page", name, "error", err)
		if name != "problem" {
			s.refuse(w, r, &callError{http.StatusInternalServerError, "This page could not be made. The log says why, under the number " + requestID(r) + "."})
			return
		}
		http.Error(w, "This page could not be made. The log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Add("Vary", "HX-Request")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // who asked may have gone away
}

// byHtmx tells a request of htmx, which wants a part of a page, from one for a whole page.
func byHtmx(r *http.Request) bool {
	return r.Header.Get("HX-Request") == "true" && r.Header.Get("HX-History-Restore-Request") != "true"
}

// static serves the embedded files. Their names hold a part of their hash, so browsers may keep them.
func (s *Server) static(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	b, err := staticFiles.ReadFile("static/" + name)
	if err != nil {
		s.refuse(w, r, &callError{http.StatusNotFound, "There is no such file."})
		return
	}
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8"}
	w.Header().Set("Content-Type", kinds[path.Ext(name)])
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.URL.Query().Get("v") == s.hashes[name] {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		w.Header().Set("Cache-Control", "no-cache")
	}
	_, _ = w.Write(b)
}
