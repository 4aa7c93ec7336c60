package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"postern/gateway"
	"postern/mail"
	"postern/people"
)

// openPeople opens the room of who may sign in, as the configuration has it. Commands have no mailer.
func openPeople(ctx context.Context, cfg *Config, s *stores, log *slog.Logger, m *mailer) (*people.Store, error) {
	o := people.Options{DB: s.db, Log: log, Audit: s.audit, Origin: cfg.Web.Origin, Rights: rightsOf(cfg), Subaddress: cfg.Web.Subaddress,
		AdminTOTP: cfg.Web.AdminTOTP == "required", MailSignIn: cfg.Web.MailSignIn}
	if m != nil {
		o.Mailer, o.Internal = m, func(a mail.Address) bool { return m.domains.Contains(a.Domain) }
		var err error
		if o.OpenID, err = openIDOf(&cfg.Web.OIDC); err != nil {
			return nil, err
		}
	}
	p, err := people.Open(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("people: %w", err)
	}
	return p, nil
}

// signingIn gives the pages' people a way to send links.
func (p *program) signingIn(ctx context.Context, g gateway.Config) (err error) {
	p.people, err = openPeople(ctx, p.cfg, p.stores, p.log, newMailer(p.cfg, g, p.upstream, p.log))
	return err
}

// oidcSecret is where the secret stands when there is no file.
const oidcSecret = "POSTERN_OIDC_SECRET"

// openIDOf is signing in by another's accounts; nil when there is none.
func openIDOf(c *OIDCConf) (*people.OpenID, error) {
	if c.Issuer == "" {
		return nil, nil
	}
	o := &people.OpenID{Issuer: c.Issuer, ClientID: c.ClientID, Secret: os.Getenv(oidcSecret), LinkStaff: c.LinkStaff, Create: c.Create, GroupClaim: c.GroupClaim, Roles: map[string]people.Role{}}
	for group, role := range c.Roles {
		o.Roles[group] = people.Role(role)
	}
	if c.SecretFile == "" {
		return o, nil
	}
	st, err := os.Stat(c.SecretFile)
	if err == nil && st.Mode().Perm()&0o007 != 0 {
		err = fmt.Errorf("everybody may read %s: chmod o= it", c.SecretFile)
	}
	if err != nil {
		return nil, fmt.Errorf("web.oidc.secret_file: %w", err)
	}
	text, err := os.ReadFile(c.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("web.oidc.secret_file: %w", err)
	}
	if o.Secret = strings.TrimSpace(string(text)); o.Secret == "" {
		return nil, fmt.Errorf("web.oidc.secret_file: %s is empty", c.SecretFile)
	}
	return o, nil
}

// rightsOf is what users may do with own held mail: what is configured, over the defaults.
func rightsOf(cfg *Config) people.Rights {
	rights := people.DefaultRights()
	words := map[string]people.Right{"none": people.RightNone, "see": people.RightSee, "ask": people.RightAsk, "release": people.RightRelease}
	for class, word := range cfg.Web.Rights {
		rights[class] = words[word] // what is no word gives nothing
	}
	return rights
}

// offerSetUp says how the first administrator is made, as long as there is none: no password is
// there before somebody chose it.
func (p *program) offerSetUp(ctx context.Context) {
	link, err := p.people.SetUpLink(ctx)
	switch {
	case err != nil:
		p.log.Error("the link for the first administrator cannot be made; postern user add --role admin makes one", "error", err)
	case link != "":
		p.log.Warn("nobody is administrator yet: this link makes one, once, within a day; it is also in "+people.SetUpFile+" in the data folder", "link", link)
	}
}
