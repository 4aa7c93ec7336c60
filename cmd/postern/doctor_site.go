package main

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/doctor"
	"postern/filters"
	"postern/gateway"
	"postern/mail"
	"postern/store"
)

// checks makes what is to be looked at from the configuration. Call end after they have run.
func (c *doctorCmd) checks(cfg *Config) (list []doctor.Check, end func(), err error) {
	end = func() {}
	servers, err := doctorServers(cfg)
	if err != nil {
		return nil, end, err
	}
	if c.Outside {
		for _, s := range servers {
			list = append(list, s.Outside())
		}
		return list, end, nil
	}
	var probe mail.Address
	if c.Probe != "" {
		if probe, err = c.probeAddress(cfg); err != nil {
			return nil, end, err
		}
	}
	resolver, err := newResolver(cfg)
	if err != nil {
		return nil, end, err
	}
	end = func() { resolver.Close() }
	var addresses []string
	for _, s := range servers {
		list = append(list, s.Check(), s.Reach(resolver))
		addresses = append(addresses, s.Address)
		if c.Probe != "" && slices.Contains(s.Domains, probe.Domain) {
			p := &doctor.Probe{Server: s, Address: probe.String(), Patience: 3 * time.Second}
			list = append(list, p.Check())
		}
	}
	local := localAddresses()
	for _, domain := range exactDomains(cfg.Domains) {
		b := &doctor.Bypass{Domain: domain, Hostname: cfg.Hostname, Local: local, Servers: addresses, Resolver: resolver}
		list = append(list, b.Check())
	}
	list = append(list, (&doctor.Name{Hostname: cfg.Hostname, Resolver: resolver}).Check(), doctor.DNS(resolver.Examine))
	return append(list, cfg.doctorOfThisHost()...), end, nil
}

// doctorOfThisHost is what needs no other host.
func (c *Config) doctorOfThisHost() (list []doctor.Check) {
	limits := c.Limits.over(gateway.DefaultLimits())
	for _, addr := range c.ClamAV.Addresses {
		list = append(list, (&doctor.Clamd{Address: addr, Max: limits.MessageSize, OnFailure: c.ClamAV.OnFailure, Ask: filters.ClamAVConfig{}.Check}).Check())
	}
	if len(c.ClamAV.Addresses) == 0 {
		list = append(list, doctor.NoScanner())
	}
	proxies, _ := prefixes(c.Proxies) // validated
	relays, _ := prefixes(c.TrustedRelays)
	loop := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for _, l := range c.Listen {
		list = append(list, (&doctor.Listener{Address: l, Hostname: c.Hostname, TLS: !c.TLS.Off, Running: store.Running(c.Data), Implicit: slices.Contains(c.TLS.ImplicitOn, l),
			Proxied: slices.ContainsFunc(proxies, func(n netip.Prefix) bool { return n.Contains(loop) })}).Check())
	}
	for _, cert := range c.certificateFiles() {
		list = append(list, cert.Check())
	}
	disk := &doctor.Disk{Data: c.Data, Message: limits.MessageSize, Quarantine: int64(c.Quarantine.MaxSize)}
	for _, file := range []string{c.file, c.Rules} {
		if file != "" {
			disk.Watched = append(disk.Watched, file)
		}
	}
	list = append(list, disk.Checks()...)
	return append(list, doctor.Relays("proxies", proxies), doctor.Relays("trusted_relays", relays), doctor.Clock())
}

// certificateFiles are those that are configured, and the self-signed one once it is there.
func (c *Config) certificateFiles() (out []doctor.Certificate) {
	own := filepath.Join(c.Data, "self-signed.pem")
	_, err := os.Stat(own)
	switch {
	case c.TLS.Off:
	case c.TLS.Certificate != "":
		out = append(out, doctor.Certificate{Use: "port 25", Cert: c.TLS.Certificate, Key: c.TLS.Key, Name: c.Hostname})
	case err == nil && len(c.TLS.Certificates)+len(c.TLS.ACME.Domains) == 0:
		out = append(out, doctor.Certificate{Use: "port 25", Cert: own, Key: filepath.Join(c.Data, "self-signed.key"), Name: c.Hostname})
	}
	for _, more := range c.TLS.Certificates {
		out = append(out, doctor.Certificate{Use: more.Certificate, Cert: more.Certificate, Key: more.Key})
	}
	if u, err := url.Parse(c.Web.Origin); err == nil && c.Web.Listen != "" && c.Web.Certificate != "" {
		out = append(out, doctor.Certificate{Use: "pages", Cert: c.Web.Certificate, Key: c.Web.Key, Name: u.Hostname(), Public: true})
	}
	return out
}

// doctorServers are all internal servers, each with the domains that it gets mail for.
func doctorServers(cfg *Config) ([]*doctor.Server, error) {
	ours := listeningOn(cfg.Listen)
	var out []*doctor.Server
	group := func(u *UpstreamConfig, domains []string) error {
		var roots *x509.CertPool
		if u.TLSCA != "" {
			pem, err := os.ReadFile(u.TLSCA)
			if err != nil {
				return fmt.Errorf("tls_ca: %w", err)
			}
			roots = x509.NewCertPool()
			roots.AppendCertsFromPEM(pem)
		}
		for _, addr := range u.Servers {
			out = append(out, &doctor.Server{Address: addr, Domains: domains, Helo: cfg.Hostname, TLS: u.TLS, TLSName: u.TLSName, Roots: roots,
				Verify: u.TLSVerify == nil || *u.TLSVerify, Ours: ours, Max: cfg.Limits.over(gateway.DefaultLimits()).MessageSize, Proxied: u.Forward == string(gateway.ForwardProxy)})
		}
		return nil
	}
	rest := exactDomains(cfg.Domains)
	for i := range cfg.Routes {
		own := exactDomains(cfg.Routes[i].Domains)
		rest = slices.DeleteFunc(rest, func(d string) bool { return slices.Contains(own, d) })
		if err := group(&cfg.Routes[i].UpstreamConfig, own); err != nil {
			return nil, err
		}
	}
	return out, group(&cfg.Upstream, rest)
}

// exactDomains leaves out what stands for any number of subdomains.
func exactDomains(domains []string) (out []string) {
	for _, d := range domains {
		if name, err := mail.ParseDomain(d); err == nil && !strings.HasPrefix(d, ".") {
			out = append(out, name)
		}
	}
	return out
}

// localAddresses are those of this host.
func localAddresses() (out []netip.Addr) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap().WithZone(""))
		}
	}
	return out
}

// listeningOn is every address that a list of listeners stands for.
func listeningOn(listen []string) (out []netip.AddrPort) {
	for _, l := range listen {
		a, err := net.ResolveTCPAddr("tcp", l)
		if err != nil || a.Port == 0 {
			continue
		}
		at := a.AddrPort()
		if a.IP != nil && !a.IP.IsUnspecified() {
			out = append(out, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
			continue
		}
		for _, ip := range localAddresses() {
			out = append(out, netip.AddrPortFrom(ip, at.Port()))
		}
	}
	return out
}
