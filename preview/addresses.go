package preview

import (
	"strings"

	"golang.org/x/net/idna"

	"postern/filters"
	"postern/mail"
)

// Addresses are who a message says it is from, and to. A display name is what the sender chose to
// call himself: show it apart from the address.
type Addresses struct {
	From       []Address `json:"from,omitempty"` // every mailbox that a reader may take for the author
	FromOK     bool      `json:"from_ok"`        // there is one author, and everybody sees the same
	Sender     []Address `json:"sender,omitempty"`
	ReplyTo    []Address `json:"reply_to,omitempty"`
	To         []Address `json:"to,omitempty"`
	Cc         []Address `json:"cc,omitempty"`
	Envelope   string    `json:"envelope,omitempty"`    // who gave it to us, as the mail server says; "" for the null sender
	ReturnPath string    `json:"return_path,omitempty"` // as the header claims

	EnvelopeDiffers bool `json:"envelope_differs,omitempty"` // its domain is not that of From
	ReplyToDiffers  bool `json:"reply_to_differs,omitempty"` // answers go to another domain than that of From
}

// An Address is one mailbox.
type Address struct {
	Name    string `json:"name,omitempty"`
	Address string `json:"address"`
	Domain  string `json:"domain,omitempty"`  // in A-labels, as machines compare it
	Unicode string `json:"unicode,omitempty"` // the domain as people read it, when that differs

	NameDomain string `json:"name_domain,omitempty"` // of an address that the name shows and that is not this one
	NameMixed  bool   `json:"name_mixed,omitempty"`  // a word of the name mixes scripts that look alike
}

func readAddresses(h *mail.Header, f *filters.ContentFacts, o Options) Addresses {
	a := Addresses{From: addressList(f.From), FromOK: f.FromOK, ReplyTo: addressList(f.ReplyTo), To: addressList(f.To), Cc: addressList(f.Cc),
		Envelope: VisibleName(o.Sender)}
	if s := h.Get("Sender"); s != nil {
		list, _ := mail.ParseAuthors(string(s.Body()))
		for _, x := range list {
			a.Sender = append(a.Sender, address(filters.From{Name: filters.DecodeWords(x.Name), Address: x.Address, Domain: x.Domain}))
		}
	}
	if r := h.Get("Return-Path"); r != nil {
		v, _ := clip(r.Value(), 1024)
		a.ReturnPath = VisibleName(filters.DecodeText("", strings.Trim(v, "<> \t")))
	}
	if len(f.From) > 0 {
		own := f.From[0].Domain
		_, domain, ok := strings.Cut(o.Sender[strings.LastIndexByte(o.Sender, '@')+1:], "@")
		if !ok {
			domain = o.Sender[strings.LastIndexByte(o.Sender, '@')+1:]
		}
		if d, err := mail.ParseDomain(domain); err == nil {
			a.EnvelopeDiffers = d != own
		}
		for _, r := range f.ReplyTo {
			a.ReplyToDiffers = a.ReplyToDiffers || r.Domain != own
		}
	}
	return a
}

func addressList(list []filters.From) []Address {
	var out []Address
	for _, f := range list {
		out = append(out, address(f))
	}
	return out
}

func address(f filters.From) Address {
	a := Address{Name: VisibleName(f.Name), Address: VisibleName(f.Address), Domain: f.Domain, NameDomain: f.NameDomain, NameMixed: f.NameMixed}
	if u := unicodeHost(f.Domain); u != f.Domain {
		a.Unicode = u
	}
	return a
}

// unicodeHost is a host as people read it; the same when it is all ASCII or cannot be decoded.
func unicodeHost(host string) string {
	if !strings.Contains(host, "xn--") {
		return host
	}
	u, err := idna.Display.ToUnicode(host)
	if err != nil {
		return host
	}
	return VisibleName(u)
}
