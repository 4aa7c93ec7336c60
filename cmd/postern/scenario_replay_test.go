package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"postern/filters"
	"postern/rules"
)

// What every page proves besides: its decisions, decided again from the journal by the rules
// that made them, come out the same. A page may also have rule files under replay/, which the
// journal is decided again by: want/replay is what that tells.

// sampleDate is the date of an example.
var sampleDate = regexp.MustCompile(`[A-Z][a-z]{2} \d\d \d\d:\d\d`)

func (s *scene) replayed(o *outcome) string {
	s.pinned(o)
	s.desked(o)
	cfg := *s.program.cfg
	fs := filterList(&cfg, s.program.asks(s.program.resolver))
	policy, err := compile(&cfg, fs)
	if err != nil { // the page broke them in the end
		policy = s.program.policy.now.rules
	}
	report := s.replay(policy, fs)
	whole := true // all of it was decided by these rules
	for _, e := range o.entries {
		whole = whole && e.Policy == policy.Version()
	}
	if report.Contradictions > 0 || report.Damaged > 0 || whole && report.changed()+report.OtherRule > 0 {
		s.Errorf("decided again: %+v", report)
	}
	for _, m := range report.Missing {
		if whole && m.Fact != "content.text" && m.Fact != "content.html" {
			s.Errorf("decided again, %s is missing %d times", m.Fact, m.Count)
		}
	}
	for name, data := range s.files {
		if rest, ok := strings.CutPrefix(name, "replay/"); ok {
			s.write("replay/"+rest, data)
			cfg.Rules = filepath.Join(s.dir, "replay")
		}
	}
	if _, err := os.Stat(filepath.Join(s.dir, "replay")); err != nil {
		return ""
	}
	other, err := compile(&cfg, fs)
	s.must(err)
	var b strings.Builder
	s.replay(other, fs).print(&b)
	return sampleDate.ReplaceAllString(o.plain(b.String()), "DATE")
}

// explained is what log show tells of each walk.
func (s *scene) explained(o *outcome) string {
	if _, asked := s.files["want/explain"]; !asked {
		return ""
	}
	a := &archive{stores: s.program.stores, cfg: s.program.cfg}
	var b strings.Builder
	for _, e := range o.entries {
		x, err := a.explain(s.Context(), e)
		s.must(err)
		fmt.Fprintf(&b, "%s\n", e.ID)
		for i := range e.Outcomes {
			printOutcome(&b, e, &e.Outcomes[i])
		}
		x.printWalks(&b, e.Outcomes)
	}
	return o.plain(b.String())
}

func (s *scene) replay(policy *rules.Policy, fs []filters.Filter) *replayReport {
	report, err := newReplay(policy, fs).run(s.Context(), s.program.journal, time.Time{})
	s.must(err)
	return report
}

// shadowWords is what the journal tells of shadow rules.
func shadowWords(do, rule string, effects []string) string {
	s := fmt.Sprintf("; in the shadow %s by %s", do, rule)
	if len(effects) > 0 {
		s += " with " + strings.Join(effects, ", ")
	}
	return s
}

// pinned turns every decision that the page's rules made into a test, which they have to pass.
func (s *scene) pinned(o *outcome) {
	set, err := readRules(s.program.cfg)
	if err != nil {
		return // the page broke them in the end
	}
	zone := filterList(s.program.cfg, outside{Resolver: s.program.resolver})
	policy, err := set.compile(zone)
	if err != nil {
		return
	}
	var text strings.Builder
	n := 0
	for _, e := range o.entries {
		for i := range e.Outcomes {
			if x := &e.Outcomes[i]; e.Policy == policy.Version() && len(x.Rules) > 0 {
				p := newPin(e, x, rules.None)
				p.name = fmt.Sprintf("%s %d", p.name, i)
				text.WriteString(p.text("  "))
				n++
			}
		}
	}
	if n == 0 {
		return
	}
	set.sources = append(set.sources, rules.Source{Name: filepath.Join(set.dir, "\x7fpins.yaml"), Text: []byte("tests:\n" + text.String())})
	report, err := set.test(s.program.cfg)
	if err != nil {
		s.Errorf("pinned: %v\n%s", err, text.String())
		return
	}
	if report.Failed > 0 {
		var b strings.Builder
		report.printFailures(&b)
		s.Errorf("pinned:\n%s\n%s", b.String(), text.String())
	}
}
