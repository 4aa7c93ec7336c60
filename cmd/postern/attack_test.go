package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
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

// cutters end a connection in three ways.
var cutters = map[string]func(c *net.TCPConn){
	"closed": func(c *net.TCPConn) { c.Close() },
	"reset":  func(c *net.TCPConn) { _ = c.SetLinger(0); c.Close() },
	"half closed": func(c *net.TCPConn) {
		_ = c.CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	},
}

// A dialogue that is cut at each of its bytes leaves nothing behind: no session, no goroutine,
// no invisible item, one journal entry a MAIL, and no message that was taken in half.
func TestS33_CutAtEveryByte(t *testing.T) {
	in := newSink(t, nil)
	s := newSite(t, in.addr, "rules: rules\n")
	s.write(t, "rules/10.yaml", "rules:\n  - {name: junk, when: 'rcpt.local == \"junk\"', do: quarantine, class: spam, because: it is junk}\n")
	g := s.serve(t)
	first := "EHLO a\r\nMAIL FROM:<eve@friend.example>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<junk@example.org>\r\nDATA\r\n"
	body := letter("cut", "cut", "..two dots\r\n")
	whole := first + body + ".\r\nMAIL FROM:<eve@friend.example>\r\nRCPT TO:<a@example.org>\r\nRSET\r\nQUIT\r\n"
	base := runtime.NumGoroutine()
	least, most := 0, 0 // transactions
	for name, cut := range cutters {
		for n := range len(whole) + 1 {
			c, err := net.Dial("tcp", g.addr)
			if err != nil {
				t.Fatal(err)
			}
			x := &speaker{c, bufio.NewReader(c)}
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := x.reply(); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, whole[:min(n, len(first))])
			if n >= len(first) {
				for range 5 {
					if _, err := x.reply(); err != nil {
						t.Fatal(err)
					}
				}
				_, _ = io.WriteString(c, whole[len(first):n])
			}
			most += strings.Count(whole[:n], "<eve@friend.example>\r\n")
			if name == "half closed" { // else a reset may overtake what was said
				least += strings.Count(whole[:n], "<eve@friend.example>\r\n")
			}
			cut(c.(*net.TCPConn))
		}
	}
	limit := time.Now().Add(20 * time.Second)
	for g.program.gateway.Sessions() > 0 || runtime.NumGoroutine() > base+20 {
		if time.Now().After(limit) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d sessions, %d goroutines of %d\n%s", g.program.gateway.Sessions(), runtime.NumGoroutine(), base, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
	es := entries(t, g)
	ids := map[string]bool{}
	for _, e := range es {
		if ids[e.ID] {
			t.Errorf("%s has two entries", e.ID)
		}
		ids[e.ID] = true
	}
	if len(es) < least || len(es) > most {
		t.Errorf("%d entries of %d to %d transactions", len(es), least, most)
	}
	var held int
	if err := g.program.db.Reader().QueryRow("SELECT count(*) FROM items WHERE state = 'held'").Scan(&held); err != nil || held > 0 {
		t.Errorf("%d invisible items, %v", held, err)
	}
	for _, m := range in.taken() {
		if _, same := ours(m.Data, []byte(strings.ReplaceAll(body, "\r\n..", "\r\n."))); !same || len(m.Recipients) != 1 {
			t.Errorf("the internal server took half a message for %v: %q", m.Recipients, m.Data)
		}
	}
	if t.Logf("%d connections, %d entries, %d taken", 3*(len(whole)+1), len(es), len(in.taken())); len(in.taken()) == 0 {
		t.Error("nothing was delivered at all")
	}
}

// An internal server that is ourselves, by mistake: the first round ends it, the client is told
// to try again, and the log says what to do.
func TestS50_OurselvesAsInternalServer(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	s := newSite(t, addr, "")
	text, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "postern.yaml", strings.Replace(string(text), `listen: ["127.0.0.1:0"]`, fmt.Sprintf("listen: [%q]", addr), 1))
	g := s.serve(t)
	x := mustDial(t, g.addr)
	x.must(t, "MAIL FROM:<eve@friend.example>", "250")
	x.must(t, "RCPT TO:<a@example.org>", "451 4.4.6")
	g.log.must(t, 1, "msg", "a client calls itself what we are called")
	if n := g.program.gateway.Sessions(); n > 3 {
		t.Errorf("%d sessions for one message", n)
	}
}
