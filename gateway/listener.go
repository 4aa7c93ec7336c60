package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"

	"postern/mail"
)

// A front is the SMTP side of the gateway: it admits connections, seals go-smtp behind a
// wire for each, and hands what the client says to the flow.
type front struct {
	cfg        Config
	log        *slog.Logger
	connect    func(ctx context.Context, c mail.Client) talk // called once the address is known
	extensions func() mail.Extensions                        // asked at each EHLO

	doors      *admission
	away       atomic.Int64 // connections turned away over a limit
	awayLogged atomic.Int64 // when one was last logged, in Unix nanoseconds
}

// newFront fills in the defaults: a limit of zero stands for that of DefaultLimits; of those
// that count something a negative one stands for none.
func newFront(cfg Config, log *slog.Logger, connect func(context.Context, mail.Client) talk, extensions func() mail.Extensions) *front {
	cfg.Limits = cfg.Limits.orDefault()
	if cfg.Grace == 0 {
		cfg.Grace = time.Minute
	}
	f := &front{cfg: cfg, log: log, connect: connect, extensions: extensions}
	f.doors = newAdmission(&f.cfg.Limits)
	return f
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	for _, n := range []struct{ v, d *int }{
		{&l.Connections, &d.Connections}, {&l.ConnectionsPerIP, &d.ConnectionsPerIP}, {&l.RatePerIP, &d.RatePerIP},
		{&l.Recipients, &d.Recipients}, {&l.UnknownRcpts, &d.UnknownRcpts}, {&l.Line, &d.Line}, {&l.Errors, &d.Errors}, {&l.Chatter, &d.Chatter}, {&l.Hops, &d.Hops},
	} {
		orDefault(n.v, *n.d)
	}
	for _, n := range []struct{ v, d *int64 }{{&l.MessageSize, &d.MessageSize}, {&l.MinRate, &d.MinRate}, {&l.Memory, &d.Memory}} {
		orDefault(n.v, *n.d)
	}
	for _, n := range []struct{ v, d *time.Duration }{
		{&l.Command, &d.Command}, {&l.Stall, &d.Stall}, {&l.MinRateAfter, &d.MinRateAfter}, {&l.Write, &d.Write},
		{&l.Handshake, &d.Handshake}, {&l.Session, &d.Session}, {&l.Decide, &d.Decide},
	} {
		*n.v = max(*n.v, 0)
		orDefault(n.v, *n.d)
	}
	l.Line = max(l.Line, 512) // RFC 5321 4.5.3.1.4
	return l
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// sessions is how many connections are open.
func (f *front) sessions() int { return f.doors.count() }

func (f *front) tlsConfig() *tls.Config {
	if f.cfg.TLS == nil {
		return nil
	}
	return f.cfg.TLS()
}

func (f *front) postmaster() mail.Address {
	domain := f.cfg.PostmasterDomain
	if domain == "" {
		domain = f.cfg.Hostname
	}
	return mail.Address{Local: "postmaster", Domain: domain}
}

// A listening is one call of serve.
type listening struct {
	*front
	door  Door
	base  context.Context // of everything done for a connection; outlives the context of serve
	inner *handOver

	mu    sync.Mutex
	wires map[*wire]struct{} // all that are open
	open  sync.WaitGroup     // as many
}

// serve takes connections from l until ctx ends or l fails. Then idle sessions are told to
// come back later, messages under way have Config.Grace to end, the rest is cut. It returns
// when nothing of it runs any more; nil when ctx ended it. It closes l.
func (f *front) serve(ctx context.Context, l net.Listener, d Door) error {
	base, cutAll := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cutAll(errStopping)
	s := &listening{front: f, door: d, base: base, wires: map[*wire]struct{}{}}
	s.inner = &handOver{addr: l.Addr(), ch: make(chan *adapter), closed: make(chan struct{})}
	server := f.engine()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(s.inner)
	}()

	unwatch := context.AfterFunc(ctx, func() { l.Close() })
	err := s.accept(ctx, l)
	unwatch()
	l.Close()

	s.stop(cutAll)
	s.inner.Close()
	<-served
	_ = server.Shutdown(context.Background()) // waits for goroutines that are past our Close
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("accept: %w", err)
}

// engine is go-smtp with all of its own limits off: lines, sizes and deadlines are the wire's.
func (f *front) engine() *smtp.Server {
	server := smtp.NewServer(backend{})
	server.Domain = f.cfg.Hostname
	server.MaxLineLength = 0
	server.ErrorLog = smtpLog{f.log}
	return server
}

// stop ends all wires: first gently, after the grace time by force.
func (s *listening) stop(cutAll context.CancelCauseFunc) {
	s.each((*wire).stop)
	gone := make(chan struct{})
	go func() {
		s.open.Wait()
		close(gone)
	}()
	grace := time.NewTimer(s.cfg.Grace)
	defer grace.Stop()
	select {
	case <-gone:
	case <-grace.C:
		s.each((*wire).cut)
		cutAll(errStopping)
		<-gone
	}
}

func (s *listening) each(do func(*wire)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.wires {
		do(w)
	}
}

// accept takes connections until l is closed. Any other error may pass (S-34: no file
// descriptor left), so it waits a little and tries again.
func (s *listening) accept(ctx context.Context, l net.Listener) error {
	var pause time.Duration
	var logged time.Time
	for {
		c, err := l.Accept()
		if err == nil {
			pause = 0
			s.enter(c)
			continue
		}
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return err
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		if now := time.Now(); now.Sub(logged) > 10*time.Second {
			s.log.Error("cannot accept connections, trying again", "error", err)
			logged = now
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *front) panicked(cause any) {
	f.log.Error("panic in an SMTP session", "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
}

// A handOver is the listener that go-smtp sees: connections that have been greeted.
type handOver struct {
	addr   net.Addr
	ch     chan *adapter
	closed chan struct{}
	once   sync.Once
}

func (h *handOver) push(a *adapter) bool {
	select {
	case h.ch <- a:
		return true
	case <-h.closed:
		return false
	}
}

func (h *handOver) Accept() (net.Conn, error) {
	select {
	case a := <-h.ch:
		return a, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handOver) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (h *handOver) Addr() net.Addr { return h.addr }

// smtpLog takes go-smtp's own log, which is of panics in the main.
type smtpLog struct{ log *slog.Logger }

func (l smtpLog) Printf(format string, v ...any) { l.log.Error("smtp: " + fmt.Sprintf(format, v...)) }
func (l smtpLog) Println(v ...any)               { l.log.Error("smtp: " + fmt.Sprint(v...)) }
