package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// A keyPair names the files of one certificate.
type keyPair struct{ cert, key string }

// certificates are those for TLS towards clients. reload replaces them; a bad one leaves all of
// the old in force.
type certificates struct {
	files   []keyPair // the first for who names no host, or one that none is for
	min     uint16
	acme    *acmeCertificates // nil: none are fetched
	current atomic.Pointer[tls.Config]
	ends    atomic.Pointer[time.Time] // of the first of the files' certificates
	failed  atomic.Pointer[error]     // why the files' last reading failed; nil when it did not

	mu   sync.Mutex        // of reload
	seen [sha256.Size]byte // the state of the files at the last reload
}

// openCertificates loads the configured certificates, or makes a self-signed one in the data
// folder at the first start. nil when TLS is off.
func openCertificates(cfg *Config, log *slog.Logger) (*certificates, error) {
	if cfg.TLS.Off {
		return nil, nil
	}
	c := &certificates{min: tlsVersion(cfg.TLS.MinVersion)}
	if cfg.TLS.Certificate != "" {
		c.files = append(c.files, keyPair{cfg.TLS.Certificate, cfg.TLS.Key})
	}
	for _, more := range cfg.TLS.Certificates {
		c.files = append(c.files, keyPair{more.Certificate, more.Key})
	}
	if len(c.files) == 0 {
		own := keyPair{filepath.Join(cfg.Data, "self-signed.pem"), filepath.Join(cfg.Data, "self-signed.key")}
		c.files = append(c.files, own)
		if _, err := os.Stat(own.cert); err != nil {
			if err := selfSigned(cfg.Hostname, own.cert, own.key); err != nil {
				return nil, fmt.Errorf("self-signed certificate: %w", err)
			}
		}
		if len(cfg.TLS.ACME.Domains) == 0 {
			log.Warn("STARTTLS uses a self-signed certificate: fine for opportunistic TLS; give tls.certificate and tls.key, or tls.acme, for more", "file", own.cert)
		}
	}
	if len(cfg.TLS.ACME.Domains) > 0 {
		var err error
		if c.acme, err = newACME(cfg, log); err != nil {
			return nil, err
		}
	}
	return c, c.reload()
}

func tlsVersion(s string) uint16 {
	switch s {
	case "1.0":
		return tls.VersionTLS10
	case "1.3":
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// reload reads the files again.
func (c *certificates) reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = c.state()
	var own []tls.Certificate
	var ends time.Time
	for _, f := range c.files {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			err = fmt.Errorf("certificate %s: %w", f.cert, err)
			c.failed.Store(&err)
			return err
		}
		if end := pair.Leaf.NotAfter; ends.IsZero() || end.Before(ends) {
			ends = end
		}
		own = append(own, pair)
	}
	next := &tls.Config{MinVersion: c.min, Certificates: own}
	if c.acme != nil {
		next = &tls.Config{MinVersion: c.min, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if fetched := c.acme.certificate(h); fetched != nil {
				return fetched, nil
			}
			return fitting(own, h), nil
		}}
	}
	c.failed.Store(nil)
	c.ends.Store(&ends)
	c.current.Store(next)
	return nil
}

// fitting is the first certificate that a client can use for the host that it names, else the
// first of all: as crypto/tls chooses.
func fitting(own []tls.Certificate, h *tls.ClientHelloInfo) *tls.Certificate {
	for i := range own {
		if h.SupportsCertificate(&own[i]) == nil {
			return &own[i]
		}
	}
	return &own[0]
}

// watch reloads when the files have changed, until ctx ends; SIGHUP does so at once.
func (c *certificates) watch(ctx context.Context, every time.Duration, log *slog.Logger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if c.changed() {
				c.renew(log)
			}
		case <-ctx.Done():
			return
		}
	}
}

// renew is reload, told.
func (c *certificates) renew(log *slog.Logger) {
	if err := c.reload(); err != nil {
		log.Error("reload: the old certificate stays in force", "error", err)
	} else {
		log.Info("certificate in force", "until", c.expires())
	}
}

// state tells one state of the files from another, by what is in them: times of files are coarse.
func (c *certificates) state() (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, f := range c.files {
		for _, name := range []string{f.cert, f.key} {
			text, err := os.ReadFile(name)
			fmt.Fprintln(h, len(text), err)
			h.Write(text)
		}
	}
	h.Sum(sum[:0])
	return sum
}

// changed reports whether the files are others than at the last reload.
func (c *certificates) changed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen != c.state()
}

// config is the one for the next handshake.
func (c *certificates) config() *tls.Config { return c.current.Load() }

// err tells why the files cannot be read, while an older certificate is in force.
func (c *certificates) err() error {
	if e := c.failed.Load(); e != nil {
		return *e
	}
	return nil
}

// expires tells when the first of the certificates in force ends.
func (c *certificates) expires() time.Time {
	ends := *c.ends.Load()
	if c.acme != nil {
		if t := c.acme.expires(); !t.IsZero() && t.Before(ends) {
			return t
		}
	}
	return ends
}

// close lets go of what fetches certificates.
func (c *certificates) close() {
	if c != nil && c.acme != nil {
		c.acme.close()
	}
}

// selfSigned writes an ECDSA certificate for ten years; the key first, so that a crash leaves
// no certificate without one.
func selfSigned(host, cert, key string) error {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &priv.PublicKey, priv)
	if err != nil {
		return err
	}
	bits, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return err
	}
	if err := writeWhole(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bits})); err != nil {
		return err
	}
	return writeWhole(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// writeWhole writes a file that is there as a whole or not at all, whenever the power goes.
func writeWhole(file string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it has its name by then, unless something failed
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
