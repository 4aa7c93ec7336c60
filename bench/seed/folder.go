package main

import (
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"postern/quarantine"
)

// A folder keeps the files of some messages and forgets the others: a million files would be
// most of the time, and none of what is measured. Nothing is synced.
type folder struct {
	root *os.Root

	mu   sync.Mutex
	kept map[string]bool // ids
}

func newFolder(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(filepath.Clean(dir))
	return &folder{root: root, kept: map[string]bool{}}, err
}

// keep says whether the file of a message is kept; before it is held.
func (f *folder) keep(id string, kept bool) {
	if kept {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.kept[id] = true
	}
}

func (f *folder) has(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, _, _ := strings.Cut(path.Base(name), ".")
	return f.kept[id]
}

// A nowhere takes what is forgotten.
type nowhere struct{ io.Writer }

func (nowhere) Close() error { return nil }
func (nowhere) Sync() error  { return nil }

func (f *folder) Create(name string) (quarantine.File, error) {
	if !f.has(name) {
		return nowhere{io.Discard}, nil
	}
	return f.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

func (f *folder) Rename(old, new string) error {
	if !f.has(old) {
		return nil
	}
	return f.root.Rename(old, new)
}

func (f *folder) Remove(name string) error {
	if !f.has(name) {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	return f.root.Remove(name)
}

func (f *folder) Open(name string) (io.ReadCloser, error) { return f.root.Open(name) }
func (f *folder) Mkdir(name string) error                 { return f.root.Mkdir(name, 0o700) }
func (f *folder) SyncDir(string) error                    { return nil }
func (f *folder) Free() (int64, error)                    { return 1 << 40, nil }
func (f *folder) Close() error                            { return f.root.Close() }

func (f *folder) List(dir string) ([]string, error) {
	d, err := f.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

func (f *folder) Stat(name string) (int64, time.Time, error) {
	st, err := f.root.Lstat(name)
	if err != nil {
		return 0, time.Time{}, err
	}
	return st.Size(), st.ModTime(), nil
}
