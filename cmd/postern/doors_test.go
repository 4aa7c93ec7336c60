package main

import (
	"net"
	"testing"

	"postern/gateway"
)

// Where TLS is required stays so when systemd opened the sockets, in whatever order.
func TestW16_TLSOnSocketsOfSystemd(t *testing.T) {
	t.Parallel()
	plain, one := heldSocket(t)
	strict, two := heldSocket(t)
	s := newSite(t, newSink(t, nil).addr, "tls: {require_on: [\""+strict+"\"]}\n")
	s.replace(t, `listen: ["127.0.0.1:0"]`, `listen: ["`+plain+`", "`+strict+`"]`)
	g := s.activated(t, "smtp:smtp", two, one)
	g.ready(t)
	mustDial(t, plain).must(t, "MAIL FROM:<eve@friend.example>", "250")
	mustDial(t, strict).must(t, "MAIL FROM:<eve@friend.example>", "530 5.7.0")
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

// A socket is found by host and port, else by its port alone, with all that is asked for there.
func TestW16_DoorOfASocket(t *testing.T) {
	c := &Config{Listen: []string{":25", "192.0.2.1:465", "192.0.2.2:465", "localhost:smtps", "[::1]:2525"}}
	c.TLS.RequireOn, c.TLS.ImplicitOn = []string{"[::1]:2525"}, []string{"192.0.2.1:465"}
	for at, want := range map[string]gateway.Door{
		"[::]:25":           {},
		"0.0.0.0:25":        {},
		"192.0.2.1:465":     {RequireTLS: true, ImplicitTLS: true},
		"192.0.2.2:465":     {},
		"[::]:465":          {RequireTLS: true, ImplicitTLS: true},
		"0.0.0.0:2525":      {RequireTLS: true},
		"192.0.2.1:587":     {},
		"[2001:db8::1]:465": {RequireTLS: true, ImplicitTLS: true},
	} {
		addr, err := net.ResolveTCPAddr("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.doorAt(socketAt{addr: addr}); got != want {
			t.Errorf("%s: %+v", at, got)
		}
	}
}

type socketAt struct {
	net.Listener
	addr net.Addr
}

func (s socketAt) Addr() net.Addr { return s.addr }
