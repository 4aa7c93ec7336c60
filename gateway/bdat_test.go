package gateway

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

func chunkFront(t testing.TB, change ...func(*Config)) *testFront {
	cfg := testConfig(t)
	cfg.Chunking = true
	cfg.Limits.Errors, cfg.Limits.Chatter = 100, 1_000_000
	for _, c := range change {
		c(&cfg)
	}
	return startFront(t, cfg)
}

const inEnvelope = "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n"

func (x *testClient) envelope() {
	x.t.Helper()
	x.send(inEnvelope)
	x.want("250 2.1.0", "250 2.1.5")
}

// What looks like commands, in a chunk.
const injected = "MAIL FROM:<inj@x.test>\r\nRCPT TO:<inj@y.test>\r\nQUIT\r\n"

func chunkOf(s string, last bool) string {
	if last {
		return fmt.Sprintf("BDAT %d LAST\r\n%s", len(s), s)
	}
	return fmt.Sprintf("BDAT %d\r\n%s", len(s), s)
}

func TestS27_IsOfferedWhereConfigured(t *testing.T) {
	f := chunkFront(t)
	x := f.dial(t)
	x.send("EHLO me\r\n")
	if r := x.want("250"); !strings.Contains(r, "\r\n250-CHUNKING\r\n") || strings.Contains(r, "BINARYMIME") {
		t.Error(r)
	}
	x.send("MAIL FROM:<a@x.test> BODY=BINARYMIME\r\n")
	x.want("501 5.5.4")
	x = startFront(t, testConfig(t)).hello(t)
	x.send(inEnvelope + chunkOf(injected, true))
	x.want("250", "250", "503 5.5.1")
	x.eof()
}

// One message whatever its chunks are, in one segment with the commands or not.
func TestS27_ChunksMakeOneMessage(t *testing.T) {
	long := "Subject: long\r\n\r\n" + strings.Repeat("x", 1<<20+100)
	for name, script := range map[string][]string{
		"":                            {"BDAT 0 LAST\r\n"},
		"Subject: x\r\n\r\nhello":     {"BDAT 17\r\nSubject: x\r\n\r\nhel", "BDAT 2\r\nlo", "bdat 0 last\r\n"},
		"a\r\n.\r\n..\r\n" + injected: {"BDAT 2\r\na\r", "BDAT 0\r\n", "BDAT 2\r\n\n.", chunkOf("\r\n..\r\n"+injected, true)},
		long:                          {chunkOf(long, true)},
		long + "\r\n":                 {chunkOf(long[:700_000], false), chunkOf(long[700_000:]+"\r\n", true)},
	} {
		for _, apart := range []bool{false, true} {
			f := chunkFront(t, func(c *Config) { c.Limits.MessageSize = 2 << 20 })
			f.f.extensions = func() mail.Extensions { return mail.Extensions{} }
			x := f.hello(t)
			replies := []string{"250", "250"}
			for range script {
				replies = append(replies, "250 2.0.0")
			}
			if apart {
				x.send(inEnvelope)
				for _, s := range script {
					command, octets, _ := strings.Cut(s, "\r\n")
					x.send(command + "\r\n")
					x.send(octets)
				}
			} else {
				x.send(inEnvelope + strings.Join(script, ""))
			}
			x.want(replies...)
			x.send(inEnvelope + "DATA\r\n") // of which nothing is left
			x.want("250", "250", "354")
			x.send("y\r\n.\r\nQUIT\r\n")
			x.want("250", "221")
			x.eof()
			if all := f.got(); len(all) != 2 || all[0].body != name || all[1].body != "y\r\n" || len(all[0].to) != 1 {
				t.Errorf("%.40q, apart %v: %d messages", name, apart, len(all))
			}
		}
	}
}

// What is refused is read all the same: nothing of it is ever a command. What has no size is
// not read, and the line after it is the next command.
func TestS27_RefusedChunksAreRead(t *testing.T) {
	for _, c := range []struct {
		before, chunk string
		replies       []string
	}{
		{"", chunkOf(injected, true), []string{"503 5.5.1"}},
		{"MAIL FROM:<a@x.test>\r\n", chunkOf(injected, false), []string{"250", "503 5.5.1"}},
		{"MAIL FROM:<a@x.test>\r\nRCPT TO:<no@y.test>\r\n", chunkOf(injected, true), []string{"250", "550", "554 5.5.1"}},
		{inEnvelope, chunkOf("x", true) + chunkOf(injected, true), []string{"250", "250", "250 2.0.0 Ok", "503"}},
		{inEnvelope, chunkOf(strings.Repeat("x", 150_000), false) + chunkOf(strings.Repeat("x", 150_000), false) + chunkOf(injected, true), []string{"250", "250", "250", "552 5.3.4", "503"}},
		{inEnvelope, chunkOf(strings.Repeat("x", 200_001), true), []string{"250", "250", "552 5.3.4"}},
		{inEnvelope, chunkOf("x", false) + "DATA\r\n" + inEnvelope + "STARTTLS\r\nFOO\r\nNOOP\r\n" + chunkOf("y", true), []string{"250", "250", "250", "503", "503", "503", "503", "503", "250", "250 2.0.0 Ok"}},
		{inEnvelope, chunkOf("x", false) + "BDAT x LAST\r\n" + chunkOf(injected, true), []string{"250", "250", "250", "501", "503"}},
		{"HELO me\r\n" + inEnvelope, chunkOf(injected, true), []string{"250", "250", "250", "503"}},
	} {
		f := chunkFront(t)
		f.onRcpt = func(to mail.RcptTo) *mail.Reply {
			if to.Address.Local == "no" {
				return reply(550, [3]int{5, 1, 1}, "no")
			}
			return nil
		}
		x := f.hello(t)
		x.send(c.before + c.chunk + "NOOP\r\n")
		x.want(append(c.replies, "250 2.0.0 Ok\r\n")...)
		if strings.Contains(f.log(), "inj") {
			t.Errorf("%.40q: %s", c.chunk, f.log())
		}
	}
	f := chunkFront(t)
	x := f.hello(t)
	for _, bad := range []string{"", "99999999999999999999", "-1", "+1", "0x10", "1e3", "3 LAST X", "LAST", "3 FIRST", "3,LAST"} {
		x.envelope()
		x.send("BDAT " + bad + "\r\nNOOP\r\nRSET\r\n")
		x.want("501 5.5.4", "250", "250")
	}
	x.envelope()
	x.send("BDAT 9000000000000000000 LAST\r\n" + injected)
	x.want("552 5.3.4")
	x.eof()
	if strings.Contains(f.log(), "inj") {
		t.Error(f.log())
	}
}

// Between chunks a message is given up without a trace, and the next one is its own (F6).
func TestS28_GivenUpBetweenChunks(t *testing.T) {
	f := chunkFront(t)
	x := f.hello(t)
	const rounds = 300
	for i := range rounds {
		x.envelope()
		x.send("BDAT 3\r\nabc" + []string{"RSET", "EHLO me", "HELO me\r\nEHLO me"}[i%3] + "\r\n")
		x.want("250 2.0.0 Chunk")
		if x.want("250"); i%3 == 2 {
			x.want("250")
		}
		if i%2 == 0 {
			x.toData()
			x.send(fmt.Sprintf("%d\r\n.\r\n", i))
		} else {
			x.envelope()
			x.send(chunkOf(fmt.Sprintf("%d\r\n", i), true))
		}
		x.want("250 2.0.0 Ok")
	}
	var whole []string
	for _, m := range f.got() {
		if m.err.Error() == "EOF" {
			whole = append(whole, m.body)
		}
	}
	for i := range rounds {
		if whole[i] != fmt.Sprintf("%d\r\n", i) {
			t.Fatalf("message %d is %q", i, whole[i])
		}
	}
	x.envelope()
	x.send("BDAT 3\r\nabcQUIT\r\n")
	x.want("250", "221")
	x.eof()
	x = f.hello(t)
	x.envelope()
	x.send("BDAT 3\r\nabc")
	x.want("250")
	x.c.Close()
	f.await(t, "end: client closed the connection")
	if n := len(f.got()); n != 2*rounds+2 {
		t.Errorf("%d messages began", n)
	}
}

// A chunk that does not come whole is answered 4xx, and nothing after it is a command, in clear
// and over TLS.
func TestS03_BrokenChunk(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		f := chunkFront(t, func(c *Config) { c.Limits.Stall = 100 * time.Millisecond })
		x := f.hello(t)
		if overTLS {
			x = x.startTLS()
		}
		x.envelope()
		x.send("BDAT 400 LAST\r\n12345678901234567890")
		x.want("451 4.4.2")
		x.send(injected)
		x.eof()
		f.await(t, "end: ")
		if strings.Contains(f.log(), "inj") {
			t.Error(f.log())
		}
	}
	f := chunkFront(t, func(c *Config) { c.Limits.Command = 100 * time.Millisecond }) // between two
	x := f.hello(t)
	x.envelope()
	x.send("BDAT 1\r\nx")
	x.want("250", "421 4.4.2")
	x.eof()
}

func TestS26_ExactSizeInChunks(t *testing.T) {
	f := chunkFront(t)
	x := f.hello(t)
	for extra, code := range []string{"250 2.0.0 Ok", "552 5.3.4"} {
		x.envelope()
		x.send(chunkOf(strings.Repeat("z", 100_000), false) + chunkOf(strings.Repeat("z", 100_000-1+extra)+".", true) + "NOOP\r\n")
		x.want("250", code, "250 2.0.0 Ok\r\n")
	}
}

// The content is under the same rules as after DATA.
func TestS06_BareNewlinesInChunks(t *testing.T) {
	for _, text := range []string{"a\n.\r\nb\r.\rc", "a\n", "\n", "a\r", "\r", "a\r\r\n", "\r\n\n", "a\r\nb\n.\n"} {
		for cut := range len(text) + 1 {
			f := chunkFront(t)
			x := f.hello(t)
			x.envelope()
			x.send(chunkOf(text[:cut], false) + chunkOf(text[cut:], true) + "NOOP\r\n")
			x.want("250 2.0.0", "550 5.5.2", "250")
		}
	}
}

// Each chunk costs a command: a message of very many tiny ones is not taken, and one of many
// larger ones is.
func TestS27_TinyChunks(t *testing.T) {
	f := chunkFront(t, func(c *Config) { c.Limits.MessageSize = 8 << 20 })
	f.f.extensions = func() mail.Extensions { return mail.Extensions{} }
	x := f.hello(t)
	x.envelope()
	go x.send(strings.Repeat(chunkOf(strings.Repeat("x", tinyChunk), false), 3000) + strings.Repeat("BDAT 1\r\nx", maxTinyChunks) + "BDAT 0 LAST\r\n")
	for range 3000 + maxTinyChunks {
		x.want("250 2.0.0 Chunk")
	}
	x.want("250 2.0.0 Ok")
	x.envelope()
	x.send(strings.Repeat("BDAT 0\r\n", maxTinyChunks+10))
	for range maxTinyChunks + 2 {
		x.want("250 2.0.0 Chunk")
	}
	x.want("421 4.7.0 gw.test Too many small chunks")
	x.eof()
}

// The flow may answer before the end: the rest is read.
func TestS27_EarlyAnswer(t *testing.T) {
	f := chunkFront(t)
	f.onData = func(_ context.Context, u upload) *mail.Reply {
		_, _ = u.Next()
		return reply(451, [3]int{4, 3, 0}, "Full")
	}
	x := f.hello(t)
	x.envelope()
	x.send(chunkOf(injected+strings.Repeat("x", 100_000), false) + chunkOf(injected, true) + "NOOP\r\n")
	x.want("451 4.3.0", "503", "250")
	if strings.Contains(f.log(), "inj") {
		t.Error(f.log())
	}
}

// Whatever the chunks and the segments are: the bytes and the flaws are those of the whole.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("a\r\nb\n.\r\n\r"), []byte{2, 0, 1}, []byte{0, 3, 1}, true)
	f.Add([]byte("\r\n"), []byte{1}, []byte{}, false)
	f.Add([]byte("x\r\x00\n.\r\n"), []byte{2, 2}, []byte{1}, false)
	f.Fuzz(func(t *testing.T, content, cuts, sizes []byte, normalize bool) {
		if len(content) > 1000 || len(cuts) > 500 { // too many tiny chunks are too many commands
			return
		}
		var in []byte
		for rest := content; ; {
			n := len(rest)
			if len(cuts) > 0 {
				n, cuts = min(n, int(cuts[0])%8), cuts[1:]
			}
			last := n == len(rest) && len(cuts) == 0
			in = append(in, chunkOf(string(rest[:n]), last)...)
			if rest = rest[n:]; last {
				break
			}
		}
		in = append(in, "NOOP\r\n"...)
		lim := DefaultLimits()
		c := &scriptedConn{in: in, sizes: bytes.Clone(sizes)}
		w := newWire(c, "gw.test", &lim)
		first, _, err := w.line()
		if err != nil {
			t.Fatal(err)
		}
		size, last, _ := parseChunk(strings.TrimPrefix(string(first), "BDAT "))
		b := w.newBody(0, normalize)
		b.chunks = &chunks{left: size, last: last}
		var got []byte
		for err == nil {
			var p []byte
			if p, err = b.Next(); err == nil && len(p) == 0 {
				t.Fatal("an empty block")
			}
			got = append(got, p...)
		}
		want, bare := content, bytes.ReplaceAll(content, crlf, nil)
		wantLF := bytes.Contains(bare, []byte("\n"))
		if normalize {
			want, wantLF = normalized(content), false
		}
		bareCR, bareLF, nul := b.Flaws()
		if !bytes.Equal(got, want) || err.Error() != "EOF" || !b.ended {
			t.Fatalf("%q: got %q, %v; want %q", in, got, err, want)
		}
		if bareCR != bytes.Contains(bare, []byte("\r")) || bareLF != wantLF || nul != bytes.Contains(content, []byte{0}) {
			t.Fatalf("%q: flaws %v %v %v", in, bareCR, bareLF, nul)
		}
		if next, ok, err := w.line(); string(next) != "NOOP" || !ok || err != nil {
			t.Fatalf("%q: then %q, %v", in, next, err)
		}
		w.hangup()
	})
}
