package gateway

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"postern/mail"
	"postern/quarantine"
)

// Tell sends a message of our own to one address inside, through the internal server, from the
// null sender: nobody answers it, and no bounce of it comes back. helo is what we call ourselves,
// id stands for the message in logs.
func (r *Releaser) Tell(ctx context.Context, helo, id string, to mail.Address, message []byte) Fate {
	rcpts := []mail.RcptTo{{Address: to}}
	it := &quarantine.Item{ID: id, Envelope: mail.Envelope{ID: id, Received: time.Now(), Recipients: rcpts,
		Options: mail.Options{UTF8: to.NeedsUTF8()},
		Client:  mail.Client{Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Helo: helo, ESMTP: true}}}
	return r.Release(ctx, it, rcpts, func() (Source, int64, error) {
		return SourceOf(message, strings.NewReader("")), int64(len(message)), nil
	})[0]
}
