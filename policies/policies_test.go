package policies

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var errCrash = errors.New("the power went")

// A crashing disk does n steps, and half of the one after them where that can be; then nothing
// is done any more. It has no exchange when plain.
type crashing struct {
	osDisk
	left  int
	plain bool
}

func (c *crashing) step(do func() error) error {
	if c.left--; c.left < 0 {
		return errCrash
	}
	return do()
}

func (c *crashing) mkdir(name string, mode fs.FileMode, uid, gid int) error {
	return c.step(func() error { return c.osDisk.mkdir(name, mode, uid, gid) })
}

func (c *crashing) write(name string, text []byte, mode fs.FileMode, uid, gid int) error {
	if c.left == 0 {
		_ = os.WriteFile(name, text[:len(text)/2], mode)
	}
	return c.step(func() error { return c.osDisk.write(name, text, mode, uid, gid) })
}

func (c *crashing) sync(dir string) error { return c.step(func() error { return c.osDisk.sync(dir) }) }

func (c *crashing) rename(from, to string) error {
	return c.step(func() error { return c.osDisk.rename(from, to) })
}

func (c *crashing) exchange(a, b string) error {
	if c.plain {
		return errors.ErrUnsupported
	}
	return c.step(func() error { return c.osDisk.exchange(a, b) })
}

func (c *crashing) removeAll(dir string) error {
	return c.step(func() error { return c.osDisk.removeAll(dir) })
}

func set(version string) Files {
	return Files{"10.yaml": []byte("rules: [] # ten of " + version), "20.yaml": []byte("rules: [] # twenty of " + version),
		"lists/partners.txt": []byte(version + ".example\n"), "lists/deep/er.txt": []byte(version)}
}

// A crash at any step of a swap leaves the old set or the new one, whole; and the swap after it
// succeeds.
func TestSwapCrashes(t *testing.T) {
	for _, plain := range []bool{false, true} {
		for _, linked := range []bool{false, true} {
			old, new := 0, 0
			for n := 0; ; n++ {
				top := t.TempDir()
				dir := filepath.Join(top, "rules")
				if linked {
					if err := os.Symlink("real", dir); err != nil {
						t.Fatal(err)
					}
					if err := os.Mkdir(filepath.Join(top, "real"), 0o755); err != nil {
						t.Fatal(err)
					}
				}
				if err := Swap(dir, set("old")); err != nil {
					t.Fatal(err)
				}
				err := swap(&crashing{left: n, plain: plain}, dir, set("new"))
				if err != nil && !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				got, readErr := ReadAll(dir)
				switch {
				case readErr != nil:
					t.Fatalf("plain %v, linked %v, step %d: %v", plain, linked, n, readErr)
				case reflect.DeepEqual(got, set("new")):
					new++
				case reflect.DeepEqual(got, set("old")) && err != nil:
					old++
				default:
					t.Fatalf("plain %v, step %d: neither the old nor the new set: %q (%v)", plain, n, got, err)
				}
				if err := Swap(dir, set("third")); err != nil {
					t.Fatalf("plain %v, linked %v, step %d: the swap after the crash: %v", plain, linked, n, err)
				}
				if got, err := ReadAll(dir); err != nil || !reflect.DeepEqual(got, set("third")) {
					t.Fatalf("step %d: %q, %v", n, got, err)
				}
				if err == nil {
					break
				}
			}
			if old < 10 || new < 2 {
				t.Errorf("plain %v, linked %v: %d crashes with the old set, %d with the new one", plain, linked, old, new)
			}
		}
	}
}

// While a folder is swapped again and again, each reader gets a whole set.
func TestSwapUnderReaders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rules")
	if err := Swap(dir, set("0")); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got, err := ReadAll(dir)
				if err != nil {
					continue // it says so
				}
				version := strings.TrimSpace(strings.TrimSuffix(string(got["lists/partners.txt"]), ".example\n"))
				if !reflect.DeepEqual(got, set(version)) {
					t.Errorf("a mixed set: %q", got)
				}
			}
		})
	}
	for i := range 60 {
		if err := Swap(dir, set(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	readers.Wait()
	if got, err := os.ReadFile(filepath.Join(previous(dir), "10.yaml")); err != nil || !strings.Contains(string(got), "58") {
		t.Errorf("the set before: %q, %v", got, err)
	}
}

func TestSwapKeepsWhatIsNotItsOwn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rules")
	if err := os.MkdirAll(filepath.Join(dir, ".git"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := Swap(dir, set("x")); err == nil || !strings.Contains(err.Error(), ".git") {
		t.Errorf("a folder under version control was swapped away: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, ".git")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o710); err != nil {
		t.Fatal(err)
	}
	if err := Swap(dir, set("x")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"": 0o710, "10.yaml": 0o600, "lists": 0o710} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%q has mode %v, want %v (%v)", name, st.Mode(), want, err)
		}
	}
	for _, bad := range []string{"../x.yaml", "/x.yaml", ".x.yaml", "a/../b.yaml", ""} {
		if err := Swap(dir, Files{"10.yaml": nil, bad: nil}); err == nil {
			t.Errorf("%q was written", bad)
		}
	}
}

// What changes between two looks is noticed, whatever it is.
func TestReadNoticesChanges(t *testing.T) {
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(dir string){
		"nothing":        func(string) {},
		"longer":         func(dir string) { write(dir+"/10.yaml", "rules: [] # 11") },
		"as long":        func(dir string) { write(dir+"/10.yaml", "rules: [] # 1o") },
		"replaced":       func(dir string) { write(dir+"/new", "rules: [] # 10"); os.Rename(dir+"/new", dir+"/10.yaml") },
		"a file more":    func(dir string) { write(dir+"/30.yaml", "") },
		"a file less":    func(dir string) { os.Remove(dir + "/20.yaml") },
		"a list":         func(dir string) { write(dir+"/list.txt", "b.example") },
		"the folder":     func(dir string) { os.Rename(dir, dir+"2"); os.Mkdir(dir, 0o700) },
		"an unread list": func(dir string) { write(dir+"/other.txt", "b.example") },
		"a hidden file":  func(dir string) { write(dir+"/.10.yaml.swp", "x") },
		"the time put back": func(dir string) {
			st, _ := os.Stat(dir + "/10.yaml")
			write(dir+"/10.yaml", "rules: [] # 1o")
			os.Chtimes(dir+"/10.yaml", time.Time{}, st.ModTime())
		},
	} {
		dir := filepath.Join(t.TempDir(), "rules")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write(dir+"/10.yaml", "rules: [] # 10")
		write(dir+"/20.yaml", "rules: [] # 20")
		write(dir+"/list.txt", "a.example")
		write(dir+"/other.txt", "a.example")
		s, err := Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := fs.ReadFile(s.FS(), "list.txt"); err != nil || string(text) != "a.example" {
			t.Fatalf("%q, %v", text, err)
		}
		time.Sleep(20 * time.Millisecond) // the kernel's clock for files ticks every 4 to 10 ms
		change(dir)
		unseen := slices.Contains([]string{"nothing", "an unread list", "a hidden file"}, name)
		if err := s.Changed(); (err == nil) != unseen {
			t.Errorf("%s: %v", name, err)
		}
		if text, err := s.Text("10.yaml"); err != nil || string(text) != "rules: [] # 10" {
			t.Errorf("%s: the text changed: %q, %v", name, text, err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	top := t.TempDir()
	for name, prepare := range map[string]func(dir string){
		"no *.yaml":          func(dir string) { os.WriteFile(dir+"/.x.yaml", nil, 0o600) },
		"rename it to .yaml": func(dir string) { os.WriteFile(dir+"/x.yml", nil, 0o600) },
		"is empty":           func(dir string) { os.WriteFile(dir+"/x.yaml", []byte("\n"), 0o600) },
		"no file":            func(dir string) { os.Mkdir(dir+"/x.yaml", 0o700) },
		"link to a folder": func(dir string) {
			os.WriteFile(dir+"/x.yaml", []byte("rules: []"), 0o600)
			os.Symlink(top, dir+"/list")
		},
		"no such file": func(dir string) { os.Remove(dir) },
	} {
		dir := filepath.Join(top, strings.ReplaceAll(name, " ", "-"))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		prepare(dir)
		if _, err := ReadAll(dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFiles(t *testing.T) {
	live := Files{"10.yaml": []byte("a"), "20.yaml": []byte("b"), "recipients.txt": []byte("ana"), "old.txt": []byte("x")}
	next := Files{"10.yaml": []byte("a2"), "30.yaml": []byte("c"), "old.txt": []byte("y")}
	all, carried := next.Over(live)
	if want := (Files{"10.yaml": []byte("a2"), "30.yaml": []byte("c"), "old.txt": []byte("y"), "recipients.txt": []byte("ana")}); !reflect.DeepEqual(all, want) || !slices.Equal(carried, []string{"recipients.txt"}) {
		t.Errorf("%q, %q", all, carried)
	}
	if got, want := all.Changes(live), []Change{{"10.yaml", "changed"}, {"30.yaml", "new"}, {"old.txt", "changed"}, {"20.yaml", "gone"}}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if next.Print() != all.Print() || next.Print() == live.Print() {
		t.Error("the print goes by the rule files alone")
	}
	s := Of("rules", all)
	if _, err := s.Text("none.txt"); !errors.Is(err, fs.ErrNotExist) || s.Changed() != nil || !slices.Equal(s.Names(), []string{"10.yaml", "30.yaml"}) {
		t.Errorf("%v, %v", err, s.Names())
	}
}
