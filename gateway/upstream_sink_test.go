package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/mail"
)

// An upSink is an internal server that records every byte it gets and can be told to
// misbehave at any step.
type upSink struct {
	t    *testing.T
	addr string
	ehlo []string // keywords
	name string
	tls  *tls.Config
	// on may answer a step by itself and then returns true. Steps are "connect", the verbs,
	// "body" (354 was said) and "dot" (the message was read).
	on func(c *upSinkConn, step, line string) bool

	l  net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex
	conns []*upSinkConn
	mails []upSinkMail
}

type upSinkMail struct {
	from string // the whole line
	to   []string
	raw  []byte // as on the wire, before the dot
	body []byte // unstuffed
}

type upSinkConn struct {
	s *upSink
	n int // 1 for the first connection
	net.Conn
	r   *bufio.Reader
	raw bytes.Buffer // all that came, in clear
	cur upSinkMail
}

var allKeywords = []string{"PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8", "DSN", "XFORWARD NAME ADDR PROTO HELO PORT IDENT SOURCE"}

func newUpSink(t *testing.T, on func(c *upSinkConn, step, line string) bool) *upSink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &upSink{t: t, addr: l.Addr().String(), ehlo: allKeywords, name: "sink.test", on: on, l: l}
	s.wg.Go(s.accept)
	t.Cleanup(s.stop)
	return s
}

func (s *upSink) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		k := &upSinkConn{s: s, n: len(s.conns) + 1, Conn: c}
		s.conns = append(s.conns, k)
		s.mu.Unlock()
		k.r = bufio.NewReader(io.TeeReader(c, &k.raw))
		s.wg.Go(func() { defer c.Close(); k.serve() })
	}
}

func (s *upSink) stop() {
	s.l.Close()
	s.cut()
	s.wg.Wait()
}

// cut closes all connections.
func (s *upSink) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
}

// taken lists the mails that were answered 2xx.
func (s *upSink) taken() []upSinkMail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]upSinkMail(nil), s.mails...)
}

// set changes settings.
func (s *upSink) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *upSink) setOn(on func(c *upSinkConn, step, line string) bool) { s.set(func() { s.on = on }) }

// settings gives them as they are now.
func (s *upSink) settings() (name string, ehlo []string, t *tls.Config, on func(*upSinkConn, string, string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.name, s.ehlo, s.tls, s.on
}

func (s *upSink) conn(i int) *upSinkConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns[i]
}

func (s *upSink) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (c *upSinkConn) say(lines ...string) {
	_, _ = io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n")
}

func (c *upSinkConn) serve() {
	if !c.step("connect", "") {
		name, _, _, _ := c.s.settings()
		c.say("220 " + name + " ESMTP")
	}
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		verb, _, _ = strings.Cut(verb, ":")
		if c.step(verb, line) {
			continue
		}
		switch verb {
		case "EHLO":
			name, ehlo, _, _ := c.s.settings()
			lines := []string{"250-" + name}
			for _, k := range ehlo {
				lines = append(lines, "250-"+k)
			}
			c.say(append(lines, "250 ENHANCEDSTATUSCODES")...)
		case "HELO":
			c.say("250 hello")
		case "STARTTLS":
			c.say("220 go on")
			c.startTLS()
		case "MAIL":
			c.cur = upSinkMail{from: line}
			c.say("250 2.1.0 Ok")
		case "RCPT":
			c.rcpt(line)
		case "DATA":
			if len(c.cur.to) == 0 {
				c.say("554 5.5.1 No valid recipients")
				continue
			}
			if !c.data(line) {
				return
			}
		case "BDAT":
			if !c.chunk(line) {
				return
			}
		case "RSET":
			c.cur = upSinkMail{}
			c.say("250 2.0.0 Ok")
		case "XFORWARD":
			c.say("250 2.0.0 Ok")
		case "QUIT":
			c.say("221 2.0.0 Bye")
			return
		default:
			c.say("500 5.5.2 What?")
		}
	}
}

func (c *upSinkConn) step(step, line string) bool {
	_, _, _, on := c.s.settings()
	return on != nil && on(c, step, line)
}

func (c *upSinkConn) rcpt(line string) {
	switch {
	case c.cur.from == "":
		c.say("503 5.5.1 MAIL first")
	case strings.Contains(line, "<unknown"):
		c.say("550 5.1.1 No such user")
	case strings.Contains(line, "<later"):
		c.say("450-4.2.0 Not", "450 4.2.0 now")
	default:
		c.cur.to = append(c.cur.to, line)
		c.say("250 2.1.5 Ok")
	}
}

func (c *upSinkConn) data(line string) bool {
	if !c.step("body", line) {
		c.say("354 Go on")
	}
	var raw bytes.Buffer
	for !bytes.HasSuffix(raw.Bytes(), []byte("\r\n.\r\n")) && (raw.Len() != 3 || raw.String() != ".\r\n") {
		p, err := c.r.ReadSlice('\n')
		raw.Write(p)
		if err != nil && err != bufio.ErrBufferFull {
			return false
		}
	}
	c.cur.raw = bytes.TrimSuffix(raw.Bytes(), []byte(".\r\n"))
	c.cur.body = unstuff(c.cur.raw)
	m := c.cur
	c.cur = upSinkMail{}
	if c.step("dot", line) {
		return true
	}
	c.s.mu.Lock()
	c.s.mails = append(c.s.mails, m)
	c.s.mu.Unlock()
	c.say("250 2.0.0 Ok: queued")
	return true
}

// chunk takes the whole of a message in one chunk (RFC 3030).
func (c *upSinkConn) chunk(line string) bool {
	n := 0
	if _, err := fmt.Sscan(strings.TrimPrefix(line, "BDAT "), &n); err != nil {
		c.say("501 5.5.4 BDAT size LAST")
		return true
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(c.r, text); err != nil {
		return false
	}
	if text = append(c.cur.body, text...); !strings.HasSuffix(line, " LAST") {
		c.cur.body = text
		c.say("250 2.0.0 Ok: chunk")
		return true
	}
	m := c.cur
	m.raw, m.body = text, text
	c.cur = upSinkMail{}
	switch {
	case c.step("dot", line):
		return true
	case len(m.to) == 0:
		c.say("503 5.5.1 No valid recipients")
		return true
	}
	c.s.mu.Lock()
	c.s.mails = append(c.s.mails, m)
	c.s.mu.Unlock()
	c.say("250 2.0.0 Ok: queued")
	return true
}

// unstuff is the plain reference of RFC 5321 4.5.2.
func unstuff(raw []byte) []byte {
	lines := bytes.SplitAfter(raw, []byte("\r\n"))
	for i, l := range lines {
		lines[i] = bytes.TrimPrefix(l, []byte("."))
	}
	return bytes.Join(lines, nil)
}

func (c *upSinkConn) startTLS() {
	_, _, conf, _ := c.s.settings()
	t := tls.Server(c.Conn, conf)
	if t.Handshake() != nil {
		c.Close()
		return
	}
	c.Conn = t
	c.r = bufio.NewReader(io.TeeReader(t, &c.raw))
}

// serversFor makes Servers for these addresses, with short waits; change may edit.
func serversFor(t *testing.T, change func(*ServerConfig), addrs ...string) *Servers {
	t.Helper()
	c := ServerConfig{Addresses: addrs, Helo: "gw.test", TLS: TLSNone, Chunking: true, Timeouts: ServerTimeouts{
		Connect: 5 * time.Second, Reply: 5 * time.Second, Write: 5 * time.Second, Final: 5 * time.Second}}
	if change != nil {
		change(&c)
	}
	s, err := NewServers(ServersConfig{Groups: map[string]ServerConfig{DefaultGroup: c}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func upEnvelope() mail.Envelope {
	return mail.Envelope{ID: "01ID", Sender: mail.Address{Local: "a", Domain: "sender.test"}}
}

func upRcpt(local string) mail.RcptTo {
	return mail.RcptTo{Address: mail.Address{Local: local, Domain: "example.org"}}
}

const upText = "Subject: x\r\n\r\nhello\r\n"

// blocks is a Source of the given blocks; each is overwritten at the next call, as
// Source allows.
type blocks struct {
	list [][]byte
	last []byte
}

func upBlocks(s ...string) *blocks {
	b := &blocks{}
	for _, p := range s {
		b.list = append(b.list, []byte(p))
	}
	return b
}

func (b *blocks) Next() ([]byte, error) {
	for i := range b.last {
		b.last[i] = '#'
	}
	if len(b.list) == 0 {
		return nil, io.EOF
	}
	b.last, b.list = b.list[0], b.list[1:]
	return b.last, nil
}

// deliver runs one whole transaction. Each refusal at RCPT is in refused; the rest goes
// to Send.
func deliver(ctx context.Context, s *Servers, env mail.Envelope, src Source, to ...mail.RcptTo) (replies []mail.Reply, refused []*mail.Reply, err error) {
	d, err := s.Begin(ctx, DefaultGroup, env)
	if err != nil {
		return nil, nil, err
	}
	defer d.Close()
	var taken []mail.RcptTo
	for _, r := range to {
		err := d.Rcpt(ctx, r)
		if reply, ok := err.(*mail.Reply); ok {
			refused = append(refused, reply)
		} else if err != nil {
			return nil, refused, err
		} else {
			taken = append(taken, r)
		}
	}
	if len(taken) == 0 {
		return nil, refused, nil
	}
	replies, err = d.Send(ctx, taken, int64(len(upText)), src)
	return replies, refused, err
}

// mustDeliver is deliver that has to succeed whole.
func mustDeliver(t *testing.T, s *Servers, to ...mail.RcptTo) {
	t.Helper()
	replies, refused, err := deliver(t.Context(), s, upEnvelope(), upBlocks(upText), to...)
	if err != nil || len(refused) > 0 || len(replies) != len(to) || !replies[0].OK() {
		t.Fatalf("deliver: replies %v, refused %v, error %v", replies, refused, err)
	}
}

// upCertificate makes a certificate for name and the pool that trusts it.
func upCertificate(t *testing.T, name string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

// describe makes results comparable in tables.
func describe(replies []mail.Reply, refused []*mail.Reply, err error) string {
	s := ""
	for _, r := range refused {
		s += fmt.Sprintf("refused %v; ", r)
	}
	for _, r := range replies {
		s += fmt.Sprintf("%v; ", &r)
	}
	if err != nil {
		s += "error " + err.Error()
	}
	return s
}
