package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"postern/filters"
	"postern/gateway"
	"postern/policies"
	"postern/rules"
)

// Rules for clamav.on_failure other than defer, behind all others.
const (
	heldUnscanned = `rules: [{name: not-scanned, when: clamav.error != "", class: virus, do: quarantine, because: "the virus scanner gave no answer"}]`
	sentUnscanned = `rules: [{name: not-scanned, when: clamav.error != "", class: virus, effects: [add_header("X-Postern-Unscanned", "yes")], because: "the virus scanner gave no answer"}]`
)

// A ruleSet is the rule files as they were read once: what is compiled, what is tested and what
// is recorded are the same bytes.
type ruleSet struct {
	dir     string // what the names of its files begin with
	folder  *policies.Set
	sources []rules.Source
	scope   gateway.EffectScope
	outside func(name string) bool // which message files of tests may be read that are not of the set; nil: all
}

// readRules reads the rule folder; without one the built-in policy decides.
func readRules(cfg *Config) (*ruleSet, error) {
	if cfg.Rules == "" {
		return newRuleSet(cfg, "", nil)
	}
	folder, err := policies.Read(cfg.Rules)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	return newRuleSet(cfg, cfg.Rules, folder)
}

// newRuleSet adds to the files of a folder what the configuration says in the form of rules.
func newRuleSet(cfg *Config, dir string, folder *policies.Set) (*ruleSet, error) {
	s := &ruleSet{dir: dir, folder: folder, scope: effectScope(cfg)}
	if folder == nil {
		s.sources = append(s.sources, rules.Builtin())
	} else {
		for _, n := range folder.Names() {
			text, err := folder.Text(n)
			if err != nil {
				return nil, fmt.Errorf("rules: %s: %w", filepath.Join(dir, n), err)
			}
			s.sources = append(s.sources, rules.Source{Name: filepath.Join(dir, n), Text: text})
		}
	}
	if len(cfg.ClamAV.Addresses) > 0 {
		const last = "\x7f clamav.on_failure" // sorts behind every file
		switch cfg.ClamAV.OnFailure {
		case "quarantine":
			s.sources = append(s.sources, rules.Source{Name: last, Text: []byte(heldUnscanned)})
		case "accept":
			s.sources = append(s.sources, rules.Source{Name: last, Text: []byte(sentUnscanned)})
		}
	}
	return s, nil
}

// compile turns the rule files into a policy over the given filters.
func (s *ruleSet) compile(fs []filters.Filter) (*rules.Policy, error) {
	o := rules.Options{Vocabulary: filters.Vocabulary(), Effects: gateway.EffectSpecs(s.scope)}
	if s.folder != nil {
		o.Files = s.folder.FS()
	}
	for name := range o.Vocabulary {
		i := slices.IndexFunc(fs, func(f filters.Filter) bool { return f.Name == name })
		if i < 0 {
			o.Off = append(o.Off, name)
		} else if fs[i].OnFail == filters.Defer {
			o.Defer = append(o.Defer, name)
		}
	}
	slices.Sort(o.Off)
	slices.Sort(o.Defer)
	p, err := rules.Compile(s.sources, o)
	if err != nil {
		return nil, fmt.Errorf("the rules do not load:\n%w", err)
	}
	return p, nil
}

// compile reads and compiles the rule files.
func compile(cfg *Config, fs []filters.Filter) (*rules.Policy, error) {
	s, err := readRules(cfg)
	if err != nil {
		return nil, err
	}
	return s.compile(fs)
}

// message reads a message file of a test, named relative to the rule files: from the set, or
// from outside of it.
func (s *ruleSet) message(name string) ([]byte, error) {
	if filepath.IsLocal(name) && s.folder != nil {
		text, err := s.folder.Text(filepath.ToSlash(filepath.Clean(name)))
		if err != nil {
			return nil, err
		}
		return withCRLF(text), nil
	}
	if s.outside != nil && !s.outside(name) {
		return nil, errors.New("it is not in the folder of the rules")
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(s.dir, name)
	}
	return readMessage(name)
}

// settled is how long rule files must have been left alone before a reload believes them whole:
// an editor may be writing them this very moment.
const (
	settled   = 100 * time.Millisecond
	readTries = 20
)

// A candidate is a policy that could be in force, and all that was found out about it.
type candidate struct {
	set     *ruleSet
	rules   *rules.Policy
	policy  *gateway.Policy
	filters []filters.Filter
	tests   *testReport
}

// newCandidate reads, compiles and tests the rule files, all from one reading. Files that are
// changed meanwhile are read again.
func newCandidate(cfg *Config, r outside, wait time.Duration) (*candidate, error) {
	for n := 1; ; n++ {
		c, err := tryCandidate(cfg, r, wait)
		if n == readTries || !errors.Is(err, policies.ErrMoving) {
			return c, err
		}
		time.Sleep(settled / 2)
	}
}

// tryCandidate does so once; the error is policies.ErrMoving when the files were changed, or may
// have been.
func tryCandidate(cfg *Config, r outside, wait time.Duration) (*candidate, error) {
	set, err := readRules(cfg)
	if err != nil {
		return nil, err
	}
	if set.age() < wait {
		return nil, fmt.Errorf("rules: %s: %w", cfg.Rules, policies.ErrMoving)
	}
	c, err := set.candidate(cfg, r)
	if set.age() < wait || set.folder != nil && set.folder.Changed() != nil { // now with the lists
		return nil, fmt.Errorf("rules: %s: %w", cfg.Rules, policies.ErrMoving)
	}
	return c, err
}

// age is how long ago the files were last changed.
func (s *ruleSet) age() time.Duration {
	if s.folder == nil {
		return settled
	}
	age := time.Since(s.folder.Newest())
	if age < -time.Second { // another clock than ours
		return settled
	}
	return age
}

// candidate compiles and tests the set.
func (s *ruleSet) candidate(cfg *Config, r outside) (*candidate, error) {
	c := &candidate{set: s, filters: filterList(cfg, r)}
	var err error
	if c.rules, err = s.compile(c.filters); err != nil {
		return nil, err
	}
	if c.policy, err = gateway.NewPolicy(c.rules, c.filters); err != nil {
		return nil, err
	}
	c.tests, err = s.test(cfg)
	return c, err
}
