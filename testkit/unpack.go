package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Unpack fetches Debian packages and unpacks them into one folder, without installing them: those of
// mail servers conflict with each other. They are kept in the user's cache. Where they cannot be had
// the test is skipped.
func Unpack(t testing.TB, packages ...string) (root string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "mail servers start only as root (run the tests with sudo)")
	}
	for _, tool := range []string{"apt-get", "dpkg-deb", "unshare"} {
		Program(t, tool, tool)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	debs := filepath.Join(cache, "postern-test-packages")
	if err := os.MkdirAll(debs, 0o755); err != nil {
		t.Fatal(err)
	}
	root = openDir(t)
	for _, name := range packages {
		find := func() []string {
			found, _ := filepath.Glob(filepath.Join(debs, name+"_*.deb"))
			return found
		}
		if len(find()) == 0 {
			fetch := exec.Command("apt-get", "-o", "APT::Sandbox::User=root", "download", name)
			fetch.Dir = debs
			if out, err := fetch.CombinedOutput(); err != nil {
				Missing(t, "package "+name+" cannot be had (apt-get update first?): "+strings.TrimSpace(string(out)))
			}
		}
		found := find()
		if len(found) == 0 {
			Missing(t, "package "+name+" cannot be had")
		}
		if out, err := exec.Command("dpkg-deb", "-x", found[len(found)-1], root).CombinedOutput(); err != nil {
			t.Fatalf("dpkg-deb -x %s: %v\n%s", name, err, out)
		}
	}
	return root
}
