package gateway

import (
	"bytes"
	"errors"
	"sync"
)

// errBareNewline is a message that cannot be sent: between two servers, a CR or LF that
// stands alone may be read as the end of the message (RFC 5321 2.3.8).
var errBareNewline = errors.New("the message has a bare CR or LF")

const outBlock = 64 << 10

var outBlocks = sync.Pool{New: func() any { b := make([]byte, 0, outBlock); return &b }}

// A dotWriter writes a message as DATA wants it (RFC 5321 4.5.2), in blocks of 64 KiB.
// A small message, its end included, is one block. Lines end in CRLF or nothing of the
// offending block is written.
type dotWriter struct {
	flush func(p []byte) error
	out   *[]byte
	cr    bool // a CR is held back: its LF is in the next block
	mid   bool // not at the start of a line
}

func newDotWriter(flush func(p []byte) error) *dotWriter {
	w := &dotWriter{flush: flush, out: outBlocks.Get().(*[]byte)}
	*w.out = (*w.out)[:0]
	return w
}

// free gives the block back; the writer must not be used afterwards.
func (w *dotWriter) free() { outBlocks.Put(w.out); w.out = nil }

// write takes the next bytes of the message, of any length; it keeps none of p.
func (w *dotWriter) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if w.cr {
		if p[0] != '\n' {
			return errBareNewline
		}
		if err := w.put([]byte("\r\n")); err != nil {
			return err
		}
		p, w.cr, w.mid = p[1:], false, false
	}
	if n := len(p); n > 0 && p[n-1] == '\r' {
		p, w.cr = p[:n-1], true
	}
	if len(p) == 0 {
		return nil
	}
	dots, ok := checkLines(p)
	if !ok {
		return errBareNewline
	}
	if !w.mid && p[0] == '.' {
		if err := w.put([]byte(".")); err != nil {
			return err
		}
	}
	w.mid = p[len(p)-1] != '\n'
	for dots {
		i := bytes.Index(p, []byte("\n."))
		if i < 0 {
			break
		}
		if err := w.put(p[:i+2]); err != nil {
			return err
		}
		p = p[i+1:] // the dot again
	}
	return w.put(p)
}

// checkLines reports whether CR and LF come only as CRLF in p, which begins after a
// whole one or in a line, and whether a line after the first begins with a dot. (When
// each LF has a CR before it and there are as many of both, no CR is left over.)
func checkLines(p []byte) (dots, ok bool) {
	if bytes.Count(p, []byte("\r")) != bytes.Count(p, []byte("\n")) {
		return false, false
	}
	for {
		i := bytes.IndexByte(p, '\n')
		switch {
		case i < 0:
			return dots, true
		case i == 0 || p[i-1] != '\r':
			return false, false
		}
		if p = p[i+1:]; len(p) > 0 && p[0] == '.' {
			dots = true
		}
	}
}

// end completes the last line and writes the end of data.
func (w *dotWriter) end() error {
	if w.cr {
		return errBareNewline
	}
	end := "\r\n.\r\n"
	if !w.mid {
		end = end[2:]
	}
	if err := w.put([]byte(end)); err != nil {
		return err
	}
	return w.flush(*w.out)
}

// put copies p out, writing each time the block is full.
func (w *dotWriter) put(p []byte) error {
	for len(p) > 0 {
		b := *w.out
		n := copy(b[len(b):cap(b)], p)
		*w.out = b[:len(b)+n]
		if p = p[n:]; len(p) > 0 {
			if err := w.flush(*w.out); err != nil {
				return err
			}
			*w.out = b[:0]
		}
	}
	return nil
}
