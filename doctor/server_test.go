package doctor

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func looked(t *testing.T, addr string, change func(*Server)) []Finding {
	t.Helper()
	s := &Server{Address: addr, Domains: []string{"example.org"}, Helo: "mx.example.org", TLS: "opportunistic", Max: 50 << 20}
	if change != nil {
		change(s)
	}
	return s.look(t.Context())
}

// rcpt answers RCPT by what stands in the address.
func rcpt(replies map[string]string) func(string) string {
	return func(line string) string {
		for part, reply := range replies {
			if strings.HasPrefix(line, "RCPT") && strings.Contains(line, part) || strings.HasPrefix(line, part) {
				return reply
			}
		}
		return ""
	}
}

const (
	unknownUser = "550 5.1.1 User unknown"
	denied      = "554 5.7.1 Relay access denied"
)

// A server as it should be: it knows its users and relays for nobody.
func TestS52_GoodServer(t *testing.T) {
	got := looked(t, server(t, rcpt(map[string]string{"postern-doctor-": unknownUser, "@example.com": denied, "%example.com": unknownUser})), nil)
	one(t, got, "internal-server", Ok, "inner.example")
	one(t, got, "unknown-users", Ok, "5.1.1")
	one(t, got, "relay", Ok, "5.7.1")
	one(t, got, "loop", Ok)
	one(t, got, "newlines", Unknown, "--probe")
	one(t, got, "encryption", Warn, "STARTTLS")
	if len(said(got, "postmaster")) > 0 {
		t.Errorf("%+v", got)
	}
}

// A server that takes every address bounces later (backscatter), one that relays for us can be
// misused, one with mynetworks spares us its newline checks (S-07).
func TestS07_ServerThatTrustsUs(t *testing.T) {
	got := looked(t, server(t, rcpt(map[string]string{"CONNECT": "220 inner.example ESMTP Postfix", "EHLO": "250-inner.example\n250-SIZE 1000\n250 8BITMIME"})), nil)
	one(t, got, "unknown-users", Warn, "backscatter", "smtpd_reject_unlisted_recipient")
	one(t, got, "relay", Bad, "anywhere", "mynetworks")
	one(t, got, "newlines", Warn, "smtpd_forbid_bare_newline_exclusions")
	one(t, got, "size", Warn, "1000 bytes")
}

// Addresses with a route in them are a way to relay, too.
func TestS40_PercentHackIsFound(t *testing.T) {
	got := looked(t, server(t, rcpt(map[string]string{"postern-doctor-": unknownUser, "@example.com": denied})), nil)
	one(t, got, "relay", Bad, "postern-doctor%example.com@example.org")
}

func TestServerInTrouble(t *testing.T) {
	got := looked(t, "127.0.0.1:1", nil)
	one(t, got, "internal-server", Bad, "451")
	got = looked(t, server(t, rcpt(map[string]string{"CONNECT": "554 5.7.1 go away"})), nil)
	one(t, got, "internal-server", Bad, "554 5.7.1 go away")
	got = looked(t, server(t, rcpt(map[string]string{"MAIL": "550 5.7.1 no bounces"})), nil)
	one(t, got, "recipients", Unknown, "no bounces")
	got = looked(t, server(t, rcpt(map[string]string{"postern-doctor-": "450 4.2.0 Greylisted", "postmaster": denied, "@example.com": "556 5.1.10 null MX"})), nil)
	one(t, got, "unknown-users", Unknown, "greylisting")
	one(t, got, "postmaster", Warn, "5.7.1")
	one(t, got, "relay", Unknown)
	got = looked(t, server(t, rcpt(map[string]string{"postern-doctor-": "421 4.7.0 slow down"})), nil)
	one(t, got, "unknown-users", Unknown)
	got = looked(t, server(t, nothing), func(s *Server) { s.TLS = "require" })
	one(t, got, "encryption", Bad, "STARTTLS")
	got = looked(t, server(t, rcpt(map[string]string{"EHLO": "250-inner.example\n250 STARTTLS", "STARTTLS": "454 4.7.0 not now"})), nil)
	one(t, got, "encryption", Warn, "not now")
	one(t, got, "relay", Bad) // it is asked in clear then
}

func nothing(string) string { return "" }

// We are not to be our own internal server.
func TestS50_LoopIsSeen(t *testing.T) {
	addr := server(t, rcpt(map[string]string{"CONNECT": "220 mx.example.org ESMTP", "EHLO": "250 mx.example.org"}))
	got := looked(t, addr, func(s *Server) { s.Ours = []netip.AddrPort{netip.MustParseAddrPort(addr)} })
	loops := said(got, "loop")
	if len(loops) != 2 || loops[0].State != Bad || loops[1].State != Warn || !strings.Contains(loops[1].Sentence, "as we do") {
		t.Errorf("%+v", loops)
	}
}

// The time in a greeting is compared with ours.
func TestClockOfTheServer(t *testing.T) {
	now := time.Date(2026, 11, 22, 21, 0, 0, 0, time.UTC)
	for banner, want := range map[string]State{
		"mail.example ESMTP Exim 4.96 Sun, 22 Nov 2026 22:00:30 +0100":                       Ok,
		"mail.example Microsoft ESMTP MAIL Service ready at Sun, 22 Nov 2026 20:50:00 +0000": Warn,
		"mail.example ESMTP Postfix": "",
	} {
		got := tells(banner, now)
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || got[0].State != want) {
			t.Errorf("%s: %+v", banner, got)
		}
	}
	if got := clock(0x40, 0, nil); got[0].State != Warn {
		t.Errorf("%+v", got)
	}
	if got := clock(0x1, 1500, nil); got[0].State != Ok || !strings.Contains(got[0].Sentence, "1.5ms") {
		t.Errorf("%+v", got)
	}
}

// Seen from elsewhere, a server has to turn us away.
func TestS52_FromOutside(t *testing.T) {
	look := func(addr string) Finding {
		s := &Server{Address: addr, Domains: []string{"example.org"}, Helo: "elsewhere.example"}
		return s.outside(t.Context())[0]
	}
	for name, tt := range map[string]struct {
		replies map[string]string
		want    State
	}{
		"open":             {nil, Bad},
		"greeting refuses": {map[string]string{"CONNECT": "554 not you"}, Ok},
		"sender refused":   {map[string]string{"MAIL": "550 not you"}, Ok},
		"client refused":   {map[string]string{"RCPT": "554 5.7.1 Client host rejected"}, Ok},
		"put off":          {map[string]string{"RCPT": "450 4.7.1 Greylisted"}, Unknown},
		"decides later":    {map[string]string{"CONNECT": "220 mx.google.com ESMTP gsmtp"}, Unknown},
	} {
		if got := look(server(t, rcpt(tt.replies))); got.State != tt.want || got.State == Bad && got.Do == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := look("127.0.0.1:1"); got.State != Ok {
		t.Errorf("unreachable: %+v", got)
	}
}
