package main

import (
	"context"
	"log/slog"
	"strings"

	"postern/digest"
	"postern/gateway"
	"postern/journal"
	"postern/mail"
	"postern/quarantine"
)

// openDigests opens the room of the mails about held mail. Commands have no desk, and those that
// send nothing no mailer.
func openDigests(ctx context.Context, cfg *Config, s *stores, o digest.Options, log *slog.Logger) (*digest.Digests, error) {
	d := &cfg.Digest
	var err error
	if o.Domains, err = mail.NewDomainSet(cfg.Domains); err != nil {
		return nil, err
	}
	o.DB, o.Held, o.People, o.Audit, o.Log = s.db, s.quarantine, s.people, s.audit, log
	o.Default, o.MaxItems, o.Host, o.ReplyDomain = digest.Every(d.Interval), d.MaxItems, cfg.Hostname, d.ReplyDomain
	o.At, _ = timeOfDay(d.At) // validated
	o.Known = knownSender(s.journal)
	if cfg.Web.Listen != "" {
		o.Origin = cfg.Web.Origin
	}
	return digest.Open(ctx, o)
}

// digestKey is the key that signs addresses in reply_domain; nil when there is no such domain.
func digestKey(cfg *Config) (*digest.Key, error) {
	if cfg.Digest.ReplyDomain == "" {
		return nil, nil
	}
	return digest.OpenKey(cfg.Data)
}

// knownSender tells whether a held message is proven to be from its envelope sender, who had mail
// delivered to the person before.
func knownSender(j *journal.Store) func(context.Context, *quarantine.Item, mail.Address) bool {
	return func(ctx context.Context, it *quarantine.Item, to mail.Address) bool {
		rec, err := j.Look(ctx, it.ID)
		if err != nil || !proven(rec.Facts) {
			return false
		}
		n, _, _, err := j.Delivered(ctx, it.Envelope.Sender, to, it.Received)
		return err == nil && n > 0
	}
}

// proven reports whether SPF or DMARC passed.
func proven(facts journal.Raw) bool {
	for filter, f := range facts.Members() {
		if name := string(filter); name != "spf" && name != "dmarc" {
			continue
		}
		for fact, v := range f.Members() {
			if string(fact) == "result" && strings.EqualFold(v.Text(), "pass") {
				return true
			}
		}
	}
	return false
}

// startDigests makes the digests of a gateway, and gives it the inbox for their answers.
func (p *program) startDigests(ctx context.Context, g gateway.Config, d *gateway.Deps) (err error) {
	key, err := digestKey(p.cfg)
	if err != nil { // mail does not wait for it
		p.log.Error("nobody can release by mail", "error", err)
	}
	p.digests, err = openDigests(ctx, p.cfg, p.stores, digest.Options{Desk: p.desk, Key: key,
		Mailer: newMailer(p.cfg, g, p.upstream, p.log), Counted: p.metrics.digest}, p.log)
	if err != nil {
		return err
	}
	if inbox := p.digests.Replies(); inbox != nil {
		d.Inbox = inbox
	}
	return nil
}
