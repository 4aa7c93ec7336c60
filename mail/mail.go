// Package mail holds the nouns of a mail gateway: what a client said (Client,
// Envelope, Options), where that stands in a transaction (Stage), what it sent
// (Body, Header) and what it is told (Reply). It decides nothing, does no
// network I/O and imports nothing else of this project.
package mail

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A Stage is a point of a transaction at which more becomes known.
type Stage uint8

const (
	Connect   Stage = iota // the address; once per connection
	Sender                 // EHLO name, TLS, MAIL FROM; once per message
	Recipient              // one RCPT TO; once per recipient
	Data                   // the message, while it arrives; once per message
)

func (s Stage) String() string {
	switch s {
	case Connect:
		return "connect"
	case Sender:
		return "sender"
	case Recipient:
		return "recipient"
	case Data:
		return "data"
	}
	return fmt.Sprintf("Stage(%d)", uint8(s))
}

// A Client is the host at the other end of a connection.
type Client struct {
	Addr    netip.Addr `json:"addr"`              // after the PROXY header, when one was accepted
	Port    uint16     `json:"port,omitempty"`    // its TCP port
	Helo    string     `json:"helo,omitempty"`    // as said in EHLO or HELO, reduced to printable text
	ESMTP   bool       `json:"esmtp,omitempty"`   // it said EHLO
	TLS     string     `json:"tls,omitempty"`     // "TLS1.3 TLS_AES_128_GCM_SHA256"; "" in clear
	Trusted bool       `json:"trusted,omitempty"` // it is one of trusted_relays
}

// BodyType is the BODY parameter of MAIL (RFC 6152): "", "7BIT" or "8BITMIME".
type BodyType string

// Options are the parameters of MAIL that are passed on to the internal server.
type Options struct {
	Size  int64    `json:"size,omitempty"` // SIZE= (RFC 1870), in bytes; 0 when not said
	Body  BodyType `json:"body,omitempty"`
	UTF8  bool     `json:"utf8,omitempty"`  // SMTPUTF8 (RFC 6531)
	Ret   string   `json:"ret,omitempty"`   // RET= (RFC 3461): FULL or HDRS
	EnvID string   `json:"envid,omitempty"` // ENVID= (RFC 3461), xtext as said
	// REQUIRETLS (RFC 8689): over verified TLS to a server that does the same, or not at all
	RequireTLS bool `json:"requiretls,omitempty"`
}

// A RcptTo is one RCPT TO with its parameters.
type RcptTo struct {
	Address Address `json:"address"`
	Notify  string  `json:"notify,omitempty"` // NOTIFY= (RFC 3461): NEVER, or a list of SUCCESS,FAILURE,DELAY
	ORcpt   string  `json:"orcpt,omitempty"`  // ORCPT= (RFC 3461), "type;xtext" as said
}

// An Envelope is all that was said of a message outside of it.
type Envelope struct {
	ID         string    `json:"id"` // ours, a ULID: in the reply, the header, the journal, the quarantine
	Received   time.Time `json:"received"`
	Client     Client    `json:"client"`
	Sender     Address   `json:"sender"` // the zero Address is the null sender <>
	Recipients []RcptTo  `json:"recipients"`
	Options    Options   `json:"options"`
}

// Extensions are the ESMTP extensions that a server offers.
type Extensions struct {
	Size         int64 // 0: no limit was named
	EightBitMIME bool
	UTF8         bool // SMTPUTF8
	DSN          bool
	RequireTLS   bool // REQUIRETLS, over TLS with a verified certificate
	Pipelining   bool
	XForward     bool
	XClient      bool
	StartTLS     bool
}

// A Reply is one SMTP reply. It is an error, so that a refusal can travel as
// one; a Reply with a 2xx code is not a failure.
type Reply struct {
	Code     int    `json:"code"`
	Enhanced [3]int `json:"-"` // RFC 3463; zero when there is none
	Text     string `json:"text"`
}

// Temporary reports whether the client should try again (RFC 5321 4.2.1).
func (r *Reply) Temporary() bool { return r.Code/100 == 4 }

// OK reports whether r is a positive completion.
func (r *Reply) OK() bool { return r.Code/100 == 2 }

// EnhancedString gives the enhanced status code as "5.7.1", or "".
func (r *Reply) EnhancedString() string {
	if r.Enhanced == [3]int{} {
		return ""
	}
	return string(r.appendEnhanced(make([]byte, 0, 16)))
}

func (r *Reply) appendEnhanced(b []byte) []byte {
	for i, n := range r.Enhanced {
		if i > 0 {
			b = append(b, '.')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return b
}

func (r *Reply) String() string {
	b := append(strconv.AppendInt(make([]byte, 0, 128), int64(r.Code), 10), ' ')
	if r.Enhanced != [3]int{} {
		b = append(r.appendEnhanced(b), ' ')
	}
	return string(append(b, r.Text...))
}

func (r *Reply) Error() string { return r.String() }

// Printable reduces s to printable ASCII of at most max bytes, so that it can
// stand in a reply or a header without saying anything else there: every
// control, 8-bit or invalid byte becomes '?', runs of white space one blank.
func Printable(s string, max int) string {
	if isPrintable(s) && len(s) < max {
		return s
	}
	var b strings.Builder
	space := false
	for _, r := range s {
		switch {
		case r == ' ' || r == '\t' || r == '\r' || r == '\n':
			space = b.Len() > 0
			continue
		case r < ' ' || r > '~':
			r = '?'
		}
		if b.Len()+2 > max {
			break
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// isPrintable reports whether s has nothing for Printable to change.
func isPrintable(s string) bool {
	last := byte(' ') // no blank at the start, none at the end, no two in a row
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < ' ' || c > '~' || c == ' ' && last == ' ' {
			return false
		}
		last = c
	}
	return s == "" || last != ' '
}
