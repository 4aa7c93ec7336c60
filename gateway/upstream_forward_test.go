package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"postern/mail"
	"postern/testkit"
)

func visitor(addr string, port uint16, helo string) mail.Envelope {
	env := upEnvelope()
	env.Client = mail.Client{Addr: netip.MustParseAddr(addr), Port: port, Helo: helo, ESMTP: true}
	return env
}

// mustForward delivers a message for a client.
func mustForward(t *testing.T, up *Servers, env mail.Envelope) {
	t.Helper()
	replies, refused, err := deliver(t.Context(), up, env, upBlocks(upText), upRcpt("a"))
	if err != nil || len(refused) > 0 || !replies[0].OK() {
		t.Fatal(describe(replies, refused, err))
	}
}

// takesXClient answers XCLIENT as Postfix does: once on a connection.
func takesXClient(c *upSinkConn, step, _ string) bool {
	if step != "XCLIENT" {
		return false
	}
	if strings.Count(c.raw.String(), "XCLIENT ") > 1 {
		c.say("550 5.7.0 Error: insufficient authorization")
	} else {
		c.say("220 sink.test ESMTP")
	}
	return true
}

// Each connection is for one client: its next message goes over it, another client's never does.
func TestForward_XClient(t *testing.T) {
	s := newUpSink(t, takesXClient)
	s.set(func() { s.ehlo = append(slices.Clone(allKeywords), "XCLIENT NAME ADDR PORT PROTO HELO LOGIN FUTURE") })
	up := serversFor(t, func(c *ServerConfig) { c.Forward = ForwardXClient }, s.addr)
	eve, bob := visitor("203.0.113.5", 4711, "mail.eve.example"), visitor("2001:db8::5", 4712, "not a+name")
	bob.Client.ESMTP = false
	mustForward(t, up, eve)
	mustForward(t, up, bob)
	mustForward(t, up, eve)
	again := eve
	again.Client.Port++ // another connection of the same client
	mustForward(t, up, again)
	mustForward(t, up, upEnvelope()) // of ourselves, as a notice is
	up.Close()
	s.stop()
	first := "EHLO gw.test\r\nXCLIENT NAME=[UNAVAILABLE] ADDR=203.0.113.5 PORT=4711 PROTO=ESMTP HELO=mail.eve.example\r\nEHLO mail.eve.example\r\nMAIL FROM:"
	for i, want := range []string{
		first,
		"EHLO gw.test\r\nXCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::5 PORT=4712 PROTO=SMTP HELO=not+20a+2Bname\r\nEHLO gw.test\r\nMAIL FROM:",
		strings.Replace(first, "4711", "4712", 1),
		"EHLO gw.test\r\nMAIL FROM:", // it is us who are the client
	} {
		if raw := s.conn(i).raw.String(); !strings.HasPrefix(raw, want) || strings.Count(raw, "XCLIENT") > 1 {
			t.Errorf("connection %d: %q, want %q", i, raw, want)
		}
	}
	if n := strings.Count(s.conn(0).raw.String(), "MAIL FROM"); n != 2 || s.connections() != 4 {
		t.Errorf("%d messages on the first of %d connections", n, s.connections())
	}
}

// What the server decides about the client is its answer; what is wrong with us is not.
func TestForward_XClientRefused(t *testing.T) {
	for answer, code := range map[string]int{
		"554 5.7.1 Client host rejected": 554, "450 4.7.1 Greylisted": 450,
		"550 5.7.0 Error: insufficient authorization": 0, "501 5.5.4 Bad ADDR": 0, "421 4.3.2 Closing": 0, "250 Ok": 0, "503 In transaction": 0,
	} {
		s := newUpSink(t, func(c *upSinkConn, step, _ string) bool {
			if step == "XCLIENT" {
				c.say(answer)
			}
			return step == "XCLIENT"
		})
		s.set(func() { s.ehlo = []string{"XCLIENT ADDR"} })
		up := serversFor(t, func(c *ServerConfig) { c.Forward = ForwardXClient }, s.addr)
		_, err := up.Begin(t.Context(), DefaultGroup, visitor("203.0.113.5", 4711, "x.test"))
		var r *mail.Reply
		if is := errors.As(err, &r); err == nil || is != (code != 0) || is && r.Code != code {
			t.Errorf("%s: %v", answer, err)
		}
		if down := up.Health() != nil; down != (code == 0) {
			t.Errorf("%s: down is %v", answer, down)
		}
	}
	refuses := func(c *upSinkConn, step, line string) bool { // HELO checks are about the client, too
		if step != "EHLO" && step != "HELO" || !strings.HasSuffix(line, "x.test") {
			return takesXClient(c, step, line)
		}
		c.say("550 5.7.1 Helo command rejected")
		return true
	}
	s := newUpSink(t, refuses)
	s.set(func() { s.ehlo = []string{"XCLIENT ADDR"} })
	up := serversFor(t, func(c *ServerConfig) { c.Forward = ForwardXClient }, s.addr)
	if _, err := up.Begin(t.Context(), DefaultGroup, visitor("203.0.113.5", 4711, "x.test")); err == nil || err.Error() != "550 5.7.1 Helo command rejected" {
		t.Error(err)
	}
}

// Where XCLIENT is not offered, mail flows, and check says what is wrong.
func TestForward_NotOffered(t *testing.T) {
	for _, f := range []Forward{ForwardXClient, ForwardXForward} {
		s := newUpSink(t, nil)
		s.set(func() { s.ehlo = []string{"PIPELINING"} })
		up := serversFor(t, func(c *ServerConfig) { c.Forward = f }, s.addr)
		mustForward(t, up, visitor("203.0.113.5", 4711, "x.test"))
		if p := up.Probe(t.Context())[0]; p.Err != nil || len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], strings.ToUpper(string(f))) {
			t.Errorf("%+v", p)
		}
	}
}

// The header comes first of all on each connection, and says whose it is.
func TestForward_Proxy(t *testing.T) {
	headers := make(chan string, 10)
	s := newUpSink(t, func(c *upSinkConn, step, _ string) bool {
		if step != "connect" {
			return false
		}
		head := make([]byte, 16)
		_, _ = io.ReadFull(c.r, head)
		rest := make([]byte, binary.BigEndian.Uint16(head[14:]))
		_, _ = io.ReadFull(c.r, rest)
		headers <- string(head[12:14]) + string(rest)
		return false
	})
	up := serversFor(t, func(c *ServerConfig) { c.Forward = ForwardProxy }, s.addr)
	eve, bob := visitor("203.0.113.5", 4711, "x.test"), visitor("2001:db8::5", 4712, "x.test")
	mustForward(t, up, eve)
	mustForward(t, up, bob)
	eve.Client.Helo = "other.test"
	mustForward(t, up, eve)
	if p := up.Probe(t.Context())[0]; p.Err != nil || len(p.Warnings) > 0 {
		t.Errorf("%+v", p)
	}
	port := netip.MustParseAddrPort(s.addr).Port()
	six := netip.MustParseAddr("2001:db8::5").As16()
	for i, want := range []string{
		"\x21\x11" + "\xcb\x00\x71\x05" + "\x7f\x00\x00\x01" + "\x12\x67" + string([]byte{byte(port >> 8), byte(port)}),
		"\x21\x21" + string(six[:]) + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x7f\x00\x00\x01" + "\x12\x68" + string([]byte{byte(port >> 8), byte(port)}),
		"\x20\x00",
	} {
		if got := <-headers; got != want {
			t.Errorf("connection %d: %q, want %q", i, got, want)
		}
	}
	if n := strings.Count(s.conn(0).raw.String(), "MAIL FROM"); n != 2 {
		t.Errorf("%d messages on the first connection", n)
	}
}

// What we write is what we read.
func TestForward_ProxyHeaderIsReadBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() netip.AddrPort {
		var a [16]byte
		for i := range a {
			a[i] = byte(r.UintN(256))
		}
		addr := netip.AddrFrom16(a)
		if r.IntN(2) == 0 {
			addr = netip.AddrFrom4([4]byte(a[:4]))
		}
		return netip.AddrPortFrom(addr, uint16(r.UintN(65536)))
	}
	lim := DefaultLimits()
	for range 500 {
		from, to := random(), random()
		if r.IntN(10) == 0 {
			to = netip.AddrPort{} // as of a Unix socket
		}
		w := newWire(&scriptedConn{in: appendProxyHeader(nil, from, to)}, "gw.test", &lim)
		got, err := w.proxyHeader()
		if err != nil || got != netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) || w.r != w.e {
			t.Fatalf("%v to %v: %v, %v", from, to, got, err)
		}
	}
	if got, err := newWire(&scriptedConn{in: appendProxyHeader(nil, netip.AddrPort{}, netip.AddrPort{})}, "gw.test", &lim).proxyHeader(); err != nil || got.IsValid() {
		t.Error(got, err)
	}
}

// A connection on which the server remembers another client is not used for this one.
func TestForward_XForwardRefusedLater(t *testing.T) {
	s := newUpSink(t, func(c *upSinkConn, step, line string) bool {
		if step != "XFORWARD" || !strings.Contains(line, "203.0.113.6") || c.n > 1 {
			return false
		}
		c.say("501 5.5.4 Bad ADDR syntax")
		return true
	})
	up := serversFor(t, func(c *ServerConfig) { c.Forward = ForwardXForward }, s.addr)
	mustForward(t, up, visitor("203.0.113.5", 1, "x.test"))
	mustForward(t, up, visitor("203.0.113.6", 1, "x.test"))
	if n := len(s.taken()); n != 2 || s.connections() != 2 {
		t.Errorf("%d messages over %d connections", n, s.connections())
	}
}

// The connections of clients that are gone make room.
func TestForward_IdleConnectionsAreBounded(t *testing.T) {
	s := newUpSink(t, takesXClient)
	s.set(func() { s.ehlo = []string{"PIPELINING", "XCLIENT ADDR PORT"} })
	up := serversFor(t, func(c *ServerConfig) { c.Forward, c.MaxIdle = ForwardXClient, 2 }, s.addr)
	for port := range uint16(6) {
		mustForward(t, up, visitor("203.0.113.5", 100+port, "x.test"))
	}
	mustForward(t, up, visitor("203.0.113.5", 105, "x.test"))
	mustForward(t, up, visitor("203.0.113.5", 104, "x.test"))
	if n := s.connections(); n != 6 {
		t.Errorf("%d connections, want 6: the last two are kept", n)
	}
	if n := up.groups[DefaultGroup].hosts[0].open.Load(); n != 2 {
		t.Errorf("%d are open, want 2", n)
	}
}

// Real Postfix believes what it is told, for each client by itself.
func TestForward_Postfix(t *testing.T) {
	for f, main := range map[Forward]map[string]string{
		ForwardXClient:  {"inet_protocols": "all", "smtpd_authorized_xclient_hosts": "127.0.0.0/8"},
		ForwardProxy:    {"inet_protocols": "all", "smtpd_upstream_proxy_protocol": "haproxy"},
		ForwardXForward: {"inet_protocols": "all"},
	} {
		t.Run(string(f), func(t *testing.T) {
			p := testkit.StartPostfix(t, testkit.PostfixOptions{Main: main, Proxy: f == ForwardProxy, TLS: true})
			up := serversFor(t, func(c *ServerConfig) { c.Forward, c.TLS = f, TLSOpportunistic }, p.Addr)
			for range 2 {
				mustForward(t, up, visitor("203.0.113.5", 4711, "one.test"))
				mustForward(t, up, visitor("2001:db8::5", 4712, "two.test"))
			}
			if pr := up.Probe(t.Context())[0]; pr.Err != nil || len(pr.Warnings) > 0 || pr.TLS == "" {
				t.Errorf("%+v", pr)
			}
			all := string(bytes.Join(p.WaitMessages("a", 4), nil))
			where, want := all, []string{"(unknown [203.0.113.5])", "(unknown [IPv6:2001:db8::5])"}
			switch f {
			case ForwardXForward:
				where, want = p.Log(), []string{"orig_client=unknown[203.0.113.5]", "orig_client=unknown[2001:db8::5]"}
			case ForwardXClient:
				want = append(want, "from one.test (", "from two.test (")
			}
			for _, w := range want {
				if n := strings.Count(where, w); n != 2 {
					t.Errorf("%s stands %d times in\n%s\n%s", w, n, all, p.Log())
				}
			}
		})
	}
}

// A Postfix without IPv6 refuses such addresses: the mail arrives, without them.
func TestForward_PostfixWithoutIPv6(t *testing.T) {
	p := testkit.StartPostfix(t, testkit.PostfixOptions{Main: map[string]string{"smtpd_authorized_xclient_hosts": "127.0.0.0/8"}})
	for i, f := range []Forward{ForwardXClient, ForwardXForward} {
		up := serversFor(t, func(c *ServerConfig) { c.Forward = f }, p.Addr)
		mustForward(t, up, visitor("203.0.113.5", 1, "one.test"))
		mustForward(t, up, visitor("2001:db8::5", 2, "two.test"))
		mustForward(t, up, visitor("2001:db8::6", 3, "three.test"))
		mustForward(t, up, visitor("203.0.113.5", 1, "one.test"))
		p.WaitMessages("a", 4*(i+1))
	}
	if n := strings.Count(p.Log(), "client=unknown[203.0.113.5]"); n != 4 { // of XFORWARD as orig_client
		t.Errorf("%d messages of 203.0.113.5\n%s", n, p.Log())
	}
}
