package gateway

import (
	"net/netip"
	"strings"
	"testing"

	"postern/mail"
)

// xclientFront takes XCLIENT from loopback addresses.
func xclientFront(t *testing.T, change ...func(*Config)) *testFront {
	cfg := testConfig(t)
	cfg.XClients = []netip.Prefix{prefix("127.0.0.0/8")}
	for _, c := range change {
		c(&cfg)
	}
	return startFront(t, cfg)
}

// forXClient goes through a message on behalf of a client.
func (x *testClient) forXClient(attributes string) {
	x.t.Helper()
	x.send("XCLIENT " + attributes + "\r\n")
	x.want("220 gw.test ESMTP")
	x.send("EHLO proxy.test\r\n")
	x.want("250")
	x.toData()
	x.send("x\r\n.\r\n")
	x.want("250")
}

func TestW17_XClient(t *testing.T) {
	f := xclientFront(t, func(c *Config) { c.Trusted = []netip.Prefix{prefix("192.0.2.9/32"), prefix("127.0.0.1/32")} })
	x := f.hello(t)
	x.forXClient("name=mail.eve.example ADDR=203.0.113.5 PORT=4711 PROTO=SMTP HELO=mail+2Eeve.example LOGIN=[unavailable]")
	x.forXClient("ADDR=IPV6:2001:db8::5 HELO=[Unavailable] PROTO=ESMTP NAME=[TEMPUNAVAIL]")
	x.forXClient("ADDR=192.0.2.9 PROTO=[UNAVAILABLE]")
	x.forXClient("ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE]")
	x.send("QUIT\r\n")
	x.want("221")
	x.eof()
	want := []mail.Client{
		{Addr: netip.MustParseAddr("203.0.113.5"), Port: 4711, Helo: "mail.eve.example"},
		{Addr: netip.MustParseAddr("2001:db8::5"), Port: 4711, Helo: "proxy.test", ESMTP: true},
		{Addr: netip.MustParseAddr("192.0.2.9"), Port: 4711, Helo: "proxy.test", ESMTP: true, Trusted: true},
		{Helo: "proxy.test", ESMTP: true},
	}
	got := f.got()
	if len(got) != len(want) {
		t.Fatalf("%d messages", len(got))
	}
	for i := range want {
		if got[i].client != want[i] {
			t.Errorf("message %d: %+v, want %+v", i, got[i].client, want[i])
		}
	}
	f.await(t, "connect invalid IP; hello proxy.test; mail a@x.test; rcpt b@y.test; data; end: client quit")
	if l := f.log(); !strings.HasPrefix(l, "connect 127.0.0.1; hello me; end: client quit; connect 203.0.113.5; hello mail.eve.example; mail a@x.test; rcpt b@y.test; data; end: client quit; connect 2001:db8::5; hello proxy.test;") {
		t.Error(l)
	}
}

// It is as if the client had just connected: nothing of before is left, but for TLS.
func TestW17_XClientResets(t *testing.T) {
	f := xclientFront(t)
	x := f.dial(t)
	x.send("XCLIENT ADDR=203.0.113.5\r\nMAIL FROM:<a@x.test>\r\nEHLO one\r\nMAIL FROM:<a@x.test>\r\nXCLIENT ADDR=203.0.113.6\r\nRSET\r\nXCLIENT ADDR=203.0.113.6\r\nRCPT TO:<b@y.test>\r\nDATA\r\nMAIL FROM:<b@x.test> SIZE=1\r\n")
	x.want("220", "503", "250-gw.test", "250", "503 5.5.1", "250", "220", "503", "503", "503")
	x.send("EHLO two\r\n")
	if r := x.want("250"); !strings.Contains(r, "\r\n250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n") || !strings.Contains(r, "STARTTLS") {
		t.Error(r)
	}
	x = x.startTLS()
	x.send("XCLIENT ADDR=203.0.113.7\r\nEHLO three\r\n")
	x.want("220")
	if r := x.want("250"); strings.Contains(r, "STARTTLS") {
		t.Error(r)
	}
	x.toData()
	x.send(".\r\n")
	x.want("250")
	if c := f.got()[0].client; c.TLS == "" || c.Addr.String() != "203.0.113.7" {
		t.Errorf("%+v", c)
	}
}

func TestW17_XClientSyntax(t *testing.T) {
	f := xclientFront(t)
	x := f.dial(t)
	for _, bad := range []string{"", "ADDR", "ADDR=", "ADDR=1.2.3", "ADDR=1.2.3.4.5", "ADDR=IPV6:1.2.3.4", "ADDR=2001:db8::1", "ADDR=IPV6:fe80::1%25eth0",
		"ADDR=[1.2.3.4]", "PORT=65536", "PORT=-1", "PORT=x", "PROTO=LMTP", "HELO=a+0Ab", "HELO=a+0", "HELO=a+zz", "HELO=a+0ab", "HELO=a=b", "NAME=", "HELO=" + strings.Repeat("x", 256),
		"FOO=bar", "ADDR=203.0.113.5 FOO=bar", "=x"} {
		x.send("XCLIENT " + bad + "\r\n")
		x.want("501 5.5.4")
		if x.send("RSET\r\n"); !strings.HasPrefix(x.reply(), "250") {
			t.Fatal(bad)
		}
		if strings.Contains(f.log(), "203.0.113.5") {
			t.Errorf("%s: %s", bad, f.log())
		}
		if x.send("XCLIENT HELO=again\r\n"); !strings.HasPrefix(x.reply(), "220") { // or there were too many errors
			t.Fatal(bad)
		}
	}
}

// Nobody but listed peers may say it, nor hears of it (W-17). Who was named by it is no peer.
func TestW17_XClientFromStranger(t *testing.T) {
	f := xclientFront(t, func(c *Config) { c.XClients = []netip.Prefix{prefix("192.0.2.0/24")} })
	x := f.dial(t)
	x.send("EHLO me\r\n")
	if r := x.want("250"); strings.Contains(r, "XCLIENT") {
		t.Error(r)
	}
	x.send("XCLIENT ADDR=192.0.2.7\r\n")
	x.want("502")
	x.toData()
	x.send(".\r\n")
	x.want("250")
	if a := f.got()[0].client.Addr.String(); a != "127.0.0.1" {
		t.Error(a)
	}
}

// The limits are those of the client that was named; the peer itself has none.
func TestS32_XClientIsCounted(t *testing.T) {
	f := xclientFront(t, func(c *Config) { c.Limits.ConnectionsPerIP = 2 })
	var open []*testClient
	for range 3 {
		x := f.hello(t)
		open = append(open, x)
	}
	for i, want := range []string{"220", "220", "421 4.7.0"} {
		open[i].send("XCLIENT ADDR=203.0.113.5\r\n")
		open[i].want(want)
	}
	open[2].eof()
	f.awaitSessions(2)
	open[0].send("XCLIENT ADDR=203.0.113.6\r\n") // makes room
	open[0].want("220")
	x := f.hello(t)
	x.send("XCLIENT ADDR=203.0.113.5\r\n")
	x.want("220")
}

// What is taken is well formed, and reads the same again.
func FuzzXClient(f *testing.F) {
	f.Add("ADDR=203.0.113.5 PORT=25 HELO=a+2Bb PROTO=SMTP")
	f.Add("ADDR=IPV6:2001:db8::1 NAME=[TEMPUNAVAIL] LOGIN=x")
	f.Add("ADDR=[unavailable] HELO=+")
	f.Fuzz(func(t *testing.T, arg string) {
		before := claim{client: netip.MustParseAddrPort("192.0.2.1:25"), helo: "x", proto: "SMTP"}
		c, ok := before.read(arg)
		if !ok {
			return
		}
		if again, ok := c.read(arg); !ok || again != c {
			t.Fatalf("%q: %+v, then %+v", arg, c, again)
		}
		if c.helo != mail.Printable(c.helo, 256) || c.client.Addr().Zone() != "" || c.client.Addr().Is4In6() || c.proto != "" && c.proto != "SMTP" && c.proto != "ESMTP" {
			t.Fatalf("%q: %+v", arg, c)
		}
		for _, name := range []string{"ADDR", "PORT", "HELO", "PROTO"} { // what we would say ourselves is understood
			g := guest{c.client, c.helo, true}
			v, _ := g.attribute(name)
			if v != "" && len(xtext(v)) < maxXtext-3 {
				if _, ok := before.read(name + "=" + xtext(v)); !ok {
					t.Fatalf("%s=%s", name, v)
				}
			}
		}
	})
}
