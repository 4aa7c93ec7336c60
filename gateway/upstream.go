package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/mail"
)

// A TLSMode says when the connection to an internal server is encrypted.
type TLSMode string

const (
	TLSNone          TLSMode = "none"          // STARTTLS is not used
	TLSOpportunistic TLSMode = "opportunistic" // when offered, without verification; in clear when it fails
	TLSRequire       TLSMode = "require"       // a verified certificate, or nothing is sent
)

// DefaultGroup is the group of all recipients that no route names.
const DefaultGroup = "default"

// A ServerConfig describes one group of internal servers that all take the same mail.
type ServerConfig struct {
	Addresses   []string       // host:port (port 25 when missing) or unix:/path; tried in this order
	Helo        string         // our name towards them
	TLS         TLSMode        // "" is opportunistic
	TLSName     string         // name that the certificate must have; "" is the address's host
	TLSRoots    *x509.CertPool // whom to trust; nil is the system's
	TLSInsecure bool           // with require: take any certificate (tls_verify: false)
	Forward     Forward        // how the server is told who the client is; "" is none
	Chunking    bool           // small mail by BDAT where CHUNKING is offered and proven (RFC 3030)
	MaxOpen     int            // from so many on, connections that wait for an upload are taken over; 0 is 40
	MaxIdle     int            // connections kept open for each address; 0 is 20, negative is none
	Idle        time.Duration  // how long one is kept; 0 is 30 s
	Down        time.Duration  // how long a broken address is tried last; 0 is 30 s
	Timeouts    ServerTimeouts
}

// ServerTimeouts bound each wait for an internal server; zero values stand for the defaults.
type ServerTimeouts struct {
	Connect time.Duration // TCP connection: 10 s
	Reply   time.Duration // greeting, TLS handshake, one reply to a command: 60 s
	Write   time.Duration // one block (64 KiB) of a message: 60 s
	Final   time.Duration // the reply to the end of data: 240 s
}

// A ServersConfig describes all internal servers.
type ServersConfig struct {
	Groups map[string]ServerConfig // by name; DefaultGroup is the one for domains without a route
	Routes map[string]string       // domain, or .domain with its subdomains → group
	Log    *slog.Logger            // nil: nothing is logged
}

// Servers are the internal servers. They implement Upstream. Close them at the end.
type Servers struct {
	groups map[string]*serverGroup
	routes map[string]string // as configured, in canonical form
	log    *slog.Logger
	learns sync.Mutex // one at a time, so that the last one sees all
	ext    atomic.Pointer[mail.Extensions]
}

// NewServers checks the configuration; it connects to nothing.
func NewServers(c ServersConfig) (*Servers, error) {
	s := &Servers{groups: map[string]*serverGroup{}, routes: map[string]string{}, log: c.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for name, gc := range c.Groups {
		g, err := newServerGroup(s, name, gc)
		if err != nil {
			return nil, fmt.Errorf("internal server %q: %w", name, err)
		}
		s.groups[name] = g
	}
	if s.groups[DefaultGroup] == nil {
		return nil, fmt.Errorf("no internal server %q is configured", DefaultGroup)
	}
	for pattern, group := range c.Routes {
		name, sub := strings.CutPrefix(pattern, ".")
		d, err := mail.ParseDomain(name)
		if err != nil {
			return nil, fmt.Errorf("route %q: %w", pattern, err)
		}
		if s.groups[group] == nil {
			return nil, fmt.Errorf("route %q: no internal server %q is configured", pattern, group)
		}
		if sub {
			d = "." + d
		}
		s.routes[d] = group
	}
	s.ext.Store(&mail.Extensions{})
	return s, nil
}

func newServerGroup(s *Servers, name string, c ServerConfig) (*serverGroup, error) {
	if len(c.Addresses) == 0 {
		return nil, errors.New("no address")
	}
	if _, err := mail.ParseDomain(c.Helo); err != nil {
		return nil, fmt.Errorf("HELO name %q: %w", c.Helo, err)
	}
	switch c.TLS {
	case "":
		c.TLS = TLSOpportunistic
	case TLSNone, TLSOpportunistic, TLSRequire:
	default:
		return nil, fmt.Errorf("TLS mode %q: want require, opportunistic or none", c.TLS)
	}
	switch c.Forward {
	case "":
		c.Forward = ForwardNone
	case ForwardNone, ForwardXForward, ForwardXClient, ForwardProxy:
	default:
		return nil, fmt.Errorf("forward %q: want none, xforward, xclient or proxy", c.Forward)
	}
	c.Idle = cmp.Or(c.Idle, 30*time.Second)
	c.Down = cmp.Or(c.Down, 30*time.Second)
	c.MaxOpen = cmp.Or(c.MaxOpen, 40)
	c.MaxIdle = cmp.Or(c.MaxIdle, 20)
	t := &c.Timeouts
	t.Connect = cmp.Or(t.Connect, 10*time.Second)
	t.Reply = cmp.Or(t.Reply, 60*time.Second)
	t.Write = cmp.Or(t.Write, 60*time.Second)
	t.Final = cmp.Or(t.Final, 240*time.Second)

	g := &serverGroup{servers: s, name: name, cfg: c, now: time.Now}
	for _, a := range c.Addresses {
		h, err := newServerHost(g, a)
		if err != nil {
			return nil, err
		}
		g.hosts = append(g.hosts, h)
	}
	return g, nil
}

func newServerHost(g *serverGroup, addr string) (*serverHost, error) {
	h := &serverHost{group: g, network: "tcp", addr: addr}
	host := ""
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		h.network, h.addr = "unix", path
	} else {
		var err error
		if host, _, err = net.SplitHostPort(addr); err != nil {
			host = strings.Trim(addr, "[]")
			h.addr = net.JoinHostPort(host, "25")
			if _, _, err = net.SplitHostPort(h.addr); err != nil || host == "" {
				return nil, fmt.Errorf("address %q: want host:port", addr)
			}
		}
		if host == "" {
			return nil, fmt.Errorf("address %q has no host", addr)
		}
	}
	name := cmp.Or(g.cfg.TLSName, host)
	if g.cfg.TLS == TLSRequire && !g.cfg.TLSInsecure && name == "" {
		return nil, fmt.Errorf("address %q: no name to verify its certificate with", addr)
	}
	h.tls = &tls.Config{
		ServerName:         name,
		RootCAs:            g.cfg.TLSRoots,
		InsecureSkipVerify: g.cfg.TLSInsecure || g.cfg.TLS == TLSOpportunistic,
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(8),
	}
	return h, nil
}

// Route names the group for a recipient: that of its domain, else of the nearest
// parent with a subdomain pattern, else the default one.
func (s *Servers) Route(to mail.Address) string {
	if len(s.routes) == 0 {
		return DefaultGroup
	}
	if g, ok := s.routes[to.Domain]; ok {
		return g
	}
	for d := to.Domain; d != ""; {
		if g, ok := s.routes["."+d]; ok {
			return g
		}
		_, d, _ = strings.Cut(d, ".")
	}
	return DefaultGroup
}

// Begin takes an idle connection or makes one. MAIL itself leaves with the first RCPT,
// which then reports its refusal.
func (s *Servers) Begin(ctx context.Context, route string, env mail.Envelope) (Delivery, error) {
	g := s.groups[route]
	if g == nil {
		return nil, fmt.Errorf("no internal server %q", route)
	}
	l, err := g.connection(ctx, g.cfg.Forward.guest(env.Client), false)
	if err != nil {
		return nil, err
	}
	d := &delivery{group: g, env: env, link: l}
	if r := l.lacks(&env); r != nil {
		d.Close()
		return nil, r
	}
	return d, nil
}

// Extensions is what the servers of all groups offer, as their last EHLO said. Of a
// group in which none has answered yet, nothing is assumed.
func (s *Servers) Extensions() mail.Extensions { return *s.ext.Load() }

// learn notes what h offers now.
func (s *Servers) learn(h *serverHost, e mail.Extensions) {
	s.learns.Lock()
	defer s.learns.Unlock()
	h.mu.Lock()
	same := h.ext != nil && *h.ext == e
	h.ext = &e
	h.mu.Unlock()
	if same {
		return
	}
	all := mail.Extensions{EightBitMIME: true, UTF8: true, DSN: true, RequireTLS: true, Pipelining: true, XForward: true, XClient: true, StartTLS: true}
	for _, g := range s.groups {
		known := false
		for _, h := range g.hosts {
			h.mu.Lock()
			if h.ext != nil {
				known = true
				all = intersect(all, *h.ext)
			}
			h.mu.Unlock()
		}
		if !known {
			all = mail.Extensions{Size: all.Size}
		}
	}
	s.ext.Store(&all)
}

func intersect(a, b mail.Extensions) mail.Extensions {
	size := min(a.Size, b.Size)
	if size == 0 { // one of them names no limit
		size = max(a.Size, b.Size)
	}
	return mail.Extensions{
		Size:         size,
		EightBitMIME: a.EightBitMIME && b.EightBitMIME,
		UTF8:         a.UTF8 && b.UTF8,
		DSN:          a.DSN && b.DSN,
		RequireTLS:   a.RequireTLS && b.RequireTLS,
		Pipelining:   a.Pipelining && b.Pipelining,
		XForward:     a.XForward && b.XForward,
		XClient:      a.XClient && b.XClient,
		StartTLS:     a.StartTLS && b.StartTLS,
	}
}

// Close closes the idle connections; those in use are closed by their deliveries.
func (s *Servers) Close() error {
	for _, g := range s.groups {
		for _, h := range g.hosts {
			h.close()
		}
	}
	return nil
}
