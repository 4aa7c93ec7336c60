package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/mail"
)

func TestS04_OnlyCRLFLeavesAndTheEndIsOne(t *testing.T) {
	s := newUpSink(t, nil)
	up := serversFor(t, nil, s.addr)
	long := strings.Repeat("0123456789\r\n.dot\r\n", 20000)
	for name, list := range map[string][]string{
		"dots":              {".\r\n..\r\n.a\r\n\r\n.\r\n"},
		"no final newline":  {"a\r\nb"},
		"ends in a dot":     {"a\r\n."},
		"empty":             {},
		"only a newline":    {"\r\n"},
		"NUL and 8 bits":    {"a\x00b\xff\r\n"},
		"dot after border":  {"a\r\n", ".b\r\n"},
		"CR, LF, dot apart": {"a\r", "\n", ".", "\r", "\n", ".", ".\r\n"},
		"empty blocks":      {"", "a\r", "", "\n", ""},
		"large":             {long[:70001], long[70001:70002], long[70002:]},
	} {
		replies, _, err := deliver(t.Context(), up, upEnvelope(), upBlocks(list...), upRcpt("b"))
		if err != nil || !replies[0].OK() {
			t.Fatalf("%s: %v %v", name, replies, err)
		}
		mails := s.taken()
		m := mails[len(mails)-1]
		want := strings.Join(list, "")
		if want != "" && !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		if string(m.body) != want {
			t.Errorf("%s: arrived as %.60q, want %.60q", name, m.body, want)
		}
		if bytes.Count(m.raw, []byte("\r\n")) != bytes.Count(m.raw, []byte("\n")) || bytes.Count(m.raw, []byte("\r")) != bytes.Count(m.raw, []byte("\n")) {
			t.Errorf("%s: bare CR or LF on the wire", name)
		}
	}
	if n := s.connections(); n != 1 {
		t.Errorf("%d connections, want 1 that is kept", n)
	}
}

func TestS04_BareNewlinesAreNeverSent(t *testing.T) {
	s := newUpSink(t, nil)
	up := serversFor(t, nil, s.addr)
	pad := strings.Repeat("pad pad\r\n", 20000)
	for _, list := range [][]string{
		{"a\nb\r\n"}, {"a\rb\r\n"}, {"a\r"}, {"a\r", "b"}, {"\n.\n"}, {"a\r\r\n"}, {"a\n\r\n"}, {"\ra\n"},
		{"a\r", "", "b\n"}, {"a\r\n.\r"}, {pad, "\n.\r\nMAIL FROM:<evil@x>\r\n"}, {pad + "\r.\r\n"},
	} {
		_, _, err := deliver(t.Context(), up, upEnvelope(), upBlocks(list...), upRcpt("b"))
		if !errors.Is(err, errBareNewline) || errors.Is(err, ErrAmbiguous) {
			t.Fatalf("%.40q: error %v", list, err)
		}
	}
	up.Close()
	s.stop()
	if m := s.taken(); len(m) != 0 {
		t.Errorf("%d messages arrived", len(m))
	}
	for _, c := range s.conns {
		if raw := c.raw.Bytes(); bytes.Count(raw, []byte("\r\n")) != bytes.Count(raw, []byte("\n")) ||
			bytes.Count(raw, []byte("\r\n")) != bytes.Count(raw, []byte("\r")) || bytes.Contains(raw, []byte("\r\n.\r\n")) {
			t.Errorf("on the wire: %.80q", raw)
		}
	}
}

func TestS13_STARTTLSForgetsWhatWasSaidInClear(t *testing.T) {
	conf, roots := upCertificate(t, "sink.test")
	s := newUpSink(t, func(c *upSinkConn, step, _ string) bool {
		switch {
		case step == "STARTTLS": // one write: reply and injected answer
			_, _ = io.WriteString(c, "220 go\r\n250-XEVIL\r\n250 DSN\r\n")
			c.startTLS()
			return true
		case step == "EHLO" && c.Conn.LocalAddr() != nil:
			if strings.Count(c.raw.String(), "EHLO") == 1 {
				c.say("250-sink.test", "250-STARTTLS", "250-DSN", "250 SMTPUTF8")
			} else {
				c.say("250-sink.test", "250 8BITMIME")
			}
			return true
		}
		return false
	})
	s.set(func() { s.tls = conf })
	up := serversFor(t, func(c *ServerConfig) { c.TLS, c.TLSName, c.TLSRoots = TLSRequire, "sink.test", roots }, s.addr)
	mustDeliver(t, up, upRcpt("b"))
	if e := up.Extensions(); e.DSN || e.UTF8 || !e.EightBitMIME {
		t.Errorf("extensions %+v: want those said inside TLS", e)
	}
}

func TestS13_RequireNeverSendsInClear(t *testing.T) {
	good, _ := upCertificate(t, "sink.test")
	_, otherRoots := upCertificate(t, "sink.test")
	for name, c := range map[string]struct {
		offer bool
		on    func(c *upSinkConn, step, _ string) bool
	}{
		"not offered":         {false, nil},
		"unknown certificate": {true, nil},
		"refused": {true, func(c *upSinkConn, step, _ string) bool {
			r := step == "STARTTLS"
			tell(c, r, "454 4.7.0 no")
			return r
		}},
		"garbage": {true, func(c *upSinkConn, step, _ string) bool {
			r := step == "STARTTLS"
			tell(c, r, "220 go", "garbage")
			return r
		}},
		"HELO only": {true, func(c *upSinkConn, step, _ string) bool { r := step == "EHLO"; tell(c, r, "502 no"); return r }},
	} {
		s := newUpSink(t, c.on)
		s.set(func() { s.tls = good })
		if c.offer {
			s.set(func() { s.ehlo = append([]string{"STARTTLS"}, allKeywords...) })
		}
		up := serversFor(t, func(c *ServerConfig) { c.TLS, c.TLSName, c.TLSRoots = TLSRequire, "sink.test", otherRoots }, s.addr)
		_, err := up.Begin(t.Context(), DefaultGroup, upEnvelope())
		if _, ok := err.(*mail.Reply); err == nil || ok {
			t.Errorf("%s: %v, want a plain error", name, err)
		}
		var r *mail.Reply
		if errors.As(err, &r) {
			t.Errorf("%s: a refusal to us is wrapped, it could be taken for one of the message", name)
		}
		s.stop()
		if raw := s.conn(0).raw.String(); strings.Contains(raw, "MAIL") {
			t.Errorf("%s: sent in clear: %q", name, raw)
		}
	}
}

func tell(c *upSinkConn, really bool, lines ...string) {
	if really {
		c.say(lines...)
	}
}

func TestTLSModes(t *testing.T) {
	conf, roots := upCertificate(t, "sink.test")
	for name, c := range map[string]struct {
		change  func(*ServerConfig)
		offer   bool
		breakIt bool
		secure  bool
		conns   int
	}{
		"none ignores the offer":              {func(c *ServerConfig) { c.TLS = TLSNone }, true, false, false, 1},
		"opportunistic takes any certificate": {func(c *ServerConfig) { c.TLS = TLSOpportunistic }, true, false, true, 1},
		"opportunistic without an offer":      {func(c *ServerConfig) { c.TLS = TLSOpportunistic }, false, false, false, 1},
		"opportunistic falls back once":       {func(c *ServerConfig) { c.TLS = TLSOpportunistic }, true, true, false, 2},
		"require with the right name":         {func(c *ServerConfig) { c.TLS, c.TLSName, c.TLSRoots = TLSRequire, "sink.test", roots }, true, false, true, 1},
		"require without verification":        {func(c *ServerConfig) { c.TLS, c.TLSInsecure = TLSRequire, true }, true, false, true, 1},
	} {
		s := newUpSink(t, func(k *upSinkConn, step, _ string) bool {
			if step == "STARTTLS" && c.breakIt {
				k.say("220 go")
				k.Close()
				return true
			}
			return false
		})
		s.set(func() { s.tls = conf })
		if c.offer {
			s.set(func() { s.ehlo = append([]string{"STARTTLS"}, allKeywords...) })
		}
		up := serversFor(t, c.change, s.addr)
		mustDeliver(t, up, upRcpt("b"))
		mustDeliver(t, up, upRcpt("b")) // a TLS connection is kept too
		d, err := up.Begin(t.Context(), DefaultGroup, upEnvelope())
		if err != nil {
			t.Fatal(err)
		}
		if secure := d.(*delivery).link.tls != ""; secure != c.secure {
			t.Errorf("%s: TLS %v, want %v", name, secure, c.secure)
		}
		d.Close()
		if n := s.connections(); n != c.conns {
			t.Errorf("%s: %d connections, want %d", name, n, c.conns)
		}
	}
}

func TestS19_WhatTheServerLacksIsRefusedNotDropped(t *testing.T) {
	utf := mail.RcptTo{Address: mail.Address{Local: "é", Domain: "example.org"}}
	for name, c := range map[string]struct {
		ehlo   []string
		change func(*mail.Envelope)
		to     mail.RcptTo
		want   string
	}{
		"SMTPUTF8":       {[]string{"8BITMIME"}, func(e *mail.Envelope) { e.Options.UTF8 = true }, upRcpt("b"), "550 5.6.7"},
		"UTF-8 sender":   {[]string{"8BITMIME"}, func(e *mail.Envelope) { e.Sender.Local = "é" }, upRcpt("b"), "550 5.6.7"},
		"UTF-8 receiver": {[]string{"8BITMIME"}, func(*mail.Envelope) {}, utf, "550 5.6.7"},
		"8BITMIME":       {[]string{"SMTPUTF8"}, func(e *mail.Envelope) { e.Options.Body = "8BITMIME" }, upRcpt("b"), "550 5.6.3"},
	} {
		s := newUpSink(t, nil)
		s.set(func() { s.ehlo = c.ehlo })
		env := upEnvelope()
		c.change(&env)
		up := serversFor(t, nil, s.addr)
		d, err := up.Begin(t.Context(), DefaultGroup, env)
		if err == nil {
			err = d.Rcpt(t.Context(), c.to)
			d.Close()
		}
		if r, ok := err.(*mail.Reply); !ok || !strings.HasPrefix(r.String(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		up.Close()
		s.stop()
		if raw := s.conn(0).raw.String(); strings.Contains(raw, "MAIL") {
			t.Errorf("%s: said %q", name, raw)
		}
	}
}

func TestS19_ParametersArePassedOn(t *testing.T) {
	s := newUpSink(t, nil)
	up := serversFor(t, func(c *ServerConfig) { c.Forward = ForwardXForward }, s.addr)
	env := upEnvelope()
	env.Sender = mail.Address{Local: `q"u o`, Domain: "sender.test"}
	env.Client = mail.Client{Addr: netip.MustParseAddr("2001:db8::1"), Port: 4711, Helo: "we ird+=\x01", ESMTP: true}
	env.Options = mail.Options{Size: 1234, Body: "8BITMIME", UTF8: true, Ret: "HDRS", EnvID: "QQ314159"}
	to := upRcpt("b")
	to.Notify, to.ORcpt = "SUCCESS,FAILURE", "rfc822;b@example.org"
	if replies, _, err := deliver(t.Context(), up, env, upBlocks(upText), to); err != nil || !replies[0].OK() {
		t.Fatal(replies, err)
	}
	env.Client = mail.Client{}
	env.Options = mail.Options{}
	if _, _, err := deliver(t.Context(), up, env, upBlocks(upText), upRcpt("c")); err != nil {
		t.Fatal(err)
	}
	up.Close()
	s.stop()
	raw := s.conn(0).raw.String()
	for _, want := range []string{
		`MAIL FROM:<"q\"u o"@sender.test> SIZE=1234 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ314159` + "\r\n",
		"RCPT TO:<b@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b@example.org\r\n",
		"XFORWARD NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1 PROTO=ESMTP HELO=we+20ird+2B+3D+01 PORT=4711 IDENT=01ID\r\nMAIL",
		"XFORWARD NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PROTO=SMTP HELO=[UNAVAILABLE] PORT=[UNAVAILABLE] IDENT=01ID\r\nMAIL FROM:<\"q\\\"u o\"@sender.test>\r\nRCPT TO:<c@example.org>\r\n",
	} {
		if !strings.Contains(raw, want) {
			t.Errorf("missing %q in %q", want, raw)
		}
	}
	s = newUpSink(t, nil) // a server that offers nothing gets nothing
	s.set(func() { s.ehlo = nil })
	up = serversFor(t, func(c *ServerConfig) { c.Forward = ForwardXForward }, s.addr)
	env.Options = mail.Options{Size: 1234, Body: "7BIT"}
	if replies, _, err := deliver(t.Context(), up, env, upBlocks(upText), upRcpt("b")); err != nil || !replies[0].OK() {
		t.Fatal(replies, err)
	}
	if m := s.taken()[0]; m.from != `MAIL FROM:<"q\"u o"@sender.test>` || m.to[0] != "RCPT TO:<b@example.org>" {
		t.Errorf("said %q %q", m.from, m.to)
	}
}

// What the client asked for is never silently dropped: a server that lacks it, though others
// have it, puts the message off, and what is offered next time is right.
func TestS19_DSNIsNotDroppedOnTheWay(t *testing.T) {
	for _, change := range []func(*mail.Envelope, *mail.RcptTo){
		func(e *mail.Envelope, _ *mail.RcptTo) { e.Options.Ret = "HDRS" },
		func(e *mail.Envelope, _ *mail.RcptTo) { e.Options.EnvID = "QQ314159" },
		func(_ *mail.Envelope, r *mail.RcptTo) { r.Notify = "NEVER" },
		func(_ *mail.Envelope, r *mail.RcptTo) { r.ORcpt = "rfc822;b@example.org" },
	} {
		s := newUpSink(t, nil)
		s.set(func() { s.ehlo = []string{"8BITMIME"} })
		up := serversFor(t, nil, s.addr)
		env, to := upEnvelope(), upRcpt("b")
		change(&env, &to)
		replies, refused, err := deliver(t.Context(), up, env, upBlocks(upText), to)
		var r *mail.Reply
		if errors.As(err, &r) {
			refused = append(refused, r)
		}
		if len(replies) > 0 || len(refused) != 1 || refused[0].Code != 451 || len(s.taken()) != 0 {
			t.Errorf("%+v %+v: %s", env.Options, to, describe(replies, refused, err))
		}
		if e := up.Extensions(); e.DSN || !e.EightBitMIME {
			t.Errorf("offered next: %+v", e)
		}
	}
}

func TestNothingOfTheEnvelopeCanBecomeACommand(t *testing.T) {
	s := newUpSink(t, nil)
	up := serversFor(t, func(c *ServerConfig) { c.Forward = ForwardXForward }, s.addr)
	evil := "x\r\nRCPT TO:<evil@example.org>"
	for _, change := range []func(*mail.Envelope, *mail.RcptTo){
		func(e *mail.Envelope, _ *mail.RcptTo) { e.Sender.Local = evil },
		func(e *mail.Envelope, _ *mail.RcptTo) { e.Sender.Domain = evil },
		func(e *mail.Envelope, _ *mail.RcptTo) { e.Options.EnvID = evil },
		func(e *mail.Envelope, _ *mail.RcptTo) { e.Options.EnvID = "x NOTIFY=NEVER" },
		func(e *mail.Envelope, _ *mail.RcptTo) { e.Options.Ret = evil },
		func(e *mail.Envelope, _ *mail.RcptTo) { e.Options.Body = mail.BodyType(evil) },
		func(e *mail.Envelope, r *mail.RcptTo) { r.Address.Local = evil },
		func(e *mail.Envelope, r *mail.RcptTo) { r.Address.Domain = evil },
		func(e *mail.Envelope, r *mail.RcptTo) { r.Notify = evil },
		func(e *mail.Envelope, r *mail.RcptTo) { r.ORcpt = evil },
	} {
		env, to := upEnvelope(), upRcpt("b")
		env.Client.Helo, env.ID = evil, evil
		change(&env, &to)
		if replies, refused, err := deliver(t.Context(), up, env, upBlocks(upText), to); len(replies) > 0 || err == nil && len(refused) == 0 {
			t.Errorf("sent: %s", describe(replies, refused, err))
		}
	}
	up.Close()
	s.stop()
	for _, c := range s.conns {
		if strings.Contains(c.raw.String(), "\nRCPT TO:<evil") || strings.Contains(c.raw.String(), "NEVER") {
			t.Errorf("said %q", c.raw.String())
		}
	}
}

func TestS41_AddressesArriveAsTheSameMailbox(t *testing.T) {
	s := newUpSink(t, nil)
	up := serversFor(t, nil, s.addr)
	rng := rand.New(rand.NewPCG(1, 2))
	const chars = `abc.."\ @<>,;:()[]+=/!#` + "\u00e9"
	var want []mail.Address
	d, err := up.Begin(t.Context(), DefaultGroup, upEnvelope())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for len(want) < 10000 {
		var b strings.Builder
		for range 1 + rng.IntN(12) {
			r := []rune(chars)
			b.WriteRune(r[rng.IntN(len(r))])
		}
		a := mail.Address{Local: b.String(), Domain: "example.org"}
		if err := d.Rcpt(t.Context(), mail.RcptTo{Address: a}); err != nil {
			t.Fatalf("%q: %v", a, err)
		}
		want = append(want, a)
	}
	d.Close()
	up.Close()
	s.stop()
	got := strings.Split(s.conn(0).raw.String(), "\r\n")
	got = slices.DeleteFunc(got, func(l string) bool { return !strings.HasPrefix(l, "RCPT TO:<") })
	if len(got) != len(want) {
		t.Fatalf("%d recipients said, want %d", len(got), len(want))
	}
	for i, line := range got {
		box := strings.TrimSuffix(strings.TrimPrefix(line, "RCPT TO:<"), ">")
		if a, err := mail.ParseAddress(box, true); err != nil || a != want[i] {
			t.Fatalf("%q arrived as %q (%v)", want[i], a, err)
		}
	}
}

func TestS45_EachRecipientHasTheServersOwnAnswer(t *testing.T) {
	for _, keywords := range [][]string{allKeywords, nil} { // pipelined and in lockstep
		s := newUpSink(t, nil)
		s.set(func() { s.ehlo = keywords })
		up := serversFor(t, nil, s.addr)
		replies, refused, err := deliver(t.Context(), up, upEnvelope(), upBlocks(upText), upRcpt("unknown"), upRcpt("b"), upRcpt("later"), upRcpt("c"))
		got := describe(replies, refused, err)
		if want := "refused 550 5.1.1 No such user; refused 450 4.2.0 Not now; 250 2.0.0 Ok: queued; 250 2.0.0 Ok: queued; "; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if m := s.taken(); len(m) != 1 || len(m[0].to) != 2 {
			t.Errorf("arrived: %+v", m)
		}
	}
}

func TestSubsetIsReplayedInOneWrite(t *testing.T) {
	for _, keywords := range [][]string{allKeywords, nil} {
		behind := make(chan string, 1)
		s := newUpSink(t, func(c *upSinkConn, step, _ string) bool {
			if step == "RSET" {
				p, _ := c.r.Peek(c.r.Buffered())
				behind <- string(p)
			}
			return false
		})
		s.set(func() { s.ehlo = keywords })
		up := serversFor(t, nil, s.addr)
		d, err := up.Begin(t.Context(), DefaultGroup, upEnvelope())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range []string{"b", "c", "d"} {
			if err := d.Rcpt(t.Context(), upRcpt(l)); err != nil {
				t.Fatal(err)
			}
		}
		for _, l := range []string{"c", "d"} { // a second send is a transaction of its own
			replies, err := d.Send(t.Context(), []mail.RcptTo{upRcpt(l)}, int64(len(upText)), upBlocks(upText))
			if err != nil || len(replies) != 1 || !replies[0].OK() {
				t.Fatal(replies, err)
			}
		}
		d.Close()
		want := ""
		if keywords != nil {
			want = "MAIL FROM:<a@sender.test> SIZE=21\r\nRCPT TO:<c@example.org>\r\nDATA\r\n"
		}
		if got := <-behind; got != want {
			t.Errorf("in one write with RSET: %q, want %q", got, want)
		}
		m := s.taken()
		if len(m) != 2 || len(m[0].to) != 1 || !strings.Contains(m[0].to[0], "<c@") || !strings.Contains(m[1].to[0], "<d@") {
			t.Errorf("arrived: %+v", m)
		}
		if n := s.connections(); n != 1 {
			t.Errorf("%d connections", n)
		}
	}
}

func TestRefusalAtReplaySendsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		step, line, reply string
		want              string
	}{
		"one recipient":    {"RCPT", "<c@", "550 5.1.1 Gone", "451 4.5.1 Not sent, since another recipient was refused; try again; 550 5.1.1 Gone; "},
		"every recipient":  {"RCPT", "", "452 4.2.2 Full", "452 4.2.2 Full; "}, // in lockstep the first refusal is enough
		"the sender":       {"MAIL", "", "451 4.7.1 Later", "451 4.7.1 Later; 451 4.7.1 Later; "},
		"the message":      {"DATA", "", "552 5.3.4 Too big", "552 5.3.4 Too big; 552 5.3.4 Too big; "},
		"the sender (421)": {"MAIL", "", "421 4.3.2 Closing", "error internal server ADDR: MAIL FROM: connection closed: 451 4.3.2 Closing"},
	} {
		for _, keywords := range [][]string{allKeywords, nil} {
			s := newUpSink(t, nil)
			s.set(func() { s.ehlo = keywords })
			var replay atomic.Bool
			s.setOn(func(k *upSinkConn, step, line string) bool {
				if replay.Load() && step == c.step && strings.Contains(line, c.line) {
					k.say(c.reply)
					return true
				}
				return false
			})
			up := serversFor(t, nil, s.addr)
			d, err := up.Begin(t.Context(), DefaultGroup, upEnvelope())
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range []string{"b", "c", "d"} {
				if err := d.Rcpt(t.Context(), upRcpt(l)); err != nil {
					t.Fatal(err)
				}
			}
			replay.Store(true)
			replies, err := d.Send(t.Context(), []mail.RcptTo{upRcpt("b"), upRcpt("c")}, 1, upBlocks(upText))
			if got := strings.ReplaceAll(describe(replies, nil, err), s.addr, "ADDR"); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: got  %s\nwant %s", name, got, c.want)
			}
			d.Close()
			if m := s.taken(); len(m) != 0 {
				t.Errorf("%s: something arrived: %+v", name, m)
			}
			s.stop()
		}
	}
}

func TestConnectionLostDuringUploadIsReplaced(t *testing.T) {
	for name, lose := range map[string]func(*upSink){
		"closed": func(s *upSink) { s.cut() },
		"421":    func(s *upSink) { s.conn(0).say("421 4.4.2 Timeout"); s.cut() },
	} {
		s := newUpSink(t, nil)
		up := serversFor(t, nil, s.addr)
		d, err := up.Begin(t.Context(), DefaultGroup, upEnvelope())
		if err != nil {
			t.Fatal(err)
		}
		to := []mail.RcptTo{upRcpt("b"), upRcpt("c")}
		if err := d.Rcpt(t.Context(), to[0]); err != nil {
			t.Fatal(err)
		}
		lose(s)
		if err := d.Rcpt(t.Context(), to[1]); err != nil { // a new connection, which knows only this one
			t.Fatalf("%s: %v", name, err)
		}
		replies, err := d.Send(t.Context(), to, 1, upBlocks(upText))
		if err != nil || !replies[0].OK() {
			t.Fatalf("%s: %v %v", name, replies, err)
		}
		if m := s.taken(); len(m) != 1 || len(m[0].to) != 2 {
			t.Errorf("%s: arrived %+v", name, m)
		}
		d.Close()
		// The same between the last RCPT and Send.
		d, err = up.Begin(t.Context(), DefaultGroup, upEnvelope())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Rcpt(t.Context(), to[0]); err != nil {
			t.Fatal(err)
		}
		s.cut()
		if replies, err := d.Send(t.Context(), to[:1], 1, upBlocks(upText)); err != nil || !replies[0].OK() {
			t.Fatalf("%s: %v %v", name, replies, err)
		}
		d.Close()
	}
}

func TestAbandonedTransactionIsResetBeforeTheNext(t *testing.T) {
	s := newUpSink(t, nil)
	up := serversFor(t, nil, s.addr)
	d, err := up.Begin(t.Context(), DefaultGroup, upEnvelope())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Rcpt(t.Context(), upRcpt("secret")); err != nil {
		t.Fatal(err)
	}
	d.Close()
	mustDeliver(t, up, upRcpt("b"))
	if m := s.taken(); len(m) != 1 || len(m[0].to) != 1 || s.connections() != 1 {
		t.Errorf("arrived %+v over %d connections", m, s.connections())
	}
}

func TestFailOverAndBack(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := dead.Addr().String()
	dead.Close()
	second := newUpSink(t, nil)
	up := serversFor(t, func(c *ServerConfig) { c.MaxIdle = -1 }, first, second.addr)
	clock := time.Now()
	up.groups[DefaultGroup].now = func() time.Time { return clock }
	mustDeliver(t, up, upRcpt("b"))
	if err := up.Health(); err != nil {
		t.Errorf("health with one of two: %v", err)
	}
	back := newUpSink(t, nil)
	up.groups[DefaultGroup].hosts[0].addr = back.addr // the first one works again
	mustDeliver(t, up, upRcpt("b"))
	if back.connections() != 0 {
		t.Error("a broken address was tried first at once")
	}
	clock = clock.Add(31 * time.Second)
	mustDeliver(t, up, upRcpt("b"))
	mustDeliver(t, up, upRcpt("b"))
	if back.connections() != 2 || second.connections() != 2 {
		t.Errorf("%d and %d connections, want 2 and 2", back.connections(), second.connections())
	}
	back.stop()
	second.stop()
	if _, err := up.Begin(t.Context(), DefaultGroup, upEnvelope()); err == nil || !strings.Contains(err.Error(), second.addr) || !strings.Contains(err.Error(), back.addr) {
		t.Errorf("error %v does not name both", err)
	}
	if up.Health() == nil {
		t.Error("healthy without any server")
	}
}

// An address that takes connections and says nothing is one that does not work: the next one is
// tried in time, and it first from then on. One that our client did not wait for says nothing.
func TestStalledAddressIsFailedOver(t *testing.T) {
	stalled := newUpSink(t, func(c *upSinkConn, step, line string) bool {
		_, _ = c.Read(make([]byte, 1)) // until the other side hangs up
		return true
	})
	second := newUpSink(t, nil)
	up := serversFor(t, func(c *ServerConfig) { c.MaxIdle, c.Timeouts.Reply = -1, time.Minute }, stalled.addr, second.addr)
	gone, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := up.Begin(gone, DefaultGroup, upEnvelope()); err == nil {
		t.Fatal("begun for nobody")
	}
	if up.groups[DefaultGroup].hosts[0].err != nil {
		t.Error("a client that has gone is no fault of the server")
	}
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		d, err := up.Begin(ctx, DefaultGroup, upEnvelope())
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
		cancel()
	}
	if n := stalled.connections(); n != 2 {
		t.Errorf("%d connections to the one that stalls", n)
	}
}

// So is one that says nothing to MAIL: the message at hand is put off, the next goes elsewhere.
func TestSilentAddressIsPassedOver(t *testing.T) {
	silent := newUpSink(t, func(c *upSinkConn, step, line string) bool {
		if step != "MAIL" {
			return false
		}
		_, _ = c.Read(make([]byte, 1))
		return true
	})
	second := newUpSink(t, nil)
	up := serversFor(t, func(c *ServerConfig) { c.Timeouts.Reply = 200 * time.Millisecond }, silent.addr, second.addr)
	d, err := up.Begin(t.Context(), DefaultGroup, upEnvelope())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Rcpt(t.Context(), upRcpt("b")); err == nil {
		t.Error("an answer from who says nothing")
	}
	d.Close()
	mustDeliver(t, up, upRcpt("b"))
	if len(second.taken()) != 1 {
		t.Error("the second did not get it")
	}
}

func TestRoute(t *testing.T) {
	c := ServerConfig{Addresses: []string{"192.0.2.1"}, Helo: "gw.test"}
	s, err := NewServers(ServersConfig{Groups: map[string]ServerConfig{"default": c, "a": c, "b": c, "c": c},
		Routes: map[string]string{"Example.org": "a", ".example.org": "b", ".deep.example.org": "c", "müller.example": "a"}})
	if err != nil {
		t.Fatal(err)
	}
	for domain, want := range map[string]string{"example.org": "a", "x.example.org": "b", "deep.example.org": "c", "x.y.deep.example.org": "c",
		"notexample.org": "default", "org": "default", "xn--mller-kva.example": "a", "x.xn--mller-kva.example": "default"} {
		if got := s.Route(mail.Address{Local: "x", Domain: domain}); got != want {
			t.Errorf("%s goes to %s, want %s", domain, got, want)
		}
	}
}

func TestConfigurationErrors(t *testing.T) {
	ok := ServerConfig{Addresses: []string{"192.0.2.1"}, Helo: "gw.test"}
	for name, c := range map[string]ServersConfig{
		"no default":      {Groups: map[string]ServerConfig{"x": ok}},
		"no address":      {Groups: map[string]ServerConfig{"default": {Helo: "gw.test"}}},
		"bad address":     {Groups: map[string]ServerConfig{"default": {Helo: "gw.test", Addresses: []string{":25"}}}},
		"no HELO":         {Groups: map[string]ServerConfig{"default": {Addresses: []string{"a:25"}}}},
		"bad HELO":        {Groups: map[string]ServerConfig{"default": {Addresses: []string{"a:25"}, Helo: "a\r\nb"}}},
		"TLS mode":        {Groups: map[string]ServerConfig{"default": {Addresses: []string{"a:25"}, Helo: "gw.test", TLS: "yes"}}},
		"route to nobody": {Groups: map[string]ServerConfig{"default": ok}, Routes: map[string]string{"a.test": "x"}},
		"bad route":       {Groups: map[string]ServerConfig{"default": ok}, Routes: map[string]string{"*.test": "default"}},
		"nameless TLS":    {Groups: map[string]ServerConfig{"default": {Addresses: []string{"unix:/x"}, Helo: "gw.test", TLS: TLSRequire}}},
	} {
		if _, err := NewServers(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s, err := NewServers(ServersConfig{Groups: map[string]ServerConfig{"default": {Helo: "gw.test",
		Addresses: []string{"192.0.2.1", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:26", "mx.test", "mx.test:587", "unix:/run/x"}}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range s.groups["default"].hosts {
		got = append(got, h.network+" "+h.addr)
	}
	want := []string{"tcp 192.0.2.1:25", "tcp [2001:db8::1]:25", "tcp [2001:db8::1]:25", "tcp [2001:db8::1]:26", "tcp mx.test:25", "tcp mx.test:587", "unix /run/x"}
	if !slices.Equal(got, want) {
		t.Errorf("addresses %q, want %q", got, want)
	}
}

func TestExtensionsAreTheIntersection(t *testing.T) {
	a, b := newUpSink(t, nil), newUpSink(t, nil)
	a.set(func() { a.ehlo = []string{"SIZE 2000", "8BITMIME", "SMTPUTF8"} })
	b.set(func() { b.ehlo = []string{"size 1000", "8bitmime", "DSN", "SIZE nonsense"} })
	conf := func(addr string) ServerConfig {
		return ServerConfig{Addresses: []string{addr}, Helo: "gw.test", TLS: TLSNone}
	}
	s, err := NewServers(ServersConfig{Groups: map[string]ServerConfig{"default": conf(a.addr), "b": conf(b.addr)}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if e := s.Extensions(); e != (mail.Extensions{}) {
		t.Errorf("before any answer: %+v", e)
	}
	d, err := s.Begin(t.Context(), "b", upEnvelope())
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	if e := s.Extensions(); e.EightBitMIME {
		t.Errorf("with one group unknown: %+v", e)
	}
	b.set(func() { b.name = "GW.test" })
	probes := s.Probe(t.Context())
	if len(probes) != 2 || probes[0].Group != "b" || probes[0].Err != nil || !strings.Contains(strings.Join(probes[0].Warnings, " "), "loop") || probes[1].Name != "sink.test" {
		t.Errorf("probes %+v", probes)
	}
	if e := s.Extensions(); e != (mail.Extensions{Size: 1000, EightBitMIME: true}) {
		t.Errorf("intersection %+v", e)
	}
	a.set(func() { a.ehlo = nil }) // what a new connection says counts
	s.Probe(t.Context())
	if e := s.Extensions(); e != (mail.Extensions{Size: 1000}) {
		t.Errorf("after a change %+v", e)
	}
	a.stop()
	if p := s.Probe(t.Context()); p[1].Err == nil {
		t.Error("no error from a dead server")
	}
}

func TestIdleConnectionsAreClosedInTime(t *testing.T) {
	gone := make(chan string, 10)
	s := newUpSink(t, func(c *upSinkConn, step, _ string) bool {
		if step == "QUIT" {
			gone <- step
		}
		return false
	})
	up := serversFor(t, func(c *ServerConfig) { c.Idle, c.MaxIdle = 30*time.Millisecond, 1 }, s.addr)
	var ds []Delivery
	for range 2 {
		d, err := up.Begin(t.Context(), DefaultGroup, upEnvelope())
		if err != nil {
			t.Fatal(err)
		}
		ds = append(ds, d)
	}
	ds[0].Close()
	ds[1].Close() // one too many
	for range 2 {
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			t.Fatal("an idle connection stays open")
		}
	}
}

func TestCancellationClosesAtOnce(t *testing.T) {
	for _, step := range []string{"connect", "EHLO", "MAIL", "RCPT", "DATA", "body", "dot"} {
		waiting := make(chan struct{}, 10)
		s := newUpSink(t, func(c *upSinkConn, st, _ string) bool {
			if st == step {
				waiting <- struct{}{}
				_, _ = io.Copy(io.Discard, c) // until the other end closes
				return true
			}
			return false
		})
		s.set(func() { s.ehlo = nil }) // lockstep: each step is waited for
		up := serversFor(t, func(c *ServerConfig) {
			c.Timeouts = ServerTimeouts{Reply: time.Hour, Write: time.Hour, Final: time.Hour}
		}, s.addr)
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("client gone")
		go func() { <-waiting; cancel(why) }()
		_, _, err := deliver(ctx, up, upEnvelope(), upBlocks(upText), upRcpt("b"))
		if !errors.Is(err, why) && !errors.Is(err, context.Canceled) || errors.Is(err, ErrAmbiguous) != (step == "dot") {
			t.Errorf("%s: error %v", step, err)
		}
		if err := up.Health(); err != nil {
			t.Errorf("%s: our cancellation is held against the server: %v", step, err)
		}
		cancel(nil)
		s.stop()
	}
}
