package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// acmeCertificates are fetched from a certificate authority and renewed in time (RFC 8555). They
// lie in the data folder, with their keys and the account's.
type acmeCertificates struct {
	domains []string
	magic   *certmagic.Config
	cache   *certmagic.Cache
	log     *slog.Logger
}

// newACME fetches nothing yet. close what it returns.
func newACME(cfg *Config, log *slog.Logger) (*acmeCertificates, error) {
	conf := &cfg.TLS.ACME
	template, err := conf.issuer()
	if err != nil {
		return nil, err
	}
	a := &acmeCertificates{domains: conf.Domains, log: log}
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.magic, nil },
		Logger:           zap.NewNop(),
	})
	a.magic = certmagic.New(a.cache, certmagic.Config{
		// Most mail servers name no host, or one that is not ours.
		DefaultServerName: conf.Domains[0], FallbackServerName: conf.Domains[0],
		Storage: &certmagic.FileStorage{Path: filepath.Join(cfg.Data, "acme")},
		OCSP:    certmagic.OCSPConfig{DisableStapling: true}, // no mail server asks for it
		OnEvent: a.event,
		Logger:  zap.NewNop(), // what matters comes as an event
	})
	a.magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(a.magic, template)}
	return a, nil
}

// issuer describes the authority, and how it may look whether a name is ours.
func (c *ACMEConf) issuer() (certmagic.ACMEIssuer, error) {
	is := certmagic.ACMEIssuer{CA: c.Directory, TestCA: c.Directory, Email: c.Email, Agreed: true, Logger: zap.NewNop(),
		DisableHTTPChallenge: c.HTTP == "", DisableTLSALPNChallenge: c.TLSALPN == ""}
	for _, l := range []struct {
		address string
		port    *int
	}{{c.HTTP, &is.AltHTTPPort}, {c.TLSALPN, &is.AltTLSALPNPort}} {
		if l.address != "" { // validated
			host, port, _ := net.SplitHostPort(l.address)
			is.ListenHost = host
			*l.port, _ = net.LookupPort("tcp", port)
		}
	}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return is, fmt.Errorf("tls.acme.ca: %w", err)
		}
		if is.TrustedRoots = x509.NewCertPool(); !is.TrustedRoots.AppendCertsFromPEM(pem) {
			return is, fmt.Errorf("tls.acme.ca: %s holds no certificate", c.CA)
		}
	}
	return is, nil
}

// run fetches what is missing and renews what is old, until ctx ends. What fails is tried again,
// with growing pauses.
func (a *acmeCertificates) run(ctx context.Context) {
	if err := a.magic.ManageAsync(ctx, a.domains); err != nil {
		a.log.Error("certificates by ACME", "error", err)
	}
	<-ctx.Done()
}

// event logs what came of fetching one.
func (a *acmeCertificates) event(_ context.Context, name string, data map[string]any) error {
	switch name {
	case "cert_obtained":
		a.log.Info("certificate fetched", "domain", data["identifier"], "renewal", data["renewal"])
	case "cert_failed":
		a.log.Error("fetching a certificate: the one before stays in force, and it is tried again", "domain", data["identifier"], "error", data["error"])
	}
	return nil
}

// certificate is the fetched one for a handshake; nil when there is none yet.
func (a *acmeCertificates) certificate(h *tls.ClientHelloInfo) *tls.Certificate {
	c, err := a.magic.GetCertificate(h)
	if err != nil {
		return nil
	}
	return c
}

// expires tells when the first one ends; the zero time when there is none yet.
func (a *acmeCertificates) expires() (first time.Time) {
	for _, d := range a.domains {
		for _, c := range a.cache.AllMatchingCertificates(d) {
			if c.Leaf != nil && (first.IsZero() || c.Leaf.NotAfter.Before(first)) {
				first = c.Leaf.NotAfter
			}
		}
	}
	return first
}

func (a *acmeCertificates) close() { a.cache.Stop() }
