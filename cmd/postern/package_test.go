package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/testkit"
)

// The Debian package and the container image, without a Debian host or a container engine.

// packaged runs a script of packaging/ with an environment of its own.
func packaged(t *testing.T, script string, env ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(testkit.Root(t), "packaging", script))
	cmd.Env = append(os.Environ(), append([]string{"SOURCE_DATE_EPOCH=1767225600"}, env...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// debian builds a package with a small file for the program, and gives its path.
func debian(t *testing.T, version string, env ...string) string {
	t.Helper()
	testkit.Perhaps(t, "dpkg-deb", "dpkg")
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho "+version+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	packaged(t, "deb.sh", append(env, "OUT="+dir, "BINARY="+program, "VERSION="+version)...)
	return filepath.Join(dir, "postern_"+version+"_amd64.deb")
}

// The same input gives the same bytes, whoever builds it, and everything in it is root's.
func TestP07_PackageIsReproducible(t *testing.T) {
	t.Parallel()
	read := func(file string) []byte {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	one := debian(t, "1.0", "TZ=UTC", "LC_ALL=C")
	if !bytes.Equal(read(one), read(debian(t, "1.0", "TZ=Asia/Kathmandu", "LC_ALL=C.UTF-8"))) {
		t.Error("two builds differ")
	}
	out, err := exec.Command("dpkg-deb", "-c", one).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if mode, rest, _ := strings.Cut(line, " "); !strings.HasPrefix(rest, "root/root ") || strings.ContainsAny(mode[1:], "sStT") || mode[8] == 'w' {
			t.Errorf("%s", line)
		}
	}
}

// A dpkgRoot is a folder that packages are installed into, with their scripts run outside of it.
type dpkgRoot struct {
	t   *testing.T
	dir string
}

func (r dpkgRoot) dpkg(args ...string) string {
	r.t.Helper()
	all := append([]string{"--instdir=" + r.dir, "--admindir=" + filepath.Join(r.dir, "var/lib/dpkg"), "--force-script-chrootless", "--force-depends", "--force-confold", "--log=/dev/null"}, args...)
	out, err := exec.Command("dpkg", all...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("dpkg %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (r dpkgRoot) has(path string) bool {
	_, err := os.Lstat(filepath.Join(r.dir, path))
	return err == nil
}

// text of a file; "" when it is not there.
func (r dpkgRoot) text(path string) string {
	text, err := os.ReadFile(filepath.Join(r.dir, path))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
	return string(text)
}

// Installed, upgraded, removed and purged: the user and the folder are there, what the
// administrator wrote stays, nothing is started, and held mail outlives it all.
func TestP07_PackageInstallsAndGoes(t *testing.T) {
	t.Parallel()
	testkit.Perhaps(t, "systemd-sysusers", "systemd")
	if os.Geteuid() != 0 {
		testkit.Without(t, "a package is installed by root (run the tests with sudo)")
	}
	first, second := debian(t, "1.0"), debian(t, "1.1")
	r := dpkgRoot{t, t.TempDir()}
	for _, dir := range []string{"etc", "var/lib/dpkg/info", "var/lib/dpkg/updates"} {
		if err := os.MkdirAll(filepath.Join(r.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"status", "available"} {
		if err := os.WriteFile(filepath.Join(r.dir, "var/lib/dpkg", file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if said := r.dpkg("-i", first); !strings.Contains(said, "say domains and upstream") {
		t.Errorf("the administrator is not told what to do:\n%s", said)
	}
	if user := r.text("etc/passwd"); !strings.Contains(user, "postern:x:") || !strings.Contains(user, "/var/lib/postern:/usr/sbin/nologin") {
		t.Errorf("user: %q", user)
	}
	data := filepath.Join(r.dir, "var/lib/postern")
	if st, err := os.Stat(data); err != nil || st.Mode().Perm() != 0o700 || st.Sys().(*syscall.Stat_t).Uid == 0 {
		t.Errorf("data folder: %v, %v", st, err)
	}
	if unit := r.text("usr/lib/systemd/system/postern.service"); !strings.Contains(unit, "ExecStart=/usr/bin/postern serve") || strings.Contains(unit, "/usr/local") {
		t.Errorf("unit:\n%s", unit)
	}
	if r.has("etc/systemd/system/multi-user.target.wants") {
		t.Error("it was enabled")
	}
	unconfigured := filepath.Join(r.dir, "etc/postern/postern.yaml")
	if code, _, stderr := postern("serve", "-c", unconfigured); code != exitFailed || !strings.Contains(stderr, "no domain") || !strings.Contains(stderr, "no internal server") {
		t.Errorf("unconfigured, it starts: exit %d\n%s", code, stderr)
	}
	const mine = "domains: [example.org]\nupstream: {servers: [\"10.0.0.2:25\"]}\n"
	if err := errors.Join(os.WriteFile(unconfigured, []byte(mine), 0o600), os.WriteFile(filepath.Join(data, "postern.db"), []byte("mail"), 0o600)); err != nil {
		t.Fatal(err)
	}
	r.dpkg("-i", second)
	if r.text("etc/postern/postern.yaml") != mine || !strings.Contains(r.text("usr/bin/postern"), "1.1") {
		t.Error("after the upgrade: not the new program with the old configuration")
	}
	r.dpkg("-r", "postern")
	if r.has("usr/bin/postern") || r.has("usr/lib/systemd/system/postern.service") || r.text("etc/postern/postern.yaml") != mine {
		t.Error("removal leaves a program, or takes the configuration")
	}
	r.dpkg("-P", "postern")
	if r.has("etc/postern") || r.text("var/lib/postern/postern.db") != "mail" {
		t.Error("purging leaves the configuration, or takes held mail")
	}
}

// The files of the container image, as a root of their own that is mounted read-only: the gateway
// runs there as a user without rights, takes a message and holds it.
func TestP08_ContainerRootIsEnough(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		testkit.Without(t, "chroot is root's (run the tests with sudo)")
	}
	s := newSite(t, newSink(t, nil).addr, "rules: rules\n")
	s.write(t, "rules/10.yaml", holding("held"))
	s.replace(t, "data: data", "data: /var/lib/postern")
	root := filepath.Join(s.dir, "root")
	packaged(t, "rootfs.sh", "ROOTFS="+root, "BINARY="+builtProgram(t), "VERSION=1.0")
	// What the options of docker run do: the root read-only; configuration, data and /tmp mounted.
	script := `set -e
mount --make-rprivate /
mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"
mount --bind -o ro "$2" "$1/etc/postern"
mount -t tmpfs -o uid=65532,mode=0700 data "$1/var/lib/postern"
mount -t tmpfs -o mode=1777 tmp "$1/tmp"
exec chroot --userspec=65532:65532 "$1" /usr/bin/postern serve -c /etc/postern/postern.yaml`
	conf := filepath.Join(s.dir, "conf")
	if err := errors.Join(os.MkdirAll(filepath.Join(conf, "rules"), 0o755), os.Rename(s.conf, filepath.Join(conf, "postern.yaml")), os.Rename(filepath.Join(s.dir, "rules/10.yaml"), filepath.Join(conf, "rules/10.yaml"))); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(conf, func(path string, _ os.DirEntry, err error) error { return errors.Join(err, os.Chmod(path, 0o755)) })
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		testkit.Without(t, "no mounts of its own here: "+string(out))
	}
	g := &running{log: newWatchedLog(), ended: make(chan struct{})}
	g.cmd = exec.Command("unshare", "-m", "sh", "-c", script, "sh", root, conf)
	g.cmd.Stderr = g.log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(g.ended)
		g.err = g.cmd.Wait()
	}()
	t.Cleanup(func() { g.kill(t) })
	g.ready(t)
	sendMail(t, g.addr, letter("held", "held", "x\r\n"), "a@example.org")
	if said := g.log.must(t, 1, "msg", "message"); said["result"] != "held" {
		t.Errorf("%v", said)
	}
	g.healthy(t, "")
	for name, want := range map[string]string{"Uid": "65532 65532 65532 65532", "CapEff": "0000000000000000"} {
		if got := statusOf(t, g.cmd.Process.Pid, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if strings.Contains(g.log.String(), "running as root") {
		t.Error("it says that it runs as root")
	}
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if <-g.ended; g.err != nil {
		t.Errorf("%v\n%s", g.err, g.log)
	}
}

// The Containerfile says what the test above does.
func TestP08_ContainerfileIsUnprivileged(t *testing.T) {
	t.Parallel()
	text := pageText(t, "packaging/Containerfile")
	for _, want := range []string{"\nFROM scratch\n", "\nUSER 65532:65532\n", "--read-only", "--cap-drop=ALL", "no-new-privileges", `ENTRYPOINT ["/usr/bin/postern"]`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Count(text, "\nFROM ") != 1 {
		t.Error("more than one image")
	}
}
