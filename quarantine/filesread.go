package quarantine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Raw gives the file of a message as it is.
func (b *files) Raw(ctx context.Context, id string) (io.ReadCloser, error) {
	if !validID(id) {
		return nil, fmt.Errorf("open message: %q: %w", id, fs.ErrNotExist)
	}
	_, name := place(id)
	f, err := b.fs.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open message: %w", err)
	}
	return f, nil
}

// Open gives the bytes that Put was given; damage that zstd sees is ErrCorrupt.
func (b *files) Open(ctx context.Context, id string) (io.ReadCloser, error) {
	f, err := b.Raw(ctx, id)
	if err != nil {
		return nil, err
	}
	return b.unpack(f)
}

func (b *files) unpack(f io.ReadCloser) (io.ReadCloser, error) {
	in := &source{r: f}
	var err error
	dec, ok := b.decoders.Get().(*zstd.Decoder)
	if ok {
		err = dec.Reset(in)
	} else {
		dec, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open message: %w", err)
	}
	return &unpacker{b: b, f: f, in: in, dec: dec}, nil
}

type unpacker struct {
	b   *files
	f   io.Closer
	in  *source
	dec *zstd.Decoder // nil once closed
}

func (u *unpacker) Read(p []byte) (int, error) {
	if u.dec == nil {
		return 0, fs.ErrClosed
	}
	n, err := u.dec.Read(p)
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case u.in.err != nil:
		return n, fmt.Errorf("read message: %w", u.in.err)
	}
	return n, fmt.Errorf("%w: %w", ErrCorrupt, err)
}

func (u *unpacker) Close() error {
	if u.dec == nil {
		return nil
	}
	u.dec.Reset(nil)
	u.b.decoders.Put(u.dec)
	u.dec = nil
	return u.f.Close()
}

// source tells the disk's errors from zstd's.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// verified ends with ErrCorrupt instead of io.EOF when the bytes are not those that were
// received: length and hash are known only at the end, so act on nothing before it.
type verified struct {
	io.ReadCloser
	sum  hash.Hash
	left int64
	want string
}

func verify(r io.ReadCloser, size int64, sum string) *verified {
	return &verified{ReadCloser: r, sum: sha256.New(), left: size, want: sum}
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.left -= int64(n)
	if v.left < 0 {
		return 0, fmt.Errorf("%w: longer than what was received", ErrCorrupt)
	}
	v.sum.Write(p[:n])
	if err != io.EOF {
		return n, err
	}
	if v.left > 0 {
		return n, fmt.Errorf("%w: %d bytes are missing", ErrCorrupt, v.left)
	}
	if hex.EncodeToString(v.sum.Sum(nil)) != v.want {
		return n, fmt.Errorf("%w: the hash differs", ErrCorrupt)
	}
	return n, io.EOF
}

func (b *files) Delete(ctx context.Context, id string) error {
	if !validID(id) {
		return nil
	}
	_, name := place(id)
	if err := b.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove message file: %w", err)
	}
	return nil
}

func (b *files) Forget(ids []string) error {
	synced := map[string]bool{}
	for _, id := range ids {
		dir, _ := place(id)
		if synced[dir] {
			continue
		}
		synced[dir] = true
		if err := b.fs.SyncDir(dir); err != nil {
			return b.distrust("sync message folder", err)
		}
	}
	return nil
}

func (b *files) Stat(ctx context.Context, id string) (changed time.Time, ok bool, err error) {
	if !validID(id) {
		return changed, false, nil
	}
	_, name := place(id)
	_, changed, err = b.fs.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return changed, false, nil
	}
	return changed, err == nil, err
}

const walkChunk = 500

func (b *files) Walk(ctx context.Context, fn func(ids []string) error) error {
	for _, dir := range strings.Split(shards, "") {
		names, err := b.fs.List(dir)
		if err != nil {
			return fmt.Errorf("list messages: %w", err)
		}
		var ids []string
		for _, name := range names {
			if id, ok := strings.CutSuffix(name, suffix); ok && validID(id) {
				ids = append(ids, id)
			}
		}
		for len(ids) > 0 {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			n := min(len(ids), walkChunk)
			if err := fn(ids[:n]); err != nil {
				return err
			}
			ids = ids[n:]
		}
	}
	return nil
}

func (b *files) SetAside(ctx context.Context, id string) error {
	_, name := place(id)
	if err := b.fs.Rename(name, aside+"/"+id+suffix); err != nil {
		return fmt.Errorf("set message file aside: %w", err)
	}
	return nil
}

func (b *files) Clean(ctx context.Context, partials, asides time.Time) (n int, err error) {
	for _, dir := range append(strings.Split(shards, ""), aside) {
		if err := context.Cause(ctx); err != nil {
			return n, err
		}
		names, err := b.fs.List(dir)
		if err != nil {
			return n, fmt.Errorf("list messages: %w", err)
		}
		for _, name := range names {
			before := asides
			if strings.HasSuffix(name, suffix+partial) {
				before = partials
			} else if dir != aside {
				continue
			}
			name = dir + "/" + name
			_, changed, err := b.fs.Stat(name)
			if err != nil || changed.After(before) {
				continue
			}
			if err := b.fs.Remove(name); err != nil {
				return n, fmt.Errorf("remove left-over file: %w", err)
			}
			n++
		}
	}
	return n, nil
}
