package main

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"postern/mail"
)

// tls checks the settings of TLS towards clients.
func (p *problems) tls() {
	t := &p.c.TLS
	if (t.Certificate == "") != (t.Key == "") {
		p.bad("$.tls", "certificate and key belong together")
	}
	for i, c := range t.Certificates {
		if c.Certificate == "" || c.Key == "" {
			p.bad(fmt.Sprintf("$.tls.certificates[%d]", i), "certificate and key belong together")
		}
	}
	for _, x := range []struct {
		name string
		list []string
	}{{"require_on", t.RequireOn}, {"implicit_on", t.ImplicitOn}} {
		for i, a := range x.list {
			if !slices.Contains(p.c.Listen, a) {
				p.bad(fmt.Sprintf("$.tls.%s[%d]", x.name, i), "%q is not one of listen: %s", a, strings.Join(p.c.Listen, ", "))
			}
		}
	}
	if t.Off && (t.Require || len(t.RequireOn)+len(t.ImplicitOn)+len(t.ACME.Domains) > 0) {
		p.bad("$.tls.off", "TLS is off, and asked for by the other settings of tls")
	}
	if len(t.ACME.Domains) > 0 {
		p.acme(&t.ACME)
	}
}

func (p *problems) acme(c *ACMEConf) {
	for i, d := range c.Domains {
		if name, err := mail.ParseDomain(d); err != nil || name[0] == '[' {
			p.bad(fmt.Sprintf("$.tls.acme.domains[%d]", i), "%q is no host name", d)
		}
	}
	if u, err := url.Parse(c.Directory); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		p.bad("$.tls.acme.directory", "%q is no URL of an ACME directory", c.Directory)
	}
	hosts := map[string]bool{}
	for _, x := range []struct{ name, address string }{{"http", c.HTTP}, {"tls_alpn", c.TLSALPN}} {
		if x.address == "" {
			continue
		}
		if !isHostPort(x.address) {
			p.bad("$.tls.acme."+x.name, "%q is no HOST:PORT", x.address)
		}
		host, _, _ := net.SplitHostPort(x.address)
		hosts[host] = true
	}
	switch len(hosts) {
	case 0:
		p.bad("$.tls.acme", "no way is left for the authority to look: http (\":80\") or tls_alpn (\":443\")")
	case 2:
		p.bad("$.tls.acme.tls_alpn", "http and tls_alpn have to listen on the same host")
	}
}
