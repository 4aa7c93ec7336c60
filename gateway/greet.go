package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"postern/mail"
)

var errTooManyConns = errors.New("client has too many connections")

// enter gives one connection its place, or turns it away with a plain answer.
func (s *listening) enter(c net.Conn) {
	peer := addrPort(c.RemoteAddr())
	proxied := contains(s.cfg.Proxies, peer.Addr())
	limited := !proxied && !contains(s.cfg.Trusted, peer.Addr()) && !contains(s.cfg.XClients, peer.Addr())
	if limited {
		if why := s.doors.enterFrom(peer.Addr(), time.Now()); why != "" {
			s.turnAway(c, why)
			return
		}
	}
	if !s.doors.enter(!proxied && (!limited || s.doors.alone(peer.Addr()))) {
		if limited {
			s.doors.leaveFrom(peer.Addr())
		}
		s.turnAway(c, "Too many connections")
		return
	}
	w := newWire(c, s.cfg.Hostname, &s.cfg.Limits)
	s.mu.Lock()
	s.wires[w] = struct{}{}
	s.mu.Unlock()
	s.open.Add(1)
	p := &place{s: s, w: w, client: peer, limited: limited}
	go func() {
		defer func() {
			if cause := recover(); cause != nil {
				s.panicked(cause)
				w.conn.Close()
				p.free()
			}
		}()
		s.greet(p, proxied)
	}()
}

// turnAway answers 421. The answer fits into any socket's buffer, so this does not wait.
func (f *front) turnAway(c net.Conn, why string) {
	f.tellAway(c.RemoteAddr().String(), why) // before the client can see it
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(c, "421 4.7.0 "+f.cfg.Hostname+" "+why+", try again later\r\n")
	c.Close()
}

// tellAway counts a connection over a limit. A flood must not fill the log: of many in a short
// time one is named.
func (f *front) tellAway(client, why string) {
	n := f.away.Add(1)
	now := time.Now().UnixNano()
	last := f.awayLogged.Load()
	if now-last < int64(10*time.Second) || !f.awayLogged.CompareAndSwap(last, now) {
		return
	}
	f.log.Warn("connection turned away: see limits", "client", client, "reason", why, "since_start", n)
}

// A place is what one connection takes of the limits.
type place struct {
	s       *listening
	w       *wire
	client  netip.AddrPort
	limited bool // counted for its address
	once    sync.Once
}

// free gives the place back, once the connection is closed.
func (p *place) free() {
	p.once.Do(func() {
		s := p.s
		s.mu.Lock()
		delete(s.wires, p.w)
		s.mu.Unlock()
		s.doors.leave()
		if p.limited {
			s.doors.leaveFrom(p.client.Addr())
		}
		s.open.Done()
	})
}

// greet learns who the client is, lets it wait for the greeting, and hands it to go-smtp.
func (s *listening) greet(p *place, proxied bool) {
	w := p.w
	refuse := func(reply string, cause error) {
		if cause == errTooManyConns {
			s.tellAway(p.client.Addr().String(), cause.Error())
		} else {
			s.log.Info("connection refused", "client", p.client.Addr().String(), "reason", cause.Error())
		}
		if reply != "" {
			w.say(reply)
		}
		_ = w.die(cause)
		w.hangup()
		p.free()
	}
	if proxied {
		client, err := w.proxyHeader()
		if err != nil {
			refuse("421 4.7.0 "+w.host+" PROXY header expected", err)
			return
		}
		if client.IsValid() {
			p.client = client
			if !contains(s.cfg.Trusted, client.Addr()) && !contains(s.cfg.XClients, client.Addr()) {
				if why := s.doors.enterFrom(client.Addr(), time.Now()); why != "" {
					refuse("421 4.7.0 "+w.host+" "+why+", try again later", errTooManyConns)
					return
				}
				p.limited = true
			}
		}
	}
	client := mail.Client{Addr: p.client.Addr(), Port: p.client.Port(), Trusted: contains(s.cfg.Trusted, p.client.Addr())}
	if s.door.ImplicitTLS {
		state, err := w.implicitTLS(s.tlsConfig())
		if err != nil {
			refuse("", err)
			return
		}
		client.TLS = tlsName(state)
	}
	ctx, cancel := context.WithCancelCause(s.base)
	connect := func(client mail.Client) talk {
		t := s.connect(ctx, client)
		if c, ok := t.(*conversation); ok {
			c.gone = w.left
		}
		return t
	}
	a := &adapter{w: w, front: s.front, client: client, talk: connect(client), cancel: cancel, done: p.free,
		secure: s.cfg.RequireTLS || s.door.RequireTLS}
	if contains(s.cfg.XClients, client.Addr) {
		a.claimed.client = p.client
		a.assume = p.assumer(connect)
	}
	if err := w.silence(s.cfg.GreetDelay); err != nil {
		if err == errEarlyTalk {
			w.say("554 5.5.0 You spoke before my greeting")
		}
		w.farewell(err)
		s.log.Info("connection refused", "client", client.Addr.String(), "reason", err.Error())
		a.Close()
		return
	}
	if !s.inner.push(a) {
		w.farewell(errStopping)
		a.Close()
	}
}

// silence waits for the greet delay to pass. What the client says meanwhile, or has said
// already, makes it an early talker (S-10).
func (w *wire) silence(delay time.Duration) error {
	if w.e == w.r && delay > 0 {
		err := w.fill(time.Now().Add(delay), true)
		if err != nil && err != errTimeout {
			return err
		}
		w.dead = nil // it kept silent, as it should
	}
	if w.early() {
		return w.die(errEarlyTalk)
	}
	return nil
}

// addrPort is the address of a TCP peer; others have none.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
