package gateway

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// When a connection breaks between the internal server's 250 and the client's reading of ours,
// the client sends the message again (RFC 1047). We remember those messages, and only those: a
// client that gave a command after our reply has read it, and may send the same again on purpose.
const (
	resendAge = 24 * time.Hour
	resendMax = 10_000
)

// A fingerprint tells one submission from another: who sent which bytes to whom. The sums are
// keyed with a secret of this process, so nobody can construct two messages of one fingerprint.
type fingerprint struct {
	client   netip.Addr
	size     int64
	content  uint64
	envelope uint64
}

type memory struct {
	print fingerprint
	at    time.Time
}

// resends is a bounded memory of fingerprints, oldest out first.
type resends struct {
	mu    sync.Mutex
	known map[fingerprint]time.Time
	order []memory // a ring once it is full
	next  int
}

func (r *resends) add(f fingerprint, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = map[fingerprint]time.Time{}
	}
	d := memory{f, now}
	if len(r.order) < resendMax {
		r.order = append(r.order, d)
	} else {
		if old := r.order[r.next]; r.known[old.print].Equal(old.at) {
			delete(r.known, old.print)
		}
		r.order[r.next] = d
		r.next = (r.next + 1) % resendMax
	}
	r.known[f] = now
}

func (r *resends) has(f fingerprint, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.known[f]
	return ok && now.Sub(at) < resendAge
}

// print makes the fingerprint of a transaction, whose content was summed up while it came. A
// message without a Message-ID has none: two of them may be alike and not the same.
func (t *transaction) print() (fingerprint, bool) {
	if t.header.Get("Message-ID") == nil {
		return fingerprint{}, false
	}
	var h maphash.Hash
	h.SetSeed(t.content.Seed())
	part := func(s string) {
		_, _ = h.WriteString(s)
		_ = h.WriteByte(0)
	}
	part(t.env.Sender.String())
	for _, r := range t.env.Recipients {
		part(r.Address.String())
	}
	return fingerprint{t.env.Client.Addr, t.body.Size(), t.content.Sum64(), h.Sum64()}, true
}
