package gateway

import (
	"cmp"
	"errors"
	"io"
	"strconv"
	"strings"
)

// CHUNKING (RFC 3030). The chunks of a message are one body to the flow: between two of them
// the body says the reply to the one and reads the command of the next. To go-smtp all of that
// is one DATA.

var errChunks = errors.New("client gave up between two chunks")

// chunks is where a body is that comes by BDAT.
type chunks struct {
	a    *adapter
	left int64 // of the chunk under way
	last bool  // it is the last one
	tiny int   // chunks that were hardly worth their command
	cr   bool  // a CR ended the chunk before: is there a LF behind it?
	over bool  // the message was given up, and what ended it has a reply of its own
}

// Each chunk costs the work of a command. A message of the size limit may have as many of
// tinyChunk bytes as fill it, but only so many of less.
const (
	tinyChunk     = 1 << 10
	maxTinyChunks = 1000
)

// parseChunk reads the arguments of BDAT: chunk-size [LAST].
func parseChunk(arg string) (size int64, last, ok bool) {
	words := strings.Fields(arg)
	if len(words) == 0 || len(words) > 2 || len(words) == 2 && !strings.EqualFold(words[1], "LAST") || strings.Trim(words[0], "0123456789") != "" {
		return 0, false, false
	}
	size, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		return 0, false, false
	}
	return size, len(words) == 2, true
}

// cmdBDAT begins a message with its first chunk. What is refused is read all the same, so that
// none of it is taken for commands.
func (a *adapter) cmdBDAT(arg string) bool {
	size, last, ok := parseChunk(arg)
	if !a.front.cfg.Chunking {
		a.w.expel("503 5.5.1 CHUNKING is not offered", errProtocol)
		return false
	}
	if !ok {
		a.w.refuse("501 5.5.4 Syntax: BDAT size [LAST]")
		return false
	}
	c := &chunks{a: a, left: size, last: last}
	switch {
	case a.tx == nil || !a.ext.esmtp:
		c.refuse("503 5.5.1 Say MAIL first")
		return false
	case a.tried == 0:
		c.refuse("503 5.5.1 Say RCPT first")
		return false
	}
	if r := a.tx.ready(); r != nil {
		if c.skip(); a.w.dead == nil {
			a.reply(r)
		}
		return false
	}
	a.chunks = c
	return a.put("DATA")
}

// refuse reads the chunk and refuses it.
func (c *chunks) refuse(reply string) {
	if c.skip(); c.a.w.dead == nil {
		c.a.w.refuse(reply)
	}
}

// skip reads a chunk that nobody wants.
func (c *chunks) skip() {
	b := c.a.w.newBody(cmp.Or(c.a.limit, max(c.a.front.cfg.Limits.MessageSize, 0)), false) // there is a limit before EHLO, too
	b.chunks = c
	b.drainChunk()
	if c.a.w.dead == errTooMuch {
		c.a.w.say("552 5.3.4 Message exceeds the size limit")
	}
}

// drainChunk reads what is left of the chunk under way, when that is within b.most.
func (b *body) drainChunk() {
	c, w := b.chunks, b.w
	if b.most > 0 && c.left > b.most-b.taken {
		_ = w.die(errTooMuch)
		return
	}
	for c.left > 0 && b.need(1) == nil {
		n := min(c.left, int64(w.e-w.r))
		w.r += int(n)
		c.left -= n
		b.taken += n
	}
}

// chunk is scan for a body in chunks: no byte ends it but the last of the last chunk, and dots
// are dots. A CR and its LF are given together, even where they came in two chunks.
func (b *body) chunk() ([]byte, error) {
	c, w := b.chunks, b.w
	for {
		if c.left == 0 {
			if err := b.nextChunk(); err != nil {
				return nil, err
			}
			if c.left == 0 && !(c.last && c.cr) {
				continue
			}
		}
		if b.limit > 0 && c.left > b.limit-b.taken { // said to be, before it is read
			return nil, errTooBig
		}
		if c.cr {
			return b.afterCR()
		}
		if err := b.need(1); err != nil {
			return nil, err
		}
		n := b.run(w.buf[w.r : w.r+int(min(c.left, int64(w.e-w.r)))])
		switch {
		case n == 0 && c.left == 1:
			c.cr = true
			w.r++
			c.left--
			b.taken++
			continue
		case n == 0: // a CR, and what follows it not there yet
			if err := b.need(2); err != nil {
				return nil, err
			}
			continue
		}
		p := w.buf[w.r : w.r+n]
		w.r += n
		c.left -= int64(n)
		b.taken += int64(n)
		return p, nil
	}
}

// afterCR gives the CR that ended a chunk, with the LF that begins the next one.
func (b *body) afterCR() ([]byte, error) {
	c, w := b.chunks, b.w
	if c.left > 0 {
		if err := b.need(1); err != nil {
			return nil, err
		}
	}
	c.cr = false
	if c.left > 0 && w.buf[w.r] == '\n' {
		w.r++
		c.left--
		b.taken++
		return crlf, nil
	}
	b.bareCR = true
	return crlf[:1], nil
}

// nextChunk ends the message after its last chunk (io.EOF), or goes on to the next one.
func (b *body) nextChunk() error {
	c, w := b.chunks, b.w
	if c.last {
		if c.cr {
			return nil
		}
		b.ended = true
		return io.EOF
	}
	w.say("250 2.0.0 Chunk taken")
	if c.tiny > maxTinyChunks {
		w.expel("421 4.7.0 "+w.host+" Too many small chunks", errChatter)
	}
	for {
		line, ok, err := w.line()
		if err != nil {
			_ = w.flush()
			c.over = true
			return b.broken(err)
		}
		if !ok {
			continue
		}
		verb, arg, _ := strings.Cut(string(line), " ")
		switch verb = strings.ToUpper(verb); verb {
		case "BDAT":
			if c.left, c.last, ok = parseChunk(arg); !ok {
				w.refuse("501 5.5.4 Syntax: BDAT size [LAST]") // with a hole in it the message is none
				c.over = true
				return b.broken(errProtocol)
			}
			if w.grow(); c.left < tinyChunk {
				c.tiny++
			}
			return nil
		case "RSET", "EHLO", "HELO", "QUIT":
			c.over = true
			c.a.pending = string(line)
			return b.broken(errChunks)
		case "NOOP":
			if w.chatter() {
				w.say("250 2.0.0 Ok")
			}
		default:
			w.refuse("503 5.5.1 A message is under way in chunks")
		}
	}
}
