package testkit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// PostfixOptions say what a private Postfix is to be like. The zero value will do.
type PostfixOptions struct {
	Domain    string            // the domain it delivers for; "" is example.org
	Mailboxes []string          // local parts that it knows; none is "a", "b" and "c"; others get 550 5.1.1
	TLS       bool              // offer STARTTLS, with a certificate for Postfix.Name
	Relay     string            // host:port: it sends all mail there and delivers none itself
	Proxy     bool              // it expects a PROXY header on each connection, which Main says
	Main      map[string]string // more settings of main.cf, or others instead of ours
}

// A Postfix is a private instance that takes mail by SMTP and delivers it into folders.
type Postfix struct {
	Addr  string         // host:port
	Name  string         // as it calls itself
	Roots *x509.CertPool // trusts its certificate; nil without TLS

	t     testing.TB
	proxy bool
	dir   string
	owner *user.User
}

// StartPostfix starts one, or skips the test when it cannot: it takes an installed
// Postfix and root (its master insists on that). It is stopped when the test ends.
func StartPostfix(t testing.TB, o PostfixOptions) *Postfix {
	t.Helper()
	Program(t, "postfix", "postfix")
	if os.Geteuid() != 0 {
		Missing(t, "postfix starts only as root (run the tests with sudo)")
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		Missing(t, fmt.Sprintf("postfix is not fully installed: %v", err))
	}
	if o.Domain == "" {
		o.Domain = "example.org"
	}
	if o.Mailboxes == nil {
		o.Mailboxes = []string{"a", "b", "c"}
	}
	p := &Postfix{Name: "postfix.test", proxy: o.Proxy, t: t, owner: owner, dir: openDir(t)}
	p.Addr = freeAddr(t)
	p.configure(o)
	t.Cleanup(p.Stop)
	p.Start()
	return p
}

// openDir makes a folder that the daemons' own users can enter, which those of t.TempDir
// are not.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "postfix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// freeAddr gives a loopback address that was free a moment ago.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (p *Postfix) configure(o PostfixOptions) {
	p.t.Helper()
	uid, _ := strconv.Atoi(p.owner.Uid)
	gid, _ := strconv.Atoi(p.owner.Gid)
	for name, mine := range map[string]bool{"etc": false, "queue": false, "data": true, "mail": true, "log": false} {
		dir := filepath.Join(p.dir, name)
		p.must(os.Mkdir(dir, 0o755))
		p.must(os.Chmod(dir, 0o755))
		if mine {
			p.must(os.Chown(dir, uid, gid))
		}
	}
	var boxes []string
	for _, b := range o.Mailboxes {
		boxes = append(boxes, fmt.Sprintf("{ %s@%s = %s/ }", b, o.Domain, b))
	}
	main := map[string]string{
		"compatibility_level":             "3.6",
		"queue_directory":                 filepath.Join(p.dir, "queue"),
		"data_directory":                  filepath.Join(p.dir, "data"),
		"maillog_file":                    filepath.Join(p.dir, "log", "postfix.log"),
		"maillog_file_prefixes":           p.dir,
		"myhostname":                      p.Name,
		"mydestination":                   "",
		"inet_interfaces":                 "127.0.0.1",
		"inet_protocols":                  "ipv4",
		"mynetworks":                      "127.0.0.0/8",
		"alias_maps":                      "",
		"alias_database":                  "",
		"virtual_mailbox_domains":         o.Domain,
		"virtual_mailbox_base":            filepath.Join(p.dir, "mail"),
		"virtual_mailbox_maps":            "inline:{ " + strings.Join(boxes, ", ") + " }",
		"virtual_mailbox_limit":           "0",
		"virtual_uid_maps":                "static:" + p.owner.Uid,
		"virtual_gid_maps":                "static:" + p.owner.Gid,
		"message_size_limit":              strconv.Itoa(50 << 20),
		"local_header_rewrite_clients":    "", // nothing is added to what we send
		"smtpd_recipient_restrictions":    "reject_unauth_destination",
		"smtpd_peername_lookup":           "no",
		"smtpd_authorized_xforward_hosts": "127.0.0.0/8",
		"default_transport":               "error:nothing leaves this machine",
	}
	if o.TLS {
		cert, key := p.certificate()
		main["smtpd_tls_cert_file"], main["smtpd_tls_key_file"] = cert, key
		main["smtpd_tls_security_level"] = "may"
	}
	if o.Relay != "" {
		host, port, err := net.SplitHostPort(o.Relay)
		p.must(err)
		for k, v := range map[string]string{
			"virtual_mailbox_domains":      "",
			"default_transport":            "smtp",
			"relayhost":                    "[" + host + "]:" + port,
			"smtpd_recipient_restrictions": "permit_mynetworks, reject",
			"smtp_host_lookup":             "native",
			"minimal_backoff_time":         "1s",
			"maximal_backoff_time":         "2s",
			"queue_run_delay":              "1s",
		} {
			main[k] = v
		}
	}
	for k, v := range o.Main {
		main[k] = v
	}
	var cf bytes.Buffer
	for k, v := range main {
		fmt.Fprintf(&cf, "%s = %s\n", k, v)
	}
	p.write("etc/main.cf", cf.Bytes(), 0o644)
	p.write("etc/master.cf", []byte(p.Addr+masterCF), 0o644)
}

// masterCF is the rest of master.cf: only what a message needs, nothing in a chroot.
const masterCF = ` inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
virtual unix - n n - - virtual
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// certificate makes a self-signed certificate.
func (p *Postfix) certificate() (certFile, keyFile string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p.must(err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: p.Name}, DNSNames: []string{p.Name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	p.must(err)
	leaf, err := x509.ParseCertificate(der)
	p.must(err)
	p.Roots = x509.NewCertPool()
	p.Roots.AddCert(leaf)
	rawKey, err := x509.MarshalPKCS8PrivateKey(key)
	p.must(err)
	return p.write("etc/cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		p.write("etc/key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: rawKey}), 0o600)
}

func (p *Postfix) write(name string, b []byte, mode os.FileMode) string {
	path := filepath.Join(p.dir, name)
	p.must(os.WriteFile(path, b, mode))
	return path
}

func (p *Postfix) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// Start starts it again after Stop, and waits until it greets.
func (p *Postfix) Start() {
	p.t.Helper()
	if out, err := p.command("start").CombinedOutput(); err != nil {
		p.t.Fatalf("postfix start: %v\n%s\n%s", err, out, p.Log())
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if p.greets() {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("postfix does not greet\n%s", p.Log())
		}
	}
}

func (p *Postfix) greets() bool {
	c, err := net.DialTimeout("tcp", p.Addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if p.proxy {
		_, _ = c.Write([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00")) // version 2, LOCAL
	}
	b := make([]byte, 4)
	n, _ := c.Read(b)
	_, _ = c.Write([]byte("QUIT\r\n"))
	return string(b[:n]) == "220 "
}

// Stop stops it; what it has taken and not delivered stays in its queue. It may be
// called when it is stopped.
func (p *Postfix) Stop() {
	if out, err := p.command("stop").CombinedOutput(); err != nil && !bytes.Contains(out, []byte("not running")) {
		p.t.Errorf("postfix stop: %v\n%s", err, out)
	}
}

// Flush tries again at once to deliver what is in its queue.
func (p *Postfix) Flush() {
	p.t.Helper()
	if out, err := p.command("flush").CombinedOutput(); err != nil {
		p.t.Fatalf("postfix flush: %v\n%s\n%s", err, out, p.Log())
	}
}

func (p *Postfix) command(verb string) *exec.Cmd {
	return exec.Command("/usr/sbin/postfix", "-c", filepath.Join(p.dir, "etc"), verb)
}

// Log is what it logged so far.
func (p *Postfix) Log() string {
	b, _ := os.ReadFile(filepath.Join(p.dir, "log", "postfix.log"))
	return string(b)
}

// Messages gives what lies in a mailbox, in the order of arrival, with its lines ending
// in CRLF again. Postfix puts its own fields (Return-Path, Received, …) on top.
func (p *Postfix) Messages(mailbox string) [][]byte {
	p.t.Helper()
	dir := filepath.Join(p.dir, "mail", mailbox, "new")
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	p.must(err)
	type file struct {
		name string
		at   time.Time
	}
	var files []file
	for _, e := range entries {
		info, err := e.Info()
		p.must(err)
		files = append(files, file{e.Name(), info.ModTime()})
	}
	slices.SortFunc(files, func(a, b file) int { return a.at.Compare(b.at) })
	var all [][]byte
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.name))
		p.must(err)
		all = append(all, bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")))
	}
	return all
}

// WaitMessages waits until n messages lie in a mailbox, and gives them.
func (p *Postfix) WaitMessages(mailbox string, n int) [][]byte {
	p.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if all := p.Messages(mailbox); len(all) >= n {
			return all
		}
		if time.Now().After(end) {
			p.t.Fatalf("no %d messages in mailbox %s\n%s", n, mailbox, p.Log())
		}
	}
}
