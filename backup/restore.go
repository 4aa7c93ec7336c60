package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"postern/store"
)

// Errors that callers tell apart.
var (
	ErrNotEmpty = errors.New("the folder is not empty")
	ErrDamaged  = errors.New("the archive is damaged, or not whole")
	ErrForeign  = errors.New("this is no backup of postern")
	ErrNewer    = errors.New("the backup was made by a newer postern")
)

// Read restores an archive into a folder that is empty or missing. Everything is compared with the
// sums in the archive and synced before the database gets its name. After an error nothing stays.
func Read(ctx context.Context, r io.Reader, dir string) (Report, error) {
	rep := Report{Damaged: []string{}}
	made, err := vacant(dir)
	if err != nil {
		return rep, fmt.Errorf("restore: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return rep, fmt.Errorf("restore: %w", err)
	}
	defer root.Close()
	if err := (&reader{ctx: ctx, tar: tar.NewReader(r), root: root, rep: &rep}).all(); err != nil {
		return rep, fmt.Errorf("restore: %w", errors.Join(err, clear(dir, made)))
	}
	return rep, nil
}

// vacant makes the folder, or sees that nothing is in it.
func vacant(dir string) (made bool, err error) {
	there, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, os.MkdirAll(dir, 0o700)
	}
	there = slices.DeleteFunc(there, func(e fs.DirEntry) bool { return e.Name() == lostFound })
	if err == nil && len(there) > 0 {
		err = fmt.Errorf("%w: %s has %s: name another one, or move what is there away", ErrNotEmpty, dir, there[0].Name())
	}
	return false, err
}

// clear removes what a failed restore wrote.
func clear(dir string, made bool) error {
	if made {
		return os.RemoveAll(dir)
	}
	there, err := os.ReadDir(dir)
	for _, e := range there {
		if e.Name() == lostFound {
			continue
		}
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// A reader takes an archive apart.
type reader struct {
	ctx  context.Context
	tar  *tar.Reader
	root *os.Root
	rep  *Report
	sums *os.File // what we counted, as the archive should list it
	seen bool     // the database
}

// messageName is how messages are called: the folder is the last letter of the id.
var messageName = regexp.MustCompile(`^` + store.Messages + `/([0-9A-Z])/[0-9A-Z]{25}([0-9A-Z])(-[0-9]{1,4})?\.eml\.zst$`)

const (
	unnamed  = store.File + ".restoring" // the database, until all is well
	ownSums  = sumsFile + ".restoring"
	maxAbout = 64 << 10
)

func (r *reader) all() (err error) {
	if r.sums, err = r.root.OpenFile(ownSums, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err != nil {
		return err
	}
	defer r.sums.Close()
	if err := r.about(); err != nil {
		return err
	}
	for {
		h, err := r.next()
		if err != nil {
			return err
		}
		if h.Name == sumsFile {
			break
		}
		if err := r.entry(h); err != nil {
			return err
		}
	}
	if err := r.compare(); err != nil {
		return err
	}
	if !r.seen {
		return fmt.Errorf("%w: it has no database", ErrDamaged)
	}
	return r.finish()
}

// next is the next entry: files only.
func (r *reader) next() (*tar.Header, error) {
	if err := context.Cause(r.ctx); err != nil {
		return nil, err
	}
	h, err := r.tar.Next()
	switch {
	case err == io.EOF:
		return nil, fmt.Errorf("%w: it ends before its last entry", ErrDamaged)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	case h.Typeflag != tar.TypeReg:
		return nil, fmt.Errorf("%w: %q is no file", ErrForeign, h.Name)
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") { // a few bytes would be as many as they like on disk
			return nil, fmt.Errorf("%w: %q has holes", ErrForeign, h.Name)
		}
	}
	return h, nil
}

// about reads the first entry.
func (r *reader) about() error {
	h, err := r.tar.Next()
	if err != nil || h.Name != aboutFile || h.Size > maxAbout {
		return ErrForeign
	}
	text, err := io.ReadAll(r.tar)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := json.Unmarshal(text, &r.rep.About); err != nil || r.rep.Format < 1 {
		return ErrForeign
	}
	if r.rep.Format > format {
		return fmt.Errorf("%w (%s): restore it with that one", ErrNewer, r.rep.Version)
	}
	sum := sha256.Sum256(text)
	_, err = r.sums.WriteString(sumLine(sum[:], aboutFile))
	return err
}

// entry writes one file. A name that is no file of ours is refused, and one that comes twice.
func (r *reader) entry(h *tar.Header) error {
	name := h.Name
	switch m := messageName.FindStringSubmatch(name); {
	case name == store.File:
		name, r.seen = unnamed, true
	case m != nil && m[1] == m[2]:
		r.rep.Messages++
	case !extra(name) || h.Size > maxSmall:
		return fmt.Errorf("%w: %q has no place in a data folder", ErrForeign, h.Name)
	}
	if err := r.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := r.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), source{r.ctx, r.tar})
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: it ends in %s", ErrDamaged, h.Name)
		}
		return err
	}
	r.rep.Bytes += n
	_, err = r.sums.WriteString(sumLine(sum.Sum(nil), h.Name))
	return err
}

// source ends with its context.
type source struct {
	ctx context.Context
	r   io.Reader
}

func (s source) Read(p []byte) (int, error) {
	if err := context.Cause(s.ctx); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// compare holds the archive's list against ours, line by line.
func (r *reader) compare() error {
	if _, err := r.sums.Seek(0, io.SeekStart); err != nil {
		return err
	}
	ours, theirs := bufio.NewReader(r.sums), bufio.NewReader(r.tar)
	for {
		a, aerr := ours.ReadSlice('\n')
		b, berr := theirs.ReadSlice('\n')
		if !bytes.Equal(a, b) || aerr != berr {
			_, name, _ := bytes.Cut(bytes.TrimSpace(a), []byte("  "))
			return fmt.Errorf("%w: the sum of %q is not that in its list", ErrDamaged, name)
		}
		if aerr == io.EOF {
			break
		}
		if aerr != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, aerr)
		}
	}
	if _, err := r.tar.Next(); err != io.EOF {
		return fmt.Errorf("%w: something stands behind its last entry", ErrForeign)
	}
	return nil
}

// finish has everything on disk before the database gets its name.
func (r *reader) finish() error {
	if err := r.root.Remove(ownSums); err != nil {
		return err
	}
	top, err := r.root.Open(".")
	if err != nil {
		return err
	}
	defer top.Close()
	if err := unix.Syncfs(int(top.Fd())); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	if err := r.root.Rename(unnamed, store.File); err != nil {
		return err
	}
	return top.Sync()
}
