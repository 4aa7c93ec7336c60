package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// A speaker says in SMTP what it is told.
type speaker struct {
	conn net.Conn
	r    *bufio.Reader
}

// dial connects and says EHLO.
func dial(addr string) (*speaker, error) { return dialFrom(nil, addr) }

// dialFrom is dial from another loopback address.
func dialFrom(from net.IP, addr string) (*speaker, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	if from != nil {
		d.LocalAddr = &net.TCPAddr{IP: from}
	}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	x := &speaker{c, bufio.NewReader(c)}
	said, err := x.reply()
	if err == nil && strings.HasPrefix(said, "220") {
		if said, err = x.say("EHLO mail.friend.example"); err == nil && strings.HasPrefix(said, "250") {
			return x, nil
		}
	}
	c.Close()
	return nil, fmt.Errorf("greeted with %q (%v)", said, err)
}

func mustDial(t testing.TB, addr string) *speaker {
	t.Helper()
	x, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.conn.Close() })
	return x
}

// reply gives a whole reply, its lines joined by newlines.
func (x *speaker) reply() (string, error) {
	var all []string
	for {
		line, err := x.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		if all = append(all, line); len(line) < 4 || line[3] != '-' {
			return strings.Join(all, "\n"), nil
		}
	}
}

func (x *speaker) say(line string) (string, error) {
	if _, err := x.conn.Write([]byte(line + "\r\n")); err != nil {
		return "", err
	}
	return x.reply()
}

// must says a line and wants a reply that begins so.
func (x *speaker) must(t testing.TB, line, want string) string {
	t.Helper()
	a, err := x.say(line)
	if err != nil || !strings.HasPrefix(a, want) {
		t.Fatalf("%s: %q, %v, want %q", line, a, err, want)
	}
	return a
}

// mail sends a message to those recipients that are accepted, and gives the reply that ended
// it: of the last RCPT when none was. dotted is whether the end of the message was on its way
// when err came.
func (x *speaker) mail(from string, to []string, text []byte) (reply string, dotted bool, err error) {
	if reply, err = x.say("MAIL FROM:<" + from + ">"); err != nil || reply[0] != '2' {
		return reply, false, err
	}
	accepted := false
	for _, a := range to {
		if reply, err = x.say("RCPT TO:<" + a + ">"); err != nil {
			return reply, false, err
		}
		accepted = accepted || reply[0] == '2'
	}
	if !accepted {
		_, err = x.say("RSET")
		return reply, false, err
	}
	if reply, err = x.say("DATA"); err != nil || reply[0] != '3' {
		return reply, false, err
	}
	if _, err = x.conn.Write(append(stuffed(text), ".\r\n"...)); err != nil {
		return "", true, err
	}
	reply, err = x.reply()
	return reply, true, err
}

func stuffed(text []byte) []byte {
	b := bytes.ReplaceAll(text, []byte("\n."), []byte("\n.."))
	if bytes.HasPrefix(b, []byte(".")) {
		b = append([]byte("."), b...)
	}
	return b
}

// sendMail sends one message on a connection of its own and gives its reply.
func sendMail(t testing.TB, addr, text string, to ...string) string {
	t.Helper()
	x := mustDial(t, addr)
	defer x.conn.Close()
	reply, _, err := x.mail("eve@friend.example", to, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// ours cuts a delivered message into the block that the gateway put on top and the rest; same
// is whether that rest is the message as sent.
func ours(delivered, sent []byte) (block string, same bool) {
	if !bytes.HasSuffix(delivered, sent) {
		return string(delivered), false
	}
	block = string(delivered[:len(delivered)-len(sent)])
	return block, strings.Contains(block, "(Postern)") && strings.Contains(block, "\r\nX-Postern-Id: ") && !strings.Contains(block, "\r\n\r\n")
}

// letter is a plain message.
func letter(id, subject, body string) string {
	return "From: Eve <eve@friend.example>\r\nTo: a@example.org\r\nSubject: " + subject +
		"\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <" + id + "@friend.example>\r\n\r\n" + body
}
