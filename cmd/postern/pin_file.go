package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"postern/filters/dnsfake"
	"postern/policies"
)

// factsInJSON lists the facts of a filter that tests may name.
func factsInJSON(zero any) map[string]bool {
	out := map[string]bool{}
	t := reflect.TypeOf(zero)
	for i := range t.NumField() {
		out[t.Field(i).Tag.Get("expr")] = true
	}
	return out
}

// addTest adds a test to a rule file, or makes the file. The file stays as it was when the rules
// beside it would not load with it.
func addTest(cfg *Config, file string, p *pin) error {
	old, err := os.ReadFile(filepath.Clean(file))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if strings.Contains(string(old), "- name: "+quoted(p.name)+"\n") {
		return fmt.Errorf("%s has the test %q already", file, p.name)
	}
	text, err := withTest(string(old), p)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := loads(cfg, file, []byte(text)); err != nil {
		if before := loads(cfg, file, nil); before != nil {
			return fmt.Errorf("%s is not changed, since the rules beside it do not load:\n%w", file, before)
		}
		return fmt.Errorf("%s is not changed, since the rules would not load with the test:\n%w", file, err)
	}
	return replaceFile(file, []byte(text))
}

var (
	nextKey = regexp.MustCompile(`(?m)^[^\s#-]`)
	dash    = regexp.MustCompile(`(?m)^( *)- `)
)

// withTest puts a test behind those of a rule file.
func withTest(text string, p *pin) (string, error) {
	out, ok := withItem(text, "tests", p.text)
	if !ok {
		return "", errors.New("its tests stand on one line: print the test without -o and put it in by hand")
	}
	return out, nil
}

// withItem puts an entry behind those of a list of a rule file; ok is false when the list stands on
// one line.
func withItem(text, key string, item func(indent string) string) (out string, ok bool) {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	at := regexp.MustCompile(`(?m)^` + key + `:(.*)$`).FindStringSubmatchIndex(text)
	if at == nil {
		return text + key + ":\n" + item("  "), true
	}
	if rest := strings.TrimSpace(text[at[2]:at[3]]); rest != "" && rest[0] != '#' {
		return "", false
	}
	end := len(text)
	if next := nextKey.FindStringIndex(text[at[1]:]); next != nil {
		end = at[1] + next[0]
		for above := lastLine(text[:end]); above[0] == '#'; above = lastLine(text[:end]) { // what is said of the key
			end -= len(above)
		}
	}
	indent := "  "
	if m := dash.FindStringSubmatch(text[at[1]:end]); m != nil {
		indent = m[1]
	}
	kept := strings.TrimRight(text[:end], "\n") + "\n"
	return kept + item(indent) + strings.TrimPrefix(text[len(strings.TrimRight(text[:end], "\n")):], "\n"), true
}

// lastLine is the last line of a text that ends with one.
func lastLine(text string) string {
	return text[strings.LastIndexByte(text[:len(text)-1], '\n')+1:]
}

// rulesBeside are the rules of the folder that a file is in, with text in place of what the file
// has; nil: as it is.
func rulesBeside(cfg *Config, file string, text []byte) (*ruleSet, error) {
	dir := filepath.Dir(file)
	files, err := policies.ReadAll(dir)
	if err != nil && !errors.Is(err, policies.ErrEmpty) {
		return nil, err
	}
	if files == nil {
		files = policies.Files{}
	}
	if text != nil {
		files[filepath.Base(file)] = text
	}
	return newRuleSet(cfg, dir, policies.Of(dir, files))
}

// loads says why the rules beside a file do not load.
func loads(cfg *Config, file string, text []byte) error {
	set, err := rulesBeside(cfg, file, text)
	if err != nil {
		return err
	}
	zone, err := dnsfake.Parse("")
	if err != nil {
		return err
	}
	_, err = set.compile(filterList(cfg, outside{Resolver: zone}))
	return err
}

// replaceFile writes a file so that it is there as it was or as a whole.
func replaceFile(file string, text []byte) error {
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".pin-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
