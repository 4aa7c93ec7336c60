package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

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
	XClients      []string   `yaml:"xclients"`
	TrustedRelays []string   `yaml:"trusted_relays"`
	GreetDelay    Duration   `yaml:"greet_delay"`
	Recipients    string     `yaml:"recipients"`
	Resends       string     `yaml:"resends"`
	StoreDown     string     `yaml:"store_down"`
	Chunking      bool       `yaml:"chunking"`
	BareNewline   string     `yaml:"bare_newline"`
	AllowNUL      bool       `yaml:"allow_nul"`
	StripResults  bool       `yaml:"strip_authentication_results"`
	Limits        LimitsConf `yaml:"limits"`

	DNS    DNSConf    `yaml:"dns"`
	DMARC  DMARCConf  `yaml:"dmarc"`
	ClamAV ClamAVConf `yaml:"clamav"`

	Breaker  BreakerConf  `yaml:"breaker"`
	Greylist GreylistConf `yaml:"greylist"`

	Quarantine KeepConf `yaml:"quarantine"`
	Journal    KeepConf `yaml:"journal"`

	Digest DigestConf `yaml:"digest"`

	Web   WebConf  `yaml:"web"`
	Admin string   `yaml:"admin"`
	Log   LogConf  `yaml:"log"`
	Grace Duration `yaml:"grace"`

	webFlag    bool // --web was given
	forceRules bool // rules whose tests fail are taken all the same

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
	Forward   string   `yaml:"forward"`
	XForward  bool     `yaml:"xforward"` // what forward: xforward was called
	Chunking  *bool    `yaml:"chunking"`
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

// RouteConfig is another internal server, for some domains or for rules that name it.
type RouteConfig struct {
	Name           string   `yaml:"name"`
	Domains        []string `yaml:"domains"`
	UpstreamConfig `yaml:",inline"`
}

// TLSConfig is TLS towards clients.
type TLSConfig struct {
	Certificate  string     `yaml:"certificate"`
	Key          string     `yaml:"key"`
	Certificates []CertConf `yaml:"certificates"`
	ACME         ACMEConf   `yaml:"acme"`
	Require      bool       `yaml:"require"`
	RequireOn    []string   `yaml:"require_on"`
	ImplicitOn   []string   `yaml:"implicit_on"`
	MinVersion   string     `yaml:"min_version"`
	Off          bool       `yaml:"off"`
}

// CertConf is one more certificate, for other names.
type CertConf struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// ACMEConf is where certificates are fetched from.
type ACMEConf struct {
	Domains   []string `yaml:"domains"`
	Email     string   `yaml:"email"`
	Directory string   `yaml:"directory"`
	CA        string   `yaml:"ca"`
	HTTP      string   `yaml:"http"`
	TLSALPN   string   `yaml:"tls_alpn"`
}

// LimitsConf bounds what clients may take; see gateway.Limits.
type LimitsConf struct {
	Connections      int      `yaml:"connections"`
	ConnectionsPerIP int      `yaml:"connections_per_address"`
	RatePerIP        int      `yaml:"rate_per_address"`
	MessageSize      Size     `yaml:"message_size"`
	Recipients       int      `yaml:"recipients"`
	UnknownRcpts     int      `yaml:"unknown_recipients"`
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

// GreylistConf says how long strangers wait, where a rule asks; see package greylist.
type GreylistConf struct {
	Delay Duration `yaml:"delay"`
	Keep  Duration `yaml:"keep"`
}

// BreakerConf says when a rule decides far more than it used to; see package breaker.
type BreakerConf struct {
	Off     bool     `yaml:"off"`
	Factor  float64  `yaml:"factor"`
	Least   int      `yaml:"least"`
	Window  Duration `yaml:"window"`
	Classes []string `yaml:"classes"`
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

const defaultMaxIdle = 10

func defaultConfig() *Config {
	host, _ := os.Hostname()
	return &Config{
		Hostname: host, Listen: []string{":25"}, Data: "/var/lib/postern",
		Upstream: UpstreamConfig{TLS: "opportunistic", MaxIdle: defaultMaxIdle},
		TLS:      TLSConfig{MinVersion: "1.2", ACME: ACMEConf{Directory: "https://acme-v02.api.letsencrypt.org/directory", HTTP: ":80"}}, Recipients: "together", Resends: "answer", StoreDown: "relay_clean", BareNewline: "reject",
		ClamAV:     ClamAVConf{OnFailure: "defer"},
		Greylist:   GreylistConf{Delay: Duration(4 * time.Minute), Keep: Duration(36 * 24 * time.Hour)},
		Breaker:    BreakerConf{Factor: 10, Least: 50, Window: Duration(10 * time.Minute), Classes: []string{"spam", "policy"}},
		Quarantine: KeepConf{Keep: Duration(30 * 24 * time.Hour), MaxSize: 10 << 30},
		Journal:    KeepConf{Keep: Duration(90 * 24 * time.Hour)},
		Digest:     defaultDigest(),
		Web:        defaultWeb(),
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
	if err := decode(d, c); err != nil && !errors.Is(err, io.EOF) {
		return c.yamlError(err)
	}
	if c.text == nil { // a file without settings is all defaults; the decoder has emptied c
		*c = before
	}
	var more any
	if err := decode(d, &more); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: a second document: everything has to stand in one", file)
	}
	dir := filepath.Dir(file)
	paths := []*string{&c.Data, &c.Rules, &c.TLS.Certificate, &c.TLS.Key, &c.TLS.ACME.CA, &c.Upstream.TLSCA, &c.Web.Certificate, &c.Web.Key, &c.Web.OIDC.SecretFile}
	for i := range c.Routes {
		paths = append(paths, &c.Routes[i].TLSCA)
	}
	for i := range c.TLS.Certificates {
		paths = append(paths, &c.TLS.Certificates[i].Certificate, &c.TLS.Certificates[i].Key)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	return nil
}

// decode reads the next document. The decoder is not trusted to be free of panics.
func decode(d *yaml.Decoder, into any) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errors.New("the YAML reader gave up on this file; take out tags (!…) and empty values: no setting needs them")
		}
	}()
	return d.Decode(into)
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
