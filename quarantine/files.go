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
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"postern/store"
)

const (
	suffix  = ".eml.zst"
	partial = ".tmp"
	aside   = "aside" // files without a row, out of the way
	// shards are folders: one for each last letter of an id, which is random in a ULID.
	shards = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)

// A Blob is what Put found out about a message.
type Blob struct {
	Size   int64  // bytes as received
	SHA256 string // of them, hex
	Stored int64  // bytes on disk
}

// Blobs keep messages by id. A message is there as a whole or not at all.
type Blobs interface {
	Put(ctx context.Context, id string, r io.Reader) (Blob, error) // durable when it returns
	Open(ctx context.Context, id string) (io.ReadCloser, error)    // fs.ErrNotExist when there is none
	Raw(ctx context.Context, id string) (io.ReadCloser, error)     // as it lies there, for a backup
	Delete(ctx context.Context, id string) error                   // nil when there is none
	Forget(ids []string) error                                     // no power cut brings them back, which Delete removed
	Stat(ctx context.Context, id string) (changed time.Time, ok bool, err error)
	Walk(ctx context.Context, fn func(ids []string) error) error              // all of them, some at a time
	SetAside(ctx context.Context, id string) error                            // out of Walk's way, until Clean
	Clean(ctx context.Context, partials, asides time.Time) (n int, err error) // removes half-written files and set-aside ones that are older
	Free() (int64, error)
	Err() error // why nothing can be put any more
	Close() error
}

// files are Blobs in a folder: ID.eml.zst, readable with zstd -d.
type files struct {
	fs       FS
	encoders sync.Pool
	decoders sync.Pool
	failed   atomic.Pointer[error]
}

func newFiles(f FS) (*files, error) {
	b := &files{fs: f}
	for _, dir := range append(strings.Split(shards, ""), aside) {
		if err := f.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make folder %s: %w", dir, err)
		}
	}
	// The folders must be on disk before any message in them is: also those that a process
	// made which did not live to sync them.
	if err := f.SyncDir("."); err != nil {
		return nil, fmt.Errorf("sync folder: %w", err)
	}
	return b, nil
}

// validID accepts a ULID, perhaps with -2, -3 …: names are ours, never from a message.
func validID(id string) bool {
	base, n, numbered := strings.Cut(id, "-")
	if len(base) != 26 || numbered && (n == "" || len(n) > 4 || strings.Trim(n, "0123456789") != "") {
		return false
	}
	return strings.Trim(base, shards) == ""
}

func place(id string) (dir, name string) {
	return id[25:26], id[25:26] + "/" + id + suffix
}

// Put writes beside, syncs, renames and syncs the folder. A failed sync stops the store for
// good: the kernel may have dropped what it could not write, and says so only once.
func (b *files) Put(ctx context.Context, id string, r io.Reader) (Blob, error) {
	if !validID(id) {
		return Blob{}, fmt.Errorf("store message: %q is no id of ours", id)
	}
	if err := b.Err(); err != nil {
		return Blob{}, err
	}
	dir, name := place(id)
	tmp := name + partial
	f, err := b.fs.Create(tmp)
	if err != nil {
		return Blob{}, b.wrap("create message file", err)
	}
	blob, err := b.fill(ctx, f, r)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = b.wrap("close message file", cerr)
	}
	if err != nil {
		b.fs.Remove(tmp)
		return Blob{}, err
	}
	if err := b.fs.Rename(tmp, name); err != nil {
		b.fs.Remove(tmp)
		return Blob{}, b.wrap("rename message file", err)
	}
	if err := b.fs.SyncDir(dir); err != nil {
		b.fs.Remove(name)
		return Blob{}, b.distrust("sync message folder", err)
	}
	return blob, nil
}

func (b *files) fill(ctx context.Context, f File, r io.Reader) (Blob, error) {
	out := &counter{w: f}
	enc, err := b.encoder(out)
	if err != nil {
		return Blob{}, err
	}
	in := intake{ctx: ctx, sum: sha256.New(), enc: enc}
	_, err = io.Copy(&in, r)
	if err == nil {
		err = enc.Close()
	}
	enc.Reset(nil)
	b.encoders.Put(enc)
	switch {
	case out.err != nil:
		return Blob{}, b.wrap("write message file", out.err)
	case err != nil:
		return Blob{}, fmt.Errorf("read the message: %w", err)
	}
	if err := f.Sync(); err != nil {
		return Blob{}, b.distrust("sync message file", err)
	}
	return Blob{Size: in.n, SHA256: hex.EncodeToString(in.sum.Sum(nil)), Stored: out.n}, nil
}

func (b *files) encoder(w io.Writer) (*zstd.Encoder, error) {
	if enc, ok := b.encoders.Get().(*zstd.Encoder); ok {
		enc.Reset(w)
		return enc, nil
	}
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(window))
}

const window = 1 << 20 // bytes zstd looks back, and the memory it takes

// wrap names the step; errors.Is finds ErrFull in it.
func (b *files) wrap(step string, err error) error {
	if store.NoRoom(err) {
		return fmt.Errorf("%s: %w: %w", step, ErrFull, err)
	}
	return fmt.Errorf("%s: %w", step, err)
}

// distrust is for a failed sync. No room is said before anything is lost; everything else
// leaves in doubt what the disk holds.
func (b *files) distrust(step string, err error) error {
	if store.NoRoom(err) {
		return b.wrap(step, err)
	}
	failed := fmt.Errorf("%s: %w: %w", step, ErrFailed, err)
	b.failed.CompareAndSwap(nil, &failed)
	return failed
}

func (b *files) Err() error {
	if p := b.failed.Load(); p != nil {
		return *p
	}
	return nil
}

func (b *files) Free() (int64, error) { return b.fs.Free() }
func (b *files) Close() error         { return b.fs.Close() }

// intake hashes and compresses.
type intake struct {
	ctx context.Context
	sum hash.Hash
	enc *zstd.Encoder
	n   int64
}

func (in *intake) Write(p []byte) (int, error) {
	if err := context.Cause(in.ctx); err != nil {
		return 0, err
	}
	in.sum.Write(p)
	in.n += int64(len(p))
	return in.enc.Write(p)
}

// counter counts what reaches the file, and remembers that file's error.
type counter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	if err != nil {
		c.err = err
	}
	return n, err
}
