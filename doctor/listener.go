package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// A Listener is where the gateway takes mail.
type Listener struct {
	Address  string // as configured: ":25"
	Hostname string
	TLS      bool // STARTTLS is to be offered
	Running  bool // a gateway runs on the data folder
	Implicit bool // TLS from the first byte on
	Proxied  bool // it wants a PROXY header from this host
}

// Check connects as a client would.
func (l *Listener) Check() Check {
	return Check{Name: "listener", About: l.Address, Limit: 40 * time.Second, Look: l.look}
}

func (l *Listener) look(ctx context.Context) []Finding {
	way := door{addr: near(l.Address), helo: "[127.0.0.1]", proxied: l.Proxied}
	if l.Implicit {
		way.implicit = l.Hostname
	}
	d, err := way.meet(ctx)
	switch {
	case err != nil && l.Running:
		return []Finding{{State: Bad, Sentence: "a gateway runs, but does not answer here: " + printable(err), Do: "look into its log; does it listen on another address?", Reference: guideSetUp}}
	case err != nil:
		return []Finding{{State: Unknown, Sentence: "no gateway runs, so it was not asked", Do: "start it: systemctl start postern", Reference: guideSetUp}}
	}
	defer d.close()
	if !strings.EqualFold(d.name, l.Hostname) {
		return []Finding{{State: Bad, Sentence: fmt.Sprintf("who answers there calls itself %s, not %s: it is not this gateway, or has not taken the configuration", d.name, l.Hostname), Do: "look who listens (ss -ltnp); restart postern after a change of the configuration", Reference: guideSetUp}}
	}
	out := []Finding{{State: Ok, Sentence: "the gateway answers as " + d.name}}
	switch {
	case l.Implicit:
	case !l.TLS:
		return out
	case !d.offered("STARTTLS"):
		return append(out, Finding{State: Warn, Sentence: "it does not offer STARTTLS: mail comes in clear", Do: "restart it; look into its log for the certificate", Reference: guideTLS})
	default:
		if err := d.startTLS(ctx, l.Hostname); err != nil {
			return append(out, Finding{State: Warn, Sentence: "STARTTLS fails: " + printable(err), Do: "look into its log", Reference: guideTLS})
		}
	}
	leaf, now := d.tls.PeerCertificates[0], time.Now()
	switch why := judgeCertificate(d.tls.PeerCertificates, l.Hostname, nil, now); {
	case now.After(leaf.NotAfter):
		out = append(out, Finding{State: Bad, Sentence: "the certificate that it shows has ended: " + why, Do: "renew it, then systemctl reload postern", Reference: guideTLS})
	case leaf.VerifyHostname(l.Hostname) != nil:
		out = append(out, Finding{State: Warn, Sentence: "the certificate that it shows does not hold: " + why, Do: "get one for " + l.Hostname, Reference: guideTLS})
	}
	return append(out, expiring("listener", leaf, false, now)...)
}

// near is an address to reach a listener of this host at.
func near(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a == netip.IPv4Unspecified() {
		host = "127.0.0.1"
	} else if err == nil && a.IsUnspecified() {
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
