package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"postern/filters"
	"postern/gateway"
	"postern/mail"
	"postern/people"
	"postern/quarantine"
	"postern/review"
	"postern/store"
)

// openDesk makes the desk at which people act on the mail in s. Its releases go over up; with nil
// nothing can be released. rules are those of the running gateway; nil for commands.
func openDesk(ctx context.Context, cfg *Config, s *stores, up gateway.Upstream, rules review.RuleRoom, log *slog.Logger) (*review.Desk, error) {
	domains, err := mail.NewDomainSet(cfg.Domains)
	if err != nil {
		return nil, err
	}
	o := review.Options{DB: s.db, Quarantine: s.quarantine, Journal: s.journal, Lists: s.lists, Audit: s.audit, Rules: rules,
		Domains: domains, SpoolDir: filepath.Join(cfg.Data, store.Spool), Fresh: freshActor(cfg, s.people), Log: log}
	o.Reasons.Verbs = map[review.Verb]bool{}
	for _, v := range cfg.Web.ReasonFor {
		o.Reasons.Verbs[review.Verb(v)] = true
	}
	if up != nil {
		gcfg, err := gatewayConfig(cfg, nil)
		if err != nil {
			return nil, err
		}
		o.Sender = &deskSender{gcfg, &gateway.Releaser{Upstream: up}}
	}
	if len(cfg.ClamAV.Addresses) > 0 {
		o.Scanner = newDeskScanner(cfg)
	}
	return review.New(ctx, o)
}

// freshActor gives an actor as the account is now: acts that wait are carried out by who may do
// them then.
func freshActor(cfg *Config, s *people.Store) func(context.Context, *people.Actor) (*people.Actor, error) {
	rights := rightsOf(cfg)
	return func(ctx context.Context, who *people.Actor) (*people.Actor, error) {
		p, err := s.Get(ctx, who, who.ID)
		if err != nil {
			return nil, err
		}
		now := *who
		now.Person, now.Rights, now.Subaddress = *p, rights, cfg.Web.Subaddress
		return &now, nil
	}
}

// A deskSender sends what people release.
type deskSender struct {
	config   gateway.Config
	releaser *gateway.Releaser
}

// Send is review.Sender's.
func (s *deskSender) Send(ctx context.Context, it *quarantine.Item, to []mail.RcptTo, body *mail.Body, danger string) []review.Sent {
	open := func() (gateway.Source, int64, error) {
		return gateway.Restamp(s.config, it, body.Open(), time.Now(), danger)
	}
	var out []review.Sent
	for _, f := range s.releaser.Release(ctx, it, to, open) {
		one := review.Sent{Fate: map[string]review.Fate{gateway.FateDelivered: review.Delivered, gateway.FateRefused: review.Turned,
			gateway.FateUnsent: review.Unsent, gateway.FateUnknown: review.Unclear}[f.Fate]}
		switch {
		case f.Reply != nil:
			one.Reply = f.Reply.String()
		case f.Err != nil:
			one.Reply = f.Err.Error()
		}
		out = append(out, one)
	}
	return out
}

// deskScans is how many released messages are scanned at once: new mail must not wait for them.
const deskScans = 2

// A deskScanner looks at held mail again, as the gateway did when it came.
type deskScanner struct{ filters []filters.Filter }

func newDeskScanner(cfg *Config) *deskScanner {
	one := *cfg
	one.ClamAV.Concurrent = deskScans
	all := filterList(&one, outside{})
	want := closure([]string{"clamav"}, all)
	s := &deskScanner{}
	for _, f := range all {
		if want[f.Name] {
			s.filters = append(s.filters, f)
		}
	}
	return s
}

// Scan is review.Scanner's.
func (s *deskScanner) Scan(ctx context.Context, env *mail.Envelope, body *mail.Body) (review.Scanned, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	scope := filters.NewScope(nil)
	defer scope.Join()
	defer cancel()
	scope.Start(ctx, s.filters, filters.Input{Envelope: *env, Body: body})
	if err := scope.Wait(ctx, "clamav"); err != nil {
		return review.Scanned{}, err
	}
	v, err, _ := scope.Lookup("clamav")
	facts, ok := v.(filters.ClamAVFacts)
	switch {
	case err != nil:
		return review.Scanned{}, err
	case !ok || facts.Error != "":
		return review.Scanned{}, errors.New("it has no answer")
	case facts.Infected && facts.Heuristic != "":
		return review.Scanned{Unsure: facts.Signature}, nil
	case facts.Infected:
		return review.Scanned{Found: facts.Signature}, nil
	}
	return review.Scanned{}, nil
}

// doAs has the desk do something for a command and says what became of it, as the command does.
func doAs(ctx context.Context, d *review.Desk, who *people.Actor, act review.Act) (said string, err error) {
	done, err := d.Do(ctx, who, act)
	if errors.Is(err, review.ErrNotFound) {
		return "", quarantine.ErrNotFound
	}
	if err != nil {
		return "", err
	}
	return actSaid(done)
}

// actSaid is what became of an act on one message, as words or as an error.
func actSaid(done *review.Done) (said string, err error) {
	if len(done.Items) != 1 {
		return "", fmt.Errorf("%d results for one message", len(done.Items))
	}
	switch one := done.Items[0]; one.Result {
	case review.ResultDone, review.ResultAlready:
		return one.Words, nil
	case review.ResultUnclear:
		return "", errors.New(one.Words + "; --again sends it again")
	default:
		return "", errors.New(one.Words)
	}
}
