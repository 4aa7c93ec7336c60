package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/mail"
)

// A serverGroup is one or more servers for the same recipients.
type serverGroup struct {
	servers *Servers
	name    string
	cfg     ServerConfig
	hosts   []*serverHost
	now     func() time.Time
}

// A serverHost is one address with its idle connections.
type serverHost struct {
	group   *serverGroup
	network string
	addr    string
	tls     *tls.Config
	open    atomic.Int32 // connections, idle and in use
	whole   atomic.Bool  // it offers CHUNKING, but was seen not to know BDAT
	only4   atomic.Bool  // it was seen to refuse the IPv6 address of a client

	mu     sync.Mutex
	idle   []*link     // the last used at the end
	parked []*delivery // between two calls, with a connection that can be taken over; the oldest first
	sweep  *time.Timer
	closed bool
	ext    *mail.Extensions // nil until it answered once
	down   time.Time        // until then it is tried last; zero when it works
	err    error            // why it is down
}

// connection gives an idle connection or makes one: with the first address that
// works, those known to be broken last. fresh asks for a new one; who is the client that it
// has to be for. The error is a bare *mail.Reply when a server refuses that client.
func (g *serverGroup) connection(ctx context.Context, who guest, fresh bool) (*link, error) {
	var all error
	hosts := g.order()
	for i, h := range hosts {
		if !fresh {
			if l := h.take(who); l != nil {
				return l, nil
			}
		}
		l, err := h.dialWithin(ctx, who, len(hosts)-i)
		if err == nil {
			return l, nil
		}
		if _, ok := err.(*mail.Reply); ok {
			return nil, err
		}
		if all == nil {
			all = err
		} else {
			all = fmt.Errorf("%w; %w", all, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("internal server %q: %w", g.name, all)
}

// dialWithin takes an equal part of the time that ctx leaves, since so many addresses are left
// to try: one that takes connections and says nothing must leave some for the next.
func (h *serverHost) dialWithin(ctx context.Context, who guest, left int) (*link, error) {
	if end, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
		defer cancel()
	}
	return h.dial(ctx, who)
}

// order lists the addresses, broken ones last. When the rest of a broken one is over,
// one caller tries it; the others go on as before until it is known to work.
func (g *serverGroup) order() []*serverHost {
	if len(g.hosts) == 1 {
		return g.hosts
	}
	now := g.now()
	up := make([]*serverHost, 0, len(g.hosts))
	var down []*serverHost
	for _, h := range g.hosts {
		h.mu.Lock()
		switch {
		case h.down.IsZero():
			up = append(up, h)
		case now.Before(h.down):
			down = append(down, h)
		default:
			h.down = now.Add(g.cfg.Down)
			up = append(up, h)
		}
		h.mu.Unlock()
	}
	return append(up, down...)
}

// dial makes a new connection, ready for MAIL.
func (h *serverHost) dial(ctx context.Context, who guest) (*link, error) {
	l, err := openLink(ctx, h, who, h.group.cfg.TLS)
	var hs *handshakeError
	if errors.As(err, &hs) && h.group.cfg.TLS == TLSOpportunistic && ctx.Err() == nil {
		h.group.servers.log.Warn("TLS with the internal server failed, going on in clear", "address", h.addr, "error", err)
		l, err = openLink(ctx, h, who, TLSNone)
	}
	if _, ok := err.(*mail.Reply); ok {
		h.setDown(nil)
		return nil, err
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", h.addr, err)
		if e := ctx.Err(); e == nil || errors.Is(e, context.DeadlineExceeded) { // else our client has gone
			h.setDown(err)
		}
		return nil, err
	}
	h.setDown(nil)
	h.group.servers.learn(h, l.ext)
	return l, nil
}

// answered notes that h works after all.
func (h *serverHost) answered() {
	h.mu.Lock()
	was := h.err
	h.mu.Unlock()
	if was != nil {
		h.setDown(nil)
	}
}

// setDown notes that h does not work, or (nil) that it does.
func (h *serverHost) setDown(err error) {
	h.mu.Lock()
	was := h.err
	h.err, h.down = err, time.Time{}
	if err != nil {
		h.down = h.group.now().Add(h.group.cfg.Down)
	}
	h.mu.Unlock()
	switch log := h.group.servers.log; {
	case err != nil && was == nil:
		log.Warn("internal server does not answer", "group", h.group.name, "address", h.addr, "error", err)
	case err == nil && was != nil:
		log.Info("internal server answers again", "group", h.group.name, "address", h.addr)
	}
}

// take gives an idle connection that is still good, or nil. When many are open it takes
// over one whose delivery waits for its client: mail servers limit the connections of
// one client (Postfix: 50), and slow uploads must not use them up.
func (h *serverHost) take(who guest) *link {
	for {
		l := h.pick(who)
		if l == nil {
			return nil
		}
		if h.group.now().Sub(l.since) < h.group.cfg.Idle && l.quiet() {
			return l
		}
		l.close()
	}
}

func (h *serverHost) pick(who guest) *link {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := len(h.idle) - 1; i >= 0; i-- {
		if l := h.idle[i]; l.guest == who {
			h.idle = slices.Delete(h.idle, i, i+1)
			return l
		}
	}
	if who != (guest{}) || len(h.parked) == 0 || int(h.open.Load()) < h.group.cfg.MaxOpen {
		return nil
	}
	l := h.parked[0].link
	h.parked = slices.Delete(h.parked, 0, 1)
	return l
}

// park lets others take over the connection of d until it claims it.
func (h *serverHost) park(d *delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.link.since = h.group.now()
	h.parked = append(h.parked, d)
}

// claim ends park; false when the connection was taken over.
func (h *serverHost) claim(d *delivery) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.Index(h.parked, d)
	if i >= 0 {
		h.parked = slices.Delete(h.parked, i, i+1)
	}
	return i >= 0
}

// put keeps a connection for later, or closes it.
func (h *serverHost) put(l *link) {
	h.mu.Lock()
	if l.guest != (guest{}) && !l.broken && len(h.idle) > 0 && len(h.idle) >= h.group.cfg.MaxIdle {
		defer h.idle[0].quit() // of a client that is less likely to go on
		h.idle = slices.Delete(h.idle, 0, 1)
	}
	if h.closed || l.broken || len(h.idle) >= h.group.cfg.MaxIdle {
		h.mu.Unlock()
		l.quit()
		return
	}
	l.since = h.group.now()
	h.idle = append(h.idle, l)
	if h.sweep == nil {
		h.sweep = time.AfterFunc(h.group.cfg.Idle, h.expire)
	}
	h.mu.Unlock()
}

// expire closes what was idle for too long; it runs as long as something is idle.
func (h *serverHost) expire() {
	h.mu.Lock()
	limit := h.group.now().Add(-h.group.cfg.Idle)
	n := 0
	for n < len(h.idle) && !h.idle[n].since.After(limit) {
		n++
	}
	old := append([]*link(nil), h.idle[:n]...)
	h.idle = append(h.idle[:0], h.idle[n:]...)
	if h.sweep = nil; len(h.idle) > 0 && !h.closed {
		h.sweep = time.AfterFunc(h.group.cfg.Idle-h.group.now().Sub(h.idle[0].since)+time.Millisecond, h.expire)
	}
	h.mu.Unlock()
	for _, l := range old {
		l.quit()
	}
}

func (h *serverHost) close() {
	h.mu.Lock()
	h.closed = true
	old := h.idle
	h.idle = nil
	if h.sweep != nil {
		h.sweep.Stop()
	}
	h.mu.Unlock()
	for _, l := range old {
		l.quit()
	}
}
