package mail

import (
	"bytes"
	"io"
)

// Open returns a reader from the start. It is for one goroutine and needs no closing
// when it was read to its end or error; else call its Close.
func (b *Body) Open() *Reader {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readers++
	return &Reader{b: b}
}

// A Reader reads a Body from its start, waiting where the body is still arriving.
type Reader struct {
	b    *Body
	off  int64
	rest []byte
	buf  []byte // for a spilled body
	done bool
}

// Next returns the next run of bytes, valid until the next call of Next or Read,
// at most 64 KiB; io.EOF after the true end, else what Finish was given.
func (r *Reader) Next() ([]byte, error) {
	if len(r.rest) > 0 {
		p := r.rest
		r.rest = nil
		return p, nil
	}
	b := r.b
	b.mu.Lock()
	defer b.mu.Unlock()
	for r.off == b.size && b.end == nil {
		b.more.Wait()
	}
	if b.closed {
		r.leave()
		return nil, ErrClosed
	}
	if r.off == b.size {
		r.leave()
		return nil, b.end
	}
	n := b.size - r.off
	if b.file == nil {
		i, at := chunkOf(r.off)
		c := (*b.chunks[i])[at:]
		n = min(n, int64(len(c)))
		r.off += n
		return c[:n:n], nil
	}
	if r.buf == nil {
		r.buf = make([]byte, chunkSize)
	}
	p := r.buf[:min(n, chunkSize)]
	if _, err := b.file.ReadAt(p, r.off); err != nil { // page cache: written a moment ago
		r.leave()
		return nil, err
	}
	r.off += int64(len(p))
	return p, nil
}

// leave is called with b.mu held.
func (r *Reader) leave() {
	if !r.done {
		r.done = true
		r.b.readers--
	}
}

// Close lets the body reuse its memory; the reader must not be used afterwards.
func (r *Reader) Close() error {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	r.leave()
	return nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		q, err := r.Next()
		if err != nil {
			return 0, err
		}
		r.rest = q
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// WriteTo implements io.WriterTo without copying.
func (r *Reader) WriteTo(w io.Writer) (n int64, err error) {
	for {
		p, err := r.Next()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		m, err := w.Write(p)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
}

// Header waits for the end of the header section and returns it, parsed once for
// all who ask, within DefaultHeaderLimits (Header.Over tells that more is there).
// The error is that of a body that broke off.
func (b *Body) Header() (*Header, error) {
	b.headOnce.Do(func() { b.head, b.headErr = b.readHeader() })
	return b.head, b.headErr
}

func (b *Body) readHeader() (*Header, error) {
	r := b.Open()
	defer r.Close()
	var own []byte
	for {
		p, err := r.Next()
		if err != nil && err != io.EOF {
			return nil, err
		}
		if own == nil { // mostly all of it, with more behind that need not be copied
			if end := HeaderEnd(p, 0); end >= 0 {
				return ParseHeader(bytes.Clone(p[:end]), DefaultHeaderLimits()), nil
			}
		}
		from := len(own)
		own = append(own, p...)
		end := HeaderEnd(own, from)
		if end < 0 && err == nil && len(own) <= DefaultHeaderLimits().Bytes {
			continue
		}
		if end < 0 {
			end = len(own)
		}
		return ParseHeader(own[:end:end], DefaultHeaderLimits()), nil
	}
}

// Skip passes over the next n bytes of a finished body.
func (r *Reader) Skip(n int64) {
	k := min(n, int64(len(r.rest)))
	r.rest = r.rest[k:]
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	r.off = min(r.off+n-k, r.b.size)
}
