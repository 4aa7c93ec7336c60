package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"

	"postern/mail"
	"postern/quarantine"
)

// A Releaser sends held messages to the internal server. It does not touch the
// quarantine: its caller moves the item from kept to releasing before, and to what
// became of it after.
type Releaser struct {
	Upstream Upstream
}

// Fates of a released copy.
const (
	FateDelivered = "delivered" // the internal server took it
	FateRefused   = "refused"   // it said no, for now (4xx) or for good (5xx)
	FateUnsent    = "unsent"    // it could not be asked; nothing was sent
	FateUnknown   = "unknown"   // sent, but its answer is lost: perhaps delivered
)

// A Fate is what became of one recipient's copy.
type Fate struct {
	Recipient mail.RcptTo
	Fate      string
	Reply     *mail.Reply // of the internal server; nil when there was none
	Err       error       // cause, for logs, when there was no reply
}

// An Opener opens the message to be sent, stamped anew, and says its size. It is called
// once for each route. A source that is an io.Closer is closed.
type Opener func() (src Source, size int64, err error)

// Release sends it, with its original envelope sender and options, to these recipients;
// nil stands for those of its copies. It returns one fate a recipient, in the order of
// to.
func (r *Releaser) Release(ctx context.Context, it *quarantine.Item, to []mail.RcptTo, open Opener) []Fate {
	if to == nil {
		for _, c := range it.Copies {
			to = append(to, c.Recipient)
		}
	}
	fates := make([]Fate, len(to))
	routes := map[string][]int{}
	var names []string
	for i, rcpt := range to {
		fates[i] = Fate{Recipient: rcpt, Fate: FateUnsent}
		name := r.Upstream.Route(rcpt.Address)
		if routes[name] == nil {
			names = append(names, name)
		}
		routes[name] = append(routes[name], i)
	}
	for _, name := range names {
		some := make([]*Fate, 0, len(to))
		for _, i := range routes[name] {
			some = append(some, &fates[i])
		}
		if err := r.send(ctx, name, it.Envelope, some, open); err != nil {
			settle(some, err)
		}
	}
	return fates
}

// settle notes err for all that has no fate of its own yet.
func settle(fates []*Fate, err error) {
	fate := FateUnsent
	var reply *mail.Reply
	if r, ok := err.(*mail.Reply); ok {
		fate, reply, err = FateRefused, r, nil
	} else if errors.Is(err, ErrAmbiguous) {
		fate = FateUnknown
	}
	for _, f := range fates {
		if f.Reply == nil && f.Err == nil {
			f.Fate, f.Reply, f.Err = fate, reply, err
		}
	}
}

// send sends to the recipients of one route; its error holds for those without a fate.
func (r *Releaser) send(ctx context.Context, route string, env mail.Envelope, fates []*Fate, open Opener) error {
	src, size, err := open()
	if err != nil {
		return fmt.Errorf("open the held message: %w", err)
	}
	if c, ok := src.(io.Closer); ok {
		defer c.Close()
	}
	env.Options.Size = size
	env.Recipients = nil
	if !r.Upstream.Extensions().DSN { // a person's release does not fail over it
		env.Options.Ret, env.Options.EnvID = "", ""
		for _, f := range fates {
			f.Recipient.Notify, f.Recipient.ORcpt = "", ""
		}
	}
	for _, f := range fates {
		env.Recipients = append(env.Recipients, f.Recipient)
	}
	d, err := r.Upstream.Begin(ctx, route, env)
	if err != nil {
		return err
	}
	defer d.Close()
	var taken []*Fate
	var to []mail.RcptTo
	for _, f := range fates {
		err := d.Rcpt(ctx, f.Recipient)
		if reply, ok := err.(*mail.Reply); ok {
			f.Fate, f.Reply = FateRefused, reply
			continue
		}
		if err != nil {
			return err
		}
		taken, to = append(taken, f), append(to, f.Recipient)
	}
	if len(to) == 0 {
		return nil
	}
	replies, err := d.Send(ctx, to, size, src)
	if err != nil {
		return err
	}
	if len(replies) != len(to) {
		return fmt.Errorf("%w: %d replies for %d recipients", ErrAmbiguous, len(replies), len(to))
	}
	for i, f := range taken {
		if f.Reply, f.Fate = &replies[i], FateDelivered; !replies[i].OK() {
			f.Fate = FateRefused
		}
	}
	return nil
}

// SourceOf reads a message from prefix and then r, in blocks of 64 KiB; for held
// messages, with the fresh header block as prefix. When r is an io.Closer, the source
// is one too.
func SourceOf(prefix []byte, r io.Reader) Source {
	return &readerSource{prefix: prefix, r: r}
}

type readerSource struct {
	prefix []byte
	r      io.Reader
	buf    []byte
	err    error
}

func (s *readerSource) Next() ([]byte, error) {
	if p := s.prefix; len(p) > 0 {
		s.prefix = nil
		return p, nil
	}
	if s.buf == nil {
		s.buf = make([]byte, outBlock)
	}
	for range 100 { // as bufio does with readers that give nothing
		if s.err != nil {
			return nil, s.err
		}
		var n int
		if n, s.err = s.r.Read(s.buf); n > 0 {
			return s.buf[:n], nil
		}
	}
	return nil, io.ErrNoProgress
}

func (s *readerSource) Close() error {
	if c, ok := s.r.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
