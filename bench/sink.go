package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
)

// probe begins the address of recipients whose mail the sink describes on standard output.
const probe = "RCPT TO:<probe-"

// A probed is what the sink says of such a mail.
type probed struct {
	Header string `json:"header"`
	Body   string `json:"body"` // SHA-256
	Size   int    `json:"size"`
}

// serveSink takes all mail and forgets it.
func serveSink(l net.Listener) error {
	var mu sync.Mutex
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			s := sinkSession{c: c, r: bufio.NewReaderSize(c, 64<<10), told: &mu}
			s.serve()
		}()
	}
}

type sinkSession struct {
	text   []byte // chunks of a message that is told about
	c      net.Conn
	r      *bufio.Reader
	out    []byte
	probed bool
	told   *sync.Mutex
}

func (s *sinkSession) serve() {
	s.out = append(s.out, "220 sink.test ESMTP\r\n"...)
	for {
		if s.r.Buffered() == 0 && len(s.out) > 0 {
			if _, err := s.c.Write(s.out); err != nil {
				return
			}
			s.out = s.out[:0]
		}
		line, err := s.r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch verb := string(bytes.ToUpper(line[:min(4, len(line))])); verb {
		case "EHLO":
			s.out = append(s.out, "250-sink.test\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250-DSN\r\n250 SMTPUTF8\r\n"...)
		case "DATA":
			s.out = append(s.out, "354 go on\r\n"...)
			if _, err := s.c.Write(s.out); err != nil || s.data() != nil {
				return
			}
			s.out = append(s.out[:0], "250 2.0.0 taken\r\n"...)
			s.probed = false
		case "BDAT":
			last, err := s.chunk(string(line))
			if err != nil {
				return
			}
			s.out = append(s.out, "250 2.0.0 taken\r\n"...)
			s.probed = s.probed && !last
		case "QUIT":
			_, _ = s.c.Write(append(s.out, "221 2.0.0 bye\r\n"...))
			return
		default:
			s.probed = s.probed || bytes.HasPrefix(line, []byte(probe))
			s.out = append(s.out, "250 2.0.0 ok\r\n"...)
		}
	}
}

// data reads a message to its end.
func (s *sinkSession) data() error {
	if s.probed {
		return s.describe()
	}
	end := []byte("\r\n.\r\n")
	var tail [4]byte // the bytes before those in the buffer
	for {
		if _, err := s.r.Peek(1); err != nil {
			return err
		}
		b, _ := s.r.Peek(s.r.Buffered())
		edge := append(tail[:4:4], b[:min(4, len(b))]...)
		if i := bytes.Index(edge, end); i >= 0 {
			_, err := s.r.Discard(i + len(end) - 4)
			return err
		}
		if i := bytes.Index(b, end); i >= 0 {
			_, err := s.r.Discard(i + len(end))
			return err
		}
		last := append(tail[:], b...)[max(0, len(b)):]
		if len(b) >= 4 {
			last = b[len(b)-4:]
		}
		copy(tail[:], last)
		if _, err := s.r.Discard(len(b)); err != nil {
			return err
		}
	}
}

// chunk reads a part of a message (RFC 3030), its last one or one before.
func (s *sinkSession) chunk(line string) (last bool, err error) {
	size := 0
	if _, err := fmt.Sscan(strings.TrimPrefix(line, "BDAT "), &size); err != nil {
		return false, err
	}
	last = strings.HasSuffix(line, " LAST\r\n")
	if !s.probed {
		_, err := s.r.Discard(size)
		return last, err
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(s.r, text); err != nil {
		return false, err
	}
	if s.text = append(s.text, text...); !last {
		return false, nil
	}
	defer func() { s.text = nil }()
	return true, s.tell(string(s.text))
}

// describe reads a message line by line and tells about it.
func (s *sinkSession) describe() error {
	var msg bytes.Buffer
	for {
		line, err := s.r.ReadBytes('\n')
		if err != nil {
			return err
		}
		if string(line) == ".\r\n" {
			break
		}
		msg.Write(bytes.TrimPrefix(line, []byte(".")))
	}
	return s.tell(msg.String())
}

// tell writes on standard output what a message is.
func (s *sinkSession) tell(msg string) error {
	header, body, ok := strings.Cut(msg, "\r\n\r\n")
	if !ok {
		return errors.New("no body")
	}
	sum := sha256.Sum256([]byte(body))
	s.told.Lock()
	defer s.told.Unlock()
	return json.NewEncoder(io.Writer(os.Stdout)).Encode(probed{header, hex.EncodeToString(sum[:]), len(body)})
}
