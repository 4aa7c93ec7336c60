package gateway

import (
	"crypto/tls"
	"net/netip"
	"time"

	"postern/mail"
)

// Config is what does not change while the gateway runs, but for the certificate.
type Config struct {
	Hostname         string             // in the greeting, Received and as authserv-id
	Domains          mail.DomainSet     // who may be sent to; never empty
	Proxies          []netip.Prefix     // peers that must send a PROXY header (v1 or v2); nobody else may
	XClients         []netip.Prefix     // peers that may name their client by XCLIENT; nobody else may
	Trusted          []netip.Prefix     // relays of our own: limits spare them
	InboxClients     []netip.Prefix     // who may bring mail to Postern itself: Deps.Inbox
	TLS              func() *tls.Config // current configuration for STARTTLS; nil: not offered
	RequireTLS       bool               // refuse MAIL in clear (530 5.7.0)
	GreetDelay       time.Duration      // wait before the greeting; who speaks meanwhile is refused (early talker)
	Chunking         bool               // offer CHUNKING (BDAT, RFC 3030)
	BareNewline      string             // "reject" (default) or "normalize" (bare LF becomes CRLF before anything looks at it)
	AllowNUL         bool               // NUL in content is passed on instead of refused
	PostmasterDomain string             // where RCPT TO:<postmaster> goes; "" is Hostname
	Grace            time.Duration      // for messages under way when the server stops; 0 is 60 s
	StripAuthResults bool               // remove every Authentication-Results, not only those in our name or in none
	RelayResends     bool               // a message that is sent again since our 250 was lost is relayed again
	Split            bool               // recipients: split (451 4.5.3 for a recipient with another policy outcome)
	Limits           Limits
	SpoolDir         string
}

// Limits bound what one client, one message and all together may take. DefaultLimits has the
// values that hold when nothing is configured.
type Limits struct {
	Connections      int           // in all
	ConnectionsPerIP int           // from one IPv4 address or IPv6 /64
	RatePerIP        int           // new connections a minute from one address
	MessageSize      int64         // bytes; a message of exactly this size is accepted
	Recipients       int           // a transaction
	UnknownRcpts     int           // recipients that do not exist, an hour from one address; what is delivered gives back
	Line             int           // bytes of a command line with CRLF
	Errors           int           // refused commands a connection
	Chatter          int           // RSET, EHLO, NOOP and the like since the last message
	Hops             int           // Received fields
	Command          time.Duration // wait for a command
	Stall            time.Duration // wait for the next byte of a body
	MinRate          int64         // bytes a second of a body, measured after MinRateAfter of waiting
	MinRateAfter     time.Duration
	Write            time.Duration // one write to the client
	Handshake        time.Duration // TLS and PROXY header
	Session          time.Duration // a whole connection
	Decide           time.Duration // from the end of data to our reply
	Memory           int64         // bytes of all messages in memory
}

// DefaultLimits are the plain defaults.
func DefaultLimits() Limits {
	return Limits{
		Connections: 1000, ConnectionsPerIP: 50, RatePerIP: 300,
		MessageSize: 50 << 20, Recipients: 1000, UnknownRcpts: 100, Line: 2048, Errors: 20, Chatter: 100, Hops: 50,
		Command: 300 * time.Second, Stall: 60 * time.Second, MinRate: 500, MinRateAfter: 60 * time.Second,
		Write: 60 * time.Second, Handshake: 20 * time.Second, Session: 30 * time.Minute, Decide: 240 * time.Second,
		Memory: 64 << 20,
	}
}
