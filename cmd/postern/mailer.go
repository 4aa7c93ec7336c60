package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"postern/digest"
	"postern/gateway"
	"postern/mail"
)

// A mailer sends mail of our own to people inside, through the internal servers: what these do not
// take goes nowhere, and nothing ever leaves for other domains.
type mailer struct {
	sender  gateway.Releaser
	host    string
	from    mail.Address
	domains mail.DomainSet
	slots   chan struct{} // has room for one more mail under way
	log     *slog.Logger
}

// Bounds of mail of our own.
const (
	mailsAtOnce = 4
	mailLimit   = 60 * time.Second
)

// newMailer makes the one of a gateway.
func newMailer(cfg *Config, g gateway.Config, up gateway.Upstream, log *slog.Logger) *mailer {
	from, err := mail.ParseAddress(cfg.Digest.From, false)
	if err != nil { // none was given
		from = mail.Address{Local: "postern", Domain: g.Hostname}
	}
	return &mailer{sender: gateway.Releaser{Upstream: up}, host: g.Hostname, from: from,
		domains: g.Domains, slots: make(chan struct{}, mailsAtOnce), log: log}
}

// errOutside says that a mail is not for somebody inside.
var errOutside = errors.New("it is in none of our domains")

// Send sends a text. nil: the internal server has it.
func (m *mailer) Send(ctx context.Context, to mail.Address, subject, text string) error {
	return m.Post(ctx, &mail.Letter{To: to, Subject: subject, Text: text})
}

// Post sends a letter; who it is from, its id and its date are set here.
func (m *mailer) Post(ctx context.Context, l *mail.Letter) error {
	if !m.domains.Contains(l.To.Domain) {
		return fmt.Errorf("no mail to %s: %w", l.To, errOutside)
	}
	ctx, cancel := context.WithTimeout(ctx, mailLimit)
	defer cancel()
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		return fmt.Errorf("no mail to %s: too many wait to be sent: %w", l.To, ctx.Err())
	}
	l.ID, l.Host, l.Date, l.From, l.FromName = rand.Text(), m.host, time.Now(), m.from, "Postern"
	f := m.sender.Tell(ctx, m.host, l.ID, l.To, l.Bytes())
	switch f.Fate {
	case gateway.FateDelivered:
		m.log.Info("mail of our own", "to", l.To.String(), "message_id", l.ID+"@"+l.Host)
		return nil
	case gateway.FateRefused:
		if f.Reply.Temporary() {
			return fmt.Errorf("no mail to %s: the internal server refused it for now: %s", l.To, f.Reply)
		}
		return fmt.Errorf("no mail to %s: %w: %s", l.To, digest.ErrRefused, f.Reply)
	case gateway.FateUnknown:
		return fmt.Errorf("mail to %s: sent, but the internal server's answer is lost: %w", l.To, f.Err)
	}
	return fmt.Errorf("no mail to %s: the internal server could not be asked: %w", l.To, f.Err)
}
