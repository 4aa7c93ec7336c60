package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// proxyAddr is where connections with a PROXY header come from: a loopback address that the
// gateway is told to be a load balancer.
const proxyAddr = "127.0.0.3"

// patience is how long a page waits for anything.
const patience = 8 * time.Second

// statements are the words of a dialogue; the longest that fits holds. rest is what follows.
func statements() []statement {
	return []statement{
		// the client
		{"c:", func(s *scene, rest string) error { return s.send([]byte(rest + "\r\n")) }},
		{"c raw:", (*scene).sendRaw},
		{"c cut", func(s *scene, _ string) error { return s.leave(true) }},
		{"c close", func(s *scene, _ string) error { return s.leave(false) }},
		{"c halfclose", (*scene).halfClose},
		{"s:", (*scene).expect},
		{"s has:", func(s *scene, rest string) error { return s.offered(rest, true) }},
		{"s lacks:", func(s *scene, rest string) error { return s.offered(rest, false) }},
		{"s closed", (*scene).closed},
		{"connection", (*scene).connection},
		{"proxy", (*scene).proxy},
		{"starttls", (*scene).startTLS},
		// short for what most dialogues begin and end with
		{"greet", (*scene).greet},
		{"envelope", (*scene).envelope},
		{"message", (*scene).message},
		{"send", (*scene).whole},
		// what happens around
		{"internal", func(s *scene, rest string) error { return s.inside["internal"].follow(rest) }},
		{"internal2", func(s *scene, rest string) error { return s.inside["internal2"].follow(rest) }},
		{"clamd", func(s *scene, rest string) error { return s.clamd.behave(rest) }},
		{"clamd scanned", (*scene).scanned},
		{"write", (*scene).replace},
		{"reload", (*scene).reload},
		{"postern", (*scene).command},
		{"log has:", (*scene).logged},
		{"stop", func(s *scene, _ string) error { s.stop(); return nil }},
		{"sleep", func(_ *scene, rest string) error { d, err := time.ParseDuration(rest); time.Sleep(d); return err }},
	}
}

type statement struct {
	word string
	do   func(s *scene, rest string) error
}

func (s *scene) say(line string) error {
	for i := len(line); i > 0; i-- {
		for _, st := range statements() {
			if line[:i] == st.word && (i == len(line) || line[i] == ' ') {
				return st.do(s, strings.TrimPrefix(line[i:], " "))
			}
		}
	}
	return errors.New("no statement begins like this")
}

// A client is one connection to the gateway.
type client struct {
	from net.IP // nil: no PROXY header
	c    net.Conn
	r    *bufio.Reader
	last []string // lines of the last reply
	over bool
}

// here is the connection to speak on, opened when it is not yet.
func (s *scene) here() (*client, error) {
	if s.at == nil {
		if err := s.connection(""); err != nil {
			return nil, err
		}
	}
	k := s.at
	if k.c != nil || k.over {
		return k, nil
	}
	d := net.Dialer{Timeout: patience}
	if k.from != nil {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(proxyAddr)}
	}
	c, err := d.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	k.c, k.r = c, bufio.NewReader(c)
	if k.from != nil {
		return k, s.send(fmt.Appendf(nil, "PROXY TCP%d %s %s 4711 25\r\n", map[bool]int{true: 4, false: 6}[k.from.To4() != nil], k.from,
			map[bool]string{true: "192.0.2.1", false: "2001:db8::1"}[k.from.To4() != nil]))
	}
	return k, nil
}

// connection NAME goes on with that connection, a new one when there is none of the name.
func (s *scene) connection(name string) error {
	if s.conns[name] == nil {
		s.conns[name] = &client{}
	}
	s.at = s.conns[name]
	return nil
}

// proxy ADDR makes the connection come from ADDR; it stands before anything is said on it.
func (s *scene) proxy(addr string) error {
	if s.at == nil {
		_ = s.connection("")
	}
	s.at.from = net.ParseIP(addr)
	if s.at.from == nil || s.at.c != nil {
		return errors.New("no address, or the connection is open already")
	}
	return nil
}

// send writes; that nobody reads shows in what comes back.
func (s *scene) send(p []byte) error {
	k, err := s.here()
	if err != nil {
		return err
	}
	if k.c == nil {
		return errors.New("the connection is closed")
	}
	_ = k.c.SetWriteDeadline(time.Now().Add(patience))
	_, _ = k.c.Write(p)
	return nil
}

// c raw: "…" N*"…" writes each in a segment of its own as far as the kernel does that.
func (s *scene) sendRaw(rest string) error {
	for rest != "" {
		b, after, ok := cutBytes(rest)
		if !ok {
			return errors.New(`want "…" or N*"…"`)
		}
		if err := s.send(b); err != nil {
			return err
		}
		rest = after
	}
	return nil
}

func (s *scene) leave(reset bool) error {
	k, err := s.here()
	if err != nil || k.c == nil {
		return err
	}
	if t, ok := k.c.(*net.TCPConn); ok && reset {
		_ = t.SetLinger(0)
	}
	err = k.c.Close()
	k.c, k.over = nil, true
	return err
}

func (s *scene) halfClose(string) error {
	k, err := s.here()
	if err != nil {
		return err
	}
	return k.c.(*net.TCPConn).CloseWrite()
}

// reply reads one whole reply. Whatever a page is about, each line ends in CRLF, is printable
// ASCII and 512 bytes at most (S-20).
func (k *client) reply() (string, error) {
	if k.c == nil {
		return "", errors.New("the connection is closed")
	}
	k.last = nil
	text := ""
	for {
		_ = k.c.SetReadDeadline(time.Now().Add(patience))
		line, err := k.r.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("no reply (%q): %w", line, err)
		}
		if len(line) > 512 || len(line) < 6 || !strings.HasSuffix(line, "\r\n") {
			return "", fmt.Errorf("%q is no line of a reply", line)
		}
		line = strings.TrimSuffix(line, "\r\n")
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
			return "", fmt.Errorf("%q is not printable", line)
		}
		k.last = append(k.last, line[4:])
		if text == "" {
			text = line[:3] + " " + line[4:]
		} else {
			text += " / " + line[4:]
		}
		if line[3] == ' ' {
			return text, nil
		}
	}
}

// expect reads one reply: "250 first line / second line", compared as a glob.
func (s *scene) expect(pattern string) error {
	k, err := s.here()
	if err != nil {
		return err
	}
	got, err := k.reply()
	if err != nil {
		return err
	}
	if !glob(pattern, got) {
		return fmt.Errorf("the reply was: %s", got)
	}
	return nil
}

// offered looks for a line in the last reply.
func (s *scene) offered(pattern string, want bool) error {
	for _, line := range s.at.last {
		if glob(pattern, line) {
			if want {
				return nil
			}
			return fmt.Errorf("it has %q", line)
		}
	}
	if want {
		return fmt.Errorf("the last reply was: %q", s.at.last)
	}
	return nil
}

// closed expects the end of the connection, with no reply before it.
func (s *scene) closed(string) error {
	k, err := s.here()
	if err != nil {
		return err
	}
	if k.c == nil {
		return nil
	}
	_ = k.c.SetReadDeadline(time.Now().Add(patience))
	b, err := k.r.ReadByte()
	if err == nil {
		rest, _ := k.r.ReadString('\n')
		return fmt.Errorf("not closed: %q", string(b)+rest)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("not closed")
	}
	k.c.Close()
	k.c, k.over = nil, true
	return nil
}

// rest closes the connection and gives what had come on it and was not read.
func (k *client) rest() string {
	if k.c == nil {
		return ""
	}
	defer k.c.Close()
	_ = k.c.SetReadDeadline(time.Now().Add(time.Millisecond))
	b, _ := io.ReadAll(k.r)
	return string(b)
}

// starttls shakes hands, after 220.
func (s *scene) startTLS(string) error {
	k, err := s.here()
	if err != nil {
		return err
	}
	_ = k.c.SetDeadline(time.Now().Add(patience))
	t := tls.Client(k.c, &tls.Config{InsecureSkipVerify: true})
	if err := t.Handshake(); err != nil {
		return err
	}
	k.c, k.r = t, bufio.NewReader(t)
	return nil
}

// greet [NAME] opens the conversation.
func (s *scene) greet(name string) error {
	if name == "" {
		name = "client.example"
	}
	return s.lines("s: 220 *", "c: EHLO "+name, "s: 250 *")
}

// envelope FROM TO… has sender (- is the null sender) and recipients accepted.
func (s *scene) envelope(rest string) error {
	words := strings.Fields(rest)
	lines := []string{"c: MAIL FROM:<" + strings.TrimPrefix(words[0], "-") + ">", "s: 250 *"}
	for _, to := range words[1:] {
		lines = append(lines, "c: RCPT TO:<"+to+">", "s: 250 2.1.5 *")
	}
	return s.lines(lines...)
}

func (s *scene) lines(lines ...string) error {
	for _, l := range lines {
		if err := s.say(l); err != nil {
			return fmt.Errorf("%s: %w", l, err)
		}
	}
	return nil
}

// message NAME [signed DOMAIN | without end] sends a file after 354: CRLF, dots stuffed, the
// final dot behind it.
func (s *scene) message(rest string) error {
	name, how, _ := strings.Cut(rest, " ")
	data, err := s.eml(name)
	if err != nil {
		return err
	}
	if domain, ok := strings.CutPrefix(how, "signed "); ok {
		if data, err = s.signed(data, domain); err != nil {
			return err
		}
	}
	s.sent[rest] = data
	out := bytes.ReplaceAll(append([]byte("\r\n"), data...), []byte("\r\n."), []byte("\r\n.."))[2:]
	if how != "without end" {
		out = append(out, ".\r\n"...)
	}
	return s.send(out)
}

// send NAME [signed DOMAIN] is DATA, 354 and the message.
func (s *scene) whole(rest string) error {
	return s.lines("c: DATA", "s: 354 *", "message "+rest)
}

// clamd scanned N compares how many scans there were.
func (s *scene) scanned(rest string) error {
	s.clamd.mu.Lock()
	defer s.clamd.mu.Unlock()
	if fmt.Sprint(s.clamd.scans) != rest {
		return fmt.Errorf("there were %d scans", s.clamd.scans)
	}
	return nil
}

// write PATH FILE puts a file of the page in the place of another, such as rules/10.yaml.
func (s *scene) replace(rest string) error {
	path, name, _ := strings.Cut(rest, " ")
	data, ok := s.files[name]
	if !ok {
		return fmt.Errorf("there is no file %q", name)
	}
	s.write(path, data)
	return nil
}

// reload [fails GLOB] is what SIGHUP does.
func (s *scene) reload(rest string) error {
	s.program.reload()
	s.program.policy.mu.Lock()
	err := s.program.policy.error
	s.program.policy.mu.Unlock()
	if pattern, ok := strings.CutPrefix(rest, "fails "); ok {
		if err == nil || !glob(pattern, err.Error()) {
			return fmt.Errorf("the error was: %w", err)
		}
		return nil
	}
	return err
}

// postern WORDS runs another command on the data folder of the running gateway.
func (s *scene) command(rest string) error {
	args := append(strings.Fields(rest), "--data", s.program.cfg.Data)
	if code, out, errs := postern(args...); code != exitDone {
		return fmt.Errorf("exit code %d: %s%s", code, out, errs)
	}
	return nil
}

// log has: GLOB looks for a line in the program's log; that of a message comes with its journal
// entry, which nobody waits for.
func (s *scene) logged(pattern string) error {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for line := range strings.Lines(s.log.String()) {
			if glob(pattern, strings.TrimSpace(line)) {
				return nil
			}
		}
	}
	return fmt.Errorf("the log says:\n%s", s.log)
}
