package filters

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// What tests outside of the package need, since the fake zone imports it.

func NewSPF(c SPFConfig, r Resolver) Filter { return spf(c, r) }

// CheckSPF is one check_host().
func CheckSPF(ctx context.Context, r Resolver, ip netip.Addr, helo, local, sender string) (result, explanation, problem string) {
	if local == "" {
		local = "postmaster"
	}
	e := spfEval{r: r, ip: ip.Unmap(), helo: helo, local: local, sender: sender, receiver: "unknown"}
	out := e.check(ctx, sender)
	return out.result, out.explanation, out.problem
}

func NewDKIM(c DKIMConfig, r Resolver) Filter { return dkim(c, r) }

func NewDMARC(c DMARCConfig, r Resolver) Filter { return dmarc(c, r) }

// SetNow replaces the clock of a resolver's cache and outage watch.
func (d *DNS) SetNow(now func() time.Time) { d.now = now }

// Waiting is how many wait for an answer that is under way.
func (d *DNS) Waiting() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.flights {
		n += f.waiting
	}
	return n
}

// DMARCRecord is what parseDMARC makes of a record; ok as isDMARC says.
type DMARCRecord struct {
	P, SP, NP            string
	PSD                  byte
	Testing, StrictDKIM  bool
	StrictSPF, Applies   bool
	Invalid, AsksReports bool
	Text, Pct            string
}

func ParseDMARC(txt string) (DMARCRecord, bool) {
	if !isDMARC(txt) {
		return DMARCRecord{}, false
	}
	r := parseDMARC(txt)
	return DMARCRecord{P: r.p, SP: r.sp, NP: r.np, PSD: r.psd, Testing: r.testing, StrictDKIM: r.strictDKIM, StrictSPF: r.strictSPF,
		Applies: r.applies(), Invalid: r.invalid, AsksReports: hasReportURI(r.rua), Text: r.text, Pct: r.pct}, true
}

// ParseDNS reads a message as the resolver would, as the answer to a question.
func ParseDNS(msg []byte, name string, kind uint16) (records int, err error) {
	q, err := newQuestion(name, kind)
	if err != nil {
		return 0, err
	}
	if len(msg) < dnsHeader || !answers(msg, binary.BigEndian.Uint16(msg), q.section(nil)) {
		return 0, errors.New("not the answer")
	}
	a, err := parseAnswer(msg, q)
	if err != nil {
		return 0, err
	}
	if a.err != nil {
		return 0, a.err
	}
	if a.ttl > maxDNSTTL || a.bytes() > 4<<20 {
		panic("unbounded")
	}
	return len(a.txt) + len(a.addrs) + len(a.mx) + len(a.names), nil
}
