package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/mail"

	"github.com/goccy/go-yaml"
)

// Config is the configuration file: every setting with its default in defaultConfig and its
// explanation in postern.example.yaml.
type Config struct {
	Hostname string   `yaml:"hostname"`
	Listen   []string `yaml:"listen"`
	Domains  []string `yaml:"domains"`
	Data     string   `yaml:"data"`
	Rules    string   `yaml:"rules"`

	Upstream UpstreamConfig `yaml:"upstream"`
	Routes   []RouteConfig  `yaml:"routes"`

	TLS           TLSConfig  `yaml:"tls"`
	Proxies       []string   `yaml:"proxies"`
	TrustedRelays []string   `yaml:"trusted_relays"`
	GreetDelay    Duration   `yaml:"greet_delay"`
	Recipients    string     `yaml:"recipients"`
	BareNewline   string     `yaml:"bare_newline"`
	AllowNUL      bool       `yaml:"allow_nul"`
	StripResults  bool       `yaml:"strip_authentication_results"`
	Limits        LimitsConf `yaml:"limits"`

	DNS    DNSConf    `yaml:"dns"`
	DMARC  DMARCConf  `yaml:"dmarc"`
	ClamAV ClamAVConf `yaml:"clamav"`

	Quarantine KeepConf `yaml:"quarantine"`
	Journal    KeepConf `yaml:"journal"`

	Admin string   `yaml:"admin"`
	Log   LogConf  `yaml:"log"`
	Grace Duration `yaml:"grace"`

	file string // where it was read from; "" for flags alone
	text []byte
}

// UpstreamConfig is one group of internal servers, tried in order.
type UpstreamConfig struct {
	Servers   []string `yaml:"servers"`
	TLS       string   `yaml:"tls"`
	TLSName   string   `yaml:"tls_name"`
	TLSCA     string   `yaml:"tls_ca"`
	TLSVerify *bool    `yaml:"tls_verify"`
	XForward  bool     `yaml:"xforward"`
	MaxIdle   int      `yaml:"max_idle"`
	Timeouts  WaitConf `yaml:"timeouts"`
}

// WaitConf bounds each wait for an internal server; see gateway.ServerTimeouts.
type WaitConf struct {
	Connect Duration `yaml:"connect"`
	Reply   Duration `yaml:"reply"`
	Write   Duration `yaml:"write"`
	Final   Duration `yaml:"final"`
}

// RouteConfig sends some domains to other internal servers.
type RouteConfig struct {
	Domains        []string `yaml:"domains"`
	UpstreamConfig `yaml:",inline"`
}

// TLSConfig is STARTTLS towards clients.
type TLSConfig struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	Require     bool   `yaml:"require"`
	MinVersion  string `yaml:"min_version"`
	Off         bool   `yaml:"off"`
}

// LimitsConf bounds what clients may take; see gateway.Limits.
type LimitsConf struct {
	Connections      int      `yaml:"connections"`
	ConnectionsPerIP int      `yaml:"connections_per_address"`
	RatePerIP        int      `yaml:"rate_per_address"`
	MessageSize      Size     `yaml:"message_size"`
	Recipients       int      `yaml:"recipients"`
	Hops             int      `yaml:"hops"`
	Errors           int      `yaml:"errors"`
	Command          Duration `yaml:"command"`
	Stall            Duration `yaml:"stall"`
	MinRate          Size     `yaml:"min_rate"`
	Session          Duration `yaml:"session"`
	Decide           Duration `yaml:"decide"`
	Memory           Size     `yaml:"memory"`
}

// DNSConf names the resolvers.
type DNSConf struct {
	Servers []string `yaml:"servers"`
	Timeout Duration `yaml:"timeout"`
}

// DMARCConf chooses how organizational domains are found.
type DMARCConf struct {
	PSL bool `yaml:"public_suffix_list"`
}

// ClamAVConf names the clamds.
type ClamAVConf struct {
	Addresses  []string `yaml:"addresses"`
	Timeout    Duration `yaml:"timeout"`
	MaxSize    Size     `yaml:"max_size"`
	Concurrent int      `yaml:"concurrent"`
	OnFailure  string   `yaml:"on_failure"`
}

// KeepConf says how long and how much is kept.
type KeepConf struct {
	Keep    Duration `yaml:"keep"`
	MaxSize Size     `yaml:"max_size"`
}

// LogConf is the log on stderr.
type LogConf struct {
	Format string `yaml:"format"`
	Level  string `yaml:"level"`
}

func defaultConfig() *Config {
	host, _ := os.Hostname()
	return &Config{
		Hostname: host, Listen: []string{":25"}, Data: "/var/lib/postern",
		Upstream: UpstreamConfig{TLS: "opportunistic", MaxIdle: 10},
		TLS:      TLSConfig{MinVersion: "1.2"}, Recipients: "together", BareNewline: "reject",
		ClamAV:     ClamAVConf{OnFailure: "defer"},
		Quarantine: KeepConf{Keep: Duration(30 * 24 * time.Hour), MaxSize: 10 << 30},
		Journal:    KeepConf{Keep: Duration(90 * 24 * time.Hour)},
		Admin:      "127.0.0.1:8026", Log: LogConf{Format: "text", Level: "info"}, Grace: Duration(time.Minute),
	}
}

// loadConfig reads a file over the defaults. Its error names file, line and column.
func loadConfig(file string) (*Config, error) {
	c := defaultConfig()
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w: name the file with -c, or start from postern.example.yaml", err)
	}
	if err := c.parse(file, text); err != nil {
		return nil, err
	}
	return c, nil
}

// parse reads text over what c holds.
func (c *Config) parse(file string, text []byte) error {
	c.file, c.text = file, text
	before := *c
	d := yaml.NewDecoder(strings.NewReader(string(text)), yaml.Strict())
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return c.yamlError(err)
	}
	if c.text == nil { // a file without settings is all defaults; the decoder has emptied c
		*c = before
	}
	var more any
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: a second document: everything has to stand in one", file)
	}
	dir := filepath.Dir(file)
	paths := []*string{&c.Data, &c.Rules, &c.TLS.Certificate, &c.TLS.Key, &c.Upstream.TLSCA}
	for i := range c.Routes {
		paths = append(paths, &c.Routes[i].TLSCA)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	return nil
}

// yamlError gives a decoder's error its file, and a near miss its hint.
func (c *Config) yamlError(err error) error {
	var ve *valueError
	if errors.As(err, &ve) {
		pos := ve.node.GetToken().Position
		return &configError{file: c.file, line: pos.Line, column: pos.Column, msg: ve.msg, text: c.text}
	}
	var ye yaml.Error
	if !errors.As(err, &ye) || ye.GetToken() == nil {
		return fmt.Errorf("%s: %w", c.file, err)
	}
	t := ye.GetToken()
	msg := plainYAML(ye.GetMessage())
	if name, ok := strings.CutPrefix(msg, `unknown field "`); ok {
		name = strings.TrimSuffix(name, `"`)
		msg = fmt.Sprintf("there is no setting %q", name)
		if near := nearest(name, settingNames()); near != "" {
			msg += fmt.Sprintf("; did you mean %q?", near)
		}
	}
	return &configError{file: c.file, line: t.Position.Line, column: t.Position.Column, msg: msg, text: c.text}
}

// A configError shows where in the file something is wrong.
type configError struct {
	file         string
	line, column int
	msg          string
	text         []byte
}

func (e *configError) Error() string {
	s := fmt.Sprintf("%s:%d:%d: %s", e.file, e.line, e.column, e.msg)
	if lines := strings.Split(string(e.text), "\n"); e.line >= 1 && e.line <= len(lines) {
		s += fmt.Sprintf("\n  %s\n  %s^", lines[e.line-1], strings.Repeat(" ", max(e.column-1, 0)))
	}
	return s
}

// at makes an error for the setting at a YAML path ("$.upstream.servers[0]"); without a file,
// or where the file does not name it, it names the setting itself.
func (c *Config) at(path, format string, args ...any) error {
	msg := fmt.Sprintf(format, args...)
	if p, err := yaml.PathString(path); err == nil && len(c.text) > 0 {
		if n, err := p.ReadNode(strings.NewReader(string(c.text))); err == nil && n.GetToken() != nil {
			pos := n.GetToken().Position
			return &configError{file: c.file, line: pos.Line, column: pos.Column, msg: msg, text: c.text}
		}
	}
	return fmt.Errorf("%s: %s", strings.TrimPrefix(path, "$."), msg)
}

// validate checks what the decoder cannot; all problems at once.
func (c *Config) validate() error {
	var errs []error
	bad := func(path, format string, args ...any) { errs = append(errs, c.at(path, format, args...)) }
	oneOf := func(path, value string, words ...string) {
		for _, w := range words {
			if value == w {
				return
			}
		}
		bad(path, "%q is none of: %s", value, strings.Join(words, ", "))
	}
	if len(c.Domains) == 0 {
		bad("$.domains", "no domain: say for which domains mail is taken (domains: [example.org], or --domain example.org); without them this would be an open relay")
	} else if _, err := mail.NewDomainSet(c.Domains); err != nil {
		bad("$.domains", "%v", err)
	}
	if _, err := mail.ParseDomain(c.Hostname); err != nil {
		bad("$.hostname", "%q is no host name: it goes into the greeting and into headers", c.Hostname)
	}
	if c.Data == "" {
		bad("$.data", "no data folder")
	}
	for i, l := range c.Listen {
		if _, _, err := net.SplitHostPort(l); err != nil {
			bad(fmt.Sprintf("$.listen[%d]", i), "%q is no HOST:PORT", l)
		}
	}
	c.Upstream.validate("$.upstream", bad, oneOf)
	for i := range c.Routes {
		path := fmt.Sprintf("$.routes[%d]", i)
		if len(c.Routes[i].Domains) == 0 {
			bad(path, "a route without domains")
		} else if _, err := mail.NewDomainSet(c.Routes[i].Domains); err != nil {
			bad(path+".domains", "%v", err)
		}
		if c.Routes[i].TLS == "" {
			c.Routes[i].TLS = "opportunistic"
		}
		c.Routes[i].UpstreamConfig.validate(path, bad, oneOf)
	}
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		bad("$.tls", "certificate and key belong together")
	}
	oneOf("$.tls.min_version", c.TLS.MinVersion, "1.0", "1.2", "1.3")
	oneOf("$.recipients", c.Recipients, "together", "split")
	oneOf("$.bare_newline", c.BareNewline, "reject", "normalize")
	oneOf("$.log.format", c.Log.Format, "text", "json")
	oneOf("$.log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf("$.clamav.on_failure", c.ClamAV.OnFailure, "defer", "quarantine", "accept")
	for i, a := range c.ClamAV.Addresses {
		if err := checkClamd(a); err != nil {
			bad(fmt.Sprintf("$.clamav.addresses[%d]", i), "%v", err)
		}
	}
	if _, err := prefixes(c.Proxies); err != nil {
		bad("$.proxies", "%v", err)
	}
	if trusted, err := prefixes(c.TrustedRelays); err != nil {
		bad("$.trusted_relays", "%v", err)
	} else {
		for _, p := range trusted { // S-43: never a whole provider
			if wide := p.Addr().Is4() && p.Bits() < 16 || p.Addr().Is6() && p.Bits() < 32; wide {
				bad("$.trusted_relays", "%v is too wide for relays of your own: name their addresses", p)
			}
		}
	}
	for i, s := range c.DNS.Servers {
		if _, err := netip.ParseAddrPort(dnsAddress(s)); err != nil {
			bad(fmt.Sprintf("$.dns.servers[%d]", i), "%q is no ADDRESS or ADDRESS:PORT", s)
		}
	}
	return errors.Join(errs...)
}

// doubtfulName says what is odd about our own name; "" when nothing is.
func (c *Config) doubtfulName() string {
	if strings.Contains(c.Hostname, ".") {
		return ""
	}
	return fmt.Sprintf("our name is %q, which is no full one: set hostname to the name in your MX record (hostname: mx.example.org); greeting and headers show it", c.Hostname)
}

func (u *UpstreamConfig) validate(path string, bad func(string, string, ...any), oneOf func(string, string, ...string)) {
	if len(u.Servers) == 0 {
		bad(path, "no internal server: say where clean mail goes (upstream: {servers: [\"10.0.0.2:25\"]}, or --upstream HOST:PORT)")
	}
	for i, s := range u.Servers {
		if host, port, err := net.SplitHostPort(s); err != nil || host == "" || port == "" {
			bad(fmt.Sprintf("%s.servers[%d]", path, i), "%q is no HOST:PORT", s)
		}
	}
	oneOf(path+".tls", u.TLS, "require", "opportunistic", "none")
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
