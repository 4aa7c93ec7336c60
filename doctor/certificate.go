package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"time"
)

// soon is when a certificate should have been renewed: with 90 days, renewal is due at 30.
const soon = 14 * 24 * time.Hour

// judgeCertificate says what is wrong with a chain; "" when nothing is. roots is nil for those of
// the system.
func judgeCertificate(chain []*x509.Certificate, name string, roots *x509.CertPool, now time.Time) string {
	if len(chain) == 0 {
		return "there is none"
	}
	leaf := chain[0]
	switch {
	case now.After(leaf.NotAfter):
		return "it ended on " + leaf.NotAfter.Format(time.DateOnly)
	case now.Before(leaf.NotBefore):
		return "it begins on " + leaf.NotBefore.Format(time.DateOnly) + ": is the clock right?"
	}
	if err := leaf.VerifyHostname(name); err != nil {
		return fmt.Sprintf("it is for %v, not for %s", slices.Concat(leaf.DNSNames, addresses(leaf)), name)
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now}); err != nil {
		return "nobody that is trusted has signed it"
	}
	return ""
}

func addresses(c *x509.Certificate) (out []string) {
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}

// expiring warns of an end that is near; bad says that mail stops then.
func expiring(check string, leaf *x509.Certificate, bad bool, now time.Time) []Finding {
	left := leaf.NotAfter.Sub(now)
	if left > soon {
		return nil
	}
	then := ""
	if bad {
		then = "; from then on mail is put off"
	}
	return []Finding{{Check: check, State: Warn, Sentence: fmt.Sprintf("its certificate ends on %s%s", leaf.NotAfter.Format(time.DateOnly), then),
		Do: "renew it: does the job that does so still run?", Reference: guideTLS}}
}

// A Certificate is a pair of files of ours.
type Certificate struct {
	Use       string // "port 25", "pages"
	Cert, Key string
	Name      string // that clients expect in it; "" for the one that it has
	Public    bool   // browsers look at who signed it; other mail servers mostly do not
}

// Check looks at the files.
func (c *Certificate) Check() Check {
	return Check{Name: "certificate", About: c.Use, Look: func(context.Context) []Finding { return c.look(time.Now()) }}
}

func (c *Certificate) look(now time.Time) []Finding {
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if os.IsPermission(err) {
		return []Finding{{State: Unknown, Sentence: "its files may not be read by this user", Do: "run doctor with sudo", Reference: guideTLS}}
	}
	if err != nil {
		return []Finding{{State: Bad, Sentence: "it cannot be used: " + printable(err), Do: "put certificate and key there, both in PEM, and make them belong together", Reference: guideTLS}}
	}
	var out []Finding
	if st, err := os.Stat(c.Key); err == nil && st.Mode().Perm()&0o007 != 0 {
		out = append(out, Finding{About: c.Key, State: Bad, Sentence: fmt.Sprintf("everybody on this host may use the key (mode %04o)", st.Mode().Perm()), Do: "chmod 0400 " + c.Key, Reference: guideTLS})
	}
	chain := []*x509.Certificate{pair.Leaf}
	for _, raw := range pair.Certificate[1:] {
		if more, err := x509.ParseCertificate(raw); err == nil {
			chain = append(chain, more)
		}
	}
	if c.Name == "" && len(pair.Leaf.DNSNames) > 0 {
		c.Name = pair.Leaf.DNSNames[0]
	}
	why := judgeCertificate(chain, c.Name, nil, now)
	switch ended := now.After(pair.Leaf.NotAfter); {
	case why == "":
		out = append(out, Finding{State: Ok, Sentence: fmt.Sprintf("it is for %s, until %s", c.Name, pair.Leaf.NotAfter.Format(time.DateOnly))})
	case ended || c.Public:
		out = append(out, Finding{State: Bad, Sentence: "it does not hold: " + why, Do: "renew it, for " + c.Name, Reference: guideTLS})
	default:
		out = append(out, Finding{State: Warn, Sentence: "it does not hold (" + why + "): enough for opportunistic encryption, not for MTA-STS or DANE",
			Do: "get one that is signed, for " + c.Name, Reference: guideTLS})
	}
	return append(out, expiring("certificate", pair.Leaf, false, now)...)
}
