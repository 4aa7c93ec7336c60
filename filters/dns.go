package filters

import (
	"cmp"
	"context"
	"net/netip"
)

// A Resolver answers the DNS questions of the filters. Names are absolute whether or not
// they end in a dot; no search list is ever applied. Errors are *DNSError.
type Resolver interface {
	TXT(ctx context.Context, name string) ([]string, error)                 // one string a record, its parts joined
	Addrs(ctx context.Context, name string, six bool) ([]netip.Addr, error) // A, or AAAA
	MX(ctx context.Context, name string) ([]MX, error)                      // by preference
	PTR(ctx context.Context, addr netip.Addr) ([]string, error)             // without the final dot
}

// MX is one mail exchanger.
type MX struct {
	Host string
	Pref uint16
}

// A DNSError is a question without an answer.
type DNSError struct {
	Name      string
	NotFound  bool  // NXDOMAIN, or no records of the type: a void lookup (RFC 7208 4.6.4)
	NXDomain  bool  // the name does not exist at all
	Temporary bool  // time-out, SERVFAIL, no server reached: may be asked again
	Err       error // the cause, for the log
}

func (e *DNSError) Error() string {
	name := cmp.Or(e.Name, ".") // the root
	switch {
	case e.NXDomain:
		return "dns: " + name + ": no such name"
	case e.NotFound:
		return "dns: " + name + ": no such record"
	case e.Err != nil:
		return "dns: " + name + ": " + e.Err.Error()
	}
	return "dns: " + name + ": failed"
}

func (e *DNSError) Unwrap() error { return e.Err }
