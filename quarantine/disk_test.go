package quarantine_test

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"path"
	"strings"
	"sync"
	"time"

	"postern/quarantine"
)

// A memory disk forgets at a power cut what was not synced: bytes of files, and names in
// folders.
type memory struct {
	mu      sync.Mutex
	now     func() time.Time
	names   map[string]*inode // as programs see them
	durable map[string]*inode // as they are after a power cut
}

type inode struct {
	data, synced []byte
	changed      time.Time
	dir          bool
}

func newMemory(now func() time.Time) *memory {
	root := &inode{dir: true}
	return &memory{now: now, names: map[string]*inode{".": root}, durable: map[string]*inode{".": root}}
}

// cut is the power cut.
func (m *memory) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names = maps.Clone(m.durable)
	for name, n := range m.names {
		n.data = append([]byte(nil), n.synced...)
		if dir := path.Dir(name); m.names[dir] == nil {
			delete(m.names, name) // its folder was never on disk
		}
	}
}

func missing(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

func (m *memory) add(name string, n *inode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.names[name] != nil:
		return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	case m.names[path.Dir(name)] == nil:
		return missing("create", name)
	}
	m.names[name] = n
	return nil
}

func (m *memory) Create(name string) (quarantine.File, error) {
	n := &inode{changed: m.now()}
	return &memoryFile{m, n}, m.add(name, n)
}

func (m *memory) Mkdir(name string) error { return m.add(name, &inode{dir: true}) }

func (m *memory) Open(name string) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[name]
	if n == nil {
		return nil, missing("open", name)
	}
	return io.NopCloser(strings.NewReader(string(n.data))), nil
}

func (m *memory) Rename(old, new string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[old]
	if n == nil {
		return missing("rename", old)
	}
	delete(m.names, old)
	m.names[new] = n
	return nil
}

func (m *memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names[name] == nil {
		return missing("remove", name)
	}
	delete(m.names, name)
	return nil
}

func (m *memory) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.durable {
		if path.Dir(name) == dir && name != "." && m.names[name] == nil {
			delete(m.durable, name)
		}
	}
	for name, n := range m.names {
		if path.Dir(name) == dir {
			m.durable[name] = n
		}
	}
	return nil
}

func (m *memory) List(dir string) (names []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.names {
		if path.Dir(name) == dir && name != "." {
			names = append(names, path.Base(name))
		}
	}
	return names, nil
}

func (m *memory) Stat(name string) (int64, time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[name]
	if n == nil {
		return 0, time.Time{}, missing("stat", name)
	}
	return int64(len(n.data)), n.changed, nil
}

func (m *memory) Free() (int64, error) { return 1 << 40, nil }
func (m *memory) Close() error         { return nil }

type memoryFile struct {
	m *memory
	n *inode
}

func (f *memoryFile) Write(p []byte) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.n.data = append(f.n.data, p...)
	return len(p), nil
}

func (f *memoryFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.n.synced = append([]byte(nil), f.n.data...)
	return nil
}

func (f *memoryFile) Close() error { return nil }

// errStopped is what every access gets once the process is "killed".
var errStopped = errors.New("killed")

// A faulty disk lets one access fail, the n-th from arm on; with stop all later ones too, as
// if the process had been killed there.
type faulty struct {
	quarantine.FS
	mu    sync.Mutex
	left  int // accesses until it fails; negative: never
	stop  bool
	err   error
	hit   string
	count int
}

func (f *faulty) arm(n int, err error, stop bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.err, f.stop, f.hit, f.count = n, err, stop, "", 0
}

func (f *faulty) step(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.hit != "" && f.stop {
		return f.err
	}
	f.left--
	if f.left != -1 {
		return nil
	}
	f.hit = what
	return f.err
}

func (f *faulty) Create(name string) (quarantine.File, error) {
	if err := f.step("create"); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{file, f}, nil
}

func (f *faulty) Rename(old, new string) error {
	if err := f.step("rename"); err != nil {
		return err
	}
	return f.FS.Rename(old, new)
}

func (f *faulty) Remove(name string) error {
	if err := f.step("remove"); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

func (f *faulty) SyncDir(name string) error {
	if err := f.step("sync folder"); err != nil {
		return err
	}
	return f.FS.SyncDir(name)
}

func (f *faulty) Free() (int64, error) {
	if err := f.step("free"); err != nil {
		return 0, err
	}
	return f.FS.Free()
}

type faultyFile struct {
	quarantine.File
	f *faulty
}

func (w *faultyFile) Write(p []byte) (int, error) {
	if err := w.f.step("write"); err != nil {
		n, _ := w.File.Write(p[:len(p)/2])
		return n, err
	}
	return w.File.Write(p)
}

func (w *faultyFile) Sync() error {
	if err := w.f.step("sync file"); err != nil {
		return err
	}
	return w.File.Sync()
}

func (w *faultyFile) Close() error {
	err := w.File.Close()
	if e := w.f.step("close"); e != nil {
		return e
	}
	return err
}
