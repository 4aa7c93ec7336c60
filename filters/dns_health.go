package filters

import (
	"context"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// DNSStats count since the start.
type DNSStats struct {
	Questions uint64 // put to the resolver
	Hits      uint64 // answered from the cache
	Failures  uint64 // without an answer: time-out, SERVFAIL
	Sent      uint64 // queries sent to servers over UDP
	OverTCP   uint64
	Spoofed   uint64 // answers to nothing that was asked
	Entries   int    // in the cache now
	Bytes     int    // that the cache takes, about
}

// Stats returns the counters.
func (d *DNS) Stats() DNSStats {
	s := DNSStats{Questions: d.questions.Load(), Hits: d.hits.Load(), Failures: d.failures.Load(),
		Sent: d.client.sent.Load(), OverTCP: d.client.overTCP.Load(), Spoofed: d.client.spoofed.Load()}
	s.Entries, s.Bytes = d.cache.size()
	return s
}

// Degraded reports whether every question has failed for as long as ResolverConfig.Outage
// says. Then mail can be deferred only.
func (d *DNS) Degraded() bool { return d.outage.degraded(d.now()) }

// A ServerState tells whether a server answers.
type ServerState struct {
	Addr     string // address:port
	Loopback bool
	Took     time.Duration
	Err      error // nil when it answers
}

// Check asks each server for the root, past the cache, at the same time. ctx bounds it.
func (d *DNS) Check(ctx context.Context) []ServerState {
	ctx, cancel := context.WithTimeout(ctx, d.client.timeout)
	defer cancel()
	out := make([]ServerState, len(d.client.servers))
	var wg sync.WaitGroup
	for i, s := range d.client.servers {
		wg.Go(func() {
			began := time.Now()
			one := dnsClient{servers: []*dnsServer{s}, timeout: d.client.timeout, conns: d.client.conns}
			_, err := one.ask(ctx, dnsQuestion{"", dns.TypeNS})
			out[i] = ServerState{Addr: s.addr.String(), Loopback: s.addr.Addr().IsLoopback(), Took: time.Since(began), Err: err}
		})
	}
	wg.Wait()
	return out
}

// A dnsOutage watches for the time when nothing has an answer any more. Then, and when it is
// for silence, questions fail at once instead of piling up, but for one at a time that goes out
// to see whether it is over.
type dnsOutage struct {
	after time.Duration

	mu       sync.Mutex
	since    time.Time // of the first failure without a success since; zero for none
	failures int
	silent   bool // the last failure was that nobody answered
	probing  bool
}

// outageFailures keeps a single broken domain on a quiet day from being an outage.
const outageFailures = 3

func (o *dnsOutage) success() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.since, o.failures, o.silent = time.Time{}, 0, false
}

func (o *dnsOutage) failure(now time.Time, silent bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		o.since = now
	}
	o.failures++
	o.silent = silent
}

func (o *dnsOutage) degraded(now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.over(now)
}

func (o *dnsOutage) over(now time.Time) bool {
	return o.failures >= outageFailures && now.Sub(o.since) >= o.after
}

// enter lets a question out, or not. When see is not nil, whoever asks has to see first
// whether a server is there, and to call it with that.
func (o *dnsOutage) enter(now time.Time) (see func(there bool), ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.silent || !o.over(now) {
		return nil, true
	}
	if o.probing {
		return nil, false
	}
	o.probing = true
	return func(there bool) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.probing = false; there {
			o.since, o.failures, o.silent = time.Time{}, 0, false
		}
	}, true
}
