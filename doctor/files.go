package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Disk is the data folder and the files that say what happens to mail.
type Disk struct {
	Data       string   // the data folder
	Watched    []string // files and folders that only their owner may write: configuration, rules
	Message    int64    // bytes of the largest message
	Quarantine int64    // bytes that the quarantine may take; 0 is no cap
}

// Checks looks at room and rights.
func (d *Disk) Checks() []Check {
	out := []Check{
		{Name: "disk", About: d.Data, Look: func(context.Context) []Finding { return d.room() }},
		{Name: "permissions", About: d.Data, Look: func(context.Context) []Finding { return d.rights() }},
	}
	for _, file := range d.Watched {
		out = append(out, Check{Name: "permissions", About: file, Look: func(context.Context) []Finding { return writable(file) }})
	}
	return out
}

// room looks at the file system.
func (d *Disk) room() []Finding {
	dir := d.Data
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		dir = filepath.Dir(dir)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return []Finding{{State: Unknown, Sentence: "how much room is left cannot be asked: " + err.Error(), Reference: guideSize}}
	}
	free, all := int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize
	return d.judgeRoom(free, all, st.Ffree, st.Files, st.Flags&unix.ST_RDONLY != 0)
}

// judgeRoom takes bytes, and inodes where the file system counts them.
func (d *Disk) judgeRoom(free, all int64, inodes, allInodes uint64, readOnly bool) (out []Finding) {
	say := func(st State, do, format string, args ...any) {
		out = append(out, Finding{State: st, Sentence: fmt.Sprintf(format, args...), Do: do, Reference: guideSize})
	}
	const clear = "make room: delete held mail, shorten quarantine.keep, or give it a larger disk"
	switch {
	case readOnly:
		say(Bad, "mount it for writing, after a look at why it is not", "the file system is read-only: nothing can be held")
	case free < 2*d.Message:
		say(Bad, clear, "%d MiB are free, less than two of the largest messages: mail is put off with 452", free>>20)
	case free < all/20 || free < 20*d.Message:
		say(Warn, clear, "only %d MiB of %d are free", free>>20, all>>20)
	case d.Quarantine > free+all/20:
		say(Warn, "lower quarantine.max_size, so that its warning at 80 % comes before the disk is full", "the quarantine may take %d MiB, but %d are free", d.Quarantine>>20, free>>20)
	}
	if allInodes > 0 && inodes < allInodes/50 {
		say(Warn, clear, "only %d of %d files can still be made", inodes, allInodes)
	}
	if len(out) == 0 {
		say(Ok, "", "%d MiB are free", free>>20)
	}
	return out
}

// rights looks at who may read the data folder and what lies in it.
func (d *Disk) rights() []Finding {
	st, err := os.Lstat(d.Data)
	if errors.Is(err, fs.ErrNotExist) {
		return []Finding{{State: Unknown, Sentence: "the data folder is not there yet: the first start makes it", Reference: guideSetUp}}
	}
	if err != nil {
		return []Finding{{State: Unknown, Sentence: printable(err), Do: "run doctor with sudo"}}
	}
	var out []Finding
	if mode := st.Mode().Perm(); mode&0o077 != 0 {
		out = append(out, Finding{State: Bad, Sentence: fmt.Sprintf("others on this host may get into the data folder (mode %04o), where other people's mail lies", mode), Do: "chmod 0700 " + d.Data, Reference: guideSafety})
	}
	owner, _ := st.Sys().(*syscall.Stat_t)
	entries, err := os.ReadDir(d.Data)
	if err != nil {
		return append(out, Finding{State: Unknown, Sentence: "this user may not look into the data folder", Do: "run doctor with sudo"})
	}
	for _, e := range entries {
		out = append(out, entry(filepath.Join(d.Data, e.Name()), owner)...)
	}
	if len(out) == 0 {
		out = append(out, Finding{State: Ok, Sentence: "the data folder and what lies in it are their owner's alone"})
	}
	if owner != nil && owner.Uid == 0 {
		out = append(out, Finding{Check: "root", State: Warn, Sentence: "the data folder is root's, so the gateway runs as root: a flaw in it would be root's", Do: "start it by its unit, as a user of its own, and give that user the folder (chown -R)", Reference: guideSetUp})
	}
	return out
}

// entry looks at one file in the data folder.
func entry(path string, owner *syscall.Stat_t) (out []Finding) {
	st, err := os.Lstat(path)
	if err != nil {
		return nil // it went away
	}
	if mode := st.Mode().Perm(); mode&0o007 != 0 && st.Mode()&fs.ModeSymlink == 0 {
		out = append(out, Finding{About: path, State: Warn, Sentence: fmt.Sprintf("others may use it, if they get into the folder (mode %04o)", mode), Do: "chmod o= " + path, Reference: guideSafety})
	}
	if own, ok := st.Sys().(*syscall.Stat_t); ok && owner != nil && own.Uid != owner.Uid {
		out = append(out, Finding{About: path, State: Bad, Sentence: fmt.Sprintf("it belongs to user %d, the folder to %d: the gateway cannot write it", own.Uid, owner.Uid),
			Do: fmt.Sprintf("chown -R %d:%d %s", owner.Uid, owner.Gid, filepath.Dir(path)), Reference: guideSafety})
	}
	return out
}

// writable reports what others may write that decides what happens to mail.
func writable(path string) []Finding {
	var out []Finding
	err := filepath.WalkDir(path, func(at string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := os.Stat(at)
		if err != nil {
			return nil
		}
		if mode := st.Mode(); mode.Perm()&0o022 != 0 && (mode&fs.ModeSticky == 0 || !mode.IsDir()) {
			out = append(out, Finding{About: at, State: Bad, Sentence: fmt.Sprintf("others may change it (mode %04o), and with it what becomes of mail", mode.Perm()), Do: "chmod go-w " + at, Reference: guideSafety})
		}
		return nil
	})
	if err != nil {
		return append(out, Finding{State: Unknown, Sentence: "it could not be looked at: " + printable(err), Do: "run doctor with sudo"})
	}
	if len(out) == 0 {
		out = append(out, Finding{State: Ok, Sentence: "only its owner may change it"})
	}
	return out
}
