package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// data sends the message after 354 and waits for the reply to its end. Before the end
// has gone out whole an error means that nothing is delivered, after it ErrAmbiguous.
func (l *link) data(ctx context.Context, src Source) (answer, error) {
	defer l.guard(ctx)()
	w := newDotWriter(l.block)
	defer w.free()
	for {
		p, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			l.broken = true
			return answer{}, fmt.Errorf("reading the message: %w", err)
		}
		if err := w.write(p); err != nil {
			return answer{}, l.fail(ctx, "sending the message", err)
		}
	}
	// No reply can be due before the dot, so what is there already must not be taken for it.
	if !l.quiet() {
		return answer{}, l.fail(ctx, "sending the message", fmt.Errorf("%w before the end of data", errLinkDied))
	}
	if err := w.end(); err != nil {
		return answer{}, l.fail(ctx, "sending the message", err)
	}
	a, err := l.read(l.times().Final)
	return l.final(ctx, a, err)
}

// final judges the reply to a message that has gone out whole.
func (l *link) final(ctx context.Context, a answer, err error) (answer, error) {
	switch {
	case err != nil:
	case l.r.Buffered() > 0:
		err = fmt.Errorf("%w: more than one reply", errBadReply)
	case a.code >= 400 || a.code/10 == 25:
		l.dirty = false
		return a, nil
	default:
		err = fmt.Errorf("%w: %d to this", errBadReply, a.code)
	}
	return answer{}, fmt.Errorf("%w: %w", ErrAmbiguous, l.fail(ctx, "end of data", err))
}

// chunkRoom is what stands before a chunk, at most: "BDAT 65536 LAST" and CRLF. maxChunk bounds
// the message that is sent as one: chunk and command are one block.
const (
	chunkRoom = 32
	maxChunk  = outBlock - chunkRoom - len("\r\n")
)

var errNoChunks = errors.New("CHUNKING is offered, but BDAT not taken")

// chunk sends a message of at most maxChunk bytes as one chunk (RFC 3030 2) and waits for the
// reply: no 354 is waited for. One that is longer than was known goes by DATA. Lines end in CRLF
// there, too, though a chunk could hold anything: what comes behind the server may be stricter.
// No 354 shows that replies are out of step, so the caller looks before whether one too many has
// come. Errors are those of data.
func (l *link) chunk(ctx context.Context, src Source) (answer, error) {
	defer l.guard(ctx)()
	block := outBlocks.Get().(*[]byte)
	defer outBlocks.Put(block)
	b := (*block)[:chunkRoom]
	for {
		p, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return answer{}, fmt.Errorf("reading the message: %w", err)
		}
		if len(p) > chunkRoom+maxChunk-len(b) {
			return l.byData(ctx, &resumed{[][]byte{b[chunkRoom:], p}, src})
		}
		b = append(b, p...)
	}
	text := b[chunkRoom:]
	if _, ok := checkLines(text); !ok {
		return answer{}, l.fail(ctx, "sending the message", errBareNewline)
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		b = append(b, "\r\n"...)
	}
	var room [chunkRoom]byte
	command := append(strconv.AppendInt(append(room[:0], "BDAT "...), int64(len(b)-chunkRoom), 10), " LAST\r\n"...)
	from := chunkRoom - len(command)
	copy(b[from:], command)
	if err := l.block(b[from:]); err != nil {
		return answer{}, l.fail(ctx, "sending the message", err)
	}
	a, err := l.read(l.times().Final)
	if err == nil && a.code >= 500 && a.code <= 504 { // it has not understood: what followed was no chunk to it
		return answer{}, l.fail(ctx, "sending the message", fmt.Errorf("%w: %v", errNoChunks, a.reply()))
	}
	a, err = l.final(ctx, a, err)
	l.dirty = l.dirty || a.code >= 400 // RFC 3030 2: the transaction is to be reset
	return a, err
}

// byData is chunk for what is no chunk after all.
func (l *link) byData(ctx context.Context, src Source) (answer, error) {
	answers, err := l.say(ctx, []command{{line: "DATA", want: 354}})
	if err != nil || answers[0].code >= 400 {
		return append(answers, answer{})[0], err
	}
	return l.data(ctx, src)
}

// A resumed source yields again what was read of it.
type resumed struct {
	first [][]byte
	rest  Source
}

func (r *resumed) Next() ([]byte, error) {
	for len(r.first) > 0 {
		p := r.first[0]
		if r.first = r.first[1:]; len(p) > 0 {
			return p, nil
		}
	}
	return r.rest.Next()
}
