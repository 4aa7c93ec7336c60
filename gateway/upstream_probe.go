package gateway

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"postern/mail"
)

// A Probe is what one address of an internal server answers.
type Probe struct {
	Group      string
	Address    string
	Name       string // as it calls itself
	TLS        string // version and cipher; "" in clear
	Extensions mail.Extensions
	Warnings   []string // what an administrator should look at, though mail flows
	Err        error    // why it cannot be used; nil when it can
}

// Probe connects to every address, all at once, says EHLO (STARTTLS as configured) and
// QUIT, and so learns what they offer. The answers are in the order of group and
// configuration.
func (s *Servers) Probe(ctx context.Context) []Probe {
	var hosts []*serverHost
	for _, g := range s.groups {
		hosts = append(hosts, g.hosts...)
	}
	slices.SortStableFunc(hosts, func(a, b *serverHost) int { return cmp.Compare(a.group.name, b.group.name) })
	probes := make([]Probe, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		wg.Go(func() { probes[i] = h.probe(ctx) })
	}
	wg.Wait()
	return probes
}

func (h *serverHost) probe(ctx context.Context) Probe {
	p := Probe{Group: h.group.name, Address: h.addr}
	l, err := h.dial(ctx, guest{})
	if err != nil {
		p.Err = err
		return p
	}
	defer l.quit()
	p.Name, p.TLS, p.Extensions = mail.Printable(l.name, 255), l.tls, l.ext
	if strings.EqualFold(p.Name, h.group.cfg.Helo) {
		p.Warnings = append(p.Warnings, fmt.Sprintf("it calls itself %s as we do: mail may go round in a loop", p.Name))
	}
	if !l.ext.Pipelining {
		p.Warnings = append(p.Warnings, "it does not offer PIPELINING: each command waits for its reply")
	}
	if f := h.group.cfg.Forward; f == ForwardXForward && len(l.xforward) == 0 || f == ForwardXClient && len(l.xclient) == 0 {
		p.Warnings = append(p.Warnings, "it does not offer "+strings.ToUpper(string(f))+" to us: it sees our address instead of the client's")
	}
	if h.group.cfg.TLS == TLSOpportunistic && l.ext.StartTLS && l.tls == "" {
		p.Warnings = append(p.Warnings, "TLS with it fails: mail is sent in clear")
	}
	return p
}

// Health is nil while every group has an address that worked when it was last used, or
// was not used yet. It connects to nothing.
func (s *Servers) Health() error {
	for _, g := range s.groups {
		var why error
		for _, h := range g.hosts {
			h.mu.Lock()
			err := h.err
			h.mu.Unlock()
			if err == nil {
				why = nil
				break
			}
			why = err
		}
		if why != nil {
			return fmt.Errorf("internal server %q: %w", g.name, why)
		}
	}
	return nil
}
