package filters_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/filters"

	"github.com/miekg/dns"
)

// A resolver of every kind is told from the others: one that validates, one that does not, one
// that has an answer for everything, one without TCP, one that is dead and one that refuses.
func TestDNSExamineTellsResolversApart(t *testing.T) {
	kinds := map[string]struct{ validates, invents, tcp, refuses bool }{
		"good":      {validates: true, tcp: true},
		"lax":       {tcp: true},
		"inventive": {invents: true, tcp: true},
		"udp only":  {},
		"refusing":  {refuses: true},
	}
	var addrs []string
	var names []string
	for name, k := range kinds {
		handle := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			a := new(dns.Msg)
			a.SetReply(q)
			root := q.Question[0].Name == "."
			switch {
			case k.refuses:
				a.Rcode = dns.RcodeRefused
			case root:
				a.AuthenticatedData = k.validates && q.AuthenticatedData
				a.Answer = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "a.root-servers.net."}}
			case k.invents:
				a.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 1)}}
			default:
				a.Rcode = dns.RcodeNameError
			}
			_ = w.WriteMsg(a)
		})
		addrs, names = append(addrs, serveDNS(t, handle, k.tcp)), append(names, name)
	}
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	addrs, names = append(addrs, dead.LocalAddr().String()), append(names, "dead")
	d, err := filters.NewResolver(filters.ResolverConfig{Servers: addrs, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for i, r := range d.Examine(t.Context()) {
		k, answers := kinds[names[i]], names[i] != "dead" && names[i] != "refusing"
		if (r.Err == nil) != answers || r.Addr != addrs[i] || !r.Loopback {
			t.Errorf("%s: %+v", names[i], r)
		}
		if answers && (r.Validates != k.validates || r.Invents != k.invents || (r.TCP == nil) != k.tcp || r.Took <= 0) {
			t.Errorf("%s: %+v", names[i], r)
		}
		if names[i] == "refusing" && !strings.Contains(r.Err.Error(), "REFUSED") {
			t.Errorf("%v", r.Err)
		}
	}
}

// serveDNS answers on a port of the loopback address.
func serveDNS(t *testing.T, h dns.Handler, tcp bool) string {
	t.Helper()
	for range 20 {
		udp, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := netip.MustParseAddrPort(udp.LocalAddr().String())
		s := &dns.Server{PacketConn: udp, Handler: h}
		if tcp {
			l, err := net.Listen("tcp", at.String())
			if err != nil { // taken: another port
				udp.Close()
				continue
			}
			over := &dns.Server{Listener: l, Handler: h}
			go func() { _ = over.ActivateAndServe() }()
			t.Cleanup(func() { _ = over.Shutdown() })
		}
		go func() { _ = s.ActivateAndServe() }()
		t.Cleanup(func() { _ = s.Shutdown() })
		return at.String()
	}
	t.Fatal("no port for both protocols")
	return ""
}
