package policies

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// previous and next are where the set before and the set to come stand, beside the folder.
func previous(dir string) string { return beside(dir, "previous") }
func next(dir string) string     { return beside(dir, "next") }

func beside(dir, what string) string {
	dir = filepath.Clean(dir)
	return filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+"."+what)
}

// place is the folder behind a name that is a link, also when a crash has left it out of its
// place.
func place(dir string) string {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real
	}
	to, err := os.Readlink(dir)
	if err != nil {
		return filepath.Clean(dir)
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(dir), to)
	}
	return to
}

// Swap replaces the folder dir by files, in one step: whoever reads it, and whoever comes after
// a crash, finds the old set or the new one. The set before stays beside it, as .NAME.previous.
// Owner and mode are those of the folder that is replaced.
func Swap(dir string, files Files) error { return swap(osDisk{}, dir, files) }

func swap(d disk, dir string, files Files) error {
	dir = place(dir)
	alone, err := lock(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer alone.Close()
	if err := recoverSwap(d, dir); err != nil {
		return err
	}
	like, err := os.Stat(dir)
	first := errors.Is(err, fs.ErrNotExist)
	if err != nil && !first {
		return err
	}
	if names := Hidden(dir); len(names) > 0 {
		return fmt.Errorf("%s holds %s, which a swap would take away: keep it elsewhere and apply from there", dir, names[0])
	}
	if err := stage(d, next(dir), files, like); err != nil {
		return fmt.Errorf("write the new set: %w", err)
	}
	if first {
		err = d.rename(next(dir), dir)
	} else {
		err = exchange(d, dir)
	}
	if err != nil {
		return fmt.Errorf("put the new set in its place: %w", err)
	}
	return d.sync(filepath.Dir(dir))
}

// lockTries and lockPause bound the wait for who swaps at this moment. A process that is just being
// started holds what its parent had open, too, until it runs its program.
const (
	lockTries = 20
	lockPause = 50 * time.Millisecond
)

// lock keeps others from swapping folders beside this one; close what it returns.
func lock(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for range lockTries {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != syscall.EWOULDBLOCK {
			break
		}
		time.Sleep(lockPause)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("somebody else is putting rules into %s: %w", dir, err)
	}
	return f, nil
}

// recoverSwap puts right what a crash left: a folder that is only beside its place.
func recoverSwap(d disk, dir string) error {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Lstat(previous(dir)); err != nil {
		return nil
	}
	if err := d.rename(previous(dir), dir); err != nil {
		return err
	}
	return d.sync(filepath.Dir(dir))
}

// exchange swaps dir with next(dir), and moves the old set on to previous(dir). Where the file
// system has no such thing it goes in two steps, between which Read finds the old set.
func exchange(d disk, dir string) error {
	if err := d.removeAll(previous(dir)); err != nil {
		return err
	}
	err := d.exchange(next(dir), dir)
	if err == nil {
		if err := d.sync(filepath.Dir(dir)); err != nil {
			return err
		}
		_ = d.rename(next(dir), previous(dir)) // the new set is in force; the next swap removes what is left
		return nil
	}
	if !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOSYS) {
		return err
	}
	if err := d.rename(dir, previous(dir)); err != nil {
		return err
	}
	if err := d.rename(next(dir), dir); err != nil {
		return errors.Join(err, d.rename(previous(dir), dir))
	}
	return nil
}

// stage writes a whole set and has it on disk.
func stage(d disk, dir string, files Files, like fs.FileInfo) error {
	if err := d.removeAll(dir); err != nil {
		return err
	}
	mode, uid, gid := fs.FileMode(0o755), -1, -1
	if like != nil {
		mode = like.Mode().Perm()
		if st, ok := like.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
			uid, gid = int(st.Uid), int(st.Gid)
		}
	}
	folders := map[string]bool{".": true}
	for name := range files {
		for p := path.Dir(name); !folders[p]; p = path.Dir(p) {
			folders[p] = true
		}
	}
	order := slices.Sorted(maps.Keys(folders))
	for _, f := range order {
		if err := d.mkdir(filepath.Join(dir, filepath.FromSlash(f)), mode, uid, gid); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !fs.ValidPath(name) || hidden(path.Base(name)) {
			return fmt.Errorf("%q is no path of a file in a set", name)
		}
		if err := d.write(filepath.Join(dir, filepath.FromSlash(name)), files[name], mode&0o666, uid, gid); err != nil {
			return err
		}
	}
	for _, f := range order {
		if err := d.sync(filepath.Join(dir, filepath.FromSlash(f))); err != nil {
			return err
		}
	}
	return nil
}

// Hidden lists what stands in a folder and is no part of its set.
func Hidden(dir string) (names []string) {
	entries, _ := os.ReadDir(dir) // none: nothing is hidden
	for _, e := range entries {
		if hidden(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// A disk is the steps of a swap; tests have them fail.
type disk interface {
	mkdir(name string, mode fs.FileMode, uid, gid int) error
	write(name string, text []byte, mode fs.FileMode, uid, gid int) error // synced
	sync(dir string) error
	rename(from, to string) error
	exchange(a, b string) error
	removeAll(dir string) error
}

type osDisk struct{}

func (osDisk) mkdir(name string, mode fs.FileMode, uid, gid int) error {
	if err := os.Mkdir(name, mode); err != nil {
		return err
	}
	if err := os.Chmod(name, mode); err != nil { // whatever the umask says
		return err
	}
	return own(name, uid, gid)
}

func own(name string, uid, gid int) error {
	if uid < 0 {
		return nil
	}
	return os.Lchown(name, uid, gid)
}

func (osDisk) write(name string, text []byte, mode fs.FileMode, uid, gid int) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return own(name, uid, gid)
}

func (osDisk) sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }
func (osDisk) exchange(a, b string) error   { return renameExchange(a, b) }
func (osDisk) removeAll(dir string) error   { return os.RemoveAll(dir) }
