package people

import (
	"fmt"
	"strings"

	"postern/mail"
	"postern/store"
)

// tidy gives the fields their one form, and says what is wrong.
func (p *Person) tidy() error {
	p.Login = strings.ToLower(strings.TrimSpace(p.Login))
	p.Name = strings.TrimSpace(p.Name)
	if p.Name == "" {
		p.Name = p.Login
	}
	if err := checkLogin(p.Login); err != nil {
		return err
	}
	if len(p.Name) > 200 || strings.ContainsFunc(p.Name, unprintable) || store.Clean(p.Name, 200) != p.Name {
		return &InvalidError{"a name is one line of at most 200 bytes"}
	}
	if may(p.Role) == nil {
		return &InvalidError{fmt.Sprintf("there is no role %q: admin, operator, auditor or user", p.Role)}
	}
	if own, err := mail.ParseAddress(p.Login, true); err == nil && len(p.Addresses) == 0 {
		p.Addresses = []mail.Address{own}
	}
	if err := p.tidyAddresses(); err != nil {
		return err
	}
	if p.Role == User && len(p.Domains) > 0 {
		return &InvalidError{"users see mail to their addresses, not to whole domains"}
	}
	return p.tidyDomains()
}

const maxAddresses = 200 // and domains, of one person

func (p *Person) tidyAddresses() error {
	if len(p.Addresses) > maxAddresses {
		return &InvalidError{fmt.Sprintf("a person has at most %d addresses", maxAddresses)}
	}
	seen, own := map[string]bool{}, []mail.Address{}
	for _, a := range p.Addresses {
		text := strings.ToLower(a.String())
		a, err := mail.ParseAddress(text, true)
		if err != nil || strings.ContainsAny(text, "*?[]") {
			return &InvalidError{fmt.Sprintf("%q is no address of a person", text)}
		}
		if !seen[text] {
			seen[text] = true
			own = append(own, a)
		}
	}
	p.Addresses = own
	return nil
}

func (p *Person) tidyDomains() error {
	if len(p.Domains) > maxAddresses {
		return &InvalidError{fmt.Sprintf("a person has at most %d domains", maxAddresses)}
	}
	seen, own := map[string]bool{}, []string{}
	for _, d := range p.Domains {
		domain, err := mail.ParseDomain(strings.TrimPrefix(strings.TrimSpace(d), "@"))
		if err != nil {
			return &InvalidError{fmt.Sprintf("%q is no domain", d)}
		}
		if !seen[domain] {
			seen[domain] = true
			own = append(own, domain)
		}
	}
	p.Domains = own
	return nil
}

// checkLogin says why a login is none: it is an address, or a short word.
func checkLogin(login string) error {
	if strings.Contains(login, "@") {
		if _, err := mail.ParseAddress(login, true); err == nil {
			return nil
		}
	} else if login != "" && len(login) <= 64 && strings.Trim(login, "abcdefghijklmnopqrstuvwxyz0123456789._-") == "" {
		return nil
	}
	return &InvalidError{"a login is an address, or letters a to z, digits, dot, dash and underscore, 64 at most"}
}

func unprintable(r rune) bool {
	return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029'
}
