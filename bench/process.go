package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A process is one that we started.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

func start(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended does not matter
		close(p.done)
	}()
	return p, nil
}

// stop asks it to end, and ends it when it does not.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// cpu is the CPU time of all of its threads so far, user and system, to the nanosecond: the
// process's CPU clock, as clock_getcpuclockid(3) names it.
func (p *process) cpu() (time.Duration, error) {
	const sched = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|sched), &t); err != nil {
		return 0, fmt.Errorf("CPU clock of the process: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// memory reads a line of /proc/PID/status that is in KiB: VmRSS, or VmHWM for its peak.
func (p *process) memory(line string) (mib float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(text, []byte(line+":"))
	f := bytes.Fields(rest)
	if len(f) == 0 {
		return 0, fmt.Errorf("no %s in the process's status", line)
	}
	kib, err := strconv.Atoi(string(f[0]))
	return float64(kib) / 1024, err
}
