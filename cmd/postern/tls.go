package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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
	"sync/atomic"
	"time"
)

// certificates holds the certificate for STARTTLS; reload replaces it, a bad one leaves the old
// in force.
type certificates struct {
	cert, key string
	min       uint16
	current   atomic.Pointer[tls.Config]
	failed    atomic.Pointer[error] // why the files' last reading failed; nil when it did not
}

// openCertificates loads the configured certificate, or makes a self-signed one in the data
// folder at the first start. nil when TLS is off.
func openCertificates(cfg *Config, log *slog.Logger) (*certificates, error) {
	if cfg.TLS.Off {
		return nil, nil
	}
	c := &certificates{cert: cfg.TLS.Certificate, key: cfg.TLS.Key, min: tlsVersion(cfg.TLS.MinVersion)}
	if c.cert == "" {
		c.cert, c.key = filepath.Join(cfg.Data, "self-signed.pem"), filepath.Join(cfg.Data, "self-signed.key")
		if _, err := os.Stat(c.cert); err != nil {
			if err := selfSigned(cfg.Hostname, c.cert, c.key); err != nil {
				return nil, fmt.Errorf("self-signed certificate: %w", err)
			}
		}
		log.Warn("STARTTLS uses a self-signed certificate: fine for opportunistic TLS; give tls.certificate and tls.key for more", "file", c.cert)
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
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		err = fmt.Errorf("certificate %s: %w", c.cert, err)
		c.failed.Store(&err)
		return err
	}
	c.failed.Store(nil)
	c.current.Store(&tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: c.min})
	return nil
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

// expires tells when the certificate in force ends.
func (c *certificates) expires() time.Time { return c.config().Certificates[0].Leaf.NotAfter }

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
