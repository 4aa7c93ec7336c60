package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/mail"
)

func TestS10_EarlyTalker(t *testing.T) {
	cfg := testConfig(t)
	cfg.GreetDelay = 200 * time.Millisecond
	f := startFront(t, cfg)
	x := f.raw(t)
	x.send("EHLO x\r\nMAIL FROM:<inj@x.test>\r\n")
	x.want("554 5.5.0")
	x.eof()
	f.await(t, "end: client spoke before its turn")
	if strings.Contains(f.log(), "mail") || strings.Contains(f.log(), "hello") {
		t.Error(f.log())
	}
	x = f.raw(t)
	x.halfClose()
	x.eof()
	x = f.hello(t) // who waits is served
	x.toData()
}

// Without a delay, too, what is there before the greeting is seen: behind a PROXY header here.
func TestS10_EarlyTalkerWithoutADelay(t *testing.T) {
	cfg := testConfig(t)
	cfg.Proxies = []netip.Prefix{prefix("127.0.0.0/8")}
	f := startFront(t, cfg)
	x := f.raw(t)
	x.send("PROXY TCP4 192.0.2.9 127.0.0.1 4242 25\r\nEHLO x\r\nMAIL FROM:<inj@x.test>\r\n")
	x.want("554 5.5.0")
	x.eof()
	f.await(t, "connect 192.0.2.9; end: client spoke before its turn")
	x = f.raw(t)
	x.send("PROXY TCP4 192.0.2.9 127.0.0.1 4242 25\r\n")
	x.want("220")
}

func v2header(command, family byte, addresses []byte) string {
	h := append([]byte(nil), proxyV2...)
	h = append(h, 0x20|command, family)
	h = binary.BigEndian.AppendUint16(h, uint16(len(addresses)))
	return string(append(h, addresses...))
}

func v2ipv4() string {
	return v2header(1, 0x11, []byte{192, 0, 2, 7, 127, 0, 0, 1, 0x12, 0x67, 0, 25, 4, 0, 1, 0xff}) // with a TLV
}

func TestW17_PROXY(t *testing.T) {
	cfg := testConfig(t)
	cfg.Proxies = []netip.Prefix{prefix("127.0.0.0/8")}
	cfg.Trusted = []netip.Prefix{prefix("192.0.2.9/32")}
	cfg.Limits.Handshake = 300 * time.Millisecond
	f := startFront(t, cfg)
	six := netip.MustParseAddr("2001:db8::7").As16()
	for header, want := range map[string]string{
		"PROXY TCP4 192.0.2.9 127.0.0.1 4242 25\r\n": "192.0.2.9",
		"PROXY TCP6 2001:db8::9 ::1 4242 25\r\n":     "2001:db8::9",
		"PROXY UNKNOWN\r\n":                          "127.0.0.1",
		"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n":      "127.0.0.1",
		v2ipv4():                                     "192.0.2.7",
		v2header(1, 0x21, append(append(append([]byte{}, six[:]...), six[:]...), 0, 1, 0, 25)): "2001:db8::7",
		v2header(0, 0, nil): "127.0.0.1",
	} {
		x := f.raw(t)
		x.send(header)
		x.want("220")
		f.await(t, "connect "+want)
		x.send("EHLO me\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n")
		x.want("250", "250", "250", "354")
		x.send(".\r\nQUIT\r\n")
		x.want("250", "221")
		x.eof()
		all := f.got()
		if c := all[len(all)-1].client; c.Addr.String() != want || c.Trusted != (want == "192.0.2.9") || c.Port == 0 {
			t.Errorf("%q: %+v", header, c)
		}
		f.await(t, "end")
		f.mu.Lock()
		f.events = nil
		f.mu.Unlock()
	}
	for _, header := range []string{
		"", "EHLO x\r\nMAIL FROM:<a@x.test>\r\n", "PROXY TCP4 x\r\n" + strings.Repeat("x", 20), "PROXY TCP4 192.0.2.9 127.0.0.1 4242 99999\r\n", "PROXY TCP4 192.0.2.9 127.0.0.1 +1 25\r\n",
		"PROXY TCP4 2001:db8::9 ::1 1 2\r\n", "PROXY  TCP4 192.0.2.9 127.0.0.1 1 2\r\n", "PROXY TCP4 192.0.2.9 127.0.0.1 1 2\n" + strings.Repeat("x", 200), "PROXY " + strings.Repeat("x", 200) + "\r\n",
		v2header(1, 0x11, []byte{1, 2, 3}), v2header(2, 0x11, make([]byte, 12)), v2header(1, 0x31, make([]byte, 216)), v2header(1, 0x12, make([]byte, 12)), v2ipv4()[:20],
		v2header(1, 0x11, make([]byte, 60_000)),
	} {
		x := f.raw(t)
		x.send(header)
		x.want("421 4.7.0")
		x.eof()
	}
	if strings.Contains(f.log(), "connect") {
		t.Error(f.log())
	}
}

// A stranger's PROXY header is what any words before the greeting are.
func TestW17_PROXYFromStranger(t *testing.T) {
	cfg := testConfig(t)
	cfg.Proxies = []netip.Prefix{prefix("192.0.2.0/24")}
	f := startFront(t, cfg)
	x := f.dial(t)
	x.send("PROXY TCP4 192.0.2.9 127.0.0.1 4242 25\r\nEHLO me\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n")
	x.want("500", "250", "250", "250", "354")
	x.send(".\r\n")
	x.want("250")
	if a := f.got()[0].client.Addr.String(); a != "127.0.0.1" {
		t.Error(a)
	}
}

func TestS32_ConnectionLimits(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.ConnectionsPerIP, cfg.Limits.Connections = 3, 4
	cfg.Proxies = []netip.Prefix{prefix("127.0.0.2/32")}
	f := startFront(t, cfg)
	open := []*testClient{f.dial(t), f.dial(t), f.dial(t)}
	x := f.raw(t)
	if r := x.want("421 4.7.0 gw.test "); !strings.Contains(r, "your address") {
		t.Error(r)
	}
	x.eof()
	if n := f.f.sessions(); n != 3 {
		t.Errorf("%d sessions", n)
	}
	// The address counts where the client is known by a header only, and the total does.
	y := f.rawFrom(t, "127.0.0.2")
	y.send("PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n")
	y.want("421 4.7.0 gw.test Too many connections from your address")
	y.eof()
	y.c.Close()
	f.awaitSessions(3)
	y = f.rawFrom(t, "127.0.0.2")
	y.send("PROXY TCP6 2001:db8::1 ::1 1 25\r\n")
	y.want("220")
	x = f.rawFrom(t, "127.0.0.3")
	x.want("421 4.7.0 gw.test Too many connections,")
	x.eof()
	if n := f.f.away.Load(); n != 3 {
		t.Errorf("%d turned away", n)
	}
	// Places come back, however the client leaves.
	for _, c := range append(open, y) {
		_ = c.c.(*net.TCPConn).SetLinger(0)
		c.c.Close()
	}
	for range 200 {
		x := f.rawFrom(t, "127.0.0.4")
		_ = x.c.(*net.TCPConn).SetLinger(0)
		x.c.Close()
	}
	f.awaitSessions(0)
	f.f.doors.mu.Lock()
	defer f.f.doors.mu.Unlock()
	if len(f.f.doors.open) != 0 || f.f.doors.total != 0 {
		t.Error(f.f.doors.open, f.f.doors.total)
	}
}

// awaitSessions waits until n connections are open.
func (f *testFront) awaitSessions(n int) {
	for f.f.sessions() != n {
		time.Sleep(time.Millisecond)
	}
}

// rawFrom connects from another loopback address.
func (f *testFront) rawFrom(t testing.TB, addr string) *testClient {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	c, err := d.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return newTestClient(t, c)
}

// A few who take all places that they may have leave some for those who have none.
func TestS31_PlacesForThoseWhoHaveNone(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.ConnectionsPerIP, cfg.Limits.Connections = 10, 20
	cfg.Trusted = []netip.Prefix{prefix("127.0.0.9/32")}
	f := startFront(t, cfg)
	for range 10 {
		f.rawFrom(t, "127.0.0.2").want("220")
		f.rawFrom(t, "127.0.0.3").want("220")
	}
	f.rawFrom(t, "127.0.0.4").want("220")
	f.rawFrom(t, "127.0.0.4").want("421 4.7.0 gw.test Too many connections,")
	f.rawFrom(t, "127.0.0.9").want("220") // ours
	f.rawFrom(t, "127.0.0.5").want("421 4.7.0 gw.test Too many connections,")
	if n := f.f.sessions(); n != 22 {
		t.Errorf("%d sessions", n)
	}
}

func TestAdmission(t *testing.T) {
	lim := Limits{Connections: 100, ConnectionsPerIP: 100, RatePerIP: 60}
	a := newAdmission(&lim)
	now := time.Unix(1e9, 0)
	try := func(addr string, n int) (ok int) {
		for range n {
			if a.enterFrom(netip.MustParseAddr(addr), now) == "" {
				ok++
				a.leaveFrom(netip.MustParseAddr(addr))
			}
		}
		return ok
	}
	if n := try("2001:db8::1", 40) + try("2001:db8:0:0:ffff::2", 40); n != 60 {
		t.Errorf("a /64 got %d", n)
	}
	if n := try("2001:db8:0:1::1", 1) + try("192.0.2.1", 60); n != 61 {
		t.Errorf("others got %d", n)
	}
	if n := try("::ffff:192.0.2.1", 1); n != 0 {
		t.Error("the mapped address has a bucket of its own")
	}
	now = now.Add(10 * time.Second)
	if n := try("192.0.2.1", 60); n != 10 {
		t.Errorf("after ten seconds %d", n)
	}
	// Memory is bounded: buckets that are full again go first.
	now = now.Add(time.Hour)
	for i := range 3 * maxBuckets {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(i))
		a.enterFrom(netip.AddrFrom4(b), now)
		a.leaveFrom(netip.AddrFrom4(b))
	}
	if len(a.rate.known) > maxBuckets || len(a.open) != 0 {
		t.Error(len(a.rate.known), len(a.open))
	}
}

func TestTrustedAreSpared(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.ConnectionsPerIP, cfg.Limits.RatePerIP = 1, 1
	cfg.Trusted = []netip.Prefix{prefix("127.0.0.0/8")}
	f := startFront(t, cfg)
	for range 3 {
		f.dial(t)
	}
}

// A badListener has no file descriptors left for a while (S-34).
type badListener struct {
	net.Listener
	mu   sync.Mutex
	fail int
}

func (l *badListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail > 0 {
		l.fail--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestS34_AcceptErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	flow := &fakeFlow{changed: make(chan struct{}, 1)}
	f := newFront(testConfig(t), slog.New(slog.NewTextHandler(&out, nil)), flow.connect, allExtensions)
	result := make(chan error)
	go func() { result <- f.serve(context.Background(), &badListener{Listener: l, fail: 5}, Door{}) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	newTestClient(t, c).want("220")
	c.Close()
	l.Close()
	if err := <-result; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if n := strings.Count(out.String(), "cannot accept"); n != 1 {
		t.Errorf("logged %d times: %s", n, out.String())
	}
}

// Memory of idle connections (S-31): heap and stacks, both ends of the connection and the
// buffers of go-smtp counted.
func TestS31_IdleMemory(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.ConnectionsPerIP = -1
	f := startFront(t, cfg)
	const n = 200
	var before, after runtime.MemStats
	open := make([]net.Conn, 0, n)
	buf := make([]byte, 512)
	x := f.hello(t) // what is made once
	x.toData()
	x.send("x\r\n.\r\n")
	x.want("250")
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		c, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, say := range []string{"", "EHLO me\r\n", "MAIL FROM:<a@x.test>\r\n", "RCPT TO:<b@y.test>\r\n", "DATA\r\n", strings.Repeat("x\r\n", 20_000) + ".\r\n"} {
			if _, err := io.WriteString(c, say); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
		f.mu.Lock()
		f.events, f.messages = nil, nil
		f.mu.Unlock()
		open = append(open, c)
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)) / n
	t.Logf("%d bytes a connection", each)
	if each > 40<<10 {
		t.Errorf("%d bytes a connection", each)
	}
	runtime.KeepAlive(open)
}

// A wire by itself keeps its small buffer only, once a body is over.
func TestWireGivesItsBufferBack(t *testing.T) {
	f := startFront(t, testConfig(t))
	bodies := make(chan *body, 1)
	f.onData = func(_ context.Context, u upload) *mail.Reply {
		for {
			if _, err := u.Next(); err != nil {
				bodies <- u.(*body)
				return reply(250, [3]int{2, 0, 0}, "Ok")
			}
		}
	}
	x := f.hello(t)
	x.toData()
	x.send(strings.Repeat("x\r\n", 50_000) + ".\r\n")
	x.want("250")
	x.send("QUIT\r\n")
	x.want("221")
	x.eof()
	f.stop()
	w := (<-bodies).w
	if w.large != nil || cap(w.out) > smallBuffer || len(w.buf) != smallBuffer {
		t.Error(w.large != nil, cap(w.out), len(w.buf))
	}
}
