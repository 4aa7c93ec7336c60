package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"postern/rules"
)

// WebConf is the pages and the API.
type WebConf struct {
	Listen      string            `yaml:"listen"`
	Origin      string            `yaml:"origin"`
	Certificate string            `yaml:"certificate"`
	Key         string            `yaml:"key"`
	Insecure    bool              `yaml:"insecure"`
	Proxies     []string          `yaml:"proxies"`
	AdminTOTP   string            `yaml:"admin_totp"`
	MailSignIn  bool              `yaml:"mail_sign_in"`
	Subaddress  bool              `yaml:"subaddress"`
	Rights      map[string]string `yaml:"rights"`
	ReasonFor   []string          `yaml:"reason_for"`
	OIDC        OIDCConf          `yaml:"oidc"`
}

// OIDCConf is signing in by another's accounts (OpenID Connect).
type OIDCConf struct {
	Issuer     string            `yaml:"issuer"`
	ClientID   string            `yaml:"client_id"`
	SecretFile string            `yaml:"secret_file"`
	LinkStaff  bool              `yaml:"link_staff"`
	Create     bool              `yaml:"create"`
	GroupClaim string            `yaml:"group_claim"`
	Roles      map[string]string `yaml:"roles"`
}

// defaultWeb is what holds when nothing is said.
func defaultWeb() WebConf {
	return WebConf{Listen: "127.0.0.1:8025", AdminTOTP: "required", OIDC: OIDCConf{GroupClaim: "groups"}}
}

// reasonVerbs are what a reason can be wanted for.
func reasonVerbs() []string {
	return []string{"release", "delete", "spam", "approve", "deny"}
}

// webGiven reports whether somebody said where the pages are.
func (c *Config) webGiven() bool {
	if c.webFlag || len(c.text) == 0 {
		return c.webFlag
	}
	p, err := yaml.PathString("$.web.listen")
	if err != nil {
		return true
	}
	n, err := p.ReadNode(strings.NewReader(string(c.text)))
	return err == nil && n != nil
}

// loopback reports whether an address to listen on is reached from this machine alone.
func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// web checks the pages' settings, and gives them the certificate of the gateway where they have none.
func (p *problems) web() {
	w := &p.c.Web
	if w.Listen == "" {
		return
	}
	if !isHostPort(w.Listen) {
		p.bad("$.web.listen", "%q is no HOST:PORT", w.Listen)
	}
	if (w.Certificate == "") != (w.Key == "") {
		p.bad("$.web", "certificate and key belong together")
	}
	open := isHostPort(w.Listen) && !loopback(w.Listen)
	if w.Certificate == "" && open && !w.Insecure {
		w.Certificate, w.Key = p.c.TLS.Certificate, p.c.TLS.Key
	}
	if w.Certificate == "" && open && !w.Insecure {
		p.bad("$.web.listen", "%s is reached from other machines, and passwords would go there in clear: give web.certificate and web.key, "+
			"or listen on 127.0.0.1 behind a proxy that has TLS (web.insecure: true takes the risk)", w.Listen)
	}
	p.origin()
	if nets, err := prefixes(w.Proxies); err != nil {
		p.bad("$.web.proxies", "%v", err)
	} else if slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Bits() == 0 }) {
		p.bad("$.web.proxies", "that is everybody: who connects could claim any address")
	}
	p.oneOf("$.web.admin_totp", w.AdminTOTP, "required", "optional")
	for i, v := range w.ReasonFor {
		p.oneOf(fmt.Sprintf("$.web.reason_for[%d]", i), v, reasonVerbs()...)
	}
	for class, right := range w.Rights {
		if classes := append(rules.Classes(), "undelivered"); !slices.Contains(classes, class) {
			p.bad("$.web.rights."+class, "%q is no class: one of %s", class, strings.Join(classes, ", "))
		}
		p.oneOf("$.web.rights."+class, right, "none", "see", "ask", "release")
	}
	p.oidc()
}

// origin checks the address under which browsers see the pages; without one they are where they listen.
func (p *problems) origin() {
	w := &p.c.Web
	if w.Origin == "" {
		scheme := "http"
		if w.Certificate != "" {
			scheme = "https"
		}
		host := w.Listen
		if h, port, err := net.SplitHostPort(w.Listen); err == nil && !loopback(w.Listen) {
			if a, err := netip.ParseAddr(h); h == "" || err == nil && a.IsUnspecified() {
				host = net.JoinHostPort(p.c.Hostname, port)
			}
		}
		w.Origin = scheme + "://" + host
		return
	}
	u, err := url.Parse(w.Origin)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		p.bad("$.web.origin", "%q is no origin: it is like https://quarantine.example.org, without a path", w.Origin)
		return
	}
	if host := u.Hostname(); u.Scheme == "http" && !w.Insecure && !loopback(net.JoinHostPort(host, "80")) {
		p.bad("$.web.origin", "passwords would go to %s in clear: say https (web.insecure: true takes the risk)", host)
	}
	w.Origin = u.Scheme + "://" + strings.ToLower(u.Host)
}

// oidc checks how to sign in by another's accounts.
func (p *problems) oidc() {
	o := &p.c.Web.OIDC
	if o.Issuer == "" {
		return
	}
	if u, err := url.Parse(o.Issuer); err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(net.JoinHostPort(u.Hostname(), "80"))) {
		p.bad("$.web.oidc.issuer", "%q is no https address", o.Issuer)
	}
	if o.ClientID == "" {
		p.bad("$.web.oidc.client_id", "the issuer knows us by a name: give it")
	}
	for group, role := range o.Roles {
		p.oneOf("$.web.oidc.roles."+group, role, "admin", "operator", "auditor", "user")
	}
}
