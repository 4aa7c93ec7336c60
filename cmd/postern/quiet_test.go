package main

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// W-15: whatever is broken behind it, no reply of the gateway says what the gateway is made of,
// where it keeps things, whom it asks, or in the words of which library something failed. The greeting
// names no program and no version.
func TestW15_RepliesTellNothing(t *testing.T) {
	t.Parallel()
	inside := newSink(t, nil)
	faults := map[string]struct {
		upstream string
		more     string
		dns      bool              // dead
		breaks   func(data string) // once it runs
	}{
		"nothing":             {upstream: inside.addr},
		"the internal server": {upstream: "127.0.0.1:1"},
		"the scanner":         {upstream: inside.addr, more: "clamav: {addresses: ['unix:/nonexistent/clamd.sock']}\n"},
		"DNS":                 {upstream: inside.addr, dns: true},
		"the quarantine": {upstream: inside.addr, breaks: func(data string) {
			_ = os.RemoveAll(filepath.Join(data, "messages"))
			_ = os.WriteFile(filepath.Join(data, "messages"), nil, 0o600)
		}},
		"the spool": {upstream: inside.addr, more: "limits: {memory: 64KiB}\n", breaks: func(data string) {
			_ = os.RemoveAll(filepath.Join(data, "spool"))
		}},
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, f.upstream, "rules: rules\n"+f.more)
			if strings.Contains(f.more, "limits:") {
				s.replace(t, "limits: {rate_per_address: 1000000, connections_per_address: 500, errors: 1000}\n", "")
			}
			s.write(t, "rules/10.yaml", "include: builtin\n"+holding("held"))
			if f.dns {
				s.replace(t, s.dns.Addr, "127.0.0.1:1")
			}
			g := s.serve(t)
			if f.breaks != nil {
				f.breaks(s.data)
			}
			heard := dialogues(t, g.addr)
			t.Log(strings.Join(heard, "\n"))
			tellsNothing(t, heard, s)
		})
	}
}

// dialogues gives every reply to all that a client may say, and to three messages.
func dialogues(t *testing.T, addr string) (heard []string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	x := &speaker{c, bufio.NewReader(c)}
	first, err := x.reply()
	if err != nil {
		t.Fatal(err)
	}
	heard = append(heard, first)
	for _, line := range []string{"EHLO friend.example", "HELP", "VRFY root", "EXPN list", "AUTH PLAIN", "XYZZY", "NOOP", "RSET", "MAIL FROM:<broken", "DATA",
		"XCLIENT ADDR=192.0.2.1", "MAIL FROM:<a@friend.example> XYZ=1", "MAIL FROM:<a@friend.example>", "RCPT TO:<a@elsewhere.example>", "RCPT TO:<a%b@example.org>", "BDAT 10 LAST"} {
		if said, err := x.say(line); err == nil {
			heard = append(heard, said)
		}
	}
	for _, subject := range []string{"clean", "held", "large"} {
		y, err := dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		body := "x\r\n"
		if subject == "large" {
			body = strings.Repeat(strings.Repeat("x", 70)+"\r\n", 5000)
		}
		said, _, err := y.mail("eve@friend.example", []string{"a@example.org"}, []byte(letter(subject, subject, body)))
		heard = append(heard, said)
		if err != nil {
			t.Errorf("%s: %v", subject, err)
		}
		y.conn.Close()
	}
	return heard
}

// tellsNothing wants nothing of ours in what was heard.
func tellsNothing(t *testing.T, heard []string, s *site) {
	t.Helper()
	if len(heard) < 10 || heard[0] != "220 mx.example.org ESMTP" {
		t.Errorf("the greeting: %q", heard)
	}
	tells := regexp.MustCompile(`(?i)postern|golang|go1\.|go-smtp|sqlite|clamd|\.go:|goroutine|panic|refused to connect|connection refused|dial |i/o timeout|no such file|permission denied|errno|EOF|context|deadline exceeded|/nonexistent|127\.0\.0\.1:|unix:`)
	for _, reply := range heard {
		if m := tells.FindString(reply); m != "" || strings.Contains(reply, s.dir) {
			t.Errorf("a reply tells of %q: %s", m, reply)
		}
	}
}
