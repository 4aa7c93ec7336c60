package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

// smuggled is what a second message would look like behind a false end of data.
const smuggled = "MAIL FROM:<inj@x.test>\r\nRCPT TO:<inj@y.test>\r\nDATA\r\nsecond\r\n.\r\n"

var falseEnds = []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\n.\r", "\r.\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n .\r\n", "\r\n. \r\n", "\n\n.\n\n", "\r\r.\r\r\n"}

func TestS01_OnlyCRLFDotCRLFEndsData(t *testing.T) {
	for _, mode := range []string{"reject", "normalize"} {
		cfg := testConfig(t)
		cfg.BareNewline = mode
		f := startFront(t, cfg)
		x := f.hello(t)
		for i, end := range falseEnds {
			x.toData()
			x.send("first" + end + smuggled + "NOOP\r\n")
			r := x.reply()
			x.want("250 2.0.0 Ok\r\n")
			m := f.got()[i]
			if m.err != io.EOF || strings.Count(f.log(), "data") != i+1 || strings.Contains(f.log(), "inj") || !strings.HasSuffix(m.body, "second\r\n") {
				t.Errorf("%s %q: %v %q", mode, end, m.err, m.body)
			}
			whole := strings.ReplaceAll(end, "\r\n", "")
			flawed := strings.Contains(whole, "\r") || mode == "reject" && strings.Contains(whole, "\n")
			if got := !strings.HasPrefix(r, "250"); got != flawed {
				t.Errorf("%s %q: %q", mode, end, r)
			}
			if nul := strings.Contains(end, "\x00"); m.flaws[2] != nul {
				t.Errorf("%q: NUL %v", end, m.flaws[2])
			}
		}
	}
}

// It contains CRLF.CRLF, so it ends the message (F5); what follows is the next one.
func TestS02_CRCRLFDotCRLFEndsData(t *testing.T) {
	f := startFront(t, testConfig(t))
	x := f.hello(t)
	x.toData()
	x.send("x\r\r\n.\r\nMAIL FROM:<next@x.test>\r\n")
	x.want("550 5.5.2", "250 2.1.0")
	if m := f.got()[0]; m.body != "x\r\r\n" || m.flaws != [3]bool{true, false, false} {
		t.Errorf("%q %v", m.body, m.flaws)
	}
}

// However the bytes are cut into segments, they are the same bytes.
func TestBodyInPieces(t *testing.T) {
	cases := []struct{ in, out string }{
		{".\r\n", ""}, {"a\r\n.\r\n", "a\r\n"}, {"..x\r\n...\r\n.\r\n", ".x\r\n..\r\n"}, {"\r\n.\r\n", "\r\n"},
		{".a\r\n.\rb\r\n..\n.\r\n.\r\n", "a\r\n\rb\r\n.\n.\r\n"}, {"a\r\n.\r\r\n.\r\n", "a\r\n\r\r\n"},
	}
	f := startFront(t, testConfig(t))
	for _, size := range []int{1, 2, 3, 5, 1000} {
		x := f.hello(t)
		_ = x.c.(*net.TCPConn).SetNoDelay(true)
		for _, c := range cases {
			x.toData()
			for rest := c.in; rest != ""; {
				n := min(size, len(rest))
				x.send(rest[:n])
				rest = rest[n:]
			}
			x.reply()
			all := f.got()
			if m := all[len(all)-1]; m.body != c.out || m.err != io.EOF {
				t.Errorf("%q in pieces of %d: %q, %v", c.in, size, m.body, m.err)
			}
		}
	}
}

// A long line and a large message come through as they are (S-17).
func TestS17_LongBodyLine(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.MessageSize = 4 << 20
	f := startFront(t, cfg, func(f *front) { f.extensions = func() mail.Extensions { return mail.Extensions{} } })
	x := f.hello(t)
	want := strings.Repeat("0123456789", 90_000) + "\r\n" + strings.Repeat("a line\r\n", 200_000)
	x.toData()
	x.send(want + ".\r\n")
	x.want("250")
	if got := f.got()[0].body; got != want {
		t.Errorf("%d bytes became %d", len(want), len(got))
	}
}

func TestS05_Normalize(t *testing.T) {
	cfg := testConfig(t)
	cfg.BareNewline = "normalize"
	f := startFront(t, cfg)
	x := f.hello(t)
	x.toData()
	x.send("\n\nSubject: a\n\nb\r\n..c\n..d\n.\n\r\n.\r\n")
	x.want("250")
	if m := f.got()[0]; m.body != "\r\n\r\nSubject: a\r\n\r\nb\r\n.c\r\n..d\r\n.\r\n\r\n" || m.flaws != [3]bool{} {
		t.Errorf("%q %v", m.body, m.flaws)
	}
	x.toData()
	x.send("a\rb\n\r\n.\r\n")
	x.want("550 5.5.2")
}

// After a broken upload nothing is read as a command (F1): a stall, and too slow a client.
func TestS03_BrokenUploadEndsTheConnection(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		cfg := testConfig(t)
		cfg.Limits.Stall = 150 * time.Millisecond
		f := startFront(t, cfg)
		x := f.hello(t)
		if overTLS {
			x = x.startTLS()
		}
		x.toData()
		x.send("Subject: x\r\n")
		x.want("451 4.4.2")
		x.send(".\r\n" + smuggled)
		x.eof()
		f.await(t, "end: client timed out")
		if m := f.got()[0]; !errors.Is(m.err, errUploadBroken) || !errors.Is(m.err, errTimeout) || strings.Contains(f.log(), "inj") {
			t.Error(m.err, f.log())
		}
	}
	cfg := testConfig(t)
	cfg.Limits.MinRateAfter, cfg.Limits.MinRate = 100*time.Millisecond, 1000
	f := startFront(t, cfg)
	x := f.hello(t)
	x.toData()
	stop := make(chan struct{})
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				x.send("l\r\n")
			case <-stop:
				return
			}
		}
	}()
	x.want("451 4.4.2")
	close(stop)
	f.await(t, "end: client sent too slowly")
}

// Slow, but above the minimum rate and never silent for long: it gets through, though it
// takes longer than a stall may (S-30).
func TestS30_SlowButSteady(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.Stall, cfg.Limits.MinRateAfter, cfg.Limits.MinRate = 400*time.Millisecond, 100*time.Millisecond, 10
	f := startFront(t, cfg)
	x := f.hello(t)
	x.toData()
	for range 12 {
		x.send("0123456789012345678901234567890123456789\r\n")
		time.Sleep(50 * time.Millisecond)
	}
	x.send(".\r\n")
	x.want("250")
}

// Every wait has its own end.
func TestS30_EachStageHasADeadline(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.Command, cfg.Limits.Handshake, cfg.Limits.Write = 150*time.Millisecond, 150*time.Millisecond, 150*time.Millisecond
	cfg.Proxies = nil
	f := startFront(t, cfg)
	for _, said := range []string{"", "EH", "EHLO me\r\n", "EHLO me\r\nMAIL FROM:<a@x.test>\r\n", "EHLO me\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nRC"} {
		x := f.dial(t)
		x.send(said)
		var last string
		for last = x.reply(); strings.HasPrefix(last, "250"); last = x.reply() {
		}
		if !strings.HasPrefix(last, "421 4.4.2") {
			t.Errorf("%q: %q", said, last)
		}
		x.eof()
	}
	x := f.hello(t)
	x.send("STARTTLS\r\n")
	x.want("220 2.0.0")
	x.send("\x16\x03\x01") // and no more of the handshake
	x.eof()
	// One byte now and then does not prolong a command line.
	x = f.hello(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for err := error(nil); err == nil; _, err = x.c.Write([]byte("N")) {
			time.Sleep(10 * time.Millisecond)
		}
	}()
	x.want("421 4.4.2")
	x.c.Close()
	<-done
	// A client that does not read our replies.
	x = f.hello(t)
	_ = x.c.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, err := io.WriteString(x.c, strings.Repeat("HELP\r\n", 5_000_000))
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the server goes on reading, or does not hang up: %v", err)
	}
}

// Early data (S-11): DATA ends a group.
func TestS11_DataBefore354(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		f := startFront(t, testConfig(t))
		x := f.hello(t)
		if overTLS {
			x = x.startTLS()
		}
		x.send("MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n")
		x.want("250", "250", "554 5.5.0")
		x.eof()
		f.await(t, "abandon: client spoke before its turn")
		if strings.Contains(f.log(), "data") {
			t.Error(f.log())
		}
	}
	// In a segment of its own, while the flow makes up its mind.
	f := startFront(t, testConfig(t))
	asked, sent := make(chan struct{}), make(chan struct{})
	f.onReady = func() *mail.Reply { close(asked); <-sent; return nil }
	x := f.hello(t)
	x.send("MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n")
	<-asked
	x.send("Subject: x\r\n")
	close(sent)
	x.want("250", "250", "554 5.5.0")
	x.eof()
}

// Over TLS, early data may lie decrypted behind a full buffer.
func TestS11_DataBefore354InOneRecord(t *testing.T) {
	f := startFront(t, testConfig(t))
	x := f.hello(t).startTLS()
	group := "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n"
	group += "NOOP " + strings.Repeat("x", 2000) + "\r\n"
	group += "NOOP " + strings.Repeat("x", smallBuffer-len(group)-len("NOOP \r\nDATA\r\n")) + "\r\nDATA\r\n"
	x.send(group + "Subject: x\r\n\r\nbody\r\n.\r\n")
	x.want("250", "250", "250", "250", "554 5.5.0")
	x.eof()
}

// startTLS upgrades and greets again.
func (x *testClient) startTLS() *testClient {
	x.t.Helper()
	x.send("STARTTLS\r\n")
	x.want("220 2.0.0")
	y := x.shake()
	y.send("EHLO again\r\n")
	y.want("250")
	return y
}

func (x *testClient) shake() *testClient {
	x.t.Helper()
	c := tls.Client(x.c, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		x.t.Fatal(err)
	}
	return newTestClient(x.t, c)
}

func TestS12_StartTLS(t *testing.T) {
	f := startFront(t, testConfig(t))
	x := f.hello(t)
	x.send("MAIL FROM:<a@x.test>\r\nSTARTTLS now\r\nSTARTTLSnow\r\nSTARTTLS\r\n")
	x.want("250", "501 5.5.4", "500 5.5.2", "220 2.0.0")
	x = x.shake()
	x.send("RCPT TO:<b@y.test>\r\nMAIL FROM:<a@x.test>\r\nDATA\r\nEHLO safe\r\n")
	x.want("503", "503", "503")
	if r := x.want("250"); strings.Contains(r, "STARTTLS") {
		t.Error(r)
	}
	x.send("RCPT TO:<b@y.test>\r\nSTARTTLS\r\n")
	x.want("503", "503 5.5.1")
	x.toData()
	x.send("x\r\n.\r\nQUIT\r\n")
	x.want("250", "221")
	x.eof()
	if m := f.got()[0]; m.client.TLS != "TLS1.3 TLS_AES_128_GCM_SHA256" || m.client.Helo != "safe" {
		t.Errorf("%+v", m.client)
	}
	if l := f.log(); l != "connect 127.0.0.1; hello me; mail a@x.test; abandon: client reset the transaction; hello safe; mail a@x.test; rcpt b@y.test; data; end: client quit" {
		t.Error(l)
	}
}

// Who does not wait for 220 is refused, and nothing of what it sent is carried out (S-11, S-12).
func TestS11_DataBeforeTheReplyToSTARTTLS(t *testing.T) {
	f := startFront(t, testConfig(t))
	x := f.hello(t)
	x.send("STARTTLS\r\nMAIL FROM:<inj@x.test>\r\nRCPT TO:<inj@y.test>\r\n")
	x.want("554 5.5.0")
	x.eof()
	f.await(t, "end: client spoke before its turn")
	if strings.Contains(f.log(), "inj") {
		t.Error(f.log())
	}
}

// A handshake that fails ends the connection; it never goes on in clear.
func TestS12_FailedHandshakeCloses(t *testing.T) {
	f := startFront(t, testConfig(t))
	x := f.hello(t)
	x.send("STARTTLS\r\n")
	x.want("220")
	x.send("EHLO x\r\nMAIL FROM:<inj@x.test>\r\n")
	_, _ = io.ReadAll(x.r)
	f.await(t, "end")
	if strings.Contains(f.log(), "inj") {
		t.Error(f.log())
	}
}

// RFC 3207 4: 530 to all but NOOP, EHLO, STARTTLS and QUIT.
func TestS12_RequireTLS(t *testing.T) {
	cfg := testConfig(t)
	cfg.RequireTLS = true
	f := startFront(t, cfg)
	x := f.dial(t)
	x.send("HELO me\r\nEHLO me\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\nVRFY a\r\nRSET\r\nHELP\r\nNOOP\r\nFOO\r\n")
	x.want("530 5.7.0", "250-gw.test", "530 5.7.0", "530 5.7.0", "530 5.7.0", "530 5.7.0", "530 5.7.0", "530 5.7.0", "250 2.0.0", "500 5.5.2")
	x = x.startTLS()
	x.toData()
	cfg.TLS = nil
	f = startFront(t, cfg)
	x = f.dial(t)
	x.send("EHLO me\r\nSTARTTLS\r\n")
	if r := x.want("250"); strings.Contains(r, "STARTTLS") {
		t.Error(r)
	}
	x.want("502 5.5.1")
}

// One listener requires TLS, another begins with it; the front is the same.
func TestW16_TLSByListener(t *testing.T) {
	cfg := testConfig(t)
	cfg.Proxies = []netip.Prefix{prefix("127.0.0.7/32")}
	f := startFront(t, cfg)
	open := func(d Door) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- f.f.serve(ctx, l, d) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		return l.Addr().String()
	}
	x := f.hello(t)
	x.toData()
	required := &testFront{fakeFlow: f.fakeFlow, addr: open(Door{RequireTLS: true})}
	x = required.hello(t)
	x.send("MAIL FROM:<a@x.test>\r\n")
	x.want("530 5.7.0")
	x.startTLS().toData()

	implicit := &testFront{fakeFlow: f.fakeFlow, addr: open(Door{ImplicitTLS: true, RequireTLS: true})}
	x = implicit.raw(t).shake()
	x.want("220")
	x.send("EHLO me\r\nSTARTTLS\r\n")
	if r := x.want("250"); strings.Contains(r, "STARTTLS") {
		t.Error(r)
	}
	x.want("503")
	x.toData()
	x.send(".\r\nQUIT\r\n")
	x.want("250", "221")
	x.eof()
	if c := f.got()[0].client; !strings.HasPrefix(c.TLS, "TLS1.3 ") {
		t.Errorf("%+v", c)
	}
	clear := implicit.raw(t) // who speaks SMTP in clear hears nothing of ours
	clear.send("EHLO me\r\nMAIL FROM:<inj@x.test>\r\n")
	if all, _ := io.ReadAll(clear.r); strings.Contains(string(all), "220") {
		t.Errorf("%q", all)
	}

	// The ClientHello in one segment with the PROXY header.
	p := implicit.rawFrom(t, "127.0.0.7")
	p.c = &glued{Conn: p.c, first: "PROXY TCP4 192.0.2.9 127.0.0.1 4242 465\r\n"}
	p = p.shake()
	p.want("220")
	f.await(t, "connect 192.0.2.9")
	if strings.Contains(f.log(), "inj") {
		t.Error(f.log())
	}
}

// A glued connection sends something together with the first that is written.
type glued struct {
	net.Conn
	first string
}

func (g *glued) Write(p []byte) (int, error) {
	n, err := g.Conn.Write(append([]byte(g.first), p...))
	g.first = ""
	return min(n, len(p)), err
}

// W-16: each handshake takes the certificate of the moment.
func TestW16_CertificateOfTheMoment(t *testing.T) {
	cfg := testConfig(t)
	certs := make(chan *tls.Config, 1)
	cfg.TLS = func() *tls.Config { c := <-certs; certs <- c; return c }
	first, second := testCert(t), testCert(t)
	certs <- first
	f := startFront(t, cfg)
	for _, c := range []*tls.Config{first, second} {
		<-certs
		certs <- c
		x := f.hello(t).startTLS()
		if got := x.c.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw; string(got) != string(c.Certificates[0].Certificate[0]) {
			t.Error("old certificate")
		}
	}
}

// The client is gone: nothing is taken, but a reply that can be heard is given (S-33).
func TestS33_ClientLeaves(t *testing.T) {
	f := startFront(t, testConfig(t))
	x := f.hello(t)
	x.toData()
	x.send("x\r\n.\r\n")
	x.halfClose()
	x.want("250")
	x.eof()
	x = f.hello(t)
	x.toData()
	x.send("half\r\n.\r")
	x.halfClose()
	x.want("451 4.4.2")
	x.eof()
	body := "Subject: x\r\n\r\nbody\r\n.\r\n"
	for n := range len(body) {
		x = f.hello(t)
		x.toData()
		x.send(body[:n])
		_ = x.c.(*net.TCPConn).SetLinger(0)
		x.c.Close()
	}
	f.stop()
	for i, m := range f.got() {
		if i > 0 && m.err == io.EOF {
			t.Errorf("message %d was taken: %q", i, m.body)
		}
	}
}

// The flow says its word before the end of the message: the rest is read and dropped.
func TestEarlyRefusal(t *testing.T) {
	f := startFront(t, testConfig(t))
	answer := reply(550, [3]int{5, 7, 1}, "No")
	f.onData = func(context.Context, upload) *mail.Reply { return answer }
	x := f.hello(t)
	x.toData()
	x.send(strings.Repeat("l\r\n", 50_000) + smuggled + "NOOP\r\n") // ends with smuggled's dot
	x.want("550 5.7.1 No", "250 2.0.0 Ok\r\n")
	// The flow may not say 250 without having read it all.
	answer = reply(250, [3]int{2, 0, 0}, "Ok")
	x.toData()
	x.send("x\r\n.\r\n")
	x.want("451 4.3.0")
	x.toData()
	x.send("half")
	x.halfClose()
	x.want("451")
	x.eof()
	if strings.Contains(f.log(), "inj") {
		t.Error(f.log())
	}
}

// Whatever the flow says, a flawed message is not taken.
func TestNo250ForFlawedMessage(t *testing.T) {
	f := startFront(t, testConfig(t))
	f.onData = func(_ context.Context, u upload) *mail.Reply {
		for {
			if _, err := u.Next(); err != nil {
				return reply(250, [3]int{2, 0, 0}, "Ok")
			}
		}
	}
	x := f.hello(t)
	for _, c := range [][2]string{{"a\nb\r\n.\r\n", "550 5.5.2"}, {"a\rb\r\n.\r\n", "550 5.5.2"}, {strings.Repeat("x", 200_001) + "\r\n.\r\n", "552 5.3.4"}, {"a\x00\r\n.\r\n", "250"}, {"half", "451 4.4.2"}} {
		x.toData()
		x.send(c[0])
		if c[0] == "half" {
			x.halfClose()
		}
		x.want(c[1])
	}
}
