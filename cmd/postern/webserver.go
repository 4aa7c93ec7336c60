package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"postern/web"

	"golang.org/x/net/netutil"
)

// webConnections is how many browsers and programs may be connected at once.
const webConnections = 512

// A webServer serves the pages and the API; nil when there are none.
type webServer struct {
	server *http.Server
	origin string
	done   chan struct{}
}

// startWeb listens on the pages' address. Requests end when ctx does.
func (p *program) startWeb(ctx context.Context, pages http.Handler) (*webServer, error) {
	if p.cfg.Web.Listen == "" {
		return nil, nil
	}
	l, err := p.sockets.one("web", p.cfg.Web.Listen, p.log)
	if err != nil && !p.cfg.webGiven() {
		p.log.Error("no pages: the address is taken, and mail must not wait for them; web.listen or --web names another", "error", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pages: %w (another address: web.listen or --web; \"\" for none)", err)
	}
	l = netutil.LimitListener(l, webConnections)
	w := &webServer{origin: p.cfg.Web.Origin, done: make(chan struct{}),
		server: &http.Server{Handler: pages, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 2 * time.Minute,
			IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
			BaseContext: func(net.Listener) context.Context { return ctx }}}
	if p.webCerts != nil {
		l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return p.webCerts.config(), nil }})
	}
	go func() {
		defer close(w.done)
		if err := w.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			p.log.Error("pages", "error", err)
		}
	}()
	p.log.Info("pages", "web", l.Addr().String(), "origin", w.origin)
	return w, nil
}

// close lets answers under way end for some seconds.
func (w *webServer) close() {
	if w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if w.server.Shutdown(ctx) != nil {
		_ = w.server.Close()
	}
	<-w.done
}

// webConfig is what the pages and the API stand on.
func (p *program) webConfig() web.Config {
	proxies, _ := prefixes(p.cfg.Web.Proxies) // validated
	return web.Config{Desk: p.desk, People: p.people, Digests: p.digests, Origin: p.cfg.Web.Origin, Proxies: proxies, Hosts: []string{p.cfg.Hostname}, Log: p.log}
}
