// Package policies keeps sets of rule files. It reads a folder as one whole, which it notices
// to have changed under its hands; it replaces a folder by another in one step, so that after
// a crash either the old set or the new one stands there; and it remembers every set that was
// in force, with who put it there, when and why. What the files mean it does not know.
package policies

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Errors that callers tell apart.
var (
	ErrEmpty  = errors.New("no *.yaml file")
	ErrMoving = errors.New("it is being written")
)

// Limits of a set.
const (
	maxFile  = 64 << 20
	maxTotal = 256 << 20
	maxFiles = 5000
	maxDepth = 10
)

// A Set is a folder of rule files as it was when it was read: each file is read once. The rule
// files (*.yaml in the folder itself) are read at once, others when they are asked for. It is
// for one goroutine.
type Set struct {
	dir   string
	files map[string]*file // by slash-separated path below dir
	names []string         // of the rule files, sorted
	all   []string         // of every file; nil when only what is asked for is read
	whole bool             // all of it is in memory, and no folder stands behind it
	total int64
}

// A file is one file as it was read.
type file struct {
	text []byte
	info fs.FileInfo // nil where no folder stands behind it
}

// Read reads the rule files of a folder. One that is missing because a crash interrupted its
// replacement is read where the swap left it.
func Read(dir string) (*Set, error) {
	s := &Set{dir: dir, files: map[string]*file{}}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(previous(place(dir))); err == nil {
			s.dir = previous(place(dir))
		}
	}
	names, err := ruleNames(s.dir)
	if err != nil {
		return nil, err
	}
	s.names = names
	for _, n := range names {
		text, err := s.Text(n)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !isLink(filepath.Join(s.dir, n)):
			return nil, fmt.Errorf("%s: %w", dir, ErrMoving)
		case err != nil:
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, n), err)
		case len(bytes.TrimSpace(text)) == 0: // as it is between the emptying and the writing
			return nil, fmt.Errorf("%s is empty: %w (remove it if it is to have no rules)", filepath.Join(dir, n), ErrMoving)
		}
	}
	return s, nil
}

// ruleNames lists the rule files of a folder. Hidden files are not among them: editors and
// version control put theirs beside.
func ruleNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		switch n := e.Name(); {
		case hidden(n):
		case strings.HasSuffix(n, ".yml"):
			return nil, fmt.Errorf("%s would not be read: rename it to .yaml", filepath.Join(dir, n))
		case strings.HasSuffix(n, ".yaml"):
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w in %s", ErrEmpty, dir)
	}
	slices.Sort(names)
	return names, nil
}

func isLink(name string) bool {
	i, err := os.Lstat(name)
	return err == nil && i.Mode()&fs.ModeSymlink != 0
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") }

// Dir is the folder that was read.
func (s *Set) Dir() string { return s.dir }

// Names lists the rule files, sorted.
func (s *Set) Names() []string { return slices.Clone(s.names) }

// Text gives a file of the set, the same each time. Its error has no path.
func (s *Set) Text(name string) ([]byte, error) {
	if f := s.files[name]; f != nil {
		return f.text, nil
	}
	switch {
	case !fs.ValidPath(name) || len(s.files) >= maxFiles:
		return nil, fs.ErrInvalid
	case s.whole:
		return nil, fs.ErrNotExist
	}
	f, err := readFile(filepath.Join(s.dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	if s.total += int64(len(f.text)); s.total > maxTotal {
		return nil, fmt.Errorf("the rule files are longer than %d MiB together", maxTotal>>20)
	}
	s.files[name] = f
	return f.text, nil
}

// readFile reads a regular file, and notices when it changes meanwhile.
func readFile(name string) (*file, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, bare(err)
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return nil, bare(err)
	}
	if !before.Mode().IsRegular() {
		return nil, errors.New("it is no file")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, bare(err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("it is longer than %d MiB", maxFile>>20)
	}
	after, err := f.Stat()
	if err != nil {
		return nil, bare(err)
	}
	if !same(before, after) || after.Size() != int64(len(text)) {
		return nil, ErrMoving
	}
	return &file{text, after}, nil
}

// bare leaves the path out.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// same reports whether a file is what it was. A writer that sets the time back is noticed by
// the time of change, which nobody can set.
func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && changed(a).Equal(changed(b))
}

// Changed tells whether the folder is no longer as it was read: ErrMoving, or nil.
func (s *Set) Changed() error {
	if s.whole {
		return nil
	}
	if s.all != nil {
		if all, err := walk(s.dir, "", 0); err != nil || !slices.Equal(all, s.all) {
			return ErrMoving
		}
	}
	names, err := ruleNames(s.dir)
	if err != nil || !slices.Equal(names, s.names) {
		return ErrMoving
	}
	for name, f := range s.files {
		now, err := os.Stat(filepath.Join(s.dir, filepath.FromSlash(name)))
		if err != nil || !same(f.info, now) {
			return ErrMoving
		}
	}
	return nil
}

// Newest is when one of the files that were read was last written or put in its place.
func (s *Set) Newest() (t time.Time) {
	for _, f := range s.files {
		if f.info == nil {
			continue
		}
		if c := changed(f.info); c.After(t) {
			t = c
		}
	}
	return t
}

// FS is the set as a file system in which files can be opened by name.
func (s *Set) FS() fs.FS { return setFS{s} }

type setFS struct{ s *Set }

func (f setFS) Open(name string) (fs.File, error) {
	text, err := f.s.Text(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &opened{name: path.Base(name), text: text, info: f.s.files[name].info}, nil
}

// An opened file is read from memory.
type opened struct {
	name string
	text []byte
	info fs.FileInfo
}

func (o *opened) Close() error { return nil }

func (o *opened) Stat() (fs.FileInfo, error) {
	if o.info == nil {
		return nil, fs.ErrInvalid
	}
	return o.info, nil
}

func (o *opened) Read(p []byte) (int, error) {
	if len(o.text) == 0 {
		return 0, io.EOF
	}
	n := copy(p, o.text)
	o.text = o.text[n:]
	return n, nil
}
