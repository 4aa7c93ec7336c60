package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postern/journal"
)

// talkRaw sends bytes as they are and gives all that comes back until the server hangs up or
// falls silent for a while.
func talkRaw(t testing.TB, addr string, wait time.Duration, segments ...string) (lines []string, closed bool) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	greeting, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	lines = append(lines, strings.TrimRight(greeting, "\r\n"))
	go func() {
		for _, s := range segments {
			if _, err := io.WriteString(c, s); err != nil {
				return
			}
		}
	}()
	for {
		_ = c.SetReadDeadline(time.Now().Add(wait))
		line, err := r.ReadString('\n')
		if err != nil {
			return lines, err == io.EOF || !strings.Contains(err.Error(), "timeout")
		}
		lines = append(lines, strings.TrimRight(line, "\r\n"))
	}
}

func entries(t testing.TB, g *running) []*journal.Entry {
	t.Helper()
	var all []*journal.Entry
	q := journal.Query{Limit: 500}
	for {
		es, next, err := g.program.journal.Search(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, es...)
		if next == "" {
			return all
		}
		q.Cursor = next
	}
}

func TestS30_EndlessChatterIsCutOff(t *testing.T) {
	for name, chatter := range map[string]string{
		"NOOP": "NOOP\r\n", "RSET": "RSET\r\n", "VRFY": "VRFY a\r\n", "HELP": "HELP\r\n", "EHLO": "EHLO a\r\n",
		"MAIL and RSET": "MAIL FROM:<a@b.example>\r\nRSET\r\n",
		"MAIL and EHLO": "MAIL FROM:<a@b.example>\r\nEHLO a\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			g := newSite(t, newSink(t, nil).addr, "").serve(t)
			lines, closed := talkRaw(t, g.addr, 3*time.Second, "EHLO a\r\n", strings.Repeat(chatter, 3000))
			if last := lines[len(lines)-1]; !closed || !strings.HasPrefix(last, "421 ") {
				t.Errorf("closed %v after %d lines, the last %q", closed, len(lines), last)
			}
			if n := len(entries(t, g)); n > 300 {
				t.Errorf("%d journal entries", n)
			}
		})
	}
}

func TestS42_PostmasterOfADomainInAnySpelling(t *testing.T) {
	for _, domain := range []string{"Example.ORG", ".Example.org", "EXÄMPLE.org"} {
		in := newSink(t, nil)
		s := newSite(t, in.addr, "")
		s.write(t, "postern.yaml", fmt.Sprintf("hostname: mx.example.org\ndomains: [%q]\nlisten: [\"127.0.0.1:0\"]\nadmin: \"127.0.0.1:0\"\ndata: data\nupstream: {servers: [%q], tls: none}\ndns: {servers: [%q]}\nlog: {format: json}\n", domain, in.addr, s.dns.Addr))
		g := s.serve(t)
		x := mustDial(t, g.addr)
		x.must(t, "MAIL FROM:<eve@friend.example>", "250")
		x.must(t, "RCPT TO:<postmaster>", "250")
		g.stop(t)
	}
}
