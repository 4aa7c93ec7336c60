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
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/mail"
)

// A fakeFlow records what the front hands to the flow, and answers by hooks.
type fakeFlow struct {
	mu       sync.Mutex
	events   []string
	messages []fakeMessage
	changed  chan struct{} // gets a token at each event, when somebody looks

	onBegin func(from mail.Address, o mail.Options) *mail.Reply
	onRcpt  func(to mail.RcptTo) *mail.Reply
	onReady func() *mail.Reply
	onData  func(ctx context.Context, u upload) *mail.Reply
	onEnd   func()
}

type fakeMessage struct {
	client mail.Client
	from   mail.Address
	opts   mail.Options
	to     []mail.RcptTo
	body   string
	err    error
	flaws  [3]bool
}

func (f *fakeFlow) event(format string, v ...any) {
	f.mu.Lock()
	f.events = append(f.events, fmt.Sprintf(format, v...))
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func (f *fakeFlow) log() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.events, "; ")
}

func (f *fakeFlow) got() []fakeMessage {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]fakeMessage(nil), f.messages...)
}

// await waits until the log contains s.
func (f *fakeFlow) await(t testing.TB, s string) {
	t.Helper()
	limit := time.After(10 * time.Second)
	for !strings.Contains(f.log(), s) {
		select {
		case <-f.changed:
		case <-limit:
			t.Fatalf("no %q in %q", s, f.log())
		}
	}
}

func (f *fakeFlow) connect(ctx context.Context, c mail.Client) talk {
	f.event("connect %s", c.Addr)
	return &fakeTalk{f: f, ctx: ctx, client: c}
}

type fakeTalk struct {
	f      *fakeFlow
	ctx    context.Context
	client mail.Client
}

func (c *fakeTalk) hello(helo string, esmtp bool, tls string) {
	c.client.Helo, c.client.ESMTP, c.client.TLS = helo, esmtp, tls
	c.f.event("hello %s", helo)
}

func (c *fakeTalk) begin(from mail.Address, o mail.Options) (deal, *mail.Reply) {
	c.f.event("mail %s", from)
	if c.f.onBegin != nil {
		if r := c.f.onBegin(from, o); r != nil {
			return nil, r
		}
	}
	return &fakeDeal{c: c, m: fakeMessage{client: c.client, from: from, opts: o}}, nil
}

func (c *fakeTalk) end(cause error) {
	c.f.event("end: %v", cause)
	if c.f.onEnd != nil {
		c.f.onEnd()
	}
}

type fakeDeal struct {
	c *fakeTalk
	m fakeMessage
}

func (d *fakeDeal) rcpt(to mail.RcptTo) *mail.Reply {
	d.c.f.event("rcpt %s", to.Address)
	if d.c.f.onRcpt != nil {
		if r := d.c.f.onRcpt(to); r != nil {
			return r
		}
	}
	d.m.to = append(d.m.to, to)
	return nil
}

func (d *fakeDeal) ready() *mail.Reply {
	if d.c.f.onReady != nil {
		return d.c.f.onReady()
	}
	if len(d.m.to) == 0 {
		return &mail.Reply{Code: 554, Enhanced: [3]int{5, 5, 1}, Text: "No valid recipients"}
	}
	return nil
}

func (d *fakeDeal) data(u upload) *mail.Reply {
	d.c.f.event("data")
	if d.c.f.onData != nil {
		return d.c.f.onData(d.c.ctx, u)
	}
	var b bytes.Buffer
	for d.m.err == nil {
		var p []byte
		p, d.m.err = u.Next()
		b.Write(p)
	}
	d.m.body = b.String()
	d.m.flaws[0], d.m.flaws[1], d.m.flaws[2] = u.Flaws()
	d.c.f.mu.Lock()
	d.c.f.messages = append(d.c.f.messages, d.m)
	d.c.f.mu.Unlock()
	switch {
	case errors.Is(d.m.err, errTooBig):
		return &mail.Reply{Code: 552, Enhanced: [3]int{5, 3, 4}, Text: "Too big"}
	case d.m.err != io.EOF:
		return &mail.Reply{Code: 451, Enhanced: [3]int{4, 4, 2}, Text: "Broken off"}
	case d.m.flaws[0] || d.m.flaws[1]:
		return &mail.Reply{Code: 550, Enhanced: [3]int{5, 5, 2}, Text: "Bare CR or LF"}
	}
	return &mail.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "Ok id=1"}
}

func (d *fakeDeal) abandon(cause error) { d.c.f.event("abandon: %v", cause) }

// testConfig has limits that are short enough to be met in a test.
func testConfig(t testing.TB) Config {
	cert := testCert(t)
	return Config{
		Hostname: "gw.test",
		TLS:      func() *tls.Config { return cert },
		Limits: Limits{
			MessageSize: 200_000, Line: 2048, Errors: 20, RatePerIP: -1,
			Command: 5 * time.Second, Stall: 5 * time.Second, MinRate: 500, MinRateAfter: time.Minute,
			Write: 5 * time.Second, Handshake: 5 * time.Second, Session: time.Minute,
		},
	}
}

func testCert(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"gw.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// A testFront is a front on a loopback port, with a fake flow behind it.
type testFront struct {
	*fakeFlow
	f    *front
	addr string
	stop func() error // cancels serve and waits for it
}

func allExtensions() mail.Extensions {
	return mail.Extensions{Size: 200_000, EightBitMIME: true, UTF8: true, DSN: true}
}

func startFront(t testing.TB, cfg Config, change ...func(*front)) *testFront {
	t.Helper()
	flow := &fakeFlow{changed: make(chan struct{}, 1)}
	f := newFront(cfg, slog.New(slog.DiscardHandler), flow.connect, allExtensions)
	for _, c := range change {
		c(f)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- f.serve(ctx, l, Door{}) }()
	var once sync.Once
	var served error
	stop := func() error {
		cancel()
		once.Do(func() { served = <-result })
		return served
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
		if n := f.sessions(); n != 0 {
			t.Errorf("%d sessions are counted after the end", n)
		}
	})
	return &testFront{fakeFlow: flow, f: f, addr: l.Addr().String(), stop: stop}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A testClient is a client that controls every byte.
type testClient struct {
	t testing.TB
	c net.Conn
	r *bufio.Reader
}

// raw connects and reads nothing.
func (f *testFront) raw(t testing.TB) *testClient {
	t.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return newTestClient(t, c)
}

func newTestClient(t testing.TB, c net.Conn) *testClient {
	return &testClient{t, c, bufio.NewReader(c)}
}

// dial connects and reads the greeting.
func (f *testFront) dial(t testing.TB) *testClient {
	t.Helper()
	x := f.raw(t)
	x.want("220 gw.test ESMTP")
	return x
}

// hello connects and says EHLO.
func (f *testFront) hello(t testing.TB) *testClient {
	t.Helper()
	x := f.dial(t)
	x.send("EHLO me\r\n")
	x.want("250")
	return x
}

func (x *testClient) send(s string) {
	_, _ = io.WriteString(x.c, s) // an error shows in the reply
}

// reply reads one reply, of any number of lines.
func (x *testClient) reply() string {
	_ = x.c.SetReadDeadline(time.Now().Add(10 * time.Second))
	var all strings.Builder
	for {
		l, err := x.r.ReadString('\n')
		all.WriteString(l)
		if err != nil {
			return all.String() + "<" + err.Error() + ">"
		}
		if len(l) > 512 || len(l) < 6 || !strings.HasSuffix(l, "\r\n") || strings.ContainsFunc(l[:len(l)-2], func(r rune) bool { return r < ' ' || r > '~' }) {
			x.t.Errorf("bad reply line %q", l)
		}
		if len(l) > 3 && l[3] == ' ' {
			return all.String()
		}
	}
}

// want reads a reply for each prefix; it returns the last.
func (x *testClient) want(prefixes ...string) (last string) {
	x.t.Helper()
	for _, p := range prefixes {
		if last = x.reply(); !strings.HasPrefix(last, p) {
			x.t.Fatalf("want %q, got %q", p, last)
		}
	}
	return last
}

// eof wants the connection to be closed.
func (x *testClient) eof() {
	x.t.Helper()
	if r := x.reply(); r != "<EOF>" {
		x.t.Fatalf("want the end of the connection, got %q", r)
	}
}

// toData goes on to 354.
func (x *testClient) toData() {
	x.t.Helper()
	x.send("MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n")
	x.want("250 2.1.0", "250 2.1.5", "354")
}

func (x *testClient) halfClose() { _ = x.c.(*net.TCPConn).CloseWrite() }

func reply(code int, e [3]int, text string) *mail.Reply {
	return &mail.Reply{Code: code, Enhanced: e, Text: text}
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
