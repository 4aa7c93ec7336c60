package gateway

import (
	"strings"
	"testing"

	"postern/mail"
)

// REQUIRETLS is offered over TLS only, and where the way on has it too (RFC 8689 3).
func TestS19_RequireTLSIsOfferedOverTLS(t *testing.T) {
	f := startFront(t, testConfig(t), func(f *front) {
		f.extensions = func() mail.Extensions { return mail.Extensions{RequireTLS: true} }
	})
	x := f.dial(t)
	x.send("EHLO me\r\nMAIL FROM:<a@x.test> REQUIRETLS\r\n")
	if r := x.want("250"); strings.Contains(r, "REQUIRETLS") {
		t.Error(r)
	}
	x.want("550 5.7.30")
	x.send("STARTTLS\r\n")
	x.want("220")
	x = x.shake()
	x.send("EHLO me\r\nMAIL FROM:<a@x.test> REQUIRETLS=1\r\nMAIL FROM:<a@x.test> REQUIRETLS requiretls\r\nMAIL FROM:<a@x.test> requiretls\r\nRCPT TO:<b@y.test>\r\nDATA\r\n")
	if r := x.want("250"); !strings.Contains(r, "\r\n250-REQUIRETLS\r\n") {
		t.Error(r)
	}
	x.want("501 5.5.4", "501 5.5.4", "250", "250", "354")
	x.send(".\r\nHELO me\r\nMAIL FROM:<a@x.test> REQUIRETLS\r\n")
	x.want("250", "250", "550 5.7.30")
	if !f.got()[0].opts.RequireTLS {
		t.Errorf("%+v", f.got()[0].opts)
	}
	none := startFront(t, testConfig(t)).hello(t).startTLS()
	none.send("MAIL FROM:<a@x.test> REQUIRETLS\r\n")
	none.want("550 5.7.30")
}

// It goes on to a server that offers it over TLS with a verified certificate, and to no other
// (RFC 8689 4.2.1): then nothing at all is sent.
func TestS19_RequireTLSGoesOnVerifiedOnly(t *testing.T) {
	conf, roots := upCertificate(t, "sink.test")
	verified := func(c *ServerConfig) { c.TLS, c.TLSName, c.TLSRoots = TLSRequire, "sink.test", roots }
	for name, c := range map[string]struct {
		change func(*ServerConfig)
		offers string
		goes   bool
	}{
		"verified":         {verified, "REQUIRETLS", true},
		"not offered":      {verified, "DSN", false},
		"any certificate":  {func(c *ServerConfig) { c.TLS, c.TLSInsecure = TLSRequire, true }, "REQUIRETLS", false},
		"opportunistic":    {func(c *ServerConfig) { c.TLS = TLSOpportunistic }, "REQUIRETLS", false},
		"offered in clear": {func(c *ServerConfig) { c.TLS = TLSNone }, "REQUIRETLS", false},
	} {
		s := newUpSink(t, nil)
		s.set(func() { s.tls, s.ehlo = conf, []string{"STARTTLS", "PIPELINING", c.offers} })
		up := serversFor(t, c.change, s.addr)
		mustDeliver(t, up, upRcpt("a"))
		if up.Extensions().RequireTLS != c.goes {
			t.Errorf("%s: offered %v", name, !c.goes)
		}
		env := upEnvelope()
		env.Options.RequireTLS = true
		replies, refused, err := deliver(t.Context(), up, env, upBlocks(upText), upRcpt("b"))
		taken := s.taken()
		if last := taken[len(taken)-1].from; c.goes && (err != nil || len(refused) > 0 || !replies[0].OK() || !strings.HasSuffix(last, " REQUIRETLS")) {
			t.Errorf("%s: %s, said %s", name, describe(replies, refused, err), last)
		}
		if !c.goes && (err == nil || !strings.HasPrefix(err.Error(), "550 5.7.30") || len(taken) != 1) {
			t.Errorf("%s: %s", name, describe(replies, refused, err))
		}
	}
}
