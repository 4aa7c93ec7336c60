package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"postern/gateway"
	"postern/mail"
	"postern/rules"
)

// validate checks what the decoder cannot; all problems at once.
func (c *Config) validate() error {
	p := &problems{c: c}
	p.names()
	c.Upstream.validate(p, "$.upstream")
	p.routes()
	p.limits()
	p.words()
	p.tls()
	p.breaker()
	p.greylist()
	p.neighbours()
	p.web()
	p.digest()
	return errors.Join(p.errs...)
}

// problems collects what is wrong with a configuration.
type problems struct {
	c    *Config
	errs []error
}

func (p *problems) bad(path, format string, args ...any) {
	p.errs = append(p.errs, p.c.at(path, format, args...))
}

func (p *problems) oneOf(path, value string, words ...string) {
	if !slices.Contains(words, value) {
		p.bad(path, "%q is none of: %s", value, strings.Join(words, ", "))
	}
}

// names checks who we are, for whom mail is taken, and where.
func (p *problems) names() {
	c := p.c
	if len(c.Domains) == 0 {
		p.bad("$.domains", "no domain: say for which domains mail is taken (domains: [example.org], or --domain example.org); without them this would be an open relay")
	} else if _, err := mail.NewDomainSet(c.Domains); err != nil {
		p.bad("$.domains", "%v", err)
	}
	for i, d := range c.Domains {
		if name, sub := strings.CutPrefix(d, "."); sub && registry(name) {
			p.bad(fmt.Sprintf("$.domains[%d]", i), "everybody can register a domain below %s: mail would be taken for strangers", name)
		}
	}
	if host, err := mail.ParseDomain(c.Hostname); err != nil || host[0] == '[' {
		p.bad("$.hostname", "%q is no host name: it goes into the greeting and into headers", c.Hostname)
	} else {
		c.Hostname = host // as it is said in SMTP
	}
	if c.Data == "" {
		p.bad("$.data", "no data folder")
	}
	if len(c.Listen) == 0 {
		p.bad("$.listen", "no address to take mail on: the usual one is \":25\"")
	}
	for i, l := range c.Listen {
		if !isHostPort(l) {
			p.bad(fmt.Sprintf("$.listen[%d]", i), "%q is no HOST:PORT", l)
		}
	}
	if c.Admin != "" && !isHostPort(c.Admin) {
		p.bad("$.admin", "%q is no HOST:PORT", c.Admin)
	}
}

// registry reports whether a domain is one that sells names below it.
func registry(name string) bool {
	d, err := mail.ParseDomain(name)
	if err != nil {
		return false
	}
	suffix, icann := publicsuffix.PublicSuffix(d)
	return suffix == d && icann
}

// routes also gives them the defaults of upstream.
func (p *problems) routes() {
	ours, _ := mail.NewDomainSet(p.c.Domains) // what is wrong with them was said
	for i := range p.c.Routes {
		r, path := &p.c.Routes[i], fmt.Sprintf("$.routes[%d]", i)
		p.routeName(i, path)
		if len(r.Domains) == 0 && r.Name == "" {
			p.bad(path, "a route without domains needs a name, for rules to send mail there: route(\"NAME\")")
		} else if _, err := mail.NewDomainSet(r.Domains); err != nil {
			p.bad(path+".domains", "%v", err)
		}
		for j, d := range r.Domains {
			if name, err := mail.ParseDomain(strings.TrimPrefix(d, ".")); err == nil && !ours.Contains(name) && !slices.Contains(p.c.Domains, d) {
				p.bad(fmt.Sprintf("%s.domains[%d]", path, j), "%s is not in domains: no mail is taken for it", d)
			}
		}
		if r.TLS == "" {
			r.TLS = "opportunistic"
		}
		if r.MaxIdle == 0 {
			r.MaxIdle = defaultMaxIdle
		}
		r.UpstreamConfig.validate(p, path)
	}
}

// routeName checks the name of a route, by which rules call it.
func (p *problems) routeName(i int, path string) {
	name := p.c.Routes[i].Name
	if name == "" {
		return
	}
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || len(name) > 64 {
		p.bad(path+".name", "%q is no name: up to 64 of a-z 0-9 -", name)
	}
	if name == gateway.DefaultGroup {
		p.bad(path+".name", "%q is what rules call upstream", name)
	}
	for j := range i {
		if p.c.Routes[j].Name == name {
			p.bad(path+".name", "there is a route %q already", name)
		}
	}
}

// limits refuses what no limit can be. Zero stands for the default.
func (p *problems) limits() {
	l := &p.c.Limits
	for _, x := range []struct {
		name string
		n    int
	}{{"connections", l.Connections}, {"connections_per_address", l.ConnectionsPerIP}, {"rate_per_address", l.RatePerIP},
		{"recipients", l.Recipients}, {"unknown_recipients", l.UnknownRcpts}, {"hops", l.Hops}, {"errors", l.Errors}} {
		if x.n < 0 {
			p.bad("$.limits."+x.name, "%d is no limit", x.n)
		}
	}
	for _, x := range []struct {
		name string
		conf KeepConf
	}{{"quarantine", p.c.Quarantine}, {"journal", p.c.Journal}} {
		if x.conf.Keep <= 0 {
			p.bad("$."+x.name+".keep", "nothing would be kept: say for how long, such as 30d")
		}
	}
}

// words checks the settings that are one of a few words.
func (p *problems) words() {
	c := p.c
	p.oneOf("$.tls.min_version", c.TLS.MinVersion, "1.0", "1.2", "1.3")
	p.oneOf("$.recipients", c.Recipients, "together", "split")
	p.oneOf("$.resends", c.Resends, "answer", "relay")
	p.oneOf("$.store_down", c.StoreDown, "relay_clean", "defer_all")
	p.oneOf("$.bare_newline", c.BareNewline, "reject", "normalize")
	p.oneOf("$.log.format", c.Log.Format, "text", "json")
	p.oneOf("$.log.level", c.Log.Level, "debug", "info", "warn", "error")
	p.oneOf("$.clamav.on_failure", c.ClamAV.OnFailure, "defer", "quarantine", "accept")
}

// greylist checks how long strangers wait.
func (p *problems) greylist() {
	g := &p.c.Greylist
	if g.Delay < Duration(time.Second) || g.Delay > Duration(24*time.Hour) {
		p.bad("$.greylist.delay", "say from 1s to 24h: senders come back within minutes or hours, and give up after days")
	}
	if g.Keep < Duration(24*time.Hour) {
		p.bad("$.greylist.keep", "too short: who writes once a week would wait each time; say 1d or more")
	}
}

// breaker checks when a rule decides too much.
func (p *problems) breaker() {
	b := &p.c.Breaker
	switch {
	case b.Factor < 2 || b.Factor > 1e6:
		p.bad("$.breaker.factor", "%v is no factor: how many times the usual is too much, 2 or more", b.Factor)
	case b.Least < 1:
		p.bad("$.breaker.least", "%d messages are no limit", b.Least)
	case b.Window < Duration(time.Second):
		p.bad("$.breaker.window", "too short to count messages in")
	}
	for i, c := range b.Classes {
		p.oneOf(fmt.Sprintf("$.breaker.classes[%d]", i), c, rules.Classes()...)
	}
}

// neighbours checks the addresses of others: clamd, DNS, proxies, relays.
func (p *problems) neighbours() {
	c := p.c
	for i, a := range c.ClamAV.Addresses {
		if err := checkClamd(a); err != nil {
			p.bad(fmt.Sprintf("$.clamav.addresses[%d]", i), "%v", err)
		}
	}
	for i, s := range c.DNS.Servers {
		if _, err := netip.ParseAddrPort(dnsAddress(s)); err != nil {
			p.bad(fmt.Sprintf("$.dns.servers[%d]", i), "%q is no ADDRESS or ADDRESS:PORT", s)
		}
	}
	for _, x := range []struct {
		path string
		list []string
	}{{"$.proxies", c.Proxies}, {"$.xclients", c.XClients}} {
		peers, err := prefixes(x.list)
		if err != nil {
			p.bad(x.path, "%v", err)
		}
		for _, n := range peers {
			if n.Bits() == 0 {
				p.bad(x.path, "%v is everybody: who connects could claim any address", n)
			}
		}
	}
	trusted, err := prefixes(c.TrustedRelays)
	if err != nil {
		p.bad("$.trusted_relays", "%v", err)
	}
	for _, n := range trusted { // S-43: never a whole provider
		if wide := n.Addr().Is4() && n.Bits() < 16 || n.Addr().Is6() && n.Bits() < 32; wide {
			p.bad("$.trusted_relays", "%v is too wide for relays of your own: name their addresses", n)
		}
	}
}

// doubtfulName says what is odd about our own name; "" when nothing is.
func (c *Config) doubtfulName() string {
	if strings.Contains(c.Hostname, ".") {
		return ""
	}
	return fmt.Sprintf("our name is %q, which is no full one: set hostname to the name in your MX record (hostname: mx.example.org); greeting and headers show it", c.Hostname)
}

func (u *UpstreamConfig) validate(p *problems, path string) {
	if len(u.Servers) == 0 {
		p.bad(path, "no internal server: say where clean mail goes (upstream: {servers: [\"10.0.0.2:25\"]}, or --upstream HOST:PORT)")
	}
	for i, s := range u.Servers {
		if host, _, _ := net.SplitHostPort(s); host == "" || !isHostPort(s) {
			p.bad(fmt.Sprintf("%s.servers[%d]", path, i), "%q is no HOST:PORT", s)
		}
	}
	p.oneOf(path+".tls", u.TLS, "require", "opportunistic", "none")
	if u.XForward {
		if u.Forward != "" && u.Forward != "xforward" {
			p.bad(path+".xforward", "forward says %s already: leave xforward out", u.Forward)
		}
		u.Forward = "xforward"
	}
	if u.Forward != "" {
		p.oneOf(path+".forward", u.Forward, "none", "xforward", "xclient", "proxy")
	}
	if u.MaxIdle < 1 {
		p.bad(path+".max_idle", "%d is no number of connections", u.MaxIdle)
	}
}

// isHostPort reports whether s is an address that can be listened on or connected to.
func isHostPort(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil || port == "" {
		return false
	}
	_, err = net.LookupPort("tcp", port)
	return err == nil
}

func checkClamd(a string) error {
	switch network, rest, _ := strings.Cut(a, ":"); network {
	case "unix":
		if rest != "" {
			return nil
		}
	case "tcp":
		if _, _, err := net.SplitHostPort(rest); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%q is neither unix:PATH nor tcp:HOST:PORT", a)
}

// prefixes reads addresses and networks.
func prefixes(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("%q is no address or network", s)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// dnsAddress adds port 53 where none is given.
func dnsAddress(s string) string {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a, 53).String()
	}
	return s
}
