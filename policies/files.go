package policies

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Files are the files of a set by their slash-separated path.
type Files map[string][]byte

// Of makes a set of files in memory that stand for those of dir.
func Of(dir string, files Files) *Set {
	s := &Set{dir: dir, files: make(map[string]*file, len(files)), whole: true}
	for name, text := range files {
		s.files[name] = &file{text: text}
		if isRules(name) {
			s.names = append(s.names, name)
		}
	}
	slices.Sort(s.names)
	return s
}

// isRules reports whether a path is that of a rule file: others are lists and messages.
func isRules(name string) bool {
	return !strings.Contains(name, "/") && strings.HasSuffix(name, ".yaml")
}

// readTries is how often a folder that changes under our hands is read again.
const (
	readTries = 20
	readWait  = 50 * time.Millisecond
)

// ReadAll reads a folder with all that is in it but hidden files, until it was read without
// being changed meanwhile.
func ReadAll(dir string) (Files, error) {
	for n := 1; ; n++ {
		files, err := readAll(dir)
		if n == readTries || !errors.Is(err, ErrMoving) {
			return files, err
		}
		time.Sleep(readWait)
	}
}

func readAll(dir string) (Files, error) {
	s, err := Read(dir)
	if err != nil {
		return nil, err
	}
	if s.all, err = walk(s.dir, "", 0); err != nil {
		return nil, err
	}
	for _, name := range s.all {
		if _, err := s.Text(name); errors.Is(err, fs.ErrNotExist) {
			return nil, ErrMoving
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
	}
	if err := s.Changed(); err != nil {
		return nil, err
	}
	return s.Files(), nil
}

// walk lists the files below a folder. Links to files count as what they lead to; those to
// folders are refused, since they could lead anywhere.
func walk(dir, below string, depth int) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, filepath.FromSlash(below)))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if hidden(e.Name()) {
			continue
		}
		name := path.Join(below, e.Name())
		full := filepath.Join(dir, filepath.FromSlash(name))
		info, err := os.Stat(full)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, ErrMoving
		case err != nil:
			return nil, err
		case info.IsDir() && (e.Type()&fs.ModeSymlink != 0 || depth >= maxDepth):
			return nil, fmt.Errorf("%s is a link to a folder or too deep: put the files themselves there", full)
		case info.IsDir():
			more, err := walk(dir, name, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		default:
			out = append(out, name)
		}
		if len(out) > maxFiles {
			return nil, fmt.Errorf("%s: more than %d files", dir, maxFiles)
		}
	}
	return out, nil
}

// Files gives what was read.
func (s *Set) Files() Files {
	out := make(Files, len(s.files))
	for name, f := range s.files {
		out[name] = f.text
	}
	return out
}

// Over gives f with the lists and messages of live that it lacks: a list that some job writes
// into the folder in force is not taken away by a new set of rules. carried names them.
func (f Files) Over(live Files) (all Files, carried []string) {
	all = maps.Clone(f)
	for _, name := range slices.Sorted(maps.Keys(live)) {
		if _, there := f[name]; !there && !isRules(name) {
			all[name] = live[name]
			carried = append(carried, name)
		}
	}
	return all, carried
}

// A Change is a file that differs between two sets.
type Change struct {
	File string `json:"file"`
	What string `json:"what"` // new changed gone
}

// Changes tells what is different in f, compared with old.
func (f Files) Changes(old Files) []Change {
	out := []Change{}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if was, there := old[name]; !there {
			out = append(out, Change{name, "new"})
		} else if string(was) != string(f[name]) {
			out = append(out, Change{name, "changed"})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if _, there := f[name]; !there {
			out = append(out, Change{name, "gone"})
		}
	}
	return out
}

// Print is a name for the rule files among f: the same rules have the same, wherever they
// stand. Lists are left out, since they may change every hour.
func (f Files) Print() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if isRules(name) {
			fmt.Fprintf(h, "%q %d\n%s", name, len(f[name]), f[name])
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
