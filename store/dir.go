package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// prepare makes the data directory and what stands in it. Modes of what exists are left
// as they are (the directory may be anything that somebody named), but a directory where
// everybody may write is refused: others could put links in our way.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	st, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if st.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("%w: %s has mode %04o", ErrUnsafe, dir, st.Mode().Perm())
	}
	for _, d := range []string{Messages, Spool} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	if err := Orphaned(dir); err != nil {
		return err
	}
	// SQLite would make it with 0644; its log and index files take over mode and owner.
	f, err := os.OpenFile(filepath.Join(dir, File), os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return syncDirs(dir, filepath.Dir(dir))
}

// Orphaned refuses to begin anew where a database has been: its messages, or its log, are there.
func Orphaned(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, File)); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	left, err := fs.Glob(os.DirFS(dir), Messages+"/?/*.zst")
	if err == nil && len(left) == 0 {
		left, err = fs.Glob(os.DirFS(dir), File+"-wal")
	}
	if err != nil || len(left) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s is missing, though %s is there: restore a backup, or move the folder away to begin anew",
		ErrCorrupt, filepath.Join(dir, File), left[0])
}

func syncDirs(dirs ...string) error {
	for _, dir := range dirs {
		d, err := os.Open(dir)
		if errors.Is(err, fs.ErrPermission) {
			continue // the parent of a directory that somebody made for us
		}
		if err != nil {
			return fmt.Errorf("sync directory: %w", err)
		}
		err = d.Sync()
		d.Close()
		if err != nil {
			return fmt.Errorf("sync directory %s: %w", dir, err)
		}
	}
	return nil
}

// takeLock makes sure that one daemon runs on a directory. It is a file of its own:
// closing any descriptor of the database would drop SQLite's locks.
func takeLock(dir string) (*os.File, error) {
	name := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := flock(f, syscall.LOCK_EX); err != nil {
		pid := make([]byte, 20)
		n, _ := f.ReadAt(pid, 0)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s (process %s)", ErrLocked, dir, strings.TrimSpace(string(pid[:n])))
		}
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	f.Truncate(0) // the number is a hint for people, nothing rests on it
	f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	return f, nil
}

// flock tries a few times, since Running takes the lock for a moment.
func flock(f *os.File, how int) (err error) {
	for range 5 {
		if err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// Running tells whether a daemon runs on a data directory.
func Running(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// AsOwner makes this process the owner of the data directory when it is root and another
// user owns it, so that a command run with sudo leaves no file that the daemon cannot
// open. It cannot be undone. A directory that is missing changes nothing.
func AsOwner(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	owner, err := ownerOf(dir)
	if err != nil || owner == nil {
		return err
	}
	if err := syscall.Setgroups([]int{int(owner.Gid)}); err != nil {
		return fmt.Errorf("become the owner of %s: setgroups: %w", dir, err)
	}
	if err := syscall.Setgid(int(owner.Gid)); err != nil {
		return fmt.Errorf("become the owner of %s: setgid: %w", dir, err)
	}
	if err := syscall.Setuid(int(owner.Uid)); err != nil {
		return fmt.Errorf("become the owner of %s: setuid: %w", dir, err)
	}
	return nil
}

// ownerOf gives the owner of a directory; nil when it is root's, or missing.
func ownerOf(dir string) (*syscall.Stat_t, error) {
	st, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("owner of the data directory: %w", err)
	}
	owner, ok := st.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil, nil
	}
	return owner, nil
}

// Lend has this process act as the owner of the data directory when it is root and another user
// owns it, like AsOwner, but until back is called.
func Lend(dir string) (back func() error, err error) {
	nothing := func() error { return nil }
	if os.Geteuid() != 0 {
		return nothing, nil
	}
	owner, err := ownerOf(dir)
	if err != nil || owner == nil {
		return nothing, err
	}
	if err := syscall.Setregid(-1, int(owner.Gid)); err != nil {
		return nothing, fmt.Errorf("act as the owner of %s: %w", dir, err)
	}
	if err := syscall.Setreuid(-1, int(owner.Uid)); err != nil {
		return nothing, fmt.Errorf("act as the owner of %s: %w", dir, errors.Join(err, syscall.Setregid(-1, 0)))
	}
	return func() error {
		if err := errors.Join(syscall.Setreuid(-1, 0), syscall.Setregid(-1, 0)); err != nil {
			return fmt.Errorf("be root again: %w", err)
		}
		return nil
	}, nil
}
