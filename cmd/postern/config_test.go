package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Bad configuration: file, line, column, and what to do.
func TestConfigErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown key", "domains: [a.example]\nlimits:\n  mesage_size: 1\n", `c.yaml:3:3: there is no setting "mesage_size"; did you mean "message_size"?`},
		{"bad duration", "quarantine:\n  keep: 30 days\n", `c.yaml:2:9: "30 days" is no time span`},
		{"bad size", "limits: {message_size: lots}\n", `c.yaml:1:24: "lots" is no size`},
		{"wrong type", "domains: {a: b}\n", "c.yaml:1:"},
		{"no list", "domains: a.example\n", "c.yaml:1:10: this has to be a list"},
		{"no settings", "upstream: a:25\n", "c.yaml:1:11: this has settings of its own"},
		{"no number", "limits: {errors: many}\n", "c.yaml:1:18: this has to be a whole number"},
		{"no truth", "tls:\n  require: 2\n", "c.yaml:2:12: this is true or false"},
		{"a tab", "upstream:\n\ttls: none\n", "c.yaml:2:1: indent with blanks"},
		{"twice", "hostname: a\nhostname: b\n", "c.yaml:2:1"},
		{"not YAML", "a: [b\n", "c.yaml:1:"},
		{"second document", "hostname: a\n---\nhostname: b\n", "a second document"},
		{"no domains", "hostname: a.example\nupstream: {servers: ['a:25']}\n", "open relay"},
		{"bad upstream", "domains: [a.example]\nupstream:\n  servers: ['a:25', mx.example]\n", `c.yaml:3:21: "mx.example" is no HOST:PORT`},
		{"bad tls mode", "domains: [a.example]\nupstream:\n  servers: ['a:25']\n  tls: maybe\n", `c.yaml:4:8: "maybe" is none of: require`},
		{"wide trust", "domains: [a.example]\ntrusted_relays: [40.0.0.0/8]\nupstream: {servers: ['a:25']}\n", "too wide"},
		{"nowhere to listen", "listen: []\n", "c.yaml:1:9: no address to take mail on"},
		{"bad port", "listen: ['127.0.0.1:99999']\n", `c.yaml:1:10: "127.0.0.1:99999" is no HOST:PORT`},
		{"bad admin", "admin: localhost\n", `c.yaml:1:8: "localhost" is no HOST:PORT`},
		{"negative limit", "limits: {hops: -1}\n", "c.yaml:1:16: -1 is no limit"},
		{"kept for no time", "journal: {keep: 0d}\n", "c.yaml:1:17: nothing would be kept"},
		{"breaker at once", "breaker: {factor: 1}\n", "c.yaml:1:19: 1 is no factor"},
		{"breaker of no class", "breaker: {classes: [spam, spma]}\n", `c.yaml:1:27: "spma" is none of: virus`},
		{"breaker of no time", "breaker: {window: 0s}\n", "too short"},
		{"no connections", "upstream: {servers: ['a:25'], max_idle: 0}\n", "0 is no number of connections"},
		{"route of a stranger", "domains: [a.example, .b.example]\nroutes:\n- domains: [x.b.example, .b.example, b.example, c.example]\n  servers: ['a:25']\n",
			"c.yaml:3:49: c.example is not in domains"},
		{"everybody is a proxy", "proxies: ['0.0.0.0/0']\n", "everybody"},
		{"a whole registry", "domains: [a.example, .co.uk]\nupstream: {servers: ['a:25']}\n", "c.yaml:1:22: everybody can register"},
		{"an address for a name", "hostname: '[192.0.2.1]'\ndomains: [a.example]\nupstream: {servers: ['a:25']}\n", "is no host name"},
		{"strangers wait too long", "greylist: {delay: 2d}\n", "c.yaml:1:19: say from 1s to 24h"},
		{"strangers are forgotten", "greylist: {keep: 1h}\n", "c.yaml:1:18: too short"},
		{"bad domain", "domains: [a..example]\nupstream: {servers: ['a:25']}\n", "not a domain: a..example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := defaultConfig()
			c.Hostname = "mx.example"
			err := c.parse("c.yaml", []byte(tt.text))
			if err == nil {
				err = c.validate()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error:\n%v\nwant: %s", err, tt.want)
			}
		})
	}
}

// The name that we call ourselves is said in SMTP, where it has to be ASCII.
func TestConfigHostnameInAnySpelling(t *testing.T) {
	for said, want := range map[string]string{"Mx.Example.ORG": "mx.example.org", "mx.exämple.org": "mx.xn--exmple-cua.org"} {
		c := defaultConfig()
		if err := c.parse("c.yaml", []byte("hostname: "+said+"\ndomains: [.intern, org]\nupstream: {servers: ['a:25']}\n")); err != nil {
			t.Fatal(err)
		}
		if err := c.validate(); err != nil || c.Hostname != want {
			t.Errorf("%s: %q, %v", said, c.Hostname, err)
		}
	}
}

func TestConfigValues(t *testing.T) {
	c := defaultConfig()
	err := c.parse("/etc/postern/c.yaml", []byte("domains: [a.example, b.example]\ndata: d\nquarantine: {keep: 7d, max_size: 2GiB}\nroutes:\n- domains: [b.example]\n  servers: ['b:25']\n  tls_ca: ca.pem\nupstream: {servers: ['a:25']}\n"))
	if err != nil {
		t.Fatal(err)
	}
	c.Hostname = "mx.example"
	if err := c.validate(); err != nil {
		t.Fatal(err)
	}
	if c.Data != "/etc/postern/d" || time.Duration(c.Quarantine.Keep) != 7*24*time.Hour || c.Quarantine.MaxSize != 2<<30 || c.Routes[0].Servers[0] != "b:25" || c.Routes[0].TLSCA != "/etc/postern/ca.pem" {
		t.Errorf("%+v", c)
	}
	if err := defaultConfig().parse("empty", nil); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("domains: [a.example]\nlimits: {message_size: 1MiB}\n")
	f.Add("a: &a [*a]\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := defaultConfig()
		if err := c.parse("c.yaml", []byte(text)); err == nil {
			_ = c.validate()
		} else if err.Error() == "" {
			t.Error("an error without words")
		}
	})
}

// The example holds every setting with its default: as it stands it loads and changes nothing
// but the two that have to be given; with every comment sign removed it still loads.
func TestExampleFile(t *testing.T) {
	text, err := os.ReadFile("../../postern.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := defaultConfig()
	if err := c.parse("postern.example.yaml", text); err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	want.Domains, want.Upstream.Servers = c.Domains, c.Upstream.Servers
	want.file, want.text = c.file, c.text
	if !reflect.DeepEqual(c, want) {
		t.Errorf("the example differs from the defaults:\n%+v\n%+v", c, want)
	}
	open := regexp.MustCompile(`(?m)^( *)# ((?:[a-z_]+:|  +[-a-z_]+:|  +- ).*)$`).ReplaceAll(text, []byte("$1$2"))
	all := defaultConfig()
	if err := all.parse("postern.example.yaml", open); err != nil {
		t.Fatalf("with all comments opened: %v", err)
	}
	for _, name := range settingNames() {
		if !strings.Contains(string(open), name+":") {
			t.Errorf("the example does not show the setting %q", name)
		}
	}
	all.Hostname, all.Domains = "mx.example.org", append(all.Domains, "branch.example.org")
	if err := all.validate(); err != nil {
		t.Error(err)
	}
}

func TestAFileWithoutSettingsIsAllDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "tls:\nlog:\n"} {
		c := defaultConfig()
		if err := c.parse("f", []byte(text)); err != nil {
			t.Fatal(err)
		}
		want := defaultConfig()
		want.file, want.text = c.file, c.text
		if !reflect.DeepEqual(c, want) {
			t.Errorf("%q: %+v", text, c)
		}
	}
}

// W-01: pages listen on loopback unless told otherwise, and on another address not without TLS; so do
// health and metrics.
func TestW01_PasswordsNeverInClear(t *testing.T) {
	const start = "hostname: mx.example\ndomains: [a.example]\nupstream: {servers: ['a:25']}\n"
	if c := defaultConfig(); !loopback(c.Web.Listen) || !loopback(c.Admin) {
		t.Errorf("by default: pages on %s, metrics on %s", c.Web.Listen, c.Admin)
	}
	for text, want := range map[string]string{
		"web: {listen: '192.0.2.1:8025'}\n":                                        "passwords would go there in clear",
		"web: {listen: ':8025'}\n":                                                 "passwords would go there in clear",
		"web: {listen: '[::]:8025'}\n":                                             "passwords would go there in clear",
		"web: {origin: 'http://mail.example'}\n":                                   "in clear",
		"web: {listen: '127.0.0.1:8025'}\n":                                        "",
		"web: {listen: '[::1]:8025'}\n":                                            "",
		"web: {listen: '192.0.2.1:8025', certificate: c.pem, key: k.pem}\n":        "",
		"web: {listen: '192.0.2.1:8025', insecure: true}\n":                        "",
		"web: {listen: '192.0.2.1:8025'}\ntls: {certificate: c.pem, key: k.pem}\n": "",
	} {
		c := defaultConfig()
		err := c.parse("c.yaml", []byte(start+text))
		if err == nil {
			err = c.validate()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
