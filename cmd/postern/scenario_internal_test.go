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
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An internalServer is an internal server that follows a script, one line a step:
//
//	[once] STEP [GLOB]: ACTION…
//
// STEP is CONNECT EHLO HELO STARTTLS XFORWARD MAIL RCPT DATA BODY DOT RSET NOOP QUIT; GLOB is
// compared with the address of MAIL, RCPT and DOT (the sender), else with the argument. The
// last line that fits holds, and statements of the dialogue come behind the page's lines. An ACTION is
//
//	250 2.0.0 text / second line    a reply
//	"…"   5*"…"                     these bytes, as Go writes them, so many times
//	forever "…"                     again and again, until the other side goes
//	close  reset  stall             end the connection; the same by RST; fall silent
//	wait 50ms                       before what follows
//	usual                           what it says without a script
//	after N close|reset|stall       in BODY: when so many bytes of the message have come
//
// A line "tls" makes it offer STARTTLS; "down" makes it refuse connections, "up" take them again.
type internalServer struct {
	name, addr string
	record     *recorder
	done       chan struct{}
	wg         sync.WaitGroup

	mu     sync.Mutex
	ln     net.Listener
	script []*scriptLine
	text   string // the page's script, until begin
	tls    *tls.Config
	conns  []*internalConn
	probed chan struct{} // closed at the end of the first connection
}

type scriptLine struct {
	step, glob, action string
	once, used         bool
}

// An internalMail is a message that an internal server answered 2xx.
type internalMail struct {
	server, from string // MAIL's argument
	to           []string
	data         []byte // unstuffed
	place        int    // among all that arrived anywhere
}

type internalConn struct {
	s   *internalServer
	c   net.Conn
	r   *bufio.Reader
	raw bytes.Buffer // all that came; guarded by s.mu
	cur internalMail
}

var errHangUp = errors.New("hung up")

func startInternal(name, text string, record *recorder) (*internalServer, error) {
	in := &internalServer{name: name, text: text, record: record, done: make(chan struct{}), probed: make(chan struct{})}
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "tls" {
			dir, err := os.MkdirTemp("", "internal-")
			if err != nil {
				return nil, err
			}
			defer os.RemoveAll(dir)
			cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
			if err := selfSigned("mail.internal.example", cert, key); err != nil {
				return nil, err
			}
			pair, err := tls.LoadX509KeyPair(cert, key)
			if err != nil {
				return nil, err
			}
			in.tls = &tls.Config{Certificates: []tls.Certificate{pair}}
		}
	}
	in.addr = "127.0.0.1:0"
	return in, in.up()
}

// begin waits until the gateway has asked what is offered, then follows the script.
func (in *internalServer) begin() error {
	select {
	case <-in.probed:
	case <-time.After(10 * time.Second):
		return fmt.Errorf("%s: nobody asked what it offers", in.name)
	}
	for line := range strings.Lines(in.text) {
		if err := in.follow(strings.TrimSpace(line)); err != nil {
			return err
		}
	}
	return nil
}

// follow adds a line to the script.
func (in *internalServer) follow(line string) error {
	switch {
	case line == "" || line == "tls" || strings.HasPrefix(line, "#"):
		return nil
	case line == "down":
		in.down()
		return nil
	case line == "up":
		return in.up()
	}
	head, action, ok := strings.Cut(line, ": ")
	rest, once := strings.CutPrefix(head, "once ")
	step, pattern, _ := strings.Cut(rest, " ")
	if pattern == "" {
		pattern = "*"
	}
	if !ok || !strings.Contains(" CONNECT EHLO HELO STARTTLS XFORWARD MAIL RCPT DATA BODY DOT RSET NOOP QUIT ", " "+step+" ") {
		return fmt.Errorf("%s: %q is no line of a script", in.name, line)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.script = append(in.script, &scriptLine{step: step, glob: pattern, action: strings.TrimSpace(action), once: once})
	return nil
}

func (in *internalServer) up() error {
	l, err := net.Listen("tcp", in.addr)
	if err != nil {
		return err
	}
	in.mu.Lock()
	in.ln, in.addr = l, l.Addr().String()
	in.mu.Unlock()
	in.wg.Go(func() { in.accept(l) })
	return nil
}

// down refuses connections and cuts those that are open.
func (in *internalServer) down() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ln.Close()
	for _, c := range in.conns {
		c.c.Close()
	}
}

func (in *internalServer) stop() {
	close(in.done)
	in.down()
	in.wg.Wait()
}

func (in *internalServer) accept(l net.Listener) {
	for first := true; ; first = false {
		c, err := l.Accept()
		if err != nil {
			return
		}
		k := &internalConn{s: in, c: c}
		k.r = bufio.NewReader(io.TeeReader(c, k))
		in.mu.Lock()
		in.conns = append(in.conns, k)
		in.mu.Unlock()
		in.wg.Go(func() {
			_ = k.serve()
			k.c.Close()
			if first {
				select {
				case <-in.probed:
				default:
					close(in.probed)
				}
			}
		})
	}
}

// Write keeps what came.
func (k *internalConn) Write(p []byte) (int, error) {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	return k.raw.Write(p)
}

// action is what the script says of a step; "" is the usual.
func (in *internalServer) action(step, arg string) string {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i := len(in.script) - 1; i >= 0; i-- {
		l := in.script[i]
		if l.step == step && !l.used && glob(l.glob, arg) {
			l.used = l.once
			if l.action == "usual" {
				return ""
			}
			return l.action
		}
	}
	return ""
}

// say answers a step and gives the code said.
func (k *internalConn) say(step, arg, usual string) (code string, err error) {
	a := k.s.action(step, arg)
	if a == "" {
		a = usual
	}
	return k.act(a)
}

func (k *internalConn) act(a string) (code string, err error) {
	if len(a) > 3 && a[0] >= '0' && a[0] <= '9' && !strings.Contains(a, `*"`) {
		_, err := io.WriteString(k.c, strings.ReplaceAll(a, " / ", "\r\n")+"\r\n")
		return a[:3], err
	}
	for a != "" {
		if b, rest, ok := cutBytes(a); ok {
			if _, err := k.c.Write(b); err != nil {
				return code, err
			}
			if code == "" {
				code = string(b[:min(3, len(b))])
			}
			a = rest
			continue
		}
		var word string
		word, a, _ = strings.Cut(a, " ")
		switch word {
		case "close":
			return code, errHangUp
		case "reset":
			_ = k.c.(*net.TCPConn).SetLinger(0)
			return code, errHangUp
		case "stall":
			<-k.s.done
			return code, errHangUp
		case "wait":
			word, a, _ = strings.Cut(a, " ")
			d, err := time.ParseDuration(word)
			if err != nil {
				return code, err
			}
			time.Sleep(d)
		case "forever":
			b, _, _ := cutBytes(a)
			for {
				if _, err := k.c.Write(b); err != nil {
					return code, err
				}
			}
		default:
			return code, fmt.Errorf("%s: %q is no action", k.s.name, word)
		}
	}
	return code, nil
}

// cutBytes reads "…" or N*"…" off the beginning of s.
func cutBytes(s string) (b []byte, rest string, ok bool) {
	times := 1
	if n, after, found := strings.Cut(s, "*"); found && !strings.HasPrefix(s, `"`) {
		var err error
		if times, err = strconv.Atoi(n); err != nil {
			return nil, s, false
		}
		s = after
	}
	q, err := strconv.QuotedPrefix(s)
	if err != nil || q[0] != '"' {
		return nil, s, false
	}
	text, err := strconv.Unquote(q)
	if err != nil {
		return nil, s, false
	}
	return bytes.Repeat([]byte(text), times), strings.TrimSpace(s[len(q):]), true
}

func (k *internalConn) serve() error {
	if _, err := k.say("CONNECT", "", "220 mail.internal.example ESMTP"); err != nil {
		return err
	}
	for {
		line, err := k.r.ReadString('\n')
		if err != nil {
			return err
		}
		verb, arg, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if err := k.command(strings.ToUpper(verb), arg); err != nil {
			return err
		}
	}
}

const internalOffers = "250-mail.internal.example / 250-PIPELINING / 250-SIZE 104857600 / 250-8BITMIME / 250-ENHANCEDSTATUSCODES / 250-DSN / 250 SMTPUTF8"

func (k *internalConn) command(verb, arg string) error {
	addr, _ := path(arg)
	var code string
	var err error
	switch verb {
	case "EHLO":
		offers := internalOffers
		if _, over := k.c.(*tls.Conn); k.s.tls != nil && !over {
			offers = strings.Replace(offers, "250-DSN", "250-STARTTLS / 250-DSN", 1)
		}
		_, err = k.say(verb, arg, offers)
	case "STARTTLS":
		if code, err = k.say(verb, arg, "220 2.0.0 Go on"); code == "220" && err == nil && k.s.tls != nil {
			k.c = tls.Server(k.c, k.s.tls)
			k.r = bufio.NewReader(io.TeeReader(k.c, k))
		}
	case "MAIL":
		k.cur = internalMail{server: k.s.name, from: arg}
		_, err = k.say(verb, addr, "250 2.1.0 Ok")
	case "RCPT":
		if code, err = k.say(verb, addr, "250 2.1.5 Ok"); code == "250" {
			k.cur.to = append(k.cur.to, arg)
		}
	case "DATA":
		if code, err = k.say(verb, "", "354 Go on"); code == "354" && err == nil {
			err = k.data()
		}
	case "QUIT":
		if _, err = k.say(verb, arg, "221 2.0.0 Bye"); err == nil {
			err = errHangUp
		}
	default:
		_, err = k.say(verb, arg, "250 2.0.0 Ok")
	}
	return err
}

// data takes a message; BODY may end it in its middle.
func (k *internalConn) data() (err error) {
	if a, ok := strings.CutPrefix(k.s.action("BODY", ""), "after "); ok {
		n, what, _ := strings.Cut(a, " ")
		most, _ := strconv.Atoi(n)
		if _, err := io.CopyN(io.Discard, k.r, int64(most)); err != nil {
			return err
		}
		_, err := k.act(what)
		return err
	}
	if k.cur.data, err = readDot(k.r); err != nil {
		return err
	}
	k.cur.place = k.s.record.arrival() // before the answer, after which the other server may be next
	from, _ := path(k.cur.from)
	code, err := k.say("DOT", from, "250 2.0.0 Taken")
	if strings.HasPrefix(code, "2") {
		k.s.record.take(k.cur)
	}
	k.cur = internalMail{}
	return err
}
