package journal

import (
	"net/netip"
	"strconv"
	"time"

	"postern/mail"
)

func (x *encoder) envelope(e *mail.Envelope) {
	x.open("envelope")
	x.text("id", e.ID)
	x.time("received", e.Received)
	x.open("client")
	x.addr("addr", e.Client.Addr)
	x.count("port", int64(e.Client.Port))
	x.words("helo", e.Client.Helo)
	x.flag("esmtp", e.Client.ESMTP)
	x.words("tls", e.Client.TLS)
	x.flag("trusted", e.Client.Trusted)
	x.close()
	x.text("sender", e.Sender.String())
	if len(e.Recipients) == 0 {
		x.value("recipients", e.Recipients) // null or an empty list
	} else {
		x.list("recipients", len(e.Recipients), func(i int) {
			r := &e.Recipients[i]
			x.text("address", r.Address.String())
			x.words("notify", r.Notify)
			x.words("orcpt", r.ORcpt)
		})
	}
	x.open("options")
	x.count("size", e.Options.Size)
	x.words("body", string(e.Options.Body))
	x.flag("utf8", e.Options.UTF8)
	x.words("ret", e.Options.Ret)
	x.words("envid", e.Options.EnvID)
	x.flag("requiretls", e.Options.RequireTLS)
	x.close()
	x.close()
}

func (x *encoder) reply(r *mail.Reply) {
	x.open("reply")
	x.number("code", int64(r.Code))
	x.member("enhanced")
	for i, n := range r.Enhanced {
		x.detail = append(x.detail, "[,,"[i])
		x.detail = strconv.AppendInt(x.detail, int64(n), 10)
	}
	x.detail = append(x.detail, ']')
	x.text("text", r.Text)
	x.close()
}

// open begins an object, close ends it.
func (x *encoder) open(name string) {
	x.member(name)
	x.detail = append(x.detail, '{')
}

func (x *encoder) close() { x.detail = append(x.detail, '}') }

// count is a number that is left out when it is 0, flag a truth that is left out when it is none.
func (x *encoder) count(name string, n int64) {
	if n != 0 {
		x.number(name, n)
	}
}

func (x *encoder) flag(name string, v bool) {
	if v {
		x.raw(name, []byte("true"))
	}
}

func (x *encoder) time(name string, at time.Time) {
	if y := at.Year(); y < 0 || y > 9999 {
		x.value(name, at) // which says what is wrong with it
		return
	}
	x.member(name)
	x.detail = append(at.AppendFormat(append(x.detail, '"'), time.RFC3339Nano), '"')
}

func (x *encoder) addr(name string, a netip.Addr) {
	if !a.IsValid() || a.Zone() != "" {
		x.value(name, a)
		return
	}
	x.member(name)
	x.detail = append(a.AppendTo(append(x.detail, '"')), '"')
}
