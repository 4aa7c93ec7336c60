package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/breaker"
	"postern/digest"
	"postern/filters"
	"postern/gateway"
	"postern/journal"
	"postern/mail"
	"postern/policies"
	"postern/review"
	"postern/store"
)

// A program is the gateway with all its rooms, built from a configuration; the only place
// where concrete types meet.
type program struct {
	cfg *Config
	log *slog.Logger
	*stores
	upstream *gateway.Servers
	resolver *filters.DNS
	gateway  *gateway.Gateway
	spool    *mail.Spool
	certs    *certificates
	webCerts *certificates // of the pages; nil when they are in clear
	metrics  *metrics
	policy   *policyState
	breaker  *breaker.Breaker // nil: off
	desk     *review.Desk
	digests  *digest.Digests
	sockets  sockets        // of systemd
	doors    []gateway.Door // of those for mail, where systemd opened them
}

// build makes everything that serve needs. close what it returns.
func build(ctx context.Context, cfg *Config, log *slog.Logger) (p *program, err error) {
	p = &program{cfg: cfg, log: log, metrics: newMetrics()}
	defer func() {
		if err != nil {
			p.close()
			p = nil
		}
	}()
	if p.stores, err = openStores(ctx, cfg, log, true); err != nil {
		return p, err
	}
	if p.upstream, err = internalServers(cfg, log); err != nil {
		return p, err
	}
	if p.resolver, err = newResolver(cfg); err != nil {
		return p, err
	}
	if p.certs, err = openCertificates(cfg, log); err != nil {
		return p, err
	}
	if cfg.Web.Listen != "" && cfg.Web.Certificate != "" {
		p.webCerts = &certificates{files: []keyPair{{cfg.Web.Certificate, cfg.Web.Key}}, min: tls.VersionTLS12}
		if err := p.webCerts.reload(); err != nil {
			return p, err
		}
	}
	gcfg, err := gatewayConfig(cfg, p.certs)
	if err != nil {
		return p, err
	}
	if err := p.signingIn(ctx, gcfg); err != nil {
		return p, err
	}
	var sinks []journal.Sink
	if p.breaker = newBreaker(cfg, time.Now()); p.breaker != nil {
		sinks = append(sinks, counted(p.breaker))
	}
	sinks = append(sinks, p.metrics.sink())
	p.spool = mail.NewSpool(gcfg.SpoolDir, 0, gcfg.Limits.Memory)
	if p.desk, err = openDesk(ctx, cfg, p.stores, p.upstream, newDeskRules(p), log); err != nil {
		return p, err
	}
	deps := gateway.Deps{
		Upstream:   p.upstream,
		Quarantine: p.quarantine,
		Journal:    journal.Tee(p.journal, sinks...),
		Spool:      p.spool,
		Log:        log,
		Recall:     p.recall,
	}
	if deps.Taken, err = p.recall.Taken(ctx, time.Now()); err != nil {
		return p, err
	}
	if deps.Poisons, err = p.recall.Poisons(ctx, time.Now()); err != nil {
		return p, err
	}
	if cfg.StoreDown == "defer_all" {
		deps.Room = func() error { return p.quarantine.Room(context.Background()) }
	}
	if err := p.startDigests(ctx, gcfg, &deps); err != nil {
		return p, err
	}
	p.gateway = gateway.New(gcfg, deps)
	p.policy = &policyState{}
	return p, p.loadPolicy(policies.Started)
}

// close gives everything back, in the order that loses nothing.
func (p *program) close() {
	var errs []error
	p.certs.close()
	if p.stores != nil {
		p.saveBreakers(context.Background())
		if p.people != nil {
			p.people.Close()
		}
		errs = append(errs, p.stores.close())
	}
	if p.upstream != nil {
		errs = append(errs, p.upstream.Close())
	}
	if p.resolver != nil {
		errs = append(errs, p.resolver.Close())
	}
	if err := errors.Join(errs...); err != nil {
		p.log.Error("closing", "error", err)
	}
}

// internalServers makes the client towards the internal servers; it connects to nothing yet.
func internalServers(cfg *Config, log *slog.Logger) (*gateway.Servers, error) {
	sc := gateway.ServersConfig{Groups: map[string]gateway.ServerConfig{}, Routes: map[string]string{}, Log: log}
	group := func(name string, u *UpstreamConfig) error {
		g := gateway.ServerConfig{Addresses: u.Servers, Helo: cfg.Hostname, TLS: gateway.TLSMode(u.TLS), TLSName: u.TLSName,
			Forward: gateway.Forward(u.Forward), Chunking: u.Chunking == nil || *u.Chunking, MaxIdle: u.MaxIdle, Timeouts: gateway.ServerTimeouts{
				Connect: time.Duration(u.Timeouts.Connect), Reply: time.Duration(u.Timeouts.Reply),
				Write: time.Duration(u.Timeouts.Write), Final: time.Duration(u.Timeouts.Final)}}
		g.TLSInsecure = u.TLSVerify != nil && !*u.TLSVerify
		if u.TLSCA != "" {
			pem, err := os.ReadFile(u.TLSCA)
			if err != nil {
				return fmt.Errorf("tls_ca: %w", err)
			}
			if g.TLSRoots = x509.NewCertPool(); !g.TLSRoots.AppendCertsFromPEM(pem) {
				return fmt.Errorf("tls_ca: %s holds no certificate", u.TLSCA)
			}
		}
		sc.Groups[name] = g
		return nil
	}
	if err := group(gateway.DefaultGroup, &cfg.Upstream); err != nil {
		return nil, err
	}
	for i := range cfg.Routes {
		name := cmp.Or(cfg.Routes[i].Name, fmt.Sprintf("route %d (%s)", i+1, strings.Join(cfg.Routes[i].Servers, ", ")))
		if err := group(name, &cfg.Routes[i].UpstreamConfig); err != nil {
			return nil, err
		}
		for _, d := range cfg.Routes[i].Domains {
			sc.Routes[d] = name
		}
	}
	return gateway.NewServers(sc)
}

// newResolver makes the resolver; without configured servers those of /etc/resolv.conf.
func newResolver(cfg *Config) (*filters.DNS, error) {
	return filters.NewResolver(filters.ResolverConfig{Servers: cfg.DNS.Servers, Timeout: time.Duration(cfg.DNS.Timeout)})
}

// filterList is every configured filter.
func filterList(cfg *Config, r outside) []filters.Filter {
	trusted, _ := prefixes(cfg.TrustedRelays) // validated
	fail := filters.Defer
	if cfg.ClamAV.OnFailure != "defer" {
		fail = filters.Unknown
	}
	return filters.New(filters.Config{
		Resolver: r.Resolver,
		Lists:    r.lists,
		History:  r.history,
		Greylist: r.greys,
		SPF:      filters.SPFConfig{Receiver: cfg.Hostname, Trusted: trusted},
		DMARC:    filters.DMARCConfig{PSL: cfg.DMARC.PSL},
		ClamAV: filters.ClamAVConfig{Addresses: cfg.ClamAV.Addresses, Timeout: time.Duration(cfg.ClamAV.Timeout),
			MaxSize: int64(cfg.ClamAV.MaxSize), Concurrent: cfg.ClamAV.Concurrent},
		ClamFail: fail,
	})
}

// effectScope is what effects of rules may name: addresses in our domains, internal servers.
func effectScope(cfg *Config) gateway.EffectScope {
	domains, _ := mail.NewDomainSet(cfg.Domains) // validated
	s := gateway.EffectScope{Domains: domains, Routes: []string{gateway.DefaultGroup}}
	for i := range cfg.Routes {
		if name := cfg.Routes[i].Name; name != "" {
			s.Routes = append(s.Routes, name)
		}
	}
	return s
}

// gatewayConfig is the part of the configuration that the gateway itself needs.
func gatewayConfig(cfg *Config, certs *certificates) (gateway.Config, error) {
	domains, err := mail.NewDomainSet(cfg.Domains)
	if err != nil {
		return gateway.Config{}, err
	}
	proxies, err := prefixes(cfg.Proxies)
	if err != nil {
		return gateway.Config{}, err
	}
	xclients, err := prefixes(cfg.XClients)
	if err != nil {
		return gateway.Config{}, err
	}
	trusted, err := prefixes(cfg.TrustedRelays)
	if err != nil {
		return gateway.Config{}, err
	}
	host, err := mail.ParseDomain(cfg.Hostname)
	if err != nil {
		return gateway.Config{}, fmt.Errorf("hostname %q: %w", cfg.Hostname, err)
	}
	postmaster, err := mail.ParseDomain(strings.TrimPrefix(cfg.Domains[0], "."))
	if err != nil {
		return gateway.Config{}, err
	}
	g := gateway.Config{
		Hostname: host, Domains: domains, Proxies: proxies, XClients: xclients, Trusted: trusted,
		RequireTLS: cfg.TLS.Require, GreetDelay: time.Duration(cfg.GreetDelay), Chunking: cfg.Chunking, BareNewline: cfg.BareNewline, AllowNUL: cfg.AllowNUL,
		PostmasterDomain: postmaster, Grace: time.Duration(cfg.Grace),
		StripAuthResults: cfg.StripResults, Split: cfg.Recipients == "split", RelayResends: cfg.Resends == "relay",
		Limits: cfg.Limits.over(gateway.DefaultLimits()), SpoolDir: filepath.Join(cfg.Data, store.Spool),
	}
	if cfg.Digest.ReplyDomain != "" {
		if g.InboxClients, err = cfg.replyClients(); err != nil {
			return gateway.Config{}, err
		}
	}
	if certs != nil {
		g.TLS = certs.config
	}
	return g, nil
}

// over gives the limits d with what is configured in their place.
func (l LimitsConf) over(d gateway.Limits) gateway.Limits {
	set := func(to *int, v int) {
		if v > 0 {
			*to = v
		}
	}
	size := func(to *int64, v Size) {
		if v > 0 {
			*to = int64(v)
		}
	}
	span := func(to *time.Duration, v Duration) {
		if v > 0 {
			*to = time.Duration(v)
		}
	}
	set(&d.Connections, l.Connections)
	set(&d.ConnectionsPerIP, l.ConnectionsPerIP)
	set(&d.RatePerIP, l.RatePerIP)
	set(&d.Recipients, l.Recipients)
	set(&d.UnknownRcpts, l.UnknownRcpts)
	set(&d.Hops, l.Hops)
	set(&d.Errors, l.Errors)
	size(&d.MessageSize, l.MessageSize)
	size(&d.MinRate, l.MinRate)
	size(&d.Memory, l.Memory)
	span(&d.Command, l.Command)
	span(&d.Stall, l.Stall)
	span(&d.Session, l.Session)
	span(&d.Decide, l.Decide)
	return d
}

// door is what is special about the address that is listened on.
func (t *TLSConfig) door(address string) gateway.Door {
	implicit := slices.Contains(t.ImplicitOn, address)
	return gateway.Door{RequireTLS: implicit || slices.Contains(t.RequireOn, address), ImplicitTLS: implicit}
}

// listen opens the configured addresses.
func listen(addrs []string) ([]net.Listener, error) {
	var ls []net.Listener
	for _, a := range addrs {
		l, err := net.Listen("tcp", a)
		if err != nil {
			closeAll(ls)
			return nil, fmt.Errorf("%w (is another mail server running there? ports below 1024 need CAP_NET_BIND_SERVICE)", err)
		}
		ls = append(ls, l)
	}
	return ls, nil
}

func closeAll(ls []net.Listener) {
	for _, l := range ls {
		l.Close()
	}
}
