package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/testkit"
)

// The systemd unit: how far it closes the gateway off, and that the gateway lives behind it.

const unitFile = moduleRoot + "/postern.service"

// unitLines gives what the unit says for a setting, in order.
func unitLines(t *testing.T, setting string) (out []string) {
	t.Helper()
	for line := range strings.Lines(pageText(t, "postern.service")) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), setting+"="); ok {
			out = append(out, value)
		}
	}
	return out
}

// systemdAnalyze runs it, or skips the test.
func systemdAnalyze(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(testkit.Perhaps(t, "systemd-analyze", "systemd"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestP08_UnitIsClosedOff(t *testing.T) {
	t.Parallel()
	said := systemdAnalyze(t, "security", "--offline=true", "--no-pager", unitFile)
	m := regexp.MustCompile(`Overall exposure level for postern\.service: ([0-9.]+)`).FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("no exposure level in\n%s", said)
	}
	if level, err := strconv.ParseFloat(m[1], 64); err != nil || level > 1.5 {
		t.Errorf("exposure %s, want 1.5 at most\n%s", m[1], said)
	}
}

// What row P-09 names stands in the unit, word by word.
func TestP09_UnitSaysItAll(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"NoNewPrivileges": "yes", "ProtectSystem": "strict", "PrivateTmp": "yes", "PrivateDevices": "yes", "MemoryDenyWriteExecute": "yes",
		"RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX", "RestrictNamespaces": "yes", "LockPersonality": "yes", "ProtectProc": "invisible",
		"CapabilityBoundingSet": "CAP_NET_BIND_SERVICE", "AmbientCapabilities": "CAP_NET_BIND_SERVICE", "UMask": "0077",
		"StateDirectoryMode": "0700", "User": "postern", "Group": "postern", "LimitCORE": "0",
	} {
		if got := unitLines(t, setting); len(got) != 1 || got[0] != want {
			t.Errorf("%s=%q, want %q", setting, got, want)
		}
	}
	if filter := unitLines(t, "SystemCallFilter"); len(filter) == 0 || filter[0] != "@system-service" {
		t.Errorf("SystemCallFilter=%q", filter)
	}
}

// callSets gives what systemd knows as groups of system calls: "@chown" → chown, fchown, …
func callSets(t *testing.T) map[string][]string {
	t.Helper()
	sets, name := map[string][]string{}, ""
	for line := range strings.Lines(systemdAnalyze(t, "--no-pager", "syscall-filter")) {
		switch call := strings.TrimSpace(line); {
		case strings.HasPrefix(line, "@"):
			name = call
		case call != "" && !strings.HasPrefix(call, "#") && name != "":
			sets[name] = append(sets[name], call)
		}
	}
	if len(sets["@system-service"]) == 0 {
		t.Fatal("systemd-analyze knows no group @system-service")
	}
	return sets
}

// expand puts the calls of a group, and of the groups in it, into out.
func expand(sets map[string][]string, name string, out map[string]bool) {
	if !strings.HasPrefix(name, "@") {
		out[name] = true
		return
	}
	for _, member := range sets[name] {
		expand(sets, member, out)
	}
}

// The gateway under strace: started, mail taken and held, asked for its health, reloaded and
// stopped. It makes no system call that the unit forbids, opens no family of sockets that it
// forbids, and maps no memory that can be both written and run.
func TestP09_TheGatewayLivesBehindItsUnit(t *testing.T) {
	t.Parallel()
	strace := testkit.Program(t, "strace", "strace")
	sets := callSets(t)
	allowed, forbidden := map[string]bool{}, map[string]bool{}
	for _, line := range unitLines(t, "SystemCallFilter") {
		rest, deny := strings.CutPrefix(line, "~")
		for _, name := range strings.Fields(rest) {
			if deny {
				expand(sets, name, forbidden)
			} else {
				expand(sets, name, allowed)
			}
		}
	}
	calls := traced(t, strace)
	for call, lines := range calls {
		if (!allowed[call] || forbidden[call]) && call != "execve" { // systemd's own, before the filter
			t.Errorf("%s is not allowed: %s", call, lines[0])
		}
	}
	for _, line := range slices.Concat(calls["mmap"], calls["mprotect"], calls["pkey_mprotect"]) {
		if strings.Contains(line, "PROT_WRITE") && strings.Contains(line, "PROT_EXEC") {
			t.Errorf("memory to write and run: %s", line)
		}
	}
	families := strings.Fields(unitLines(t, "RestrictAddressFamilies")[0])
	for _, line := range calls["socket"] {
		if family, _, _ := strings.Cut(strings.TrimPrefix(line, "socket("), ","); !slices.Contains(families, family) {
			t.Errorf("a family of sockets that is not allowed: %s", line)
		}
	}
	for _, must := range []string{"accept4", "fsync", "mmap", "socket", "openat"} {
		if len(calls[must]) == 0 {
			t.Errorf("the trace has no %s: does it see the gateway?", must)
		}
	}
}

// traced runs the gateway under strace and gives its system calls by name.
func traced(t *testing.T, strace string) map[string][]string {
	t.Helper()
	s := newSite(t, newSink(t, nil).addr, "rules: rules\nweb: {listen: \"127.0.0.1:0\"}\n")
	s.write(t, "rules/10.yaml", holding("held"))
	trace := filepath.Join(s.dir, "trace")
	g := &running{log: newWatchedLog(), ended: make(chan struct{})}
	g.cmd = exec.Command(strace, "-f", "-q", "-o", trace, builtProgram(t), "serve", "-c", s.conf)
	g.cmd.Stderr = g.log
	if os.Geteuid() == 0 { // as root SQLite also changes owners
		asNobody(t, g.cmd, s.dir)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(g.ended)
		g.err = g.cmd.Wait()
	}()
	t.Cleanup(func() { g.kill(t) })
	g.ready(t)
	child := childOf(t, g.cmd.Process.Pid)
	sendMail(t, g.addr, letter("clean", "clean", "x\r\n"), "a@example.org")
	sendMail(t, g.addr, letter("held", "held", "x\r\n"), "a@example.org")
	g.healthy(t, "")
	signal := func(name string) {
		t.Helper()
		if out, err := exec.Command("kill", "-"+name, child).CombinedOutput(); err != nil {
			t.Fatalf("kill -%s: %v\n%s", name, err, out)
		}
	}
	signal("HUP")
	g.log.must(t, 2, "msg", "policy in force")
	signal("TERM")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	select {
	case <-g.ended:
	case <-ctx.Done():
		t.Fatalf("it does not stop under strace\n%s", g.log)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string][]string{}
	entry := regexp.MustCompile(`^\d+ +(?:<\.\.\. )?([a-z_0-9]+)[( ]`)
	for line := range bytes.Lines(text) {
		if m := entry.FindSubmatch(line); m != nil && !bytes.Contains(line, []byte("<... ")) {
			_, call, _ := strings.Cut(string(line), " ")
			calls[string(m[1])] = append(calls[string(m[1])], strings.TrimSpace(call))
		}
	}
	return calls
}

// asNobody has a command run without rights, with a folder for its own.
func asNobody(t *testing.T, cmd *exec.Cmd, dir string) {
	t.Helper()
	const nobody = 65534
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, nobody, nobody))
	})
	if err = errors.Join(err, os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
}

// childOf gives the one child of a process.
func childOf(t *testing.T, pid int) string {
	t.Helper()
	id := strconv.Itoa(pid)
	text, err := os.ReadFile(filepath.Join("/proc", id, "task", id, "children"))
	if err != nil {
		testkit.Without(t, "this kernel does not name the children of a process: "+err.Error())
	}
	f := strings.Fields(string(text))
	if len(f) != 1 {
		t.Fatalf("strace has %d children", len(f))
	}
	return f[0]
}

// Started by root, the gateway opens its ports and becomes the owner of its data folder; what it
// makes is that user's alone. Its own root's folder leaves it root, and the log says so.
func TestP08_RootBecomesTheOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		testkit.Without(t, "only root can become somebody else")
	}
	s := newSite(t, newSink(t, nil).addr, "rules: rules\n")
	s.write(t, "rules/10.yaml", holding("held"))
	g := s.start(t)
	if said := g.log.must(t, 1, "msg", "running as root"); said["level"] != "WARN" {
		t.Errorf("%v", said)
	}
	if got := statusOf(t, g.cmd.Process.Pid, "Uid"); got != "0 0 0 0" {
		t.Errorf("uid %s", got)
	}
	g.cancel()
	<-g.ended

	s = newSite(t, newSink(t, nil).addr, "rules: rules\n")
	s.write(t, "rules/10.yaml", holding("held"))
	if err := os.Mkdir(s.data, 0o700); err != nil {
		t.Fatal(err)
	}
	asNobody(t, &exec.Cmd{}, s.dir)
	g = s.start(t)
	g.log.must(t, 1, "msg", "started by root")
	sendMail(t, g.addr, letter("held", "held", "x\r\n"), "a@example.org")
	g.log.must(t, 1, "msg", "message")
	for name, want := range map[string]string{"Uid": "65534 65534 65534 65534", "Gid": "65534 65534 65534 65534", "Groups": "65534", "Umask": "0077", "CapEff": "0000000000000000"} {
		if got := statusOf(t, g.cmd.Process.Pid, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	err := filepath.WalkDir(s.data, func(path string, d os.DirEntry, err error) error {
		if st, serr := os.Lstat(path); serr == nil && (st.Sys().(*syscall.Stat_t).Uid != 65534 || st.Mode().Perm()&0o077 != 0) {
			t.Errorf("%s: %v of %d", path, st.Mode(), st.Sys().(*syscall.Stat_t).Uid)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// statusOf gives a line of /proc/PID/status.
func statusOf(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	t.Fatalf("no %s in %s", name, text)
	return ""
}
