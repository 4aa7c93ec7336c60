package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A sampleServer is a small internal server on loopback, for the demo and for tests: it takes
// what it is sent and remembers it. answer may put other words, or none, in its mouth.
type sampleServer struct {
	addr   string
	ln     net.Listener
	answer func(step, arg string) string // "" for the usual answer, "close" to hang up, "stall" to fall silent
	got    func(m sampleMail)            // called for each message taken, before its 250

	mu    sync.Mutex
	conns map[net.Conn]bool
	wg    sync.WaitGroup
	done  chan struct{}
}

// sampleOffers is the usual answer to EHLO.
const sampleOffers = "250-mail.internal.example\n250-PIPELINING\n250-SIZE 104857600\n250-8BITMIME\n250-ENHANCEDSTATUSCODES\n250-DSN\n250 SMTPUTF8"

// A sampleMail is one message as the internal server got it.
type sampleMail struct {
	Sender     string
	Recipients []string
	Data       []byte // unstuffed
	Params     string // of MAIL
}

// startSample listens on a free loopback port, or at addr. Close it.
func startSample(addr string, answer func(step, arg string) string, got func(sampleMail)) (*sampleServer, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	if answer == nil {
		answer = func(string, string) string { return "" }
	}
	s := &sampleServer{addr: ln.Addr().String(), ln: ln, answer: answer, got: got, conns: map[net.Conn]bool{}, done: make(chan struct{})}
	s.wg.Add(1)
	go s.accept()
	return s, nil
}

func (s *sampleServer) accept() {
	defer s.wg.Done()
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			s.serve(c)
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		}()
	}
}

// Close cuts every connection and waits.
func (s *sampleServer) Close() {
	s.ln.Close()
	close(s.done)
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// say sends the answer of a step; false ends the connection. code is the reply's code.
func (s *sampleServer) say(w *bufio.Writer, step, arg, usual string) (code string, ok bool) {
	a := s.answer(step, arg)
	switch a {
	case "":
		a = usual
	case "close":
		return "", false
	case "stall":
		w.Flush()
		<-s.done
		return "", false
	}
	fmt.Fprintf(w, "%s\r\n", strings.ReplaceAll(a, "\n", "\r\n"))
	return a[:min(3, len(a))], true
}

func (s *sampleServer) serve(c net.Conn) {
	r, w := bufio.NewReader(c), bufio.NewWriter(c)
	if _, ok := s.say(w, "CONNECT", "", "220 mail.internal.example ESMTP"); !ok {
		return
	}
	var m sampleMail
	for {
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Minute))
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, arg, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		code, ok := "", true
		switch verb {
		case "EHLO":
			_, ok = s.say(w, verb, arg, sampleOffers)
		case "MAIL":
			m = sampleMail{}
			m.Sender, m.Params = path(arg)
			_, ok = s.say(w, verb, arg, "250 2.1.0 Ok")
		case "RCPT":
			to, _ := path(arg)
			usual := "250 2.1.5 Ok"
			if code, ok = s.say(w, verb, to, usual); code == "250" {
				m.Recipients = append(m.Recipients, to)
			}
		case "DATA":
			if code, ok = s.say(w, verb, arg, "354 Go on"); code == "354" {
				if w.Flush() != nil {
					return
				}
				if m.Data, err = readDot(r); err != nil {
					return
				}
				code, ok = s.say(w, "DOT", m.Sender, "250 2.0.0 Taken")
				if ok && code == "250" && s.got != nil {
					s.got(m)
				}
			}
		case "BDAT": // taken always, offered when answer does
			var chunk []byte
			var last bool
			if chunk, last, err = readChunk(r, arg); err != nil {
				return
			}
			if m.Data = append(m.Data, chunk...); !last {
				_, ok = s.say(w, verb, arg, "250 2.0.0 Ok")
				break
			}
			code, ok = s.say(w, "DOT", m.Sender, "250 2.0.0 Taken")
			if ok && code == "250" && s.got != nil {
				s.got(m)
			}
		case "QUIT":
			_, _ = s.say(w, verb, arg, "221 2.0.0 Bye")
			w.Flush()
			return
		default: // HELO, RSET, NOOP, XFORWARD
			_, ok = s.say(w, verb, arg, "250 2.0.0 Ok")
		}
		if !ok {
			w.Flush()
			return
		}
	}
}

// path cuts "FROM:<a@b> PARAMS" into address and parameters.
func path(arg string) (addr, params string) {
	_, rest, _ := strings.Cut(arg, "<")
	if i := strings.LastIndex(rest, ">"); i >= 0 {
		return rest[:i], strings.TrimSpace(rest[i+1:])
	}
	return rest, ""
}

// readChunk reads a chunk of a message (RFC 3030): arg is "1234" or, for the last one, "1234 LAST".
func readChunk(r io.Reader, arg string) (chunk []byte, last bool, err error) {
	digits, last := strings.CutSuffix(arg, " LAST")
	size, err := strconv.ParseUint(digits, 10, 20)
	if err != nil {
		return nil, false, fmt.Errorf("BDAT %s", arg)
	}
	chunk = make([]byte, size)
	_, err = io.ReadFull(r, chunk)
	return chunk, last, err
}

// readDot reads to CRLF.CRLF and unstuffs; every byte else is kept as it came.
func readDot(r *bufio.Reader) ([]byte, error) {
	var b bytes.Buffer
	start := true
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return nil, io.ErrUnexpectedEOF
		}
		if start {
			if string(line) == ".\r\n" {
				return b.Bytes(), nil
			}
			line = bytes.TrimPrefix(line, []byte("."))
		}
		start = bytes.HasSuffix(line, []byte("\r\n"))
		b.Write(line)
	}
}
