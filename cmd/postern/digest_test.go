package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/digest"
)

// What is wrong with the settings of digests is said where it stands.
func TestDigestSettings(t *testing.T) {
	for text, want := range map[string]string{
		"digest: {interval: daily, at: '7:05', reply_domain: Reply.Example.ORG, from: postern@example.org}": "",
		"digest: {reply_domain: reply.example.org, from_clients: [10.0.0.0/24, '2001:db8::1']}":             "",
		"digest: {interval: often}":           `"often" is none of: off, instant, hourly, daily, weekly`,
		"digest: {at: '25:00'}":               `"25:00" is no time of the day`,
		"digest: {at: '7:5'}":                 `"7:5" is no time of the day`,
		"digest: {max_items: 0}":              "1 to 500",
		"digest: {max_items: 501}":            "1 to 500",
		"digest: {from: Postern}":             "no address in ASCII",
		"digest: {from: pöstern@example.org}": "no address in ASCII",
		"digest: {from: x@reply.example.org, reply_domain: reply.example.org}":     "nobody has a mailbox",
		"digest: {reply_domain: localhost}":                                        "is no domain",
		"digest: {reply_domain: '[192.0.2.1]'}":                                    "is no domain",
		"digest: {reply_domain: example.org}":                                      "example.org is one of domains",
		"digest: {reply_domain: " + strings.Repeat("long-label.", 18) + "example}": "too long",
		"digest: {reply_domain: reply.example.org, from_clients: [mail]}":          `"mail" is no address or network`,
		"digest: {reply_domain: reply.example.org, from_clients: [0.0.0.0/0]}":     "that is everybody",
		"digest: {from_clients: [10.0.0.1]}":                                       "there is no digest.reply_domain",
		"upstream: {servers: ['mail:25']}\ndigest: {reply_domain: r.example.org}":  "nobody may bring mail for it",
		"digest: {replydomain: x}":                                                 "replydomain",
	} {
		c := defaultConfig()
		c.Hostname, c.Domains, c.Upstream.Servers = "mx.example.org", []string{"example.org"}, []string{"10.0.0.2:25"}
		err := c.parse("postern.yaml", []byte(text))
		if err == nil {
			err = c.validate()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s:\n%v\nwant %s", text, err, want)
		}
		if want == "" && c.Digest.ReplyDomain != "reply.example.org" {
			t.Errorf("%q", c.Digest.ReplyDomain)
		}
	}
}

// Who brings the mail is known without a word more where the internal server has an address.
func TestDigestClients(t *testing.T) {
	c := defaultConfig()
	c.TrustedRelays = []string{"192.0.2.0/28"}
	c.Upstream.Servers = []string{"10.0.0.2:25", "mail:25", "[2001:db8::2]:25"}
	c.Routes = []RouteConfig{{UpstreamConfig: UpstreamConfig{Servers: []string{"10.0.0.3"}}}}
	nets, err := c.replyClients()
	if got := strings.Join(words(nets), " "); err != nil || got != "192.0.2.0/28 10.0.0.2/32 2001:db8::2/128 10.0.0.3/32" {
		t.Error(got, err)
	}
	c.Digest.FromClients = []string{"10.9.9.9"}
	if nets, err := c.replyClients(); err != nil || strings.Join(words(nets), " ") != "10.9.9.9/32" {
		t.Error(nets, err)
	}
}

func words[T interface{ String() string }](list []T) (out []string) {
	for _, x := range list {
		out = append(out, x.String())
	}
	return out
}

// Settings that hold but will disappoint are told of.
func TestDigestDoubts(t *testing.T) {
	c := defaultConfig()
	c.Domains = []string{"example.org"}
	if doubt := c.doubtfulDigest(); doubt != "" {
		t.Error(doubt)
	}
	c.Digest.ReplyDomain, c.Domains = "reply.example.org", []string{".example.org"}
	if doubt := c.doubtfulDigest(); !strings.Contains(doubt, "by its pattern") {
		t.Error(doubt)
	}
	c.Digest.ReplyDomain, c.Digest.Interval, c.Web.Origin = "", "daily", "http://127.0.0.1:8025"
	if doubt := c.doubtfulDigest(); !strings.Contains(doubt, "set web.origin") {
		t.Error(doubt)
	}
	c.Web.Origin = "https://quarantine.example.org"
	if doubt := c.doubtfulDigest(); doubt != "" {
		t.Error(doubt)
	}
	c.Web.Listen = ""
	if doubt := c.doubtfulDigest(); !strings.Contains(doubt, "do nothing about") {
		t.Error(doubt)
	}
}

// A key that cannot be used stops answers by mail, and neither the gateway nor the mail; commands
// say what is wrong.
func TestDigestKeyIsDamaged(t *testing.T) {
	s := newSite(t, "127.0.0.1:1", "digest: {reply_domain: reply.example.org}\nweb: {listen: \"\"}\n")
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.data, digest.KeyFile), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := s.serve(t)
	g.log.must(t, 1, "msg", "nobody can release by mail")
	x := mustDial(t, g.addr)
	x.must(t, "MAIL FROM:<b@example.org>", "250")
	x.must(t, "RCPT TO:<release-x@reply.example.org>", "550 5.7.1 Relaying denied")
	if code, _, errs := postern("digest", "show", "-c", s.conf, "--to", "b@example.org"); code != 1 || !strings.Contains(errs, "is damaged: remove it") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestDigestCommands(t *testing.T) {
	s := newSite(t, "127.0.0.1:1", "digest: {interval: daily}\nweb: {listen: \"\"}\n")
	s.serve(t)
	for _, c := range []struct {
		args     string
		code     int
		out, err string
	}{
		{"set --to b@example.org weekly", 0, "Digests for b@example.org: weekly.\n", ""},
		{"set --to b@example.org default", 0, "Digests for b@example.org: daily.\n", ""},
		{"set --to b@example.org often", 2, "", `"often": a digest comes instant, hourly, daily, weekly or off`},
		{"set --to b@elsewhere.example off", 1, "", "no address inside"},
		{"show --to b@example.org", 0, "", "nothing new is held"},
		{"show --to b@example.org --json", 0, "{}\n", ""},
		{"show --to nobody", 2, "", `--to "nobody": bad address syntax`},
		{"send --to b@example.org", 0, "Nothing new is held for b@example.org: nothing was sent.\n", ""},
		{"send", 2, "", "--to"},
	} {
		args := strings.Fields(c.args)
		code, out, errs := postern(append([]string{"digest", args[0], "-c", s.conf}, args[1:]...)...)
		if code != c.code || out != c.out || !strings.Contains(errs, c.err) {
			t.Errorf("%s: %d %q %q", c.args, code, out, errs)
		}
	}
}
