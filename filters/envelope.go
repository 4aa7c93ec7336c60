package filters

import (
	"context"
	"strings"
	"time"

	"postern/mail"
)

// What the client said, served as facts like any other: these filters never fail.

// ClientFacts are known from the connection on, but for what EHLO and STARTTLS add.
type ClientFacts struct {
	Error   string `expr:"error" json:"error,omitempty" doc:"Always empty: this filter cannot fail."`
	Addr    string `expr:"addr" json:"addr" doc:"IP address of the client, as text." example:"inNetwork(client.addr, \"192.0.2.0/24\")"`
	Helo    string `expr:"helo" json:"helo" doc:"Name that the client gave in EHLO or HELO." example:"client.helo endsWith \".dyn.example.net\""`
	ESMTP   bool   `expr:"esmtp" json:"esmtp" doc:"The client said EHLO, not HELO."`
	TLS     bool   `expr:"tls" json:"tls" doc:"The connection is encrypted." example:"not client.tls"`
	Cipher  string `expr:"cipher" json:"cipher" doc:"TLS version and cipher suite; empty in clear." example:"client.cipher contains \"CBC\""`
	Version string `expr:"tls_version" json:"tls_version,omitempty" doc:"TLS1.3, TLS1.2 and so on; empty in clear." example:"client.tls_version in [\"TLS1.0\", \"TLS1.1\"]"`
	Trusted bool   `expr:"trusted" json:"trusted" doc:"The client is one of trusted_relays."`
}

// SenderFacts are the parts of MAIL FROM.
type SenderFacts struct {
	Error   string `expr:"error" json:"error,omitempty" doc:"Always empty: this filter cannot fail."`
	Address string `expr:"address" json:"address" doc:"Envelope sender (MAIL FROM); empty for a bounce." example:"sender.address == \"\""`
	Local   string `expr:"local" json:"local" doc:"Its local part, without quoting." example:"sender.local startsWith \"bounce\""`
	Domain  string `expr:"domain" json:"domain" doc:"Its domain, in lower case and A-labels." case:"lower" example:"isSubdomain(sender.domain, \"example.net\")"`
}

// RcptFacts are the parts of one RCPT TO.
type RcptFacts struct {
	Error   string `expr:"error" json:"error,omitempty" doc:"Always empty: this filter cannot fail."`
	Address string `expr:"address" json:"address" doc:"The recipient the verdict is for (RCPT TO)." example:"rcpt.address == \"ana@example.org\""`
	Local   string `expr:"local" json:"local" doc:"Its local part, without quoting." example:"rcpt.local in [\"abuse\", \"postmaster\"]"`
	Domain  string `expr:"domain" json:"domain" doc:"Its domain, in lower case and A-labels." case:"lower" example:"rcpt.domain == \"example.org\""`
}

// MessageFacts are known when all of the message is there.
type MessageFacts struct {
	Error      string    `expr:"error" json:"error,omitempty" doc:"Set when the upload broke off."`
	Size       int       `expr:"size" json:"size" doc:"Size of the message in bytes, as received." example:"message.size > 10000000"`
	Received   time.Time `expr:"received" json:"received" doc:"When MAIL FROM arrived; the one clock that rules see."`
	ID         string    `expr:"id" json:"id" doc:"Our id of the message." example:"message.id endsWith \"7\""`
	Recipients int       `expr:"recipients" json:"recipients" doc:"Number of recipients accepted so far." example:"message.recipients > 20"`
}

func client() Filter {
	return Filter{Name: "client", Cost: Free, Doc: "Who connected, and how.",
		Stage: mail.Sender, Facts: ClientFacts{}, Inline: true, Said: true,
		Gather: func(_ context.Context, in *Input) (any, error) {
			return clientFacts(&in.Envelope), nil
		}}
}

func sender() Filter {
	return Filter{Name: "sender", Cost: Free, Doc: "The envelope sender, as it was said in MAIL FROM.",
		Stage: mail.Sender, Facts: SenderFacts{}, Inline: true, Said: true,
		Gather: func(_ context.Context, in *Input) (any, error) {
			return senderFacts(in.Sender), nil
		}}
}

func rcpt() Filter {
	return Filter{Name: "rcpt", Cost: Free, Doc: "The recipient that the verdict is for, as it was said in RCPT TO.",
		Stage: mail.Recipient, Facts: RcptFacts{}, Inline: true, Said: true,
		Gather: func(_ context.Context, in *Input) (any, error) {
			return rcptFacts(in.Recipient), nil
		}}
}

func message() Filter {
	return Filter{Name: "message", Cost: Free, Doc: "The message as a whole.",
		Stage: mail.Data, Facts: MessageFacts{}, Inline: true, Said: true,
		Gather: func(ctx context.Context, in *Input) (any, error) {
			select {
			case <-in.Body.Done():
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			return messageFacts(&in.Envelope, in.Body.Size()), nil
		}}
}

func clientFacts(e *mail.Envelope) ClientFacts {
	c := &e.Client
	version, _, _ := strings.Cut(c.TLS, " ")
	return ClientFacts{Addr: c.Addr.Unmap().String(), Helo: c.Helo, ESMTP: c.ESMTP, TLS: c.TLS != "", Cipher: c.TLS, Version: version, Trusted: c.Trusted}
}

func senderFacts(a mail.Address) SenderFacts {
	return SenderFacts{Address: a.String(), Local: a.Local, Domain: a.Domain}
}

func rcptFacts(a mail.Address) RcptFacts {
	return RcptFacts{Address: a.String(), Local: a.Local, Domain: a.Domain}
}

func messageFacts(e *mail.Envelope, size int64) MessageFacts {
	return MessageFacts{Size: int(size), Received: e.Received, ID: e.ID, Recipients: len(e.Recipients)}
}

// Retell gives the facts of a filter that only repeats what was said; ok is false for others.
// Before the message is there, with size 0, message knows only what KnownAtOnce tells.
func Retell(name string, e *mail.Envelope, rcpt mail.Address, size int64) (facts any, ok bool) {
	switch name {
	case "client":
		return clientFacts(e), true
	case "sender":
		return senderFacts(e.Sender), true
	case "rcpt":
		return rcptFacts(rcpt), true
	case "message":
		return messageFacts(e, size), true
	}
	return nil, false
}

// KnownAtOnce reports whether a fact of message is known before the message is there.
func KnownAtOnce(fact string) bool { return fact == "received" || fact == "id" }
