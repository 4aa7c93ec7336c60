package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// An acmeServer is a small certificate authority (RFC 8555): one account, one order at a time,
// and one way of looking, at one address whatever the name is.
type acmeServer struct {
	*httptest.Server
	t    *testing.T
	way  string // http-01 or tls-alpn-01
	at   string // where challenges are answered
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	life time.Duration

	mu     sync.Mutex
	nonces int
	jwk    *jose.JSONWebKey
	name   string
	proven string // status of the authorization
	leaf   []byte
	issued int
	asked  []string
}

func newACMEServer(t *testing.T, way, answersAt string) *acmeServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * 365 * time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca, _ = x509.ParseCertificate(der)
	s := &acmeServer{t: t, way: way, at: answersAt, key: key, cert: ca, life: 90 * 24 * time.Hour}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *acmeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nonces++
	w.Header().Set("Replay-Nonce", fmt.Sprintf("nonce%d", s.nonces))
	if r.URL.Path == "/directory" {
		s.say(w, 200, map[string]any{"newNonce": s.URL + "/nonce", "newAccount": s.URL + "/account", "newOrder": s.URL + "/order",
			"revokeCert": s.URL + "/revoke", "keyChange": s.URL + "/change"})
		return
	}
	if r.URL.Path == "/nonce" {
		return
	}
	payload, err := s.open(r)
	if err != nil {
		s.t.Errorf("%s: %v", r.URL.Path, err)
		s.say(w, 400, map[string]any{"type": "urn:ietf:params:acme:error:malformed", "detail": err.Error()})
		return
	}
	s.asked = append(s.asked, r.URL.Path)
	switch r.URL.Path {
	case "/account":
		w.Header().Set("Location", s.URL+"/account/1")
		s.say(w, 201, map[string]any{"status": "valid", "orders": s.URL + "/orders"})
	case "/order":
		var order struct{ Identifiers []struct{ Value string } }
		_ = json.Unmarshal(payload, &order)
		s.name, s.proven, s.leaf = order.Identifiers[0].Value, "pending", nil
		w.Header().Set("Location", s.URL+"/order/1")
		s.order(w, 201)
	case "/order/1":
		s.order(w, 200)
	case "/authz/1":
		s.say(w, 200, map[string]any{"status": s.proven, "identifier": map[string]any{"type": "dns", "value": s.name}, "challenges": []any{s.challenge()}})
	case "/challenge/1":
		s.proven = s.prove()
		s.say(w, 200, s.challenge())
	case "/finalize/1":
		s.issue(payload)
		s.order(w, 200)
	case "/cert/1":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.leaf}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw})...))
	default:
		s.say(w, 404, map[string]any{"type": "urn:ietf:params:acme:error:malformed", "detail": r.URL.Path})
	}
}

func (s *acmeServer) say(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

// open verifies a signed request and gives what is in it.
func (s *acmeServer) open(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	signed, err := jose.ParseSigned(string(body), []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.ES384})
	if err != nil {
		return nil, err
	}
	if jwk := signed.Signatures[0].Header.JSONWebKey; jwk != nil {
		s.jwk = jwk
	}
	return signed.Verify(s.jwk)
}

func (s *acmeServer) order(w http.ResponseWriter, code int) {
	status := map[string]string{"pending": "pending", "valid": "ready", "invalid": "invalid"}[s.proven]
	o := map[string]any{"identifiers": []any{map[string]any{"type": "dns", "value": s.name}},
		"authorizations": []string{s.URL + "/authz/1"}, "finalize": s.URL + "/finalize/1"}
	if s.leaf != nil {
		status = "valid"
		o["certificate"] = s.URL + "/cert/1"
	}
	o["status"] = status
	s.say(w, code, o)
}

func (s *acmeServer) challenge() map[string]any {
	return map[string]any{"type": s.way, "url": s.URL + "/challenge/1", "token": "token-of-" + s.name, "status": s.proven}
}

// prove asks for the answer to the challenge.
func (s *acmeServer) prove() string {
	thumb, _ := s.jwk.Thumbprint(crypto.SHA256)
	answer := "token-of-" + s.name + "." + base64.RawURLEncoding.EncodeToString(thumb)
	if s.way == "http-01" && s.http() == answer || s.way == "tls-alpn-01" && bytes.Equal(s.alpn(), sha256Of(answer)) {
		return "valid"
	}
	return "invalid"
}

func sha256Of(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// alpn gives what the certificate for acme-tls/1 identifies (RFC 8737 3).
func (s *acmeServer) alpn() (digest []byte) {
	c, err := tls.Dial("tcp", s.at, &tls.Config{InsecureSkipVerify: true, ServerName: s.name, NextProtos: []string{"acme-tls/1"}})
	if err != nil {
		return nil
	}
	defer c.Close()
	cs := c.ConnectionState()
	for _, x := range cs.PeerCertificates[0].Extensions {
		if x.Id.String() == "1.3.6.1.5.5.7.1.31" && x.Critical && cs.NegotiatedProtocol == "acme-tls/1" {
			_, _ = asn1.Unmarshal(x.Value, &digest)
		}
	}
	return digest
}

// http gives what is said under the well-known path (RFC 8555 8.3).
func (s *acmeServer) http() string {
	req, _ := http.NewRequest("GET", "http://"+s.at+"/.well-known/acme-challenge/token-of-"+s.name, nil)
	req.Host = s.name
	resp, err := (&http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	got, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
	return string(bytes.TrimSpace(got))
}

// issue signs what a request asks for.
func (s *acmeServer) issue(payload []byte) {
	var final struct{ CSR string }
	_ = json.Unmarshal(payload, &final)
	der, _ := base64.RawURLEncoding.DecodeString(final.CSR)
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil || csr.CheckSignature() != nil || len(csr.DNSNames) != 1 || csr.DNSNames[0] != s.name || s.proven != "valid" {
		s.t.Errorf("request for a certificate: %v, %v for %s, which is %s", err, csr.DNSNames, s.name, s.proven)
		return
	}
	s.issued++
	leaf := &x509.Certificate{SerialNumber: big.NewInt(int64(100 + s.issued)), DNSNames: csr.DNSNames, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(s.life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if s.leaf, err = x509.CreateCertificate(rand.Reader, leaf, s.cert, csr.PublicKey, s.key); err != nil {
		s.t.Error(err)
	}
}

func (s *acmeServer) certificates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued
}
