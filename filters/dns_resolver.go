package filters

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// ResolverConfig configures a resolver; the zero value is a good one.
type ResolverConfig struct {
	Servers []string      // recursive servers, "192.0.2.1" or "[2001:db8::1]:53"; none: those of /etc/resolv.conf
	Timeout time.Duration // of one question with all its tries; 0 means 5 s
	Entries int           // of the cache; 0 means 20000
	Bytes   int           // that the cache may take; 0 means 16 MiB
	Outage  time.Duration // how long all questions must fail until Degraded; 0 means 60 s
}

const resolvConf = "/etc/resolv.conf"

// A DNS is a caching stub resolver: it asks recursive servers over shared UDP sockets, over
// TCP where an answer is cut short. It applies no search list. Callers must not change what
// it returns. Close it when nobody asks any more.
type DNS struct {
	client dnsClient
	cache  *dnsCache
	outage dnsOutage
	now    func() time.Time

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	flights map[dnsQuestion]*dnsFlight

	questions, hits, failures atomic.Uint64
}

// A dnsFlight is a question under way, for all who have it. When all of them have given up it
// is given up too: else whoever has many questions and no patience could fill the sky.
type dnsFlight struct {
	done    chan struct{}
	a       *dnsAnswer
	waiting int // with DNS.mu held
	cancel  context.CancelFunc
}

// maxFlights bounds the questions under way.
const maxFlights = 1000

var _ Resolver = (*DNS)(nil)

// NewResolver makes a resolver. It asks nothing yet: see Check.
func NewResolver(c ResolverConfig) (*DNS, error) {
	if len(c.Servers) == 0 {
		f, err := os.Open(resolvConf)
		if err != nil {
			return nil, fmt.Errorf("dns: no servers are configured, and %w", err)
		}
		defer f.Close()
		if c.Servers = nameservers(bufio.NewScanner(f)); len(c.Servers) == 0 {
			c.Servers = []string{"127.0.0.1"} // resolv.conf(5)
		}
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Entries == 0 {
		c.Entries = 20000
	}
	if c.Bytes == 0 {
		c.Bytes = 16 << 20
	}
	if c.Outage == 0 {
		c.Outage = time.Minute
	}
	d := &DNS{now: time.Now, flights: map[dnsQuestion]*dnsFlight{}, outage: dnsOutage{after: c.Outage}}
	d.cache = newDNSCache(c.Entries, c.Bytes, func() time.Time { return d.now() })
	d.client.timeout, d.client.conns = c.Timeout, make(chan struct{}, dnsConns)
	for _, s := range c.Servers {
		addr, err := serverAddr(s)
		if err != nil {
			return nil, fmt.Errorf("dns: server %q: %w", s, err)
		}
		d.client.servers = append(d.client.servers, &dnsServer{addr: addr, spoofed: &d.client.spoofed})
	}
	d.ctx, d.cancel = context.WithCancelCause(context.Background())
	return d, nil
}

// nameservers reads the servers of a resolv.conf(5), three at most.
func nameservers(lines *bufio.Scanner) (out []string) {
	for lines.Scan() && len(out) < 3 {
		if f := strings.Fields(lines.Text()); len(f) >= 2 && f[0] == "nameserver" {
			out = append(out, f[1])
		}
	}
	return out
}

func serverAddr(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a, 53), nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return a, errors.New("not an IP address, or address:port")
	}
	return a, nil
}

// Close ends all questions and closes all sockets.
func (d *DNS) Close() error {
	d.mu.Lock()
	d.cancel(errDNSClosed)
	d.mu.Unlock()
	for _, s := range d.client.servers {
		s.close()
	}
	d.wg.Wait()
	return nil
}

// TXT implements Resolver.
func (d *DNS) TXT(ctx context.Context, name string) ([]string, error) {
	a, err := d.lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	return a.txt, nil
}

// Addrs implements Resolver.
func (d *DNS) Addrs(ctx context.Context, name string, six bool) ([]netip.Addr, error) {
	kind := dns.TypeA
	if six {
		kind = dns.TypeAAAA
	}
	a, err := d.lookup(ctx, name, kind)
	if err != nil {
		return nil, err
	}
	return a.addrs, nil
}

// MX implements Resolver.
func (d *DNS) MX(ctx context.Context, name string) ([]MX, error) {
	a, err := d.lookup(ctx, name, dns.TypeMX)
	if err != nil {
		return nil, err
	}
	return a.mx, nil
}

// PTR implements Resolver.
func (d *DNS) PTR(ctx context.Context, addr netip.Addr) ([]string, error) {
	a, err := d.lookup(ctx, reverseName(addr), dns.TypePTR)
	if err != nil {
		return nil, err
	}
	return a.names, nil
}

// lookup answers from the cache, else waits for the one flight of the question.
func (d *DNS) lookup(ctx context.Context, name string, kind uint16) (*dnsAnswer, error) {
	q, err := newQuestion(name, kind)
	if err != nil {
		return nil, err
	}
	a := d.cache.get(q)
	if a == nil && !mayWait(ctx) {
		return nil, &DNSError{Name: q.name, Temporary: true, Err: errWaits}
	}
	d.questions.Add(1)
	if a != nil {
		d.hits.Add(1)
	} else {
		f, err := d.board(q)
		if err != nil {
			d.failures.Add(1)
			return nil, err
		}
		select {
		case <-f.done:
			a = f.a
		case <-ctx.Done():
			d.leave(q, f)
			return nil, &DNSError{Name: q.name, Temporary: true, Err: context.Cause(ctx)}
		}
	}
	if a.err != nil {
		return nil, a.err
	}
	return a, nil
}

// board joins the question's flight, or starts it.
func (d *DNS) board(q dnsQuestion) (*dnsFlight, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.flights[q]; f != nil {
		f.waiting++
		return f, nil
	}
	if d.ctx.Err() != nil {
		return nil, &DNSError{Name: q.name, Temporary: true, Err: errDNSClosed}
	}
	if len(d.flights) >= maxFlights {
		return nil, &DNSError{Name: q.name, Temporary: true, Err: errors.New("too many questions under way")}
	}
	ctx, cancel := context.WithTimeout(d.ctx, d.client.timeout)
	f := &dnsFlight{done: make(chan struct{}), waiting: 1, cancel: cancel}
	d.flights[q] = f
	d.wg.Add(1)
	go d.fly(ctx, q, f)
	return f, nil
}

// leave gives a flight up; the last one ends it. Who asks from then on has a new one.
func (d *DNS) leave(q dnsQuestion, f *dnsFlight) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		d.land(q, f)
	}
}

// land is called with d.mu held.
func (d *DNS) land(q dnsQuestion, f *dnsFlight) {
	if d.flights[q] == f {
		delete(d.flights, q)
	}
}

// fly gets the answer and keeps it. Nothing that a server sends may end the program.
func (d *DNS) fly(ctx context.Context, q dnsQuestion, f *dnsFlight) {
	defer d.wg.Done()
	defer f.cancel()
	defer func() {
		if v := recover(); v != nil {
			f.a = &dnsAnswer{err: &DNSError{Name: q.name, Temporary: true, Err: fmt.Errorf("panic: %v", v)}, ttl: dnsFailTTL}
		}
		d.cache.put(q, f.a)
		d.mu.Lock()
		d.land(q, f)
		d.mu.Unlock()
		close(f.done)
	}()
	f.a = d.fetch(ctx, q)
}

func (d *DNS) fetch(ctx context.Context, q dnsQuestion) *dnsAnswer {
	see, ok := d.outage.enter(d.now())
	if ok && see != nil {
		ok = d.there(ctx)
		see(ok)
	}
	if !ok {
		return &dnsAnswer{err: &DNSError{Name: q.name, Temporary: true, Err: errDNSSilent}}
	}
	a, err := d.client.ask(ctx, q)
	if d.ctx.Err() != nil {
		return &dnsAnswer{err: &DNSError{Name: q.name, Temporary: true, Err: errDNSClosed}}
	}
	if errors.Is(ctx.Err(), context.Canceled) { // nobody waits: that says nothing of the servers
		return &dnsAnswer{err: &DNSError{Name: q.name, Temporary: true, Err: context.Canceled}}
	}
	if err == nil {
		d.outage.success()
		return a
	}
	d.failures.Add(1)
	d.outage.failure(d.now(), errors.Is(err, errDNSSilent))
	fail, _ := err.(*DNSError)
	return &dnsAnswer{err: fail, ttl: dnsFailTTL}
}

// there asks for the root, which does not depend on anybody's domain: those of which all mail
// just came may have no servers. Any answer will do.
func (d *DNS) there(ctx context.Context) bool {
	_, err := d.client.ask(ctx, dnsQuestion{"", dns.TypeNS})
	return !errors.Is(err, errDNSSilent)
}
