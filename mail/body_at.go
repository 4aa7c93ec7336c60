package mail

import "io"

// Beside returns a new body from the same spool, for what is made of b. Close it.
func (b *Body) Beside() *Body { return b.spool.New() }

// ReadAt implements io.ReaderAt over what has arrived so far; behind it is io.EOF.
func (b *Body) ReadAt(p []byte, off int64) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, ErrClosed
	}
	if off < 0 || off >= b.size {
		return 0, io.EOF
	}
	whole := len(p)
	p = p[:min(int64(whole), b.size-off)]
	if b.file != nil {
		if n, err = b.file.ReadAt(p, off); n < len(p) {
			return n, err
		}
	} else {
		for n < len(p) {
			i, at := chunkOf(off + int64(n))
			n += copy(p[n:], (*b.chunks[i])[at:])
		}
	}
	if n < whole {
		return n, io.EOF
	}
	return n, nil
}
