// Package testkit starts the real neighbours of the gateway for tests: private instances of
// clamd and Postfix in temporary folders, on free loopback ports. It also has what several rooms
// need for tests of properties. Only tests import it.
package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Program finds a program that a test of a real part needs, also in the folders of daemons.
// Without it the test is skipped with the package to install; where POSTERN_REAL is "require"
// (CI), it fails instead.
func Program(t testing.TB, name, pkg string) string {
	t.Helper()
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if p := filepath.Join(dir, name); executable(p) {
			return p
		}
	}
	Missing(t, name+" is not installed (Debian: apt-get install "+pkg+")")
	return ""
}

// Missing skips a test of a real part, or fails it where real parts are required. What was
// skipped is added to the file POSTERN_SKIPPED, since go test shows it only with -v.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("POSTERN_REAL") == "require" {
		t.Fatal("real part missing: " + why)
	}
	Without(t, why)
}

// Without skips a test of what not every machine can have (systemd, mounts of its own), also where
// real parts are required; it is noted in the same file.
func Without(t testing.TB, why string) {
	t.Helper()
	if file := os.Getenv("POSTERN_SKIPPED"); file != "" {
		if f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprintf(f, "skipped %s: %s\n", t.Name(), why)
			f.Close()
		}
	}
	t.Skip("skipped a real part: " + why)
}

// Perhaps finds a program that not every machine can have, or skips the test as Without does.
func Perhaps(t testing.TB, name, pkg string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		Without(t, name+" is not installed (Debian: apt-get install "+pkg+")")
	}
	return p
}

func executable(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

// Root returns the module's root folder.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		t.Fatal("no go.mod above")
	}
}
