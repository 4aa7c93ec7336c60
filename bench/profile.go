package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// profilerSource is a file of package main that writes profiles on signals. It is put into the
// build of the profiled Postern alone: the program itself knows nothing of it.
//
//go:embed profiler.go.txt
var profilerSource []byte

// profiler writes the overlay that adds the file to cmd/postern.
func profiler(dir string) (overlay string, err error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "profiler.go")
	if err := os.WriteFile(file, profilerSource, 0o600); err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, "cmd", "postern", "zz_profiler.go"): file}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, b, 0o600)
}

// profile puts the Postern process under each load and takes its profiles.
func (s *stage) profile(o *options) error {
	if err := os.MkdirAll(o.profile, 0o755); err != nil {
		return err
	}
	for _, c := range []cell{
		{"small", s.corpus.small, 20, 10, 7 * o.small},
		{"mix", s.corpus.mix, 20, 10, 7 * o.mix},
	} {
		g, err := s.postern("postern", s.binary)
		if err != nil {
			return err
		}
		if err := s.warm(g); err != nil {
			return err
		}
		_ = g.proc.cmd.Process.Signal(syscall.SIGUSR1) // begin
		time.Sleep(100 * time.Millisecond)
		l := load{addr: g.addr, proxy: true, messages: c.messages, sessions: c.sessions, each: c.each, total: c.total}
		if _, err := l.send(s.ctx); err != nil {
			return err
		}
		_ = g.proc.cmd.Process.Signal(syscall.SIGUSR2) // write
		for _, kind := range []string{"cpu", "allocs"} {
			to := filepath.Join(o.profile, c.name+"."+kind+".pprof")
			if err := take(filepath.Join(s.dir, fmt.Sprintf("%d.%s", g.proc.cmd.Process.Pid, kind)), to); err != nil {
				return err
			}
			fmt.Println(to)
		}
		g.proc.stop()
	}
	fmt.Printf("go tool pprof -top %s\n", filepath.Join(o.profile, "small.cpu.pprof"))
	return nil
}

// warm lets a fresh process see some mail.
func (s *stage) warm(g *gateway) error {
	l := load{addr: g.addr, proxy: g.proxy, messages: s.corpus.small, sessions: 20, each: 10, total: 1000}
	_, err := l.send(s.ctx)
	settle(g.proc)
	return err
}

// take waits for a profile and copies it.
func take(from, to string) (err error) {
	for range 100 {
		var b []byte
		if b, err = os.ReadFile(from); err == nil {
			return os.WriteFile(to, b, 0o644)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}
