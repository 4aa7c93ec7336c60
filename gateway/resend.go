package gateway

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"postern/recall"
)

// When a connection breaks between the internal server's 250 and the client's reading of ours,
// the client sends the message again (RFC 1047). We remember those messages, and only those: a
// client that gave a command after our reply has read it, and may send the same again on purpose.
// While a message is on its way to the internal server, or its reply to the client, it is under way:
// the same one on another connection is a second try when the first connection is dead.
const (
	resendAge = recall.TakenAge
	resendMax = recall.TakenMax
)

// A fingerprint tells one submission from another: who sent which bytes to whom. The sums are
// keyed with a secret of this process, so nobody can construct two messages of one fingerprint.
type fingerprint struct {
	client   netip.Addr
	size     int64
	content  uint64
	envelope uint64
	lasting  lasting
}

// A recalled is what remains of a fingerprint after a restart.
type recalled struct {
	client  netip.Addr
	lasting lasting
}

// A memory is a message that the internal server took, for all its recipients or some.
type memory struct {
	print fingerprint
	id    string // of the transaction
	at    time.Time
}

// resends is a bounded memory of fingerprints, oldest out first.
type resends struct {
	mu     sync.Mutex
	known  map[fingerprint]memory
	order  []memory // a ring once it is full
	next   int
	under  map[fingerprint]underway
	before map[recalled]memory // of a process before this one; it is never changed
}

// An underway is a message that is being delivered on a connection, or was, and nobody knows yet
// whether its client has heard so.
type underway struct {
	on   *conversation
	id   string
	told bool
}

// What a message is to those before it.
type resent uint8

const (
	unsent     resent = iota // nobody has sent it, or on purpose again
	wasTaken                 // the internal server took it, and the client did not learn so
	isUnderway               // it is being delivered, for a client that is gone
)

// begin tells what a message is, and the id that it had; one that is unsent is under way from now on,
// until settle or add.
func (r *resends) begin(f fingerprint, on *conversation, id string, now time.Time) (what resent, first string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m, ok := r.known[f]; ok && now.Sub(m.at) < resendAge {
		return wasTaken, m.id
	}
	if len(r.before) > 0 {
		if m, ok := r.before[recalled{f.client, f.lasting}]; ok && now.Sub(m.at) < resendAge {
			return wasTaken, m.id
		}
	}
	if other, ok := r.under[f]; ok && other.on != on && other.on.left() {
		if other.told {
			return wasTaken, other.id
		}
		return isUnderway, other.id
	}
	if r.under == nil {
		r.under = map[fingerprint]underway{}
	}
	r.under[f] = underway{on: on, id: id}
	return unsent, ""
}

// settle ends what began on a connection: with told its client has yet to learn that it was
// taken, else there is nothing to be known of it.
func (r *resends) settle(f fingerprint, on *conversation, told bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.under[f]
	if u.on != on {
		return
	}
	if delete(r.under, f); told {
		u.told = true
		r.under[f] = u
	}
}

func (r *resends) add(d memory) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = map[fingerprint]memory{}
	}
	if len(r.order) < resendMax {
		r.order = append(r.order, d)
	} else {
		if old := r.order[r.next]; r.known[old.print] == old {
			delete(r.known, old.print)
		}
		r.order[r.next] = d
		r.next = (r.next + 1) % resendMax
	}
	r.known[d.print] = d
}

// print makes the fingerprint of a transaction, whose content was summed up while it came. A
// message without a Message-ID has none: two of them may be alike and not the same.
func (t *transaction) print() (fingerprint, bool) {
	if t.header.Get("Message-ID") == nil {
		return fingerprint{}, false
	}
	var h maphash.Hash
	h.SetSeed(t.content.Seed())
	last := lasting{size: t.body.Size(), content: t.lasting}
	line := make([]byte, 0, 128)
	part := func(s string) {
		line = append(append(line[:0], s...), 0)
		_, _ = h.Write(line)
		if t.g.recall != nil {
			last.envelope = summed(last.envelope, line)
		}
	}
	part(t.env.Sender.String())
	for _, r := range t.env.Recipients {
		part(r.Address.String())
	}
	return fingerprint{t.env.Client.Addr, t.body.Size(), t.content.Sum64(), h.Sum64(), last}, true
}
