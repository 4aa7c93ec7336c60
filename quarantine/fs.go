package quarantine

import (
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// An FS is the folder of the messages: every access to the disk, so that a test can make
// each of them fail. Names are relative and have slashes.
type FS interface {
	Create(name string) (File, error) // a new file, mode 0600; fs.ErrExist when it is there
	Open(name string) (io.ReadCloser, error)
	Rename(old, new string) error
	Remove(name string) error
	Mkdir(name string) error   // mode 0700; fs.ErrExist when it is there
	SyncDir(name string) error // what was created, renamed and removed in it is on disk
	List(dir string) ([]string, error)
	Stat(name string) (size int64, changed time.Time, err error)
	Free() (int64, error) // bytes that may still be written
	Close() error
}

// A File is one that is being written.
type File interface {
	io.WriteCloser
	Sync() error
}

// disk is the real one. os.Root follows no link out of the folder.
type disk struct{ root *os.Root }

func openDisk(dir string) (*disk, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &disk{root}, nil
}

func (d *disk) Create(name string) (File, error) {
	return d.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

func (d *disk) Open(name string) (io.ReadCloser, error) { return d.root.Open(name) }
func (d *disk) Rename(old, new string) error            { return d.root.Rename(old, new) }
func (d *disk) Remove(name string) error                { return d.root.Remove(name) }
func (d *disk) Mkdir(name string) error                 { return d.root.Mkdir(name, 0o700) }
func (d *disk) Close() error                            { return d.root.Close() }

func (d *disk) SyncDir(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func (d *disk) List(dir string) ([]string, error) {
	f, err := d.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (d *disk) Stat(name string) (int64, time.Time, error) {
	st, err := d.root.Lstat(name)
	if err != nil {
		return 0, time.Time{}, err
	}
	if !st.Mode().IsRegular() {
		return 0, time.Time{}, &fs.PathError{Op: "stat", Path: path.Base(name), Err: fs.ErrInvalid}
	}
	return st.Size(), st.ModTime(), nil
}

func (d *disk) Free() (int64, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}
