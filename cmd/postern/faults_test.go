package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"postern/testkit"
)

// A faultyDisk stands between the real program and the kernel (seccomp_unotify(2)): it counts the
// calls that touch a folder, in all threads, and lets a chosen one fail without being carried out.
type faultyDisk struct {
	dir   string
	fd    int
	ended chan struct{}

	mu    sync.Mutex
	count int           // calls since arm
	at    int           // which one fails, from 1 on; 0: none
	only  string        // the kind that is counted; "": all
	with  syscall.Errno // how
	hit   string        // what failed: "fsync postern.db-wal"
	kinds map[string]int
}

// diskCalls are watched: how each names its file.
var diskCalls = map[int32]struct {
	name string
	arg  int // of the path; -1: the first argument is a descriptor of it
	dir  int // of the descriptor that a relative path starts from; -1: none
}{
	unix.SYS_OPEN: {"open", 0, -1}, unix.SYS_OPENAT: {"open", 1, 0}, unix.SYS_MKDIRAT: {"mkdir", 1, 0},
	unix.SYS_RENAME: {"rename", 0, -1}, unix.SYS_RENAMEAT: {"rename", 1, 0}, unix.SYS_RENAMEAT2: {"rename", 1, 0},
	unix.SYS_UNLINK: {"unlink", 0, -1}, unix.SYS_UNLINKAT: {"unlink", 1, 0},
	unix.SYS_WRITE: {"write", -1, -1}, unix.SYS_PWRITE64: {"write", -1, -1}, unix.SYS_WRITEV: {"write", -1, -1},
	unix.SYS_PREAD64: {"read", -1, -1}, unix.SYS_FTRUNCATE: {"truncate", -1, -1},
	unix.SYS_FSYNC: {"fsync", -1, -1}, unix.SYS_FDATASYNC: {"fsync", -1, -1},
}

const (
	faultsEnv  = "POSTERN_TEST_UNDER_FAULTS"
	notifRecv  = 0xc0502100 // _IOWR('!', 0, struct seccomp_notif)
	notifSend  = 0xc0182101 // _IOWR('!', 1, struct seccomp_notif_resp)
	newListen  = 8          // SECCOMP_FILTER_FLAG_NEW_LISTENER
	letItGo    = 1          // SECCOMP_USER_NOTIF_FLAG_CONTINUE
	retNotify  = 0x7fc00000 // SECCOMP_RET_USER_NOTIF
	retAllow   = 0x7fff0000 // SECCOMP_RET_ALLOW
	faultsSock = 3          // the descriptor over which the child hands over its listener
)

// underFaults is what the test's program does in the place of tests when it is to become the
// gateway under watch: it installs the filter, hands the listener to its parent, and executes.
func underFaults(args []string) {
	runtime.LockOSThread()
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	f := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}}
	for nr := range diskCalls {
		f = append(f, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(nr)},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: retNotify})
	}
	f = append(f, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: retAllow})
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	unix.CloseOnExec(faultsSock)
	r, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, 1, newListen, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(f)
	if errno == 0 && err == nil {
		err = unix.Sendmsg(faultsSock, []byte{1}, unix.UnixRights(int(r)), nil, 0)
	}
	if errno != 0 || err != nil {
		os.Exit(99)
	}
	_ = syscall.Exec(args[0], args, os.Environ())
	os.Exit(98)
}

// startUnderFaults starts the gateway with a faulty disk below it.
func (s *site) startUnderFaults(t *testing.T) (*running, *faultyDisk) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		testkit.Without(t, "it knows the system calls of amd64")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "faults")
	g := &running{log: newWatchedLog(), ended: make(chan struct{})}
	g.cmd = exec.Command(os.Args[0], builtProgram(t), "serve", "-c", s.conf)
	g.cmd.Env = append(os.Environ(), faultsEnv+"=1")
	g.cmd.ExtraFiles = []*os.File{theirs}
	g.cmd.Stderr = g.log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	go func() {
		defer close(g.ended)
		g.err = g.cmd.Wait()
	}()
	t.Cleanup(func() { g.kill(t) })
	g.cancel = func() { _ = g.cmd.Process.Signal(syscall.SIGTERM) }
	fd, err := receiveFD(pair[0])
	unix.Close(pair[0])
	if err != nil {
		testkit.Without(t, "no seccomp listener here: "+err.Error())
	}
	d := &faultyDisk{dir: s.data, fd: fd, ended: g.ended, kinds: map[string]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.watch()
	}()
	t.Cleanup(func() { g.kill(t); <-done })
	g.ready(t)
	return g, d
}

func receiveFD(sock int) (int, error) {
	b, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(sock, b, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return 0, err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) == 0 {
		return 0, errors.Join(err, errors.New("it was not handed over"))
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil {
		return 0, err
	}
	return fds[0], nil
}

// watch answers for each call until the program has ended.
func (d *faultyDisk) watch() {
	defer unix.Close(d.fd)
	for {
		select {
		case <-d.ended:
			return
		default:
		}
		p := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(p, 200); n == 0 || err == unix.EINTR {
			continue
		} else if err != nil || p[0].Revents&unix.POLLIN == 0 {
			return
		}
		var in [80]byte // id, pid, flags, nr, arch, ip, six arguments
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), notifRecv, uintptr(unsafe.Pointer(&in))); errno != 0 {
			continue // the thread is gone
		}
		var out [24]byte // id, value, error, flags
		copy(out[:8], in[:8])
		if errno := d.judge(int(binary.NativeEndian.Uint32(in[8:])), int32(binary.NativeEndian.Uint32(in[16:])), in[32:]); errno != 0 {
			binary.NativeEndian.PutUint32(out[16:], uint32(-int32(errno)))
		} else {
			binary.NativeEndian.PutUint32(out[20:], letItGo)
		}
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), notifSend, uintptr(unsafe.Pointer(&out)))
	}
}

// judge says how a call fails; 0 lets it go.
func (d *faultyDisk) judge(pid int, nr int32, args []byte) syscall.Errno {
	call := diskCalls[nr]
	arg := func(n int) uint64 { return binary.NativeEndian.Uint64(args[8*n:]) }
	var file string
	if call.arg < 0 {
		file = target(pid, int32(arg(0)))
	} else if file = text(pid, arg(call.arg)); !filepath.IsAbs(file) && call.dir >= 0 {
		file = filepath.Join(target(pid, int32(arg(call.dir))), file)
	}
	rest, ours := strings.CutPrefix(file, d.dir)
	if !ours || strings.HasSuffix(rest, "-shm") || strings.HasSuffix(rest, ".lock") {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	name := call.name + " " + kindOfFile(rest)
	d.kinds[name]++
	if d.only == "" || d.only == name {
		d.count++
	}
	if d.count != d.at || d.hit != "" || d.only != "" && d.only != name {
		return 0
	}
	d.hit = name
	return d.with
}

// kindOfFile takes ids out of names.
func kindOfFile(name string) string {
	switch {
	case strings.HasPrefix(name, "/messages/") && strings.Count(name, "/") == 2:
		return "messages/X"
	case strings.HasSuffix(name, ".tmp"):
		return "message.tmp"
	case strings.HasPrefix(name, "/messages/"):
		return "message"
	case strings.HasPrefix(name, "/spool/"):
		return "spool file"
	}
	return strings.TrimPrefix(name, "/")
}

// target is what a descriptor of the program stands for.
func target(pid int, fd int32) string {
	if fd == unix.AT_FDCWD {
		name, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		return name
	}
	name, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
	return strings.TrimSuffix(name, " (deleted)")
}

// text reads a string of the program.
func text(pid int, at uint64) string {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 512)
	n, _ := f.ReadAt(b, int64(at))
	name, _, _ := strings.Cut(string(b[:n]), "\x00")
	return name
}

// arm lets the n-th call from now on fail, of one kind or of all; 0 for none.
func (d *faultyDisk) arm(n int, only string, with syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count, d.at, d.only, d.with, d.hit = 0, n, only, with, ""
	clear(d.kinds)
}

// disarm tells what failed ("" for nothing), and how many calls there were of which kind.
func (d *faultyDisk) disarm() (hit string, calls int, kinds map[string]int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = 0
	kinds = map[string]int{}
	for k, n := range d.kinds {
		kinds[k] = n
	}
	return d.hit, d.count, kinds
}
