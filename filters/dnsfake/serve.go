package dnsfake

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"
)

// A Server is a DNS server for a zone, over UDP and TCP on one port.
type Server struct {
	Addr string // host:port
	udp  *dns.Server
	tcp  *dns.Server
	stop chan struct{}
	done chan error
}

// Serve answers on addr ("127.0.0.1:0" for any free port) until Close.
func Serve(z *Zone, addr string) (*Server, error) {
	pc, l, err := listen(addr)
	if err != nil {
		return nil, fmt.Errorf("dns server: %w", err)
	}
	s := &Server{Addr: pc.LocalAddr().String(), stop: make(chan struct{}), done: make(chan error, 2)}
	h := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) { s.handle(z, w, r) })
	up := make(chan struct{}, 2)
	started := func() { up <- struct{}{} }
	s.udp = &dns.Server{PacketConn: pc, Handler: h, NotifyStartedFunc: started}
	s.tcp = &dns.Server{Listener: l, Handler: h, NotifyStartedFunc: started}
	go func() { s.done <- s.udp.ActivateAndServe() }()
	go func() { s.done <- s.tcp.ActivateAndServe() }()
	for range 2 {
		select {
		case <-up:
		case err := <-s.done:
			return nil, errors.Join(err, pc.Close(), l.Close())
		}
	}
	return s, nil
}

// listen opens the same port for both protocols.
func listen(addr string) (net.PacketConn, net.Listener, error) {
	for try := 0; ; try++ {
		pc, err := net.ListenPacket("udp", addr)
		if err != nil {
			return nil, nil, err
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			return pc, l, nil
		}
		pc.Close()
		if try == 10 {
			return nil, nil, err
		}
	}
}

// Close stops the server and waits for it.
func (s *Server) Close() error {
	close(s.stop)
	err := errors.Join(s.udp.Shutdown(), s.tcp.Shutdown())
	return errors.Join(err, <-s.done, <-s.done)
}

// plainUDP is how much fits into a UDP answer without EDNS (RFC 1035 4.2.1).
const plainUDP = 512

func (s *Server) handle(z *Zone, w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(r)
	m.RecursionAvailable = true
	if len(r.Question) != 1 {
		m.Rcode = dns.RcodeFormatError
		_ = w.WriteMsg(m)
		return
	}
	q := r.Question[0]
	a := z.ask(q.Name, q.Qtype)
	if a.script.Delay > 0 {
		t := time.NewTimer(a.script.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-s.stop:
			return
		}
	}
	if a.script.Silent {
		return
	}
	m.Rcode = a.rcode
	for _, rr := range a.records {
		m.Answer = append(m.Answer, dns.Copy(rr)) // packing writes into the header
	}
	if len(a.records) == 0 && (a.rcode == dns.RcodeSuccess || a.rcode == dns.RcodeNameError) {
		m.Ns = []dns.RR{z.authority(q.Name)}
	}
	size := plainUDP
	if opt := r.IsEdns0(); opt != nil {
		size = max(size, int(opt.UDPSize()))
		m.SetEdns0(1232, false)
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		m.Truncate(size)
	}
	if a.script.Corrupt {
		if b, err := m.Pack(); err == nil {
			_, _ = w.Write(b[:len(b)/2])
		}
		return
	}
	_ = w.WriteMsg(m) // the asker has gone: nobody to tell
}

// authority gives the SOA for a negative answer; one is made up where the zone has none.
func (z *Zone) authority(name string) dns.RR {
	z.mu.Lock()
	defer z.mu.Unlock()
	for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
		if soa := z.names[plain(name[off:])][dns.TypeSOA]; len(soa) > 0 {
			return dns.Copy(soa[0])
		}
	}
	return &dns.SOA{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60},
		Ns: "ns.invalid.", Mbox: "postmaster.invalid.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 60}
}
