package gateway

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/mail"
)

// idleFlow takes everything and keeps nothing.
type idleFlow struct{}

func (idleFlow) hello(string, bool, string)                           {}
func (idleFlow) begin(mail.Address, mail.Options) (deal, *mail.Reply) { return idleFlow{}, nil }
func (idleFlow) end(error)                                            {}
func (idleFlow) rcpt(mail.RcptTo) *mail.Reply                         { return nil }
func (idleFlow) ready() *mail.Reply                                   { return nil }
func (idleFlow) abandon(error)                                        {}
func (idleFlow) data(u upload) *mail.Reply {
	for {
		if _, err := u.Next(); err == io.EOF {
			return idleReply
		} else if err != nil {
			return nil
		}
	}
}

var idleReply = &mail.Reply{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "Ok"}

// Messages through wire, go-smtp and session on one connection; the client's part is in the
// figures. cpu-ns is what the process took, user and system.
func BenchmarkFront(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"4KB", 4 << 10}, {"130KB", 130 << 10}} {
		b.Run(size.name, func(b *testing.B) {
			cfg := testConfig(b)
			cfg.Limits = Limits{Session: time.Hour}
			f := startFront(b, cfg, func(f *front) {
				f.connect = func(context.Context, mail.Client) talk { return idleFlow{} }
				f.extensions = func() mail.Extensions { return mail.Extensions{} }
			})
			line := strings.Repeat("abcdefghijk ", 6) + "ab\r\n" // 76
			benchDialogue(b, f.addr, []byte(strings.Repeat(line, size.bytes/len(line))+".\r\n"))
		})
	}
}

func benchDialogue(b *testing.B, addr string, body []byte) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	want := func(n int) {
		for n > 0 {
			l, err := r.ReadSlice('\n')
			if err != nil || l[0] != '2' && l[0] != '3' {
				b.Fatal(string(l), err)
			}
			if l[3] == ' ' {
				n--
			}
		}
	}
	envelope := []byte("MAIL FROM:<alice@example.com> SIZE=4000\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n")
	want(1)
	_, _ = io.WriteString(c, "EHLO me\r\n")
	want(1)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	began := processTime()
	for b.Loop() {
		_, _ = c.Write(envelope)
		want(3)
		_, _ = c.Write(body)
		want(1)
	}
	b.ReportMetric(float64(processTime()-began)/float64(b.N), "cpu-ns/op")
}

func processTime() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// The body reader alone.
func BenchmarkBody(b *testing.B) {
	line := strings.Repeat("abcdefghijk ", 6) + "ab\r\n"
	in := []byte(strings.Repeat(line, 130<<10/len(line)) + ".\r\n")
	lim := DefaultLimits()
	c := &scriptedConn{}
	w := newWire(c, "gw.test", &lim)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		c.in = in
		u := w.newBody(0, false)
		for {
			if _, err := u.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkParseMail(b *testing.B) {
	ext := offered{mail.Extensions{EightBitMIME: true}, true}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, refusal := parseMail("FROM:<alice@example.com> SIZE=4000 BODY=8BITMIME", ext, 1<<20); refusal != "" {
			b.Fatal(refusal)
		}
	}
}
