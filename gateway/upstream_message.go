package gateway

import (
	"bytes"
	"context"
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

// A chunkError is that of a server which offers CHUNKING, but has not taken the first chunk. It
// has the message, of which nothing is delivered.
type chunkError struct {
	err     error
	message Source
}

func (e *chunkError) Error() string {
	return "CHUNKING is offered, but BDAT not taken: " + e.err.Error()
}
func (e *chunkError) Unwrap() error { return e.err }

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
	at := chunkRoom
	if !l.proven && len(text) > 0 {
		if err := l.prove(ctx, text[0]); err != nil {
			return answer{}, &chunkError{err, &resumed{[][]byte{bytes.Clone(b[at:])}, nothing{}}}
		}
		at++
	}
	var room [chunkRoom]byte
	command := append(strconv.AppendInt(append(room[:0], "BDAT "...), int64(len(b)-at), 10), " LAST\r\n"...)
	from := at - len(command)
	copy(b[from:], command)
	if err := l.block(b[from:]); err != nil {
		return answer{}, l.fail(ctx, "sending the message", err)
	}
	a, err := l.read(l.times().Final)
	a, err = l.final(ctx, a, err)
	l.dirty = l.dirty || a.code >= 400 // RFC 3030 2: the transaction is to be reset
	return a, err
}

// prove sends the first byte of a message as a chunk of its own, once on each connection. Lines of
// a message stand behind a BDAT at once, and who only says CHUNKING (a firewall that meddles with
// SMTP, before a server that knows no BDAT) would take them for commands: they come only to who has
// answered that byte with 250. Otherwise nothing is delivered.
func (l *link) prove(ctx context.Context, first byte) error {
	err := l.block(append([]byte("BDAT 1\r\n"), first))
	if err != nil {
		return l.fail(ctx, "BDAT", err)
	}
	a, err := l.read(l.times().Reply)
	switch {
	case err != nil:
	case a.code/10 != 25:
		err = a.reply()
	case l.r.Buffered() > 0:
		err = fmt.Errorf("%w: more than one reply", errBadReply)
	default:
		l.proven = true
		return nil
	}
	return l.fail(ctx, "BDAT", err)
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

// A nothing is at its end.
type nothing struct{}

func (nothing) Next() ([]byte, error) { return nil, io.EOF }

func (r *resumed) Next() ([]byte, error) {
	for len(r.first) > 0 {
		p := r.first[0]
		if r.first = r.first[1:]; len(p) > 0 {
			return p, nil
		}
	}
	return r.rest.Next()
}
