package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"time"

	"postern/filters"
	"postern/gateway"
	"postern/mail"
	"postern/rules"
)

// checkCmd looks at configuration and rules, then at the neighbours.
type checkCmd struct {
	settings
	Offline bool `help:"Do not ask the neighbours (internal servers, DNS, clamd)."`
	Full    bool `help:"Read the whole database with its indexes, and every held message: it may take minutes."`
	Force   bool `help:"Tests beside the rules that fail are told, but are no failure."`
	JSON    bool `name:"json" help:"As JSON: errors, warnings, rules with what they need and their earliest reply."`
}

// Help is shown by --help.
func (checkCmd) Help() string {
	return "Example:\n  postern check -c /etc/postern/postern.yaml && systemctl reload postern\n  postern check --data /var/lib/postern --full\n\n" +
		"It changes nothing. A line that begins with FAIL, and exit code 1, mean that mail could not be taken, or that a reload would refuse the rules."
}

// Run checks. It fails when the gateway would not start or could take no mail.
func (c *checkCmd) Run(out output) error {
	r := &checkReport{Rules: []checkedRule{}, Errors: []checkError{}, Warnings: []string{}, Checks: []checkLine{}, force: c.Force}
	if !c.JSON {
		r.out = out.out
		if err := c.check(r); err != nil {
			return err
		}
		if r.fails() {
			return errors.New("check: put right what FAIL stands before")
		}
		return nil
	}
	r.failed(c.check(r))
	if err := printObject(out.out, r); err != nil {
		return err
	}
	if !r.OK {
		return errQuiet
	}
	return nil
}

// check fills in the report. Its error ends the check.
func (c *checkCmd) check(r *checkReport) error {
	if c.dataOnly() {
		cfg, err := c.read()
		if err != nil {
			return err
		}
		r.data(context.Background(), cfg, c.Full)
		return nil
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	resolver, err := newResolver(cfg)
	if err != nil {
		return err
	}
	defer resolver.Close()
	found, err := newCandidate(cfg, outside{Resolver: resolver}, 0)
	if err != nil {
		return err
	}
	if err := r.candidate(found); err != nil {
		return err
	}
	if doubt := cfg.doubtfulName(); doubt != "" {
		r.warn("%s", doubt)
	}
	if doubt := cfg.doubtfulDigest(); doubt != "" {
		r.warn("%s", doubt)
	}
	if err := r.certificate(cfg); err != nil {
		return err
	}
	if !c.Offline {
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		r.upstream(ctx, cfg)
		r.dns(ctx, cfg, resolver)
		r.clamav(ctx, cfg)
		if c.Full {
			ctx = context.Background() // as long as it takes
		}
		r.data(ctx, cfg, c.Full)
	}
	return nil
}

// dataOnly: a data folder is named and nothing else, so it is looked at alone.
func (c *checkCmd) dataOnly() bool {
	if c.Data == "" || c.Config != "" || len(c.Domain)+len(c.Upstream) > 0 {
		return false
	}
	_, err := os.Stat(defaultFile)
	return err != nil
}

// earliestReplies tells for each rule at which point of the transaction it can first answer:
// never before what it needs is known, nor before every rule in front of it has had its say.
func earliestReplies(list []rules.RuleInfo, fs []filters.Filter) []string {
	out := make([]string, len(list))
	before := mail.Connect
	early := slices.Clone(fs)
	for i := range early {
		if early[i].Later { // it may do without what it reads
			early[i].After = nil
		}
	}
	for i, r := range list {
		own := before
		for name := range closure(r.Needs, early) {
			for _, f := range fs {
				if f.Name == name {
					own = max(own, f.Stage)
				}
			}
		}
		switch {
		case len(r.Off) > 0 && len(r.Needs) == 0:
			out[i] = "never"
		case own == mail.Data:
			out[i] = "end of data"
		default:
			out[i] = "RCPT" // what is known earlier is answered here, too
		}
		if !r.Shadow {
			before = own
		}
	}
	return out
}

// certificate looks at a configured certificate; a self-signed one is made when it is needed.
func (r *checkReport) certificate(cfg *Config) error {
	if cfg.TLS.Off || cfg.TLS.Certificate == "" && len(cfg.TLS.Certificates) == 0 {
		return nil
	}
	c, err := openCertificates(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer c.close()
	end := c.expires()
	if left := time.Until(end); left < 14*24*time.Hour {
		r.warn("a certificate of tls ends on %s", end.Format(time.DateOnly))
	} else {
		r.ok("certificate until %s", end.Format(time.DateOnly))
	}
	return nil
}

func (r *checkReport) upstream(ctx context.Context, cfg *Config) {
	u, err := internalServers(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		r.fail("upstream: %v", err)
		return
	}
	defer u.Close()
	for _, p := range u.Probe(ctx) {
		if p.Err != nil {
			r.fail("internal server %v: mail would be deferred (451) until it answers", p.Err)
			continue
		}
		tls := "in clear"
		if p.TLS != "" {
			tls = p.TLS
		}
		r.ok("internal server %s (%s), %s", p.Address, p.Name, tls)
		for _, w := range p.Warnings {
			r.warn("internal server %s: %s", p.Address, w)
		}
		if limit := int64(cfg.Limits.MessageSize); limit > 0 && p.Extensions.Size > 0 && p.Extensions.Size < limit {
			r.warn("internal server %s takes %d bytes, less than limits.message_size: its limit is the one that clients are told", p.Address, p.Extensions.Size)
		}
	}
}

func (r *checkReport) dns(ctx context.Context, cfg *Config, d *filters.DNS) {
	answering := 0
	for _, s := range d.Check(ctx) {
		if s.Err != nil {
			r.warn("DNS server %s: %v", s.Addr, s.Err)
			continue
		}
		answering++
		r.ok("DNS server %s answers", s.Addr)
		if !s.Loopback {
			r.warn("DNS server %s is not on this host: answers can be forged on the way; a validating resolver on 127.0.0.1 (unbound) is best", s.Addr)
		}
	}
	if answering == 0 {
		r.fail("no DNS server answers: SPF, DKIM and DMARC cannot be checked, and mail from domains with a policy is deferred")
	}
}

func (r *checkReport) clamav(ctx context.Context, cfg *Config) {
	if len(cfg.ClamAV.Addresses) == 0 {
		r.warn("no virus scanner: clamav.addresses is empty, rules that name clamav are skipped")
		return
	}
	limit := int64(cfg.Limits.MessageSize)
	if limit == 0 {
		limit = gateway.DefaultLimits().MessageSize
	}
	for _, addr := range cfg.ClamAV.Addresses {
		c, err := filters.ClamAVConfig{}.Check(ctx, addr, limit)
		if err != nil {
			r.fail("clamd %s: %v: while no clamd answers, clamav.on_failure is %q", addr, err, cfg.ClamAV.OnFailure)
			continue
		}
		r.ok("clamd %s: %s", addr, c.Version)
		if !c.Built.IsZero() && time.Since(c.Built) > 7*24*time.Hour {
			r.warn("clamd %s: its signatures are from %s: does freshclam run?", addr, c.Built.Format(time.DateOnly))
		}
		if !c.Takes {
			r.warn("clamd %s: StreamMaxLength is below the largest message (%d bytes): what is larger is held unscanned; set StreamMaxLength %dM in clamd.conf", addr, limit, (limit+1<<20-1)>>20)
		}
		if c.Takes && c.Alerts && !c.Whole {
			r.warn("clamd %s: MaxFileSize or MaxScanSize is below the largest message (%d bytes): what is larger is held; set MaxFileSize %dM in clamd.conf", addr, limit, (limit+1<<20-1)>>20)
		}
		if !c.Alerts {
			r.warn("clamd %s calls clean what it gave up on (an archive nested too deeply): set AlertExceedsMax yes in clamd.conf", addr)
		}
	}
	if size := int64(cfg.ClamAV.MaxSize); size > 0 && size < limit {
		r.warn("clamav.max_size (%d bytes) is below the largest message (%d): what is larger is held unscanned", size, limit)
	}
}
