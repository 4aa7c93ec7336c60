package gateway

import (
	"context"
	"crypto/sha256"
	"hash/crc32"
	"io"
	"time"

	"postern/recall"
)

// Recall keeps what must be known after a restart; *recall.Store is one.
type Recall interface {
	Took(ctx context.Context, m recall.Taken) error
	Panicked(ctx context.Context, p recall.Poison) error
}

// recallWait bounds the wait for the disk. Whoever waits has no client any more, or a 451 for it.
const recallWait = 5 * time.Second

// lasting is a fingerprint as another process made it, whose secret is gone. The sums are no secret,
// but whoever wants to make use of that has to know the whole of a message before it comes, and to
// send its like by the same relay.
type lasting struct {
	size     int64
	content  uint32
	envelope uint32
}

// summed goes on with a CRC-32C, which costs a fraction of anything better.
func summed(sum uint32, p []byte) uint32 {
	return crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), p)
}

// recalls loads what a process before this one has noted.
func (g *Gateway) recalls(taken []recall.Taken, poisons []recall.Poison) {
	for _, m := range taken {
		if g.resends.before == nil {
			g.resends.before = map[recalled]memory{}
		}
		g.resends.before[recalled{m.Client, lasting{m.Size, m.Content, m.Envelope}}] = memory{id: m.ID, at: m.At}
	}
	for _, p := range poisons {
		g.poisons.load(contents{p.Size, p.Sum}, p.Tries)
	}
}

// resendable notes a message whose 250 was probably not read, for now and for after a restart.
func (g *Gateway) resendable(m memory) {
	g.resends.add(m)
	if g.recall == nil {
		return
	}
	select {
	case g.noting <- struct{}{}: // the connection's place is not held up by the disk
		go func() {
			defer func() { <-g.noting }()
			g.noteTaken(m)
		}()
	default:
		g.noteTaken(m)
	}
}

// maxNoting bounds what is noted behind the back of connections that are over.
const maxNoting = 64

// noted returns when all is noted that was begun.
func (g *Gateway) noted() {
	g.notingEnds.Lock()
	defer g.notingEnds.Unlock()
	for range maxNoting {
		g.noting <- struct{}{}
	}
	for range maxNoting {
		<-g.noting
	}
}

func (g *Gateway) noteTaken(m memory) {
	ctx, cancel := context.WithTimeout(context.Background(), recallWait)
	defer cancel()
	l := m.print.lasting
	if err := g.recall.Took(ctx, recall.Taken{Client: m.print.client, Size: l.size, Content: l.content, Envelope: l.envelope, ID: m.id, At: m.at}); err != nil {
		g.log.Warn("after a restart a message whose reply was lost would be relayed twice", "id", m.id, "error", err)
	}
}

// poisonous counts a try of a message that failed, for now and for after a restart.
func (t *transaction) poisonous() {
	c, ok := t.contents()
	if !ok {
		return
	}
	t.g.poisons.add(c)
	if t.g.recall == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), recallWait)
	defer cancel()
	if err := t.g.recall.Panicked(ctx, recall.Poison{Sum: c.sum, Size: c.size, At: t.g.now()}); err != nil {
		t.g.log.Warn("after a restart this message would be tried anew", "id", t.env.ID, "error", err)
	}
}

// contents sums the message up; false when it cannot be read.
func (t *transaction) contents() (contents, bool) {
	h := sha256.New()
	if _, err := io.Copy(h, t.body.Open()); err != nil {
		return contents{}, false
	}
	return contents{t.body.Size(), [sha256.Size]byte(h.Sum(nil))}, true
}
