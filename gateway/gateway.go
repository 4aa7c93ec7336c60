// Package gateway carries one SMTP transaction from connect to one reply: it takes the
// message, lets filters gather and rules decide, and then acts: relays to the internal
// server, holds in quarantine, refuses.
package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"hash/maphash"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"postern/journal"
	"postern/mail"
	"postern/quarantine"
	"postern/recall"
)

// Deps are the neighbours of a gateway.
type Deps struct {
	Upstream   Upstream
	Quarantine Quarantine
	Journal    Journal
	Inbox      Inbox            // nil: nobody writes to Postern itself
	Room       func() error     // asked at each MAIL: with an error nothing is taken, not even mail that needs no disk; nil: it is not asked
	Spool      *mail.Spool      // nil: one in Config.SpoolDir, bounded by Limits.Memory
	Log        *slog.Logger     // nil: nothing is logged
	Clock      func() time.Time // nil: time.Now
	Recall     Recall           // nil: what a second try is known by is lost with the process
	Taken      []recall.Taken   // what it knows at the start
	Poisons    []recall.Poison
}

// A Gateway takes messages by SMTP and brings each to one end. Its methods may be called from
// several goroutines.
type Gateway struct {
	cfg         Config
	front       *front
	policy      atomic.Pointer[Policy]
	upstream    Upstream
	quarantine  Quarantine
	journal     Journal
	inbox       Inbox
	room        func() error
	inboxDomain string // "" when there is none
	spool       *mail.Spool
	log         *slog.Logger
	now         func() time.Time
	ids         idSource
	resends     resends
	poisons     poisons
	recall      Recall // nil: there is none
	noting      chan struct{}
	notingEnds  sync.Mutex
	meters      meters
	notices     notifier
	seed        maphash.Seed // of fingerprints
	trouble     trouble
}

// New returns a gateway that defers all mail until it has a policy.
func New(cfg Config, d Deps) *Gateway {
	cfg.Limits = cfg.Limits.orDefault()
	if d.Spool == nil {
		d.Spool = mail.NewSpool(cfg.SpoolDir, 0, cfg.Limits.Memory)
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Clock == nil {
		d.Clock = time.Now
	}
	g := &Gateway{cfg: cfg, upstream: d.Upstream, quarantine: d.Quarantine, journal: d.Journal,
		room: d.Room, spool: d.Spool, log: d.Log, now: d.Clock, seed: maphash.MakeSeed()}
	if d.Inbox != nil {
		g.inbox, g.inboxDomain = d.Inbox, d.Inbox.Domain()
	}
	g.recall, g.noting = d.Recall, make(chan struct{}, maxNoting)
	g.recalls(d.Taken, d.Poisons)
	g.ids.entropy = ulid.Monotonic(rand.Reader, 0)
	g.front = newFront(cfg, d.Log, g.connect, g.extensions)
	return g
}

// Serve takes SMTP connections from l until ctx ends or l fails, and closes l. Then messages
// under way have Config.Grace to end. It returns when nothing of it runs any more; nil when ctx
// ended it. It may be called for several listeners.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	return g.ServeDoor(ctx, l, Door{})
}

// A Door is what is special about one listener.
type Door struct {
	RequireTLS  bool // refuse mail in clear, as Config.RequireTLS does for all
	ImplicitTLS bool // TLS begins at once, without STARTTLS (RFC 8314)
}

// ServeDoor is Serve for a listener with rules of its own.
func (g *Gateway) ServeDoor(ctx context.Context, l net.Listener, d Door) error {
	defer g.notices.wait(noticeWait)
	defer g.noted()
	return g.front.serve(ctx, l, d)
}

// Sessions is how many connections are open.
func (g *Gateway) Sessions() int { return g.front.sessions() }

// TurnedAway is how many connections were over a limit.
func (g *Gateway) TurnedAway() int64 { return g.front.away.Load() }

// SetPolicy replaces the policy. Connections keep the one that they began with.
func (g *Gateway) SetPolicy(p *Policy) { g.policy.Store(p) }

// Policy is the one that the next connection gets; nil before the first SetPolicy.
func (g *Gateway) Policy() *Policy { return g.policy.Load() }

// Healthy gives the last failure of the journal or the quarantine, or nil when what was tried
// since worked.
func (g *Gateway) Healthy() error { return g.trouble.err() }

// extensions are what clients are offered: what the internal servers have too, within our
// own size limit.
func (g *Gateway) extensions() mail.Extensions {
	e := g.upstream.Extensions()
	if own := g.cfg.Limits.MessageSize; own > 0 && (e.Size == 0 || own < e.Size) {
		e.Size = own
	}
	return e
}

func (g *Gateway) trusts(a netip.Addr) bool {
	for _, p := range g.cfg.Trusted {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// An idSource makes ids that sort by time.
type idSource struct {
	mu      sync.Mutex
	entropy *ulid.MonotonicEntropy
}

func (s *idSource) next(t time.Time) string {
	ms := ulid.Timestamp(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := ulid.New(ms, s.entropy)
	if err != nil { // the counter within this millisecond is used up
		id = ulid.MustNew(ms, rand.Reader) // crypto/rand never fails
	}
	return id.String()
}

// The neighbours whose failure makes us unwell.
const (
	troubleQuarantine = "quarantine"
	troubleJournal    = "journal"
)

// A trouble remembers which neighbour failed last time.
type trouble struct {
	mu    sync.Mutex
	which map[string]error
}

func (t *trouble) set(who string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		delete(t.which, who)
		return
	}
	if t.which == nil {
		t.which = map[string]error{}
	}
	t.which[who] = err
}

func (t *trouble) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.which[troubleQuarantine], t.which[troubleJournal])
}

// Upstream is the internal server, or several of them.
type Upstream interface {
	// Route names the server group for a recipient: recipients of one route share a
	// transaction. The domain is one of ours.
	Route(to mail.Address) string
	// Begin opens a transaction (connect or take from the pool, MAIL). Its error is a
	// *mail.Reply when the server refused, else a plain error (then the answer is 451 4.4.1).
	Begin(ctx context.Context, route string, env mail.Envelope) (Delivery, error)
	// Extensions is what all internal servers offer; the minimum while unknown.
	Extensions() mail.Extensions
}

// A Delivery is one transaction with an internal server.
type Delivery interface {
	// Rcpt offers one recipient; its refusal is a *mail.Reply.
	Rcpt(ctx context.Context, to mail.RcptTo) error
	// Send sends the message to those recipients, a subset of what Rcpt accepted. The
	// connection is a cache of the envelope: for a subset, or when it timed out meanwhile,
	// it is opened again. One reply a recipient, in the order of to; an error means that
	// nothing is known to be delivered (451), ErrAmbiguous that it may have been.
	Send(ctx context.Context, to []mail.RcptTo, size int64, src Source) ([]mail.Reply, error)
	// Close gives the connection back or drops it. It may be called at any point, once.
	Close() error
}

// A Source yields a message in blocks, each valid until the next call; io.EOF after the last.
// *mail.Reader is one.
type Source interface{ Next() ([]byte, error) }

// ErrAmbiguous wraps the error of a Send whose end of data went out without an answer: the
// message may have been delivered (RFC 1047).
var ErrAmbiguous = errors.New("the internal server may have taken it")

// Quarantine is where copies are held.
type Quarantine interface {
	Hold(ctx context.Context, it *quarantine.Item, r io.Reader) error // durable when it returns, invisible until Keep; fills in the hash
	Keep(ctx context.Context, id string) error
	Drop(ctx context.Context, id string) error
}

// Journal takes one entry a transaction.
type Journal interface {
	Record(ctx context.Context, e *journal.Entry) error
	RecordDurably(ctx context.Context, e *journal.Entry) error // returns when the entry is on disk (discard)
}
