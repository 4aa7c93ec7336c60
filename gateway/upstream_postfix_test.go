package gateway

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"postern/mail"
	"postern/testkit"
)

// largeText is a message of about size bytes with lines of all sorts.
func largeText(size int, subject string) []byte {
	rng := rand.New(rand.NewPCG(3, 4))
	var b bytes.Buffer
	fmt.Fprintf(&b, "Subject: %s\r\n\r\n", subject)
	for b.Len() < size {
		switch rng.IntN(5) {
		case 0:
			b.WriteString(strings.Repeat(".", rng.IntN(4)))
		case 1:
			b.WriteString("." + strings.Repeat("dot ", rng.IntN(20)))
		case 2:
			b.WriteString(strings.Repeat("x", rng.IntN(900)))
		default:
			b.WriteString("ä plain line, From the middle")
		}
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

func sendTo(t *testing.T, up *Servers, text []byte, to ...string) {
	t.Helper()
	env := upEnvelope()
	env.Options = mail.Options{Size: int64(len(text)), Body: "8BITMIME"}
	env.Client = mail.Client{Addr: netip.MustParseAddr("192.0.2.7"), Helo: "client.test", ESMTP: true}
	var rcpts []mail.RcptTo
	for _, l := range to {
		rcpts = append(rcpts, upRcpt(l))
	}
	body := mail.BodyOf(text)
	defer body.Close()
	replies, refused, err := deliver(t.Context(), up, env, body.Open(), rcpts...)
	if err != nil || len(refused) > 0 || !replies[0].OK() {
		t.Fatalf("replies %s", describe(replies, refused, err))
	}
}

func TestPostfixAsInternalServer(t *testing.T) {
	p := testkit.StartPostfix(t, testkit.PostfixOptions{})
	up := serversFor(t, func(c *ServerConfig) { c.Forward = ForwardXForward }, p.Addr)

	small, large := largeText(1<<10, "small"), largeText(5<<20, "large")
	sendTo(t, up, small, "a")
	sendTo(t, up, large, "b", "c")
	if got := p.WaitMessages("a", 1)[0]; !bytes.HasSuffix(got, small) {
		t.Errorf("the small message arrived as %.300q", got)
	}
	for _, box := range []string{"b", "c"} {
		got := p.WaitMessages(box, 1)[0]
		if !bytes.HasSuffix(got, large) {
			t.Errorf("%s: the large message of %d bytes arrived with %d bytes, otherwise", box, len(large), len(got))
		}
	}

	if log := p.Log(); !strings.Contains(log, "orig_client=unknown[192.0.2.7]") || !strings.Contains(log, "orig_queue_id=01ID") {
		t.Errorf("XFORWARD has no effect:\n%s", log)
	}
	// S-45: unknown users are refused at RCPT, in its own words.
	d, err := up.Begin(t.Context(), DefaultGroup, upEnvelope())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	err = d.Rcpt(t.Context(), upRcpt("nobody"))
	if r, ok := err.(*mail.Reply); !ok || r.Code != 550 || r.Enhanced != [3]int{5, 1, 1} || !strings.Contains(r.Text, "User unknown") {
		t.Errorf("an unknown user: %v", err)
	}
	if e := up.Extensions(); !e.EightBitMIME || !e.Pipelining || !e.DSN || e.Size != 50<<20 {
		t.Errorf("extensions %+v", e)
	}
}

func TestPostfixRestartsBetweenMessages(t *testing.T) {
	p := testkit.StartPostfix(t, testkit.PostfixOptions{})
	up := serversFor(t, nil, p.Addr)
	sendTo(t, up, largeText(1<<10, "before"), "a")

	// While a message is being uploaded, too.
	d, err := up.Begin(t.Context(), DefaultGroup, upEnvelope())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	to := []mail.RcptTo{upRcpt("a"), upRcpt("b")}
	for _, r := range to {
		if err := d.Rcpt(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	p.Stop()
	if _, err := up.groups[DefaultGroup].connection(t.Context(), guest{}, true); err == nil {
		t.Fatal("it is not stopped")
	}
	p.Start()
	text := largeText(1<<10, "during")
	replies, err := d.Send(t.Context(), to, int64(len(text)), SourceOf(nil, bytes.NewReader(text)))
	if err != nil || !replies[0].OK() {
		t.Fatal(replies, err)
	}
	sendTo(t, up, largeText(1<<10, "after"), "a")
	if got := p.WaitMessages("a", 3); len(got) != 3 {
		t.Errorf("%d messages, want 3", len(got))
	}
	if got := p.WaitMessages("b", 1); len(got) != 1 {
		t.Errorf("%d messages, want 1", len(got))
	}
}

func TestPostfixHalfMessageIsNotDelivered(t *testing.T) {
	p := testkit.StartPostfix(t, testkit.PostfixOptions{})
	up := serversFor(t, nil, p.Addr)
	text := largeText(1<<20, "half")
	d, err := up.Begin(t.Context(), DefaultGroup, upEnvelope())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Rcpt(t.Context(), upRcpt("a")); err != nil {
		t.Fatal(err)
	}
	src := SourceOf(text, brokenReader{})
	if _, err := d.Send(t.Context(), []mail.RcptTo{upRcpt("a")}, 1, src); err == nil {
		t.Fatal("no error")
	}
	d.Close()
	sendTo(t, up, largeText(1<<10, "whole"), "a")
	got := p.WaitMessages("a", 1)
	if len(got) != 1 || !bytes.Contains(got[0], []byte("Subject: whole")) {
		t.Errorf("arrived: %d, %.300q", len(got), got[0])
	}
}

func TestPostfixSTARTTLS(t *testing.T) {
	p := testkit.StartPostfix(t, testkit.PostfixOptions{TLS: true})
	for name, c := range map[string]struct {
		change func(*ServerConfig)
		tls    bool
		fails  bool
	}{
		"none":                   {func(c *ServerConfig) { c.TLS = TLSNone }, false, false},
		"opportunistic":          {func(c *ServerConfig) { c.TLS = TLSOpportunistic }, true, false},
		"require, verified":      {func(c *ServerConfig) { c.TLS, c.TLSName, c.TLSRoots = TLSRequire, p.Name, p.Roots }, true, false},
		"require, unknown CA":    {func(c *ServerConfig) { c.TLS, c.TLSName, c.TLSRoots = TLSRequire, p.Name, x509.NewCertPool() }, true, true},
		"require, other name":    {func(c *ServerConfig) { c.TLS, c.TLSName, c.TLSRoots = TLSRequire, "other.test", p.Roots }, true, true},
		"require, no validation": {func(c *ServerConfig) { c.TLS, c.TLSInsecure = TLSRequire, true }, true, false},
	} {
		up := serversFor(t, c.change, p.Addr)
		if c.fails {
			if _, err := up.Begin(t.Context(), DefaultGroup, upEnvelope()); err == nil {
				t.Errorf("%s: no error", name)
			}
			continue
		}
		large := largeText(1<<20, name)
		box := map[bool]string{true: "a", false: "b"}[c.tls]
		before := len(p.Messages(box))
		for range 2 { // the second one over the kept connection
			sendTo(t, up, large, box)
		}
		for _, got := range p.WaitMessages(box, before+2)[before:] {
			if !bytes.HasSuffix(got, large) {
				t.Errorf("%s: arrived otherwise", name)
			}
			if secure := bytes.Contains(got, []byte("ESMTPS")); secure != c.tls {
				t.Errorf("%s: TLS %v in its Received field", name, secure)
			}
		}
	}
}
