package gateway

import (
	"bufio"
	"bytes"
	"net"
	"strings"
	"testing"

	"postern/mail"
)

// benchSink is a server that does the least: fixed replies, content read to its end.
func benchSink(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	serve := func(c net.Conn) {
		defer c.Close()
		w := bufio.NewWriter(c)
		r := bufio.NewReaderSize(c, 64<<10)
		_, _ = w.WriteString("220 sink\r\n")
		for {
			if r.Buffered() == 0 {
				w.Flush()
			}
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			switch line[0] {
			case 'E':
				_, _ = w.WriteString("250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
			case 'D':
				_, _ = w.WriteString("354 go\r\n")
				w.Flush()
				for line, err = r.ReadSlice('\n'); err == nil && string(line) != ".\r\n"; line, err = r.ReadSlice('\n') {
				}
				_, _ = w.WriteString("250 2.0.0 Ok: queued as 12345\r\n")
			default:
				_, _ = w.WriteString("250 2.1.0 Ok\r\n")
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

// BenchmarkDelivery is one transaction over a kept connection: the sink's CPU is in it.
func BenchmarkDelivery(b *testing.B) {
	for name, size := range map[string]int{"4KB": 4 << 10, "130KB": 130 << 10} {
		b.Run(name, func(b *testing.B) {
			up, err := NewServers(ServersConfig{Groups: map[string]ServerConfig{DefaultGroup: {
				Addresses: []string{benchSink(b)}, Helo: "gw.test", TLS: TLSNone}}})
			if err != nil {
				b.Fatal(err)
			}
			defer up.Close()
			text := bytes.Repeat([]byte(strings.Repeat("x", 76)+"\r\n"), size/78)
			body := mail.BodyOf(text)
			defer body.Close()
			env, to := upEnvelope(), []mail.RcptTo{upRcpt("b")}
			ctx := b.Context()
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				d, err := up.Begin(ctx, DefaultGroup, env)
				if err != nil {
					b.Fatal(err)
				}
				if err := d.Rcpt(ctx, to[0]); err != nil {
					b.Fatal(err)
				}
				r := body.Open()
				if replies, err := d.Send(ctx, to, int64(len(text)), r); err != nil || !replies[0].OK() {
					b.Fatal(replies, err)
				}
				d.Close()
			}
		})
	}
}
