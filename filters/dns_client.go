package filters

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A dnsClient asks its servers, without a cache.
type dnsClient struct {
	servers []*dnsServer
	timeout time.Duration
	conns   chan struct{} // bounds TCP connections

	sent    atomic.Uint64
	overTCP atomic.Uint64
	spoofed atomic.Uint64
}

const (
	dnsTries = 2 // of each server
	dnsConns = 16
)

// errDNSSilent is in the error when no server said anything at all.
var errDNSSilent = errors.New("no DNS server answers")

// ask puts a question. Each server is asked twice in turn: at once after a bad answer, after
// a while when it keeps silent; a late answer to an earlier query still counts. ctx ends all
// of it. The error is temporary.
func (c *dnsClient) ask(ctx context.Context, q dnsQuestion) (*dnsAnswer, error) {
	order := c.order()
	x := dnsExchange{client: c, q: q, order: order, replies: make(chan dnsReply, dnsTries*len(order))}
	defer x.end()
	pause := c.timeout / time.Duration(dnsTries*len(order))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			if x.again = x.next(); x.again {
				timer.Reset(0)
			} else {
				timer.Reset(pause)
			}
		case r := <-x.replies:
			x.open--
			a, err := x.read(ctx, r)
			if err == nil {
				return a, nil
			}
			x.err, x.again = err, true
			timer.Reset(0)
		case <-ctx.Done():
			return nil, x.giveUp()
		}
		if x.tried == cap(x.replies) && x.open == 0 {
			return nil, x.giveUp()
		}
	}
}

// order gives the servers as configured, those that have been silent last.
func (c *dnsClient) order() []*dnsServer {
	out := make([]*dnsServer, 0, len(c.servers))
	for _, down := range []bool{false, true} {
		for _, s := range c.servers {
			if s.down() == down {
				out = append(out, s)
			}
		}
	}
	if len(out) < len(c.servers) { // one came up between the two rounds
		return c.servers
	}
	return out
}

// A dnsExchange is one question under way.
type dnsExchange struct {
	client  *dnsClient
	q       dnsQuestion
	order   []*dnsServer
	replies chan dnsReply
	forget  []func()
	tried   int
	open    int  // queries without a reply yet
	again   bool // the next query is due to an error, not to silence
	heard   bool // some server said something
	err     error
}

// next sends the next query, if there is one left; true when it could not be sent.
func (x *dnsExchange) next() bool {
	if x.tried > 0 && !x.again {
		x.order[(x.tried-1)%len(x.order)].unheard()
	}
	if x.tried == cap(x.replies) {
		return false
	}
	s := x.order[x.tried%len(x.order)]
	x.tried++
	x.client.sent.Add(1)
	forget, err := s.send(x.q, x.replies)
	if err != nil {
		x.err = err
		return true
	}
	x.forget = append(x.forget, forget)
	x.open++
	return false
}

// read judges a reply, going on over TCP when it was cut short.
func (x *dnsExchange) read(ctx context.Context, r dnsReply) (*dnsAnswer, error) {
	if r.err != nil {
		r.from.unheard()
		return nil, r.err
	}
	x.heard = true
	r.from.heard()
	a, err := parseAnswer(r.msg, x.q)
	switch {
	case errors.Is(err, errDNSFormat):
		r.from.plainTil.Store(time.Now().Unix() + plainFor)
	case errors.Is(err, errDNSTruncated):
		return x.overTCP(ctx, r.from)
	}
	return a, err
}

func (x *dnsExchange) overTCP(ctx context.Context, s *dnsServer) (*dnsAnswer, error) {
	select {
	case x.client.conns <- struct{}{}:
		defer func() { <-x.client.conns }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	x.client.overTCP.Add(1)
	msg, err := s.tcp(ctx, x.q)
	if err != nil {
		return nil, fmt.Errorf("over TCP: %w", err)
	}
	return parseAnswer(msg, x.q)
}

// giveUp makes the error.
func (x *dnsExchange) giveUp() error {
	if !x.heard {
		err := errDNSSilent
		if x.err != nil {
			err = fmt.Errorf("%w: %w", errDNSSilent, x.err)
		}
		return &DNSError{Name: x.q.name, Temporary: true, Err: err}
	}
	err := x.err
	if err == nil {
		err = errors.New("no good answer in time")
	}
	return &DNSError{Name: x.q.name, Temporary: true, Err: err}
}

// end drops what is still under way.
func (x *dnsExchange) end() {
	for _, f := range x.forget {
		f()
	}
}
