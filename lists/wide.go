package lists

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"postern/mail"
)

// A WideError is an entry that says more than who wrote it can mean. Add takes it when it is
// told to.
type WideError struct{ Msg string }

func (e *WideError) Error() string { return e.Msg }

// providers are domains under which anybody gets an address, or anybody's mail is sent: to allow
// one is to allow everybody (S-43), to deny one hits many who write to you.
var providers = []string{
	"gmail.com", "googlemail.com", "google.com", "googlegroups.com", "outlook.com", "hotmail.com", "live.com", "msn.com", "onmicrosoft.com", "yahoo.com", "yahoo.co.uk",
	"yahoo.de", "yahoo.fr", "ymail.com", "aol.com", "icloud.com", "me.com", "mac.com", "gmx.com", "gmx.de", "gmx.net", "gmx.at", "gmx.ch",
	"web.de", "t-online.de", "freenet.de", "mail.com", "mail.ru", "yandex.ru", "yandex.com", "proton.me", "protonmail.com", "pm.me",
	"qq.com", "163.com", "126.com", "sina.com", "orange.fr", "free.fr", "laposte.net", "libero.it", "comcast.net", "zoho.com",
	"fastmail.com", "tutanota.com", "bluewin.ch", "wp.pl", "o2.pl", "seznam.cz", "uol.com.br", "rediffmail.com", "naver.com",
	"amazonses.com", "sendgrid.net", "mailgun.org", "mandrillapp.com", "mcsv.net", "mailchimpapp.net", "sparkpostmail.com", "mailjet.com",
	"sendinblue.com", "hubspotemail.net", "salesforce.com", "sharepointonline.com", "substack.com",
}

// The widest networks that need no second word, as prefix lengths for IPv4 and IPv6.
var (
	widestAllow = [2]int{16, 32}
	widestDeny  = [2]int{8, 19}
)

// Wide tells why an entry is likely a mistake; nil when it is none. own are the domains that
// mail is taken for.
func (e *Entry) Wide(own mail.DomainSet) error {
	switch e.Kind {
	case Network:
		most, word := widestDeny, "denies"
		if e.Allow {
			most, word = widestAllow, "allows"
		}
		if least := most[family(e.net.Addr())]; e.net.Bits() < least {
			return &WideError{fmt.Sprintf("%s is wider than a /%d: it %s all who send from there", e.Value, least, word)}
		}
		return nil
	case Domain:
		return e.wideDomain(own)
	case Address:
		_, domain, _ := strings.Cut(e.Value[strings.LastIndexByte(e.Value, '@'):], "@")
		if e.Allow && e.Unauthenticated && own.Contains(domain) {
			return &WideError{e.Value + " is one of your own: whoever writes it as sender would be let in"}
		}
	}
	return nil
}

func (e *Entry) wideDomain(own mail.DomainSet) error {
	name := strings.TrimPrefix(e.Value, ".")
	if suffix, _ := publicsuffix.PublicSuffix(name); suffix == name {
		return &WideError{fmt.Sprintf("%s is a suffix under which anybody registers names", e.Value)}
	}
	switch {
	case own.Contains(name) && e.Allow && e.Unauthenticated:
		return &WideError{e.Value + " is your own domain: whoever writes it as sender would be let in"}
	case own.Contains(name) && !e.Allow:
		return &WideError{e.Value + " is your own domain: mail that your own people send from outside would be refused"}
	case e.Scope != "":
		return nil
	case slices.Contains(providers, name) && e.Allow:
		return &WideError{fmt.Sprintf("%s is a provider: to allow it for everybody is to allow everybody; name an address, or for whom with --for", e.Value)}
	case slices.Contains(providers, name):
		return &WideError{fmt.Sprintf("%s is a provider: that refuses the mail of all its users to everybody; name an address, or for whom with --for", e.Value)}
	}
	return nil
}
