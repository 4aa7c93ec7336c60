package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair writes a certificate for a name, until so long from now, and gives its pool.
func pair(t *testing.T, name string, left time.Duration) (Certificate, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: now.Add(-90 * 24 * time.Hour), NotAfter: now.Add(left), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := Certificate{Use: "port 25", Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), Name: "mx.example.org"}
	for file, block := range map[string]*pem.Block{c.Cert: {Type: "CERTIFICATE", Bytes: der}, c.Key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, leaf
}

func TestCertificatesAreJudged(t *testing.T) {
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		name   string
		left   time.Duration
		public bool
		want   []State
		word   string
	}{
		"self-signed":         {"mx.example.org", 300 * day, false, []State{Warn}, "nobody"},
		"self-signed, pages":  {"mx.example.org", 300 * day, true, []State{Bad}, "nobody"},
		"another name":        {"other.example.org", 300 * day, false, []State{Warn}, "[other.example.org], not for mx.example.org"},
		"ended":               {"mx.example.org", -day, false, []State{Bad, Warn}, "it ended on"},
		"nearly, self-signed": {"mx.example.org", 3 * day, false, []State{Warn, Warn}, "nobody"},
	} {
		c, _ := pair(t, tt.name, tt.left)
		c.Public = tt.public
		got := c.look(time.Now())
		if len(got) != len(tt.want) || !strings.Contains(got[0].Sentence, tt.word) {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		for i, f := range got {
			if f.State != tt.want[i] || f.Do == "" {
				t.Errorf("%s: %+v, want %s", name, f, tt.want[i])
			}
		}
	}
	c, leaf := pair(t, "mx.example.org", 300*day)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	if why := judgeCertificate([]*x509.Certificate{leaf}, "mx.example.org", roots, time.Now()); why != "" {
		t.Errorf("trusted: %s", why)
	}
	if why := judgeCertificate([]*x509.Certificate{leaf}, "mx.example.org", roots, leaf.NotBefore.Add(-day)); !strings.Contains(why, "clock") {
		t.Errorf("from the future: %s", why)
	}
	if err := os.Chmod(c.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := c.look(time.Now()); got[0].State != Bad || !strings.Contains(got[0].Do, "chmod") {
		t.Errorf("a key for everybody: %+v", got)
	}
	if err := os.WriteFile(c.Key, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := c.look(time.Now()); len(got) != 1 || got[0].State != Bad {
		t.Errorf("garbage: %+v", got)
	}
}
