package gateway

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/mail"
)

// A row of the failure matrix (requirements 4.3): what the sink does, what the flow gets
// to see. A plain error is answered 451.
type upRow struct {
	on        func(c *upSinkConn, step, line string) bool
	ehlo      []string
	want      string // of describe, with ADDR for the address; a prefix
	plain     bool   // the error must be plain: our fault, 451
	ambiguous bool
	arrived   bool
	byData    bool // it is about DATA, of which BDAT knows nothing
	times     ServerTimeouts
}

// runRow runs a row by DATA and by BDAT.
func runRow(t *testing.T, r upRow) {
	t.Helper()
	runRowOnce(t, r)
	if !r.byData {
		if r.ehlo == nil {
			r.ehlo = allKeywords
		}
		r.ehlo = append([]string{"CHUNKING"}, r.ehlo...)
		runRowOnce(t, r)
	}
}

func runRowOnce(t *testing.T, r upRow) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	s := newUpSink(t, r.on)
	if r.ehlo != nil {
		s.set(func() { s.ehlo = r.ehlo })
	}
	up := serversFor(t, func(c *ServerConfig) {
		if r.times != (ServerTimeouts{}) {
			c.Timeouts = r.times
		}
	}, s.addr)
	began := time.Now()
	replies, refused, err := deliver(t.Context(), up, upEnvelope(), upBlocks(upText), upRcpt("b"))
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("took %v", took)
	}
	got := strings.ReplaceAll(describe(replies, refused, err), s.addr, "ADDR")
	if !strings.HasPrefix(got, r.want) || r.want == "" {
		t.Errorf("got  %s\nwant %s", got, r.want)
	}
	var reply *mail.Reply
	if r.plain && (err == nil || errors.As(err, &reply)) {
		t.Errorf("error %v is not plain", err)
	}
	if errors.Is(err, ErrAmbiguous) != r.ambiguous {
		t.Errorf("ambiguous: %v (%v)", !r.ambiguous, err)
	}
	if n := len(s.taken()); (n > 0) != r.arrived {
		t.Errorf("%d messages arrived", n)
	}
	if r.plain { // out of sync or dead: never used again
		for _, h := range up.groups[DefaultGroup].hosts {
			if len(h.idle) > 0 {
				t.Error("the connection was kept")
			}
		}
	}
	up.Close()
	s.stop()
	goleak.VerifyNone(t, before)
}

// at answers one step with these lines.
func at(step string, lines ...string) func(*upSinkConn, string, string) bool {
	return func(c *upSinkConn, st, _ string) bool {
		if st != step {
			return false
		}
		c.say(lines...)
		return true
	}
}

func closeAt(step string) func(*upSinkConn, string, string) bool {
	return func(c *upSinkConn, st, _ string) bool {
		if st == step {
			c.Close()
		}
		return st == step
	}
}

func TestMatrix_RefusesTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	up := serversFor(t, nil, l.Addr().String())
	_, err = up.Begin(t.Context(), DefaultGroup, upEnvelope())
	if _, ok := err.(*mail.Reply); err == nil || ok {
		t.Errorf("error %v, want a plain one", err)
	}
}

func TestMatrix_Banner421Or554(t *testing.T) {
	for _, code := range []string{"421 4.3.2 Busy", "554 5.7.1 Not you", "250 What", "999 What", "\x16\x03\x01"} {
		runRow(t, upRow{on: at("connect", code), want: `error internal server "default": ADDR: greeting: `, plain: true})
	}
	runRow(t, upRow{on: closeAt("connect"), want: `error internal server "default": ADDR: greeting: connection closed`, plain: true})
}

func TestMatrix_BannerNeverComes(t *testing.T) {
	silent := func(c *upSinkConn, step, _ string) bool {
		_, _ = io.Copy(io.Discard, c)
		return true
	}
	runRow(t, upRow{on: silent, want: `error internal server "default": ADDR: greeting: `, plain: true, times: ServerTimeouts{Reply: 50 * time.Millisecond}})
}

func TestMatrix_TLSFailure(t *testing.T) {
	TestS13_RequireNeverSendsInClear(t)
}

func TestMatrix_EHLORefusedHELOTaken(t *testing.T) {
	for _, code := range []string{"500 5.5.2 What", "502 5.5.1 No", "550 5.0.0 No"} {
		runRow(t, upRow{on: at("EHLO", code), want: "250 2.0.0 Ok: queued; ", arrived: true})
	}
	runRow(t, upRow{on: at("EHLO", "451 4.0.0 Later"), want: `error internal server "default": ADDR: EHLO: 451 4.0.0 Later`, plain: true})
}

func TestMatrix_MAILRefused(t *testing.T) {
	for _, ehlo := range [][]string{nil, {"DSN"}} {
		runRow(t, upRow{ehlo: ehlo, on: at("MAIL", "451 4.7.1 Greylisted"), want: "refused 451 4.7.1 Greylisted; "})
		runRow(t, upRow{ehlo: ehlo, on: at("MAIL", "550-5.7.1 We do", "550-5.7.1 not like", "550 5.7.1 you"), want: "refused 550 5.7.1 We do not like you; "})
		runRow(t, upRow{ehlo: ehlo, on: at("MAIL", "552 Too big"), want: "refused 552 5.0.0 Too big; "})
	}
}

func TestMatrix_RefusedMAILHoldsForEveryRecipient(t *testing.T) {
	s := newUpSink(t, at("MAIL", "550 5.7.1 No"))
	up := serversFor(t, nil, s.addr)
	_, refused, err := deliver(t.Context(), up, upEnvelope(), upBlocks(upText), upRcpt("b"), upRcpt("c"))
	if got := describe(nil, refused, err); got != "refused 550 5.7.1 No; refused 550 5.7.1 No; " {
		t.Error(got)
	}
}

func TestMatrix_SomeRCPTRefused(t *testing.T) { TestS45_EachRecipientHasTheServersOwnAnswer(t) }

func TestMatrix_AllRCPTRefused(t *testing.T) {
	s := newUpSink(t, nil)
	up := serversFor(t, nil, s.addr)
	_, refused, err := deliver(t.Context(), up, upEnvelope(), upBlocks(upText), upRcpt("unknown1"), upRcpt("later"))
	if got := describe(nil, refused, err); got != "refused 550 5.1.1 No such user; refused 450 4.2.0 Not now; " {
		t.Error(got)
	}
	mustDeliver(t, up, upRcpt("b"))
	if s.connections() != 1 {
		t.Error("the connection was not kept")
	}
}

func TestMatrix_RCPTRefusedAfterOurDATA(t *testing.T) { TestRefusalAtReplaySendsNothing(t) }

func TestMatrix_DATARefused(t *testing.T) {
	runRow(t, upRow{on: at("DATA", "451 4.3.0 Later"), want: "451 4.3.0 Later; ", byData: true})
	runRow(t, upRow{on: at("DATA", "554 5.5.1 No"), want: "554 5.5.1 No; ", byData: true})
}

func TestMatrix_StallsAfter354(t *testing.T) {
	times := ServerTimeouts{Write: 100 * time.Millisecond, Final: 3 * time.Second}
	stop := make(chan struct{})
	defer close(stop)
	s := newUpSink(t, func(c *upSinkConn, step, _ string) bool {
		if step == "body" {
			_ = c.Conn.(*net.TCPConn).SetReadBuffer(4096)
			c.say("354 Go on")
			<-stop
			c.Close()
		}
		return step == "body"
	})
	defer s.cut()
	up := serversFor(t, func(c *ServerConfig) { c.Timeouts = times }, s.addr)
	big := strings.Repeat("x", 60<<10) + "\r\n"
	_, _, err := deliver(t.Context(), up, upEnvelope(), &endless{[]byte(big)}, upRcpt("b"))
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() || errors.Is(err, ErrAmbiguous) {
		t.Errorf("error %v", err)
	}
}

type endless struct{ p []byte }

func (e *endless) Next() ([]byte, error) { return e.p, nil }

func TestMatrix_ClosesInMidData(t *testing.T) {
	s := newUpSink(t, func(c *upSinkConn, step, _ string) bool {
		if step == "body" {
			c.say("354 Go on")
			_, _ = io.ReadFull(c, make([]byte, 100))
			c.Close()
		}
		return step == "body"
	})
	up := serversFor(t, nil, s.addr)
	_, _, err := deliver(t.Context(), up, upEnvelope(), &endless{[]byte(strings.Repeat("x\r\n", 20000))}, upRcpt("b"))
	if !errors.Is(err, errLinkDied) || errors.Is(err, ErrAmbiguous) {
		t.Errorf("error %v", err)
	}
	if n := s.connections(); n != 1 {
		t.Errorf("%d connections: content is never sent twice", n)
	}
	// The same with the end already on its way to us before the last block.
	closed := make(chan struct{})
	s = newUpSink(t, func(c *upSinkConn, step, _ string) bool {
		if step == "body" {
			c.say("354 Go on")
			c.Close()
			close(closed)
		}
		return step == "body"
	})
	up = serversFor(t, nil, s.addr)
	_, _, err = deliver(t.Context(), up, upEnvelope(), &after{closed, upBlocks(upText)}, upRcpt("b"))
	if !errors.Is(err, errLinkDied) || errors.Is(err, ErrAmbiguous) {
		t.Errorf("error %v", err)
	}
}

// after waits before its end.
type after struct {
	c   <-chan struct{}
	src Source
}

func (a *after) Next() ([]byte, error) {
	p, err := a.src.Next()
	if err == io.EOF {
		<-a.c
		time.Sleep(20 * time.Millisecond) // the FIN is on loopback, but not ordered with the channel
	}
	return p, err
}

func TestMatrix_SourceFailsInMidData(t *testing.T) {
	s := newUpSink(t, nil)
	up := serversFor(t, nil, s.addr)
	_, _, err := deliver(t.Context(), up, upEnvelope(), SourceOf([]byte("Subject: x\r\n\r\n.\r\n"), brokenReader{}), upRcpt("b"))
	if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrAmbiguous) {
		t.Errorf("error %v", err)
	}
	up.Close()
	s.stop()
	if raw := s.conn(0).raw.String(); len(s.taken()) != 0 || strings.Contains(raw, "QUIT") || strings.Contains(raw, "RSET") {
		t.Errorf("a half message looks finished: %q", raw)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestMatrix_ClosesAfterFinalDot(t *testing.T) {
	runRow(t, upRow{on: closeAt("dot"), want: "error internal server ADDR: " + ErrAmbiguous.Error(), plain: true, ambiguous: true})
}

func TestMatrix_RefusesAfterDot(t *testing.T) {
	runRow(t, upRow{on: at("dot", "451 4.3.0 Later"), want: "451 4.3.0 Later; "})
	runRow(t, upRow{on: at("dot", "554 5.7.1 Spam"), want: "554 5.7.1 Spam; "})
	runRow(t, upRow{on: at("dot", "421 4.3.2 Closing"), want: "451 4.3.2 Closing; "})
}

func TestMatrix_250MuchTooLate(t *testing.T) {
	wait := func(c *upSinkConn, step, _ string) bool {
		if step == "dot" {
			_, _ = io.Copy(io.Discard, c)
		}
		return step == "dot"
	}
	runRow(t, upRow{on: wait, want: "error internal server ADDR: " + ErrAmbiguous.Error(), plain: true, ambiguous: true,
		times: ServerTimeouts{Final: 100 * time.Millisecond}})
}

func TestMatrix_TwoRepliesOrUnsolicited(t *testing.T) {
	for step, first := range map[string]string{"connect": "220 a", "EHLO": "250 a", "MAIL": "250 Ok", "RCPT": "250 Ok", "DATA": "354 Ok", "dot": "250 Ok"} {
		for _, second := range []string{"250 Ok", "550 5.1.1 No", "354 Go on"} {
			for _, ehlo := range [][]string{nil, {"DSN"}} {
				t.Run(step+"/"+second[:3]+strings.Join(ehlo, ""), func(t *testing.T) {
					lines := []string{first, second}
					if step == "MAIL" { // the answer to RCPT, too: else the second is taken for it, and the look before the next use sees the rest
						lines = append(lines, "250 Ok")
					}
					// One reply too many to MAIL is seen by BDAT only when the last has come before, by DATA in any case.
					runRow(t, upRow{ehlo: ehlo, on: at(step, lines...), want: "error internal server ", plain: true, ambiguous: step == "dot", byData: step == "DATA" || step == "MAIL"})
				})
			}
		}
	}
}

func TestMatrix_UnsolicitedReplyDuringUploadIsNotTheDots(t *testing.T) {
	said := make(chan struct{})
	s := newUpSink(t, func(c *upSinkConn, step, _ string) bool {
		if step == "body" {
			c.say("354 Go on")
			time.Sleep(20 * time.Millisecond) // another segment
			c.say("250 2.0.0 Ok: queued")
			close(said)
		}
		return step == "body"
	})
	up := serversFor(t, nil, s.addr)
	replies, _, err := deliver(t.Context(), up, upEnvelope(), &after{said, upBlocks(upText)}, upRcpt("b"))
	if err == nil || errors.Is(err, ErrAmbiguous) {
		t.Errorf("got %v %v", replies, err)
	}
	up.Close()
	s.stop()
	if len(s.taken()) != 0 {
		t.Error("the message was finished")
	}
}

func TestMatrix_UnsolicitedReplyWhileIdle(t *testing.T) {
	s := newUpSink(t, nil)
	up := serversFor(t, nil, s.addr)
	mustDeliver(t, up, upRcpt("b"))
	s.conn(0).say("250 2.0.0 Surprise")
	waitPending(t, up)
	mustDeliver(t, up, upRcpt("b"))
	if n := s.connections(); n != 2 {
		t.Errorf("%d connections, want a new one", n)
	}
}

// waitPending waits until the idle connection has something to read.
func waitPending(t *testing.T, up *Servers) {
	t.Helper()
	l := up.groups[DefaultGroup].hosts[0].idle[0]
	for deadline := time.Now().Add(5 * time.Second); !l.pending(); {
		if time.Now().After(deadline) {
			t.Fatal("nothing arrives")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestMatrix_TenMegabyteReplyLine(t *testing.T) {
	huge := func(step string) func(*upSinkConn, string, string) bool {
		return func(c *upSinkConn, st, _ string) bool {
			if st == step {
				_, _ = io.WriteString(c, "250 ")
				for range 160 {
					if _, err := io.WriteString(c, strings.Repeat("x", 64<<10)); err != nil {
						break
					}
				}
			}
			return st == step
		}
	}
	for _, step := range []string{"connect", "EHLO", "MAIL", "RCPT", "DATA", "dot"} {
		runRow(t, upRow{on: huge(step), want: "error internal server ", plain: true, ambiguous: step == "dot", byData: step == "DATA"})
	}
}

func TestMatrix_EndlessContinuation(t *testing.T) {
	endless := func(step string) func(*upSinkConn, string, string) bool {
		return func(c *upSinkConn, st, _ string) bool {
			for st == step {
				if _, err := io.WriteString(c, strings.Repeat("250-more\r\n", 50)); err != nil {
					break
				}
			}
			return st == step
		}
	}
	for _, step := range []string{"connect", "EHLO", "MAIL", "RCPT", "DATA", "dot"} {
		runRow(t, upRow{on: endless(step), want: "error internal server ", plain: true, ambiguous: step == "dot", byData: step == "DATA"})
	}
}

func TestMatrix_WrongOrSenselessCodes(t *testing.T) {
	for step, codes := range map[string][]string{
		"MAIL": {"354 Go on", "999 What", "220 hello", "221 bye", "\x00\x01\x02", "150 x", "hello", "25 x", "2500 x", "250_x", "260 x"},
		"RCPT": {"354 Go on", "999 What", "220 hello", "\xff\xfe", ""},
		"DATA": {"250 Ok", "999 What", "220 hello", "334 x", "\x16\x03\x01\x02"},
		"dot":  {"354 Go on", "999 What", "220 hello", "\x00"},
	} {
		for _, code := range codes {
			runRow(t, upRow{on: at(step, code), want: "error internal server ADDR: ", plain: true, ambiguous: step == "dot", byData: step == "DATA"})
		}
	}
}

func TestMatrix_ReplyTextIsSanitised(t *testing.T) {
	runRow(t, upRow{on: at("dot", "250 2.0.0 ok\r550 \x1b[31mevil\xff\x07 "+strings.Repeat("y", 600)),
		want: "250 2.0.0 ok 550 ?[31mevil?? yyy", arrived: false})
	runRow(t, upRow{on: at("RCPT", "550 5.1.1 no\rRCPT TO:<x>\tä"), want: "refused 550 5.1.1 no RCPT TO:<x> ?; "})
	s := newUpSink(t, at("dot", "250 "+strings.Repeat("y", 1900)))
	replies, _, err := deliver(t.Context(), serversFor(t, nil, s.addr), upEnvelope(), upBlocks(upText), upRcpt("b"))
	if err != nil || len(replies[0].String()) > 450 {
		t.Error("too long for a reply line")
	}
}

func TestMatrix_DiesBetweenPooledUses(t *testing.T) {
	s := newUpSink(t, nil)
	up := serversFor(t, nil, s.addr)
	mustDeliver(t, up, upRcpt("b"))
	s.cut()
	waitPending(t, up)
	mustDeliver(t, up, upRcpt("b"))
	if n := s.connections(); n != 2 {
		t.Errorf("%d connections", n)
	}
	// It looks alive, and closes when it is spoken to.
	for _, way := range []string{"close", "421"} {
		for _, step := range []string{"MAIL", "RCPT", "DATA"} {
			s := newUpSink(t, nil)
			s.setOn(func(c *upSinkConn, st, _ string) bool {
				if c.n == 1 && st == step && len(s.taken()) == 1 {
					if way == "421" {
						c.say("421 4.4.2 Timeout")
					}
					c.Close()
					return true
				}
				return false
			})
			up := serversFor(t, nil, s.addr)
			mustDeliver(t, up, upRcpt("b"))
			mustDeliver(t, up, upRcpt("c"))
			if n := s.connections(); n != 2 || len(s.taken()) != 2 {
				t.Errorf("%s at %s: %d connections, %d messages", way, step, n, len(s.taken()))
			}
		}
	}
}

func TestMatrix_ReconnectsOnlyOnce(t *testing.T) {
	s := newUpSink(t, nil)
	s.setOn(func(c *upSinkConn, step, _ string) bool {
		if step == "MAIL" && len(s.taken()) == 1 {
			c.Close()
			return true
		}
		return false
	})
	up := serversFor(t, nil, s.addr)
	mustDeliver(t, up, upRcpt("b"))
	_, _, err := deliver(t.Context(), up, upEnvelope(), upBlocks(upText), upRcpt("b"))
	if !errors.Is(err, errLinkDied) || s.connections() != 2 {
		t.Errorf("error %v, %d connections", err, s.connections())
	}
}

func TestMatrix_UnsolicitedReplyOverTLS(t *testing.T) {
	conf, _ := upCertificate(t, "sink.test")
	surprise := make(chan struct{}, 1) // it is on its way when the message is sent
	for name, c := range map[string]struct {
		on    func(c *upSinkConn, step, _ string) bool
		fails bool // the first message; else a new connection for the second
	}{
		"with another in one segment": {on: func(c *upSinkConn, step, _ string) bool {
			if step == "dot" && c.n == 1 { // two records
				c.s.set(func() { c.s.mails = append(c.s.mails, c.cur) })
				c.say("250 Ok")
				c.say("250 surprise")
			}
			return step == "dot" && c.n == 1
		}},
		"instead of the dot's": {fails: true, on: func(c *upSinkConn, step, _ string) bool {
			if step == "body" && c.n == 1 {
				c.say("354 Go on")
				c.say("250 queued")
				surprise <- struct{}{}
			}
			return step == "body" && c.n == 1
		}},
		"close_notify": {on: func(c *upSinkConn, step, _ string) bool {
			if step == "dot" && c.n == 1 {
				c.s.set(func() { c.s.mails = append(c.s.mails, c.cur) })
				c.say("250 Ok")
				c.Close()
			}
			return step == "dot" && c.n == 1
		}},
	} {
		s := newUpSink(t, c.on)
		s.set(func() { s.tls = conf; s.ehlo = append([]string{"STARTTLS"}, allKeywords...) })
		up := serversFor(t, func(c *ServerConfig) { c.TLS, c.TLSInsecure = TLSRequire, true }, s.addr)
		var message Source = upBlocks(upText)
		if c.fails {
			message = afterwards{message, surprise}
		}
		replies, _, err := deliver(t.Context(), up, upEnvelope(), message, upRcpt("b"))
		if (err != nil) != c.fails || errors.Is(err, ErrAmbiguous) {
			t.Errorf("%s: %v %v", name, replies, err)
		}
		if hosts := up.groups[DefaultGroup].hosts; len(hosts[0].idle) > 0 {
			waitNotQuiet(t, hosts[0].idle[0])
		}
		mustDeliver(t, up, upRcpt("b"))
		if n := s.connections(); n != 2 {
			t.Errorf("%s: %d connections, want a new one", name, n)
		}
	}
}

// afterwards is a source that ends only after an event.
type afterwards struct {
	Source
	event <-chan struct{}
}

func (a afterwards) Next() ([]byte, error) {
	p, err := a.Source.Next()
	if err != nil {
		<-a.event
	}
	return p, err
}

// waitNotQuiet waits until what was said has arrived.
func waitNotQuiet(t *testing.T, l *link) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); l.quiet(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing arrives")
		}
	}
}

// FuzzServerTalk lets a server say anything: one piece (they are separated by NUL) at
// the start and one for each thing it reads. Delivered is only what it got whole.
func FuzzServerTalk(f *testing.F) {
	for _, s := range []string{
		"220 a\r\n\x00250-a\r\n250 PIPELINING\r\n\x00250 a\r\n250 b\r\n\x00354 go\r\n\x00250 ok\r\n",
		"220 a\r\n\x00250 a\r\n\x00250 a\r\n\x00250 b\r\n\x00354 go\r\n\x00250 ok\r\n",
		"220 a\r\n\x00500 a\r\n\x00250 a\r\n\x00250 b\r\n\x00550 b\r\n\x00354 go\r\n250 ok\r\n",
		"220 a\r\n\x00250-a\r\n250 STARTTLS\r\n\x00220 go\r\n",
		"220 a\r\n\x00250 a\r\n\x00250 a\r\n250 b\r\n354 go\r\n250 ok\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Skip(err)
		}
		defer l.Close()
		got := make(chan []byte, 4)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.SetDeadline(time.Now().Add(5 * time.Second))
				var all []byte
				b := make([]byte, 64<<10)
				for _, piece := range strings.Split(string(in), "\x00") {
					if _, err := io.WriteString(c, piece); err != nil {
						break
					}
					n, err := c.Read(b)
					if all = append(all, b[:n]...); err != nil {
						break
					}
				}
				c.Close()
				select {
				case got <- all:
				default:
				}
			}
		}()
		up := serversFor(t, func(c *ServerConfig) {
			c.MaxIdle = -1
			c.Timeouts = ServerTimeouts{Reply: 20 * time.Millisecond, Final: 20 * time.Millisecond}
		}, l.Addr().String())
		replies, _, err := deliver(t.Context(), up, upEnvelope(), upBlocks(upText), upRcpt("b"))
		if err != nil || len(replies) == 0 || !replies[0].OK() {
			return
		}
		all := string(<-got)
		if !strings.Contains(all, "DATA\r\n"+upText+".\r\n") || strings.Count(all, "\r\n.\r\n") != 1 {
			t.Fatalf("%q: %v after %q", in, replies, all)
		}
	})
}
