package rules

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf8"
)

// A list is a file of addresses and domains, compiled into the policy.
type list map[string]struct{}

// Limits of a list.
const (
	maxList  = 32 << 20
	maxEntry = 320

	maxListNames = 1000 // files looked at for a hint
)

// prepareList loads a file the first time it is named.
func prepareList(c *compiler, _ int, name string) error {
	if _, ok := c.lists[name]; ok {
		return nil
	}
	if c.o.Files == nil {
		return errors.New("there is no directory for list files here")
	}
	if !fs.ValidPath(name) {
		return fmt.Errorf("%q is no path below the rules directory", name)
	}
	f, err := c.o.Files.Open(name)
	if err != nil {
		return &hinted{err.Error(), didYouMean(name, listNames(c.o.Files))}
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxList+1))
	if err != nil {
		return err
	}
	if len(b) > maxList {
		return fmt.Errorf("%s is longer than %d MiB", name, maxList>>20)
	}
	l := make(list)
	line := 0
	for s := range strings.SplitSeq(string(b), "\n") {
		line++
		s, _, _ = strings.Cut(s, "#")
		s = strings.ToLower(strings.TrimSpace(s))
		if len(s) > maxEntry || strings.ContainsAny(s, " \t\x00") || !utf8.ValidString(s) {
			return fmt.Errorf("%s:%d: one address or domain a line", name, line)
		}
		if s != "" {
			l[s] = struct{}{}
		}
	}
	c.lists[name] = l
	c.hash.Write(b)
	return nil
}

// listNames are the files that inList could have meant.
func listNames(files fs.FS) (out []string) {
	_ = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && len(out) < maxListNames && !strings.HasSuffix(name, ".yaml") {
			out = append(out, name)
		}
		return nil // what cannot be read is not proposed
	})
	return out
}

// has looks for a value as it is, by its domain, and by the domains above that.
func (l list) has(value string) bool {
	value = strings.ToLower(value)
	if _, ok := l[value]; ok && value != "" {
		return true
	}
	domain := value
	if i := strings.LastIndexByte(value, '@'); i >= 0 {
		if _, ok := l[value[i:]]; ok {
			return true
		}
		domain = value[i+1:]
	}
	if len(domain) > 255 {
		return false
	}
	for d := "." + domain; len(d) > 1; {
		if _, ok := l[d]; ok {
			return true
		}
		next := strings.IndexByte(d[1:], '.')
		if next < 0 {
			return false
		}
		d = d[1+next:]
	}
	return false
}
