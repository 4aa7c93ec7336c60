package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

// An upload is the body of one message while it arrives.
type upload interface {
	// Next gives the next block, dots unstuffed, valid until the next call. io.EOF stands
	// for the true end, CRLF.CRLF, and for nothing else; errUploadBroken (wrapped, with
	// the cause) and errTooBig for the two other ends.
	Next() ([]byte, error)
	// Waits reports whether Next would have to wait for the client.
	Waits() bool
	// Flaws tells after the end what the body had in it: a CR without LF, a LF without
	// CR (not when it was normalised), a NUL.
	Flaws() (bareCR, bareLF, nul bool)
}

// The ends of an upload that are not its true end.
var (
	errUploadBroken = errors.New("upload broken off")
	errTooBig       = errors.New("message exceeds the size limit")
)

// A body reads one message from a wire, by DATA (RFC 5321 4.1.1.4 and 4.5.2) or in chunks. Lines end in CRLF
// and in nothing else; a CR or LF by itself is content, and a flaw.
type body struct {
	w         *wire
	limit     int64   // bytes of the message, 0: none
	most      int64   // bytes that are read at all, the message refused or not; 0: any number
	normalize bool    // a bare LF is given as CRLF
	chunks    *chunks // nil: the message comes by DATA

	start  bool // at the start of a line
	ended  bool // the true end was met
	err    error
	size   int64         // bytes given
	taken  int64         // bytes read
	waited time.Duration // time spent waiting for the client
	rest   []byte        // when normalizing: what comes after the last block given

	bareCR, bareLF, nul bool
}

// newBody begins a body of at most limit bytes.
func (w *wire) newBody(limit int64, normalize bool) *body {
	w.grow()
	b := &body{w: w, limit: limit, normalize: normalize, start: true}
	if limit > 0 {
		// What a client sends of a refused message is read, since many listen only
		// after their last dot; but not for ever.
		b.most = limit + min(max(4*limit, 1<<20), 256<<20)
	}
	return b
}

func (b *body) Flaws() (bareCR, bareLF, nul bool) {
	return b.bareCR, b.bareLF && !b.normalize, b.nul
}

func (b *body) Next() ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	p, err := b.block()
	if b.size += int64(len(p)); err == nil && b.over() {
		err = errTooBig
	}
	if err != nil {
		b.err = err
		return nil, err
	}
	return p, nil
}

func (b *body) Waits() bool { return b.err == nil && len(b.rest) == 0 && b.w.r == b.w.e }

func (b *body) over() bool { return b.limit > 0 && b.size > b.limit }

// drain goes on to the true end, within b.most.
func (b *body) drain() {
	if b.chunks != nil {
		b.drainChunk()
		return
	}
	for !b.ended {
		p, err := b.scan()
		if err != nil {
			return
		}
		b.size += int64(len(p))
	}
}

var crlf = []byte("\r\n")

// block is scan, with a bare LF turned into CRLF where that is wanted.
func (b *body) block() ([]byte, error) {
	if !b.normalize {
		return b.scan()
	}
	if len(b.rest) == 0 {
		p, err := b.scan()
		if err != nil {
			return nil, err
		}
		b.rest = p
	}
	p := b.rest
	for i := 0; i < len(p); i++ {
		n := bytes.IndexByte(p[i:], '\n')
		if n < 0 {
			break
		}
		// scan never parts CR from LF, so that an LF in front is bare.
		if i += n; i > 0 && p[i-1] == '\r' {
			continue
		}
		if i > 0 {
			b.rest = p[i:]
			return p[:i], nil
		}
		b.rest = p[1:]
		return crlf, nil
	}
	b.rest = nil
	return p, nil
}

// scan returns the next run of body bytes: up to the next dot that begins a line, or as
// much as is there, at least one byte.
func (b *body) scan() ([]byte, error) {
	if b.chunks != nil {
		return b.chunk()
	}
	w := b.w
	for {
		if err := b.need(1); err != nil {
			return nil, err
		}
		if b.start && w.buf[w.r] == '.' {
			if err := b.dot(); err != nil {
				return nil, err
			}
			continue
		}
		n := b.run(w.buf[w.r:w.e])
		if n == 0 { // a CR, and what follows it not there yet
			if err := b.need(2); err != nil {
				return nil, err
			}
			continue
		}
		p := w.buf[w.r : w.r+n]
		w.r += n
		b.taken += int64(n)
		if b.most > 0 && b.taken > b.most {
			return nil, b.broken(w.die(errTooMuch))
		}
		return p, nil
	}
}

// dot takes the dot that begins a line. It ends the message when CRLF follows (io.EOF),
// else it was stuffed and goes (RFC 5321 4.5.2).
func (b *body) dot() error {
	w := b.w
	if err := b.need(2); err != nil {
		return err
	}
	if w.buf[w.r+1] == '\r' {
		if err := b.need(3); err != nil {
			return err
		}
		if w.buf[w.r+2] == '\n' {
			w.r += 3
			b.ended = true
			return io.EOF
		}
	}
	w.r++
	b.taken++
	b.start = false
	return nil
}

// run tells how many bytes of p can be given now: up to a dot at the start of a line, and
// without a CR at the end, whose LF may be still to come. It notes the flaws among them.
func (b *body) run(p []byte) int {
	if p[len(p)-1] == '\r' {
		if p = p[:len(p)-1]; len(p) == 0 {
			return 0
		}
	}
	b.start = false
	pairs := 0
	for pos := 0; ; {
		i := bytes.IndexByte(p[pos:], '\n')
		if i < 0 {
			break
		}
		pos += i + 1
		if pos < 2 || p[pos-2] != '\r' {
			b.bareLF = true
			continue
		}
		pairs++
		if pos == len(p) {
			b.start = true
			break
		}
		if p[pos] == '.' {
			b.start = true
			p = p[:pos]
			break
		}
	}
	if bytes.Count(p, crlf[:1]) != pairs {
		b.bareCR = true
	}
	if !b.nul && bytes.IndexByte(p, 0) >= 0 {
		b.nul = true
	}
	return len(p)
}

// need waits until n bytes are there. The client may pause for Limits.Stall, and has to
// reach Limits.MinRate over the time that we waited for it.
func (b *body) need(n int) error {
	w := b.w
	for w.e-w.r < n {
		began := time.Now()
		if err := w.fill(began.Add(w.lim.Stall), false); err != nil {
			return b.broken(err)
		}
		b.waited += time.Since(began)
		if b.waited > w.lim.MinRateAfter && float64(b.taken+int64(w.e-w.r)) < b.waited.Seconds()*float64(w.lim.MinRate) {
			return b.broken(w.die(errTooSlow))
		}
	}
	return nil
}

func (b *body) broken(cause error) error {
	return fmt.Errorf("%w: %w", errUploadBroken, cause)
}
