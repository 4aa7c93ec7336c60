package main

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/emersion/go-smtp"
)

// maxIdle is how many connections to the sink a gateway may keep.
const maxIdle = 64

// servePass is the bare pass-through: go-smtp's server, its client, nothing between them. It
// streams, keeps connections to the sink and checks nothing.
func servePass(l net.Listener, sink string) error {
	s := smtp.NewServer(&passBackend{sink: sink, idle: make(chan *smtp.Client, maxIdle)})
	s.Domain = "pass.test"
	s.MaxMessageBytes = 64 << 20
	s.MaxRecipients = 100
	s.ReadTimeout, s.WriteTimeout = 5*time.Minute, 5*time.Minute
	return s.Serve(l)
}

type passBackend struct {
	sink string
	idle chan *smtp.Client // greeted, between transactions
}

func (b *passBackend) NewSession(*smtp.Conn) (smtp.Session, error) { return &passSession{b: b}, nil }

type passSession struct {
	b    *passBackend
	from string
	to   []string
}

func (s *passSession) Reset()        { s.from, s.to = "", nil }
func (s *passSession) Logout() error { return nil }

func (s *passSession) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *passSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *passSession) Data(r io.Reader) error {
	c, err := s.b.client()
	if err != nil {
		return err
	}
	if err := s.relay(c, r); err != nil {
		return errors.Join(err, c.Close())
	}
	select {
	case s.b.idle <- c:
		return nil
	default:
		return c.Quit()
	}
}

func (b *passBackend) client() (*smtp.Client, error) {
	select {
	case c := <-b.idle:
		return c, nil
	default:
	}
	c, err := smtp.Dial(b.sink)
	if err != nil {
		return nil, err
	}
	return c, c.Hello("pass.test")
}

func (s *passSession) relay(c *smtp.Client, r io.Reader) error {
	if err := c.Mail(s.from, nil); err != nil {
		return err
	}
	for _, to := range s.to {
		if err := c.Rcpt(to, nil); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}
