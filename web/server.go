package web

import (
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"postern/mail"
)

// Config is what a Server needs.
type Config struct {
	Desk    Desk
	People  People         // nil: nobody can sign in
	Digests Digests        // nil: nobody is written to
	Origin  string         // as browsers see it: https://quarantine.example.org, without a path
	Proxies []netip.Prefix // whose X-Forwarded-For is believed
	Hosts   []string       // names of ours and of our relays: their Received fields are believed
	Log     *slog.Logger
}

// A Server answers for pages and API. It is an http.Handler.
type Server struct {
	cfg    Config
	mux    *http.ServeMux
	pages  map[string]*template.Template
	hashes map[string]string // of the embedded files
	now    func() time.Time
	spool  *mail.Spool // messages that are looked at
	cross  http.CrossOriginProtection

	patience time.Duration // with a search
	streams  crowd         // of new mail
	readers  crowd         // of messages
	room     chan struct{} // for messages that are read
	paces    paces         // of users
}

// New makes a server. Nothing in it needs closing. It panics when an embedded template cannot be
// read, which tests would have found.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, mux: http.NewServeMux(), now: time.Now, patience: findFor, room: make(chan struct{}, mostReading), spool: mail.NewSpool("", 1<<20, 64<<20)}
	err := s.trust(cfg.Origin)
	if err == nil {
		s.hashes, err = hashAssets()
	}
	if err == nil {
		s.pages, err = s.parsePages()
	}
	if err != nil {
		panic("web: " + err.Error())
	}
	s.pageRoutes()
	s.api()
	return s
}
