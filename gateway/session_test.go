package gateway

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

func TestDialogue(t *testing.T) {
	f := startFront(t, testConfig(t))
	x := f.dial(t)
	x.send("EHLO me\r\n")
	if r := x.want("250-gw.test\r\n"); r != "250-gw.test\r\n250-PIPELINING\r\n250-SIZE 200000\r\n250-STARTTLS\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 ENHANCEDSTATUSCODES\r\n" {
		t.Errorf("EHLO: %q", r)
	}
	x.send("MAIL FROM:<A@X.test> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=hdrs ENVID=a+2Bb\r\n" +
		"RCPT TO:<b@y.test> NOTIFY=success,DELAY ORCPT=rfc822;c+40y.test\r\nRCPT TO:<\"d \\\"e\"@y.test>\r\nDATA\r\n")
	x.want("250 2.1.0", "250 2.1.5", "250 2.1.5", "354")
	x.send("Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n")
	x.want("250 2.0.0 Ok id=1", "221")
	x.eof()
	m := f.got()[0]
	if m.from != (mail.Address{Local: "A", Domain: "x.test"}) || m.client.Helo != "me" || !m.client.ESMTP || m.client.Addr.String() != "127.0.0.1" || m.client.Port == 0 {
		t.Errorf("%+v", m)
	}
	if m.opts != (mail.Options{Size: 10, Body: "8BITMIME", UTF8: true, Ret: "HDRS", EnvID: "a+2Bb"}) {
		t.Errorf("options %+v", m.opts)
	}
	if len(m.to) != 2 || m.to[0].Notify != "SUCCESS,DELAY" || m.to[0].ORcpt != "rfc822;c+40y.test" || m.to[1].Address.Local != `d "e` {
		t.Errorf("recipients %+v", m.to)
	}
	if m.body != "Subject: x\r\n\r\n.dot\r\n" {
		t.Errorf("body %q", m.body)
	}
	if l := f.log(); l != `connect 127.0.0.1; hello me; mail A@x.test; rcpt b@y.test; rcpt "d \"e"@y.test; data; end: client quit` {
		t.Error(l)
	}
}

// The order of commands (S-14, F7), and what each does to the transaction.
func TestS14_Sequence(t *testing.T) {
	f := startFront(t, testConfig(t))
	x := f.dial(t)
	for _, c := range [][2]string{
		{"NOOP", "250"}, {"HELP", "214"}, {"RSET", "250"}, {"DATA", "503"}, {"RCPT TO:<b@y.test>", "503"}, {"MAIL FROM:<z@x.test>", "503"},
		{"EHLO", "501"}, {"EHLO \xc3\xa9", "501"}, {"EHLO m ", "250"}, {"RCPT TO:<c@y.test>", "503"}, {"DATA", "503"},
		{"MAIL FROM:<a@x.test>", "250 2.1.0"}, {"DATA", "503"}, {"RCPT TO:<b@y.test>", "250 2.1.5"}, {"MAIL FROM:<b@x.test>", "503"}, {"RCPT TO:<c@y.test>", "250"},
		{"DATA now", "501"}, {"RSET now", "501"}, {"QUIT now", "501"}, {"NOOP any thing", "250"}, {"noop ", "250"},
	} {
		x.send(c[0] + "\r\n")
		x.want(c[1])
	}
	x.send("DATA\r\n")
	x.want("354")
	x.send(".\r\nDATA\r\nMAIL FROM:<d@x.test>\r\nEHLO n\r\nRCPT TO:<d@y.test>\r\nMAIL FROM:<>\r\nRSET\r\nRCPT TO:<e@y.test>\r\nHELO o\r\nMAIL FROM:<f@x.test> SIZE=1\r\nMAIL FROM:<f@x.test>\r\n")
	x.want("250 2.0.0 Ok id", "503", "250", "250", "503", "250 2.1.0", "250 2.0.0", "503", "250 gw.test", "555 5.5.4", "250")
	if l := f.log(); l != "connect 127.0.0.1; hello m; mail a@x.test; rcpt b@y.test; rcpt c@y.test; data; "+
		"mail d@x.test; abandon: client reset the transaction; hello n; mail ; abandon: client reset the transaction; hello o; mail f@x.test" {
		t.Error(l)
	}
	if m := f.got()[0]; len(m.to) != 2 || m.from.Local != "a" {
		t.Errorf("%+v", m)
	}
}

func TestS15_HTTPIsDropped(t *testing.T) {
	for _, first := range []string{"POST / HTTP/1.1", "GET /", "CONNECT a:25", "Host: gw.test", "{\"a\":1}", "BDAT 30 LAST"} {
		f := startFront(t, testConfig(t))
		x := f.hello(t)
		x.send(first + "\r\nMAIL FROM:<inj@x.test>\r\nRSET\r\n")
		x.want("5")
		x.eof()
		if strings.Contains(f.log(), "inj") {
			t.Errorf("%s: %s", first, f.log())
		}
	}
}

// A half line is no command, whether the client stalls or leaves.
func TestS16_HalfLine(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.Command = 100 * time.Millisecond
	f := startFront(t, cfg)
	for _, leave := range []bool{true, false} {
		x := f.hello(t)
		x.send("MAIL FROM:<ceo@x.test.co>\r")
		if leave {
			x.halfClose()
		} else {
			x.want("421 4.4.2")
		}
		x.eof()
	}
	f.stop()
	if strings.Contains(f.log(), "mail") {
		t.Error(f.log())
	}
}

func TestS17_LongLine(t *testing.T) {
	f := startFront(t, testConfig(t))
	x := f.hello(t)
	// A line of exactly the limit, one more, and one that could hide a second command.
	x.send("NOOP " + strings.Repeat("x", 2048-7) + "\r\nNOOP " + strings.Repeat("x", 2048-6) + "\r\nNOOP " + strings.Repeat("MAIL FROM:<inj@x.test>\r", 2000) + "\r\nNOOP\r\n")
	x.want("250", "500 5.5.2", "500 5.5.2", "250")
	x.send("NOOP " + strings.Repeat("x", 1<<20)) // no end in sight
	x.want("500 5.5.2")
	x.eof()
	if strings.Contains(f.log(), "inj") {
		t.Error(f.log())
	}
}

func TestS18_ControlsInCommands(t *testing.T) {
	f := startFront(t, testConfig(t))
	x := f.hello(t)
	x.send("MAIL FROM:<a@x.test>\r\n")
	x.want("250")
	for _, l := range []string{"RCPT TO:<a\x00b@y.test>", "RCPT TO:<a\rb@y.test>", "NOOP\t", "RCPT TO:<a\x7f@y.test>", "EHLO a\rb", "VRFY \xff", "RCPT TO:<\xff@y.test>", "RCPT TO:<a@y.test> \xc3\xa9=1"} {
		x.send(l + "\r\n")
		x.want("501 5.5.")
	}
	x.send("RCPT TO:<b@y.test>\nRSET\r\n")
	x.want("500 5.5.2")
	x.eof()
	if strings.Contains(f.log(), "rcpt") {
		t.Error(f.log())
	}
}

// What the flow says is put on one clean line, whatever is in it; testClient.reply looks.
func TestS20_RepliesAreClean(t *testing.T) {
	f := startFront(t, testConfig(t))
	f.onRcpt = func(to mail.RcptTo) *mail.Reply {
		switch to.Address.Local {
		case "long":
			return reply(550, [3]int{5, 7, 1}, strings.Repeat("word ", 300))
		case "inject":
			return reply(550, [3]int{5, 7, 1}, "no\r\n250 yes\x00\xff")
		case "other":
			return reply(251, [3]int{2, 1, 5}, "Will forward")
		}
		return reply(99, [3]int{}, "?")
	}
	x := f.hello(t)
	x.send("MAIL FROM:<a@x.test>\r\nRCPT TO:<long@y.test>\r\nRCPT TO:<inject@y.test>\r\nRCPT TO:<other@y.test>\r\nRCPT TO:<odd@y.test>\r\n")
	x.want("250", "550 5.7.1 word", "550 5.7.1 no 250 yes?", "251 2.1.5 Will forward", "451")
}

func TestS25_SIZE(t *testing.T) {
	f := startFront(t, testConfig(t))
	for size, code := range map[string]string{
		"200000": "250", "200001": "552 5.3.4", "4294967297": "552 5.3.4", "99999999999999999999": "552 5.3.4", "0": "250", "00000000000000000001": "250",
		"": "501", "-1": "501", "+1": "501", "1 SIZE=2": "501", "0x10": "501", "1=1": "501", "999999999999999999999": "501",
	} {
		x := f.hello(t)
		x.send("MAIL FROM:<a@x.test> SIZE=" + size + "\r\n")
		if x.want(code); code != "250" {
			x.send("RCPT TO:<b@y.test>\r\n")
			x.want("503")
		}
	}
}

// Exactly the limit is taken, one byte more is refused after its end; then the session goes on.
func TestS26_ExactSize(t *testing.T) {
	f := startFront(t, testConfig(t))
	x := f.hello(t)
	for extra, code := range []string{"250 2.0.0", "552 5.3.4"} {
		x.toData()
		x.send("..\r\n" + strings.Repeat("z", 200_000-3-2+extra) + "\r\n.\r\nNOOP\r\n")
		x.want(code, "250 2.0.0")
	}
}

// Far beyond the limit: read within bounds, then 552 and the end.
func TestS25_FloodIsBounded(t *testing.T) {
	cfg := testConfig(t)
	f := startFront(t, cfg, func(f *front) { f.extensions = func() mail.Extensions { return mail.Extensions{Size: 1000} } })
	x := f.hello(t)
	x.send("MAIL FROM:<a@x.test> SIZE=1\r\nRCPT TO:<b@y.test>\r\nDATA\r\n")
	x.want("250", "250", "354")
	x.send(strings.Repeat("z\r\n", 1<<20/3+1000) + "\r\n.\r\nMAIL FROM:<inj@x.test>\r\n")
	x.want("552 5.3.4")
	x.eof()
	f.stop()
	if m := f.got()[0]; len(m.body) > 64<<10 || m.err != errTooBig || strings.Contains(f.log(), "inj") {
		t.Error(len(m.body), m.err, f.log())
	}
}

func TestParameters(t *testing.T) {
	cfg := testConfig(t)
	full := startFront(t, cfg)
	none := startFront(t, cfg, func(f *front) { f.extensions = func() mail.Extensions { return mail.Extensions{} } })
	if r := func() string { x := none.dial(t); x.send("EHLO me\r\n"); return x.reply() }(); r != "250-gw.test\r\n250-PIPELINING\r\n250-SIZE 200000\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n" {
		t.Errorf("EHLO of the minimum: %q", r)
	}
	for _, c := range []struct{ line, full, none string }{
		{"MAIL FROM:<a@x.test> BODY=8bitmime", "250", "555 5.5.4"},
		{"MAIL FROM:<a@x.test> BODY=7BIT", "250", "555 5.5.4"},
		{"MAIL FROM:<a@x.test> BODY=BINARYMIME", "501 5.5.4", "555 5.5.4"},
		{"MAIL FROM:<a@x.test> BODY", "501 5.5.4", "555 5.5.4"},
		{"MAIL FROM:<\xc3\xa9@x.test>", "553 5.6.7", "553 5.6.7"},
		{"MAIL FROM:<\xc3\xa9@x.test> SMTPUTF8", "250", "550 5.6.7"},
		{"MAIL FROM:<\xc3@x.test> SMTPUTF8", "501 5.5.2", "501 5.5.2"},
		{"MAIL FROM:<a@x.test> SMTPUTF8=1", "501 5.5.4", "550 5.6.7"},
		{"MAIL FROM:<a@x.test> RET=FULL", "250", "555 5.5.4"},
		{"MAIL FROM:<a@x.test> RET=SOME", "501 5.5.4", "555 5.5.4"},
		{"MAIL FROM:<a@x.test> ENVID=a+2b", "501 5.5.4", "555 5.5.4"},
		{"MAIL FROM:<a@x.test> ENVID=" + strings.Repeat("x", 101), "501 5.5.4", "555 5.5.4"},
		{"MAIL FROM:<a@x.test> SIZE=1 size=1", "501 5.5.4", "501 5.5.4"},
		{"MAIL FROM:<a@127.0.0.1>", "553 5.1.7", "553 5.1.7"},
		{"MAIL FROM:<a@x.test> AUTH=<>", "555 5.5.4", "555 5.5.4"},
		{"MAIL FROM:<a@x.test> FOO", "555 5.5.4", "555 5.5.4"},
		{"MAIL FROM:<a@x.test>SIZE=1", "501 5.5.4", "501 5.5.4"},
		{"MAIL FROM: <a@x.test>  SIZE=1  ", "250", "250"},
		{"MAIL FROM:a@x.test", "501 5.5.4", "501 5.5.4"},
		{"MAIL TO:<a@x.test>", "501 5.5.4", "501 5.5.4"},
		{"MAIL FROM:<>", "250", "250"},
		{"MAIL FROM:<a@x.test", "501 5.5.4", "501 5.5.4"},
		{"MAIL FROM:<(a)@x.test>", "553 5.1.7", "553 5.1.7"},
		{"MAIL FROM:<a@x.test,b@y.test>", "553 5.1.7", "553 5.1.7"},
		{"MAIL", "501 5.5.4", "501 5.5.4"},
		{"RCPT TO:<b@y.test> NOTIFY=NEVER", "250", "555 5.5.4"},
		{"RCPT TO:<b@y.test> NOTIFY=NEVER,DELAY", "501 5.5.4", "555 5.5.4"},
		{"RCPT TO:<b@y.test> NOTIFY=DELAY,DELAY", "501 5.5.4", "555 5.5.4"},
		{"RCPT TO:<b@y.test> ORCPT=rfc822;a b", "501 5.5.4", "555 5.5.4"},
		{"RCPT TO:<b@y.test> ORCPT=rfc822", "501 5.5.4", "555 5.5.4"},
		{"RCPT TO:<b@y.test> SIZE=1", "555 5.5.4", "555 5.5.4"},
	} {
		for f, want := range map[*testFront]string{full: c.full, none: c.none} {
			x := f.hello(t)
			if strings.HasPrefix(c.line, "RCPT") {
				if c.line == "RCPT TO:<b@y.test> ORCPT=rfc822;a b" && f == full {
					want = "555" // b is a parameter of its own
				}
				x.send("MAIL FROM:<a@x.test>\r\n")
				x.want("250")
			}
			x.send(c.line + "\r\n")
			if r := x.reply(); !strings.HasPrefix(r, want) {
				t.Errorf("%q: want %s, got %q (all: %v)", c.line, want, r, f == full)
			}
			x.send("QUIT\r\n")
			x.want("221")
		}
	}
}

// Routing forms that another server may read in its own way (S-40); the domain is the flow's to judge.
func TestS40_RoutingForms(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.Errors = -1
	f := startFront(t, cfg)
	x := f.hello(t)
	x.send("MAIL FROM:<a@x.test>\r\n")
	x.want("250")
	for _, p := range []string{"v%ext.test@own.test", "ext!v@own.test", `"v@ext.test"@own.test`, "v@ext.test@own.test", "@ext.test:v@own.test",
		"@own.test:v@ext.test", "v@own.test.", "v", "", `"v@ext.test> X="@own.test`, `"v@ext.test> NOTIFY=NEVER "@own.test`, "v@", "@own.test", "v @own.test",
		"a..b@own.test", ".a@own.test", "v@[127.0.0.1", "v@own..test", "v@-own.test", `v"x"@own.test`, "v@own.test\\", "a,b@own.test"} {
		x.send("RCPT TO:<" + p + ">\r\n")
		if r := x.reply(); !strings.HasPrefix(r, "553 5.1.3") {
			t.Errorf("%s: %q", p, r)
		}
	}
	x.send("RCPT TO:b@own.test\r\n")
	x.want("501 5.5.4")
	if strings.Contains(f.log(), "rcpt") {
		t.Error(f.log())
	}
	x.send("RCPT TO:<v@OWN.test>\r\nRCPT TO:<\"a b>c\"@own.test>\r\n")
	x.want("250", "250")
	if l := f.log(); !strings.HasSuffix(l, `rcpt v@own.test; rcpt "a b>c"@own.test`) {
		t.Error(l)
	}
}

func TestS42_Postmaster(t *testing.T) {
	cfg := testConfig(t)
	f := startFront(t, cfg)
	cfg.PostmasterDomain = "own.test"
	g := startFront(t, cfg)
	for f, want := range map[*testFront]string{f: "rcpt postmaster@gw.test", g: "rcpt postmaster@own.test"} {
		x := f.hello(t)
		x.send("MAIL FROM:<Postmaster>\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<PostMaster>\r\n")
		x.want("553", "250", "250 2.1.5")
		if !strings.HasSuffix(f.log(), want) {
			t.Error(f.log())
		}
	}
}

func TestS44_VRFYandEXPN(t *testing.T) {
	f := startFront(t, testConfig(t))
	x := f.hello(t)
	x.send("VRFY root\r\nVRFY nobody\r\nVRFY\r\nEXPN list\r\n")
	a, b, c := x.want("252"), x.want("252"), x.want("252")
	x.want("502 5.5.1")
	if a != b || b != c {
		t.Error(a, b, c)
	}
}

func TestS47_Recipients(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.Recipients = 1000
	f := startFront(t, cfg)
	x := f.hello(t)
	x.send("MAIL FROM:<a@x.test>\r\n")
	x.want("250")
	go func() {
		for i := range 1030 {
			x.send(fmt.Sprintf("RCPT TO:<u%d@y.test>\r\n", i))
		}
	}()
	for i := range 1030 {
		if i < 1000 {
			x.want("250 2.1.5")
		} else {
			x.want("452 4.5.3")
		}
	}
	x.send("DATA\r\n")
	x.want("354")
	x.send(".\r\n")
	x.want("250")
	if n := len(f.got()[0].to); n != 1000 {
		t.Error(n)
	}
}

// Before 354 the transaction is asked; its reply stands instead.
func TestReadyIsAsked(t *testing.T) {
	f := startFront(t, testConfig(t))
	f.onRcpt = func(mail.RcptTo) *mail.Reply { return reply(550, [3]int{5, 1, 1}, "Unknown") }
	x := f.hello(t)
	x.send("MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\nMAIL FROM:<b@x.test>\r\nRSET\r\n")
	x.want("250", "550 5.1.1 Unknown", "554 5.5.1", "503", "250")
	f.onReady = func() *mail.Reply { return reply(451, [3]int{4, 3, 0}, "Later") }
	f.onRcpt = nil
	x.send("MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\nNOOP\r\n")
	x.want("250", "250", "451 4.3.0 Later", "250")
	f.onBegin = func(mail.Address, mail.Options) *mail.Reply { return reply(421, [3]int{4, 7, 0}, "Not you") }
	x.send("RSET\r\nMAIL FROM:<c@x.test>\r\nRCPT TO:<b@y.test>\r\n")
	x.want("250", "421 4.7.0 Not you")
	x.eof()
	if strings.Contains(f.log(), "data") {
		t.Error(f.log())
	}
}

func TestTooManyErrors(t *testing.T) {
	f := startFront(t, testConfig(t))
	x := f.hello(t)
	for range 20 {
		x.send("XX\r\n")
		x.want("500 5.5.2")
	}
	x.want("421 4.7.0")
	x.eof()
	// Refusals of the flow count; a message that was taken forgives.
	f.onRcpt = func(to mail.RcptTo) *mail.Reply {
		if to.Address.Local == "ok" {
			return nil
		}
		return reply(550, [3]int{5, 1, 1}, "Unknown")
	}
	x = f.hello(t)
	for range 3 {
		x.send("MAIL FROM:<a@x.test>\r\n")
		x.want("250")
		for range 15 {
			x.send("RCPT TO:<no@y.test>\r\n")
			x.want("550")
		}
		x.send("RCPT TO:<ok@y.test>\r\nDATA\r\n")
		x.want("250", "354")
		x.send(".\r\n")
		x.want("250")
	}
	x.send("MAIL FROM:<a@x.test>\r\n")
	x.want("250")
	for range 20 {
		x.send("RCPT TO:<no@y.test>\r\n")
		x.want("550")
	}
	x.want("421 4.7.0")
	x.eof()
	f.await(t, "abandon: client made too many errors; end: client made too many errors")
}

// A pipelined group is answered with one write, the refusals of the wire in their places.
func TestOneWriteForAGroup(t *testing.T) {
	writes := make(chan int, 1)
	f := startFront(t, testConfig(t))
	f.onData = func(_ context.Context, u upload) *mail.Reply {
		for {
			if _, err := u.Next(); err != nil {
				break
			}
		}
		writes <- u.(*body).w.writes
		return reply(250, [3]int{2, 0, 0}, "Ok")
	}
	x := f.dial(t)
	x.send("EHLO m\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nRCPT TO:<bad\r\nRCPT TO:<c@y.test>\r\nDATA\r\n")
	x.want("250", "250", "250", "501", "250", "354")
	x.send("x\r\n.\r\n")
	x.want("250")
	if n := <-writes; n != 2 {
		t.Errorf("%d writes for the greeting and a group", n)
	}
}

// The reply to DATA does not wait for the commands behind it.
func TestDataReplyLeavesAtOnce(t *testing.T) {
	f := startFront(t, testConfig(t))
	release := make(chan struct{})
	first := true
	f.onBegin = func(mail.Address, mail.Options) *mail.Reply {
		if !first {
			<-release
		}
		first = false
		return nil
	}
	x := f.hello(t)
	x.toData()
	x.send("x\r\n.\r\nMAIL FROM:<next@x.test>\r\n")
	x.want("250 2.0.0 Ok id")
	close(release)
	x.want("250 2.1.0")
}

func TestPanicsAreContained(t *testing.T) {
	for _, where := range []string{"begin", "rcpt", "ready", "data", "later", "end"} {
		f := startFront(t, testConfig(t))
		boom := func() { panic(where) }
		switch where {
		case "begin":
			f.onBegin = func(mail.Address, mail.Options) *mail.Reply { boom(); return nil }
		case "rcpt":
			f.onRcpt = func(mail.RcptTo) *mail.Reply { boom(); return nil }
		case "ready":
			f.onReady = func() *mail.Reply { boom(); return nil }
		case "data":
			f.onData = func(context.Context, upload) *mail.Reply { boom(); return nil }
		case "later":
			f.onData = func(_ context.Context, u upload) *mail.Reply { _, _ = u.Next(); boom(); return nil }
		case "end":
			f.onEnd = boom
		}
		x := f.hello(t)
		x.send("MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n")
		if where == "data" || where == "later" {
			x.want("250", "250", "354")
			x.send("x\r\n.\r\nNOOP\r\n")
		}
		if where == "end" {
			x.want("250", "250", "354")
			x.c.Close()
			f.await(t, "end")
			continue
		}
		var last string
		for last = x.reply(); strings.HasPrefix(last, "250"); last = x.reply() {
		}
		if !strings.HasPrefix(last, "421 4.3.0") {
			t.Errorf("%s: %q", where, last)
		}
		x.eof()
		f.await(t, "end: internal error")
		if (where != "begin") != strings.Contains(f.log(), "abandon: internal error") {
			t.Errorf("%s: %s", where, f.log())
		}
	}
}

// The server stops: D-15.
func TestD15_Stop(t *testing.T) {
	f := startFront(t, testConfig(t))
	idle, inMail, inData := f.hello(t), f.hello(t), f.hello(t)
	inMail.send("MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n")
	inMail.want("250", "250")
	inData.toData()
	inData.send("half")
	stopped := make(chan error)
	go func() { stopped <- f.stop() }()
	idle.want("421 4.3.2")
	idle.eof()
	inMail.want("421 4.3.2")
	inMail.eof()
	if _, err := net.Dial("tcp", f.addr); err == nil {
		t.Error("still accepting")
	}
	inData.send("\r\n.\r\nMAIL FROM:<late@x.test>\r\n")
	inData.want("250 2.0.0 Ok id", "421 4.3.2")
	inData.eof()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if l := f.log(); strings.Contains(l, "late") || strings.Count(l, "end: server is stopping") != 3 || strings.Count(l, "abandon: server is stopping") != 1 {
		t.Error(l)
	}
}

// After the grace time what is left is cut: with 451 where a message was coming in.
func TestD15_Grace(t *testing.T) {
	cfg := testConfig(t)
	cfg.Grace = 50 * time.Millisecond
	f := startFront(t, cfg)
	x := f.hello(t)
	x.toData()
	x.send("half")
	f.await(t, "data")
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	x.want("451")
	// One that the flow holds up: its context ends.
	f = startFront(t, cfg)
	f.onData = func(ctx context.Context, u upload) *mail.Reply {
		f.event("holding")
		<-ctx.Done()
		f.event("freed: %v", context.Cause(ctx))
		return nil
	}
	x = f.hello(t)
	x.toData()
	x.send(".\r\n")
	f.await(t, "holding")
	f.stop()
	x.want("451 4.3.0")
	if !strings.Contains(f.log(), "freed: server is stopping") {
		t.Error(f.log())
	}
}

// A session has an end, but an upload that is under way is let finish.
func TestSessionLimit(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.Session = 300 * time.Millisecond
	f := startFront(t, cfg)
	x, y := f.hello(t), f.hello(t)
	y.toData()
	for range 40 {
		x.send("NOOP\r\n")
		if r := x.reply(); !strings.HasPrefix(r, "250") {
			if !strings.HasPrefix(r, "421 4.4.2") {
				t.Errorf("%q", r)
			}
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	x.eof()
	y.send("x\r\n.\r\n")
	y.want("250", "421 4.4.2")
	y.eof()
}
