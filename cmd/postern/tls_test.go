package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// served gives the certificate that STARTTLS shows to a client who names a host, or none.
func served(t testing.TB, addr, name string) *x509.Certificate {
	t.Helper()
	x := mustDial(t, addr)
	x.must(t, "STARTTLS", "220")
	c := tls.Client(x.conn, &tls.Config{InsecureSkipVerify: true, ServerName: name})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// A certificate is fetched, served to everybody, kept for the next start; until then, and while
// the authority refuses, the own one is.
func TestW16_ACME(t *testing.T) {
	t.Parallel()
	answers := freePort(t)
	ca := newACMEServer(t, "http-01", answers)
	s := newSite(t, newSink(t, nil).addr, "tls: {acme: {domains: [mx.example.org], email: admin@example.org, directory: \""+ca.URL+"/directory\", http: \""+answers+"\"}}\n")
	g := s.start(t)
	g.log.must(t, 1, "msg", "certificate fetched")
	for _, name := range []string{"mx.example.org", "", "other.example"} {
		waitFor(t, "one for "+name, func() bool {
			c := served(t, g.addr, name)
			return c.Issuer.CommonName == "Test CA" && slices.Contains(c.DNSNames, "mx.example.org")
		})
	}
	if _, text := g.get(t, "/metrics"); !strings.Contains(text, "postern_certificate_expires_seconds 1.") {
		t.Error("no end of the certificate in the metrics")
	}
	g.stop(t)
	if ca.certificates() != 1 {
		t.Errorf("%d certificates were issued", ca.certificates())
	}
	key, err := filepath.Glob(filepath.Join(s.data, "acme", "*", "*", "*", "*.key"))
	if err != nil || len(key) == 0 {
		t.Fatal("no key is kept", err)
	}
	for _, k := range key {
		if info, err := os.Stat(k); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", k, info.Mode(), err)
		}
	}
	g = s.start(t)
	waitFor(t, "served after a restart", func() bool {
		return served(t, g.addr, "").Issuer.CommonName == "Test CA"
	})
	g.stop(t)
	if ca.certificates() != 1 {
		t.Errorf("%d certificates were issued", ca.certificates())
	}
}

// A certificate near its end is renewed and served by the running gateway: what the library looks
// for every ten minutes is looked for once here.
func TestW16_ACMERenewal(t *testing.T) {
	t.Parallel()
	answers := freePort(t)
	ca := newACMEServer(t, "http-01", answers)
	ca.life = 20 * time.Minute // of the hour and twenty minutes that the first one has
	cfg := defaultConfig()
	cfg.Data = t.TempDir()
	cfg.TLS.ACME = ACMEConf{Domains: []string{"mx.example.org"}, Directory: ca.URL + "/directory", HTTP: answers}
	a, err := newACME(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { defer close(ran); a.run(ctx) }()
	defer func() { stop(); <-ran }()
	serial := func() int64 {
		here, there := net.Pipe()
		defer here.Close()
		go func() {
			defer there.Close()
			_ = tls.Server(there, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return a.certificate(h), nil }}).Handshake()
		}()
		c := tls.Client(here, &tls.Config{InsecureSkipVerify: true, ServerName: "mx.example.org"})
		if err := c.Handshake(); err != nil {
			return 0
		}
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	waitFor(t, "the first certificate", func() bool { return serial() == 101 })
	if end := time.Until(a.expires()); end > 20*time.Minute {
		t.Fatalf("it is good for %v", end)
	}
	ca.mu.Lock()
	ca.life = 90 * 24 * time.Hour
	ca.mu.Unlock()
	if err := a.cache.RenewManagedCertificates(ctx); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the second certificate", func() bool { return serial() == 102 })
	if end := time.Until(a.expires()); end < 89*24*time.Hour {
		t.Errorf("the end is told as in %v", end)
	}
	if err := a.cache.RenewManagedCertificates(ctx); err != nil {
		t.Fatal(err)
	}
	if n := ca.certificates(); n != 2 {
		t.Errorf("%d certificates were issued", n)
	}
}

func TestW16_ACMEByTLSALPN(t *testing.T) {
	t.Parallel()
	answers := freePort(t)
	ca := newACMEServer(t, "tls-alpn-01", answers)
	s := newSite(t, newSink(t, nil).addr, "tls: {acme: {domains: [mx2.example.org], directory: \""+ca.URL+"/directory\", http: \"\", tls_alpn: \""+answers+"\"}}\n")
	g := s.start(t)
	for _, name := range []string{"mx2.example.org", ""} {
		waitFor(t, "one for "+name, func() bool { return slices.Contains(served(t, g.addr, name).DNSNames, "mx2.example.org") })
	}
	g.stop(t)
}

func TestW16_ACMERefused(t *testing.T) {
	t.Parallel()
	ca := newACMEServer(t, "http-01", freePort(t)) // where nobody answers
	s := newSite(t, newSink(t, nil).addr, "tls: {acme: {domains: [mx.example.org], directory: \""+ca.URL+"/directory\", http: \""+freePort(t)+"\"}}\n")
	g := s.start(t)
	g.log.must(t, 1, "msg", "fetching a certificate: the one before stays in force, and it is tried again")
	if c := served(t, g.addr, "mx.example.org"); c.Issuer.CommonName != "mx.example.org" {
		t.Errorf("issuer %s", c.Issuer.CommonName)
	}
	g.stop(t)
}

// Of several certificates each name gets its own, and who names none the first.
func TestW16_CertificatesByName(t *testing.T) {
	dir := t.TempDir()
	pair := func(name string) CertConf {
		c := CertConf{filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")}
		if err := selfSigned(name, c.Certificate, c.Key); err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, second := pair("mx.example.org"), pair("mx.example.net")
	c, err := openCertificates(&Config{TLS: TLSConfig{Certificate: first.Certificate, Key: first.Key, Certificates: []CertConf{second}}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"": "mx.example.org", "mx.example.org": "mx.example.org", "MX.example.net": "mx.example.net", "x.test": "mx.example.org"} {
		ours, theirs := net.Pipe()
		server := tls.Server(ours, c.config())
		go func() { _ = server.Handshake() }()
		client := tls.Client(theirs, &tls.Config{InsecureSkipVerify: true, ServerName: name})
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		if got := client.ConnectionState().PeerCertificates[0].DNSNames[0]; got != want {
			t.Errorf("%q gets %s, want %s", name, got, want)
		}
		ours.Close()
		theirs.Close()
	}
}

// Files that change are taken without a signal; half a change, or garbage, leaves the old in force.
func TestW16_FilesAreWatched(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := selfSigned("one.example.org", cert, key); err != nil {
		t.Fatal(err)
	}
	c, err := openCertificates(&Config{TLS: TLSConfig{Certificate: cert, Key: key}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.watch(ctx, 5*time.Millisecond, slog.New(slog.DiscardHandler)) }()
	name := func() string { return c.config().Certificates[0].Leaf.DNSNames[0] }
	if err := selfSigned("two.example.org", cert, filepath.Join(dir, "other.key")); err != nil { // its key is still to come
		t.Fatal(err)
	}
	waitFor(t, "half a change", func() bool {
		return c.err() != nil && name() == "one.example.org"
	})
	if err := os.Rename(filepath.Join(dir, "other.key"), key); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the whole", func() bool {
		return c.err() == nil && name() == "two.example.org"
	})
	cancel()
	<-done
	if c.changed() {
		t.Error("changed, says who has just read it")
	}
}

// tls.require_on and implicit_on are for single addresses of listen.
func TestW16_TLSByAddress(t *testing.T) {
	t.Parallel()
	plain, strict, implicit := freePort(t), freePort(t), freePort(t)
	s := newSite(t, newSink(t, nil).addr, "tls: {require_on: [\""+strict+"\"], implicit_on: [\""+implicit+"\"]}\n")
	s.replace(t, `listen: ["127.0.0.1:0"]`, `listen: ["`+plain+`", "`+strict+`", "`+implicit+`"]`)
	g := s.start(t)
	x := mustDial(t, plain)
	x.must(t, "MAIL FROM:<eve@friend.example>", "250")
	x = mustDial(t, strict)
	x.must(t, "MAIL FROM:<eve@friend.example>", "530 5.7.0")
	c, err := tls.Dial("tcp", implicit, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 4)
	if _, err := c.Read(b); err != nil || string(b) != "220 " {
		t.Errorf("%q, %v", b, err)
	}
	g.stop(t)
}

func TestW16_Settings(t *testing.T) {
	base := "domains: [example.org]\nhostname: mx.example.org\nupstream: {servers: [\"10.0.0.2:25\"]}\ntls: "
	for text, want := range map[string]string{
		"{certificate: a}":                                                          "certificate and key belong together",
		"{certificates: [{key: a}]}":                                                "certificate and key belong together",
		"{require_on: [\":2525\"]}":                                                 `":2525" is not one of listen: :25`,
		"{implicit_on: [\"x\"]}":                                                    `"x" is not one of listen`,
		"{off: true, require: true}":                                                "TLS is off, and asked for",
		"{acme: {domains: [\"*.x y\"]}}":                                            "is no host name",
		"{acme: {domains: [a.example], directory: ftp://x}}":                        "is no URL",
		"{acme: {domains: [a.example], http: \"\"}}":                                "no way is left",
		"{acme: {domains: [a.example], http: \"80\"}}":                              "is no HOST:PORT",
		"{acme: {domains: [a.example], http: \"1.2.3.4:80\", tls_alpn: \":443\"}}":  "have to listen on the same host",
		"{require_on: [\":25\"], acme: {domains: [a.example], tls_alpn: \":443\"}}": "",
	} {
		c := defaultConfig()
		err := c.parse("postern.yaml", []byte(base+text+"\n"))
		if err == nil {
			err = c.validate()
		}
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "postern.yaml:4:")) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
