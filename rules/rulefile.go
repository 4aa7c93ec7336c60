package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// ruleText is a rule as it stands in its file, before its expressions are compiled.
type ruleText struct {
	at             scalar // its name, or where it begins
	name           string
	when           scalar
	class          string
	do             Disposition
	because, reply scalar
	effects        []callText
	score          float64
	shadow, gather bool
	unknown        unanswered
	breaker        string // "" for what its class says
	from, until    time.Time
}

// callText is one effect as it is written: a name and its arguments.
type callText struct {
	name scalar
	args []scalar
}

var ruleName = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$`)

// classes are what a verdict can be about; rights and digests go by them.
func classes() []string {
	return []string{"virus", "spoof", "malformed", "attachment", "spam", "policy"}
}

// breakers are what can become of a rule that suddenly decides far more than it used to: it only
// tags, somebody is told, or nothing.
func breakers() []string { return []string{"tag", "alarm", "off"} }

// rule reads one entry of rules.
func (r *reader) rule(n ast.Node) ruleText {
	var out ruleText
	p := n.GetToken().Position
	out.at = scalar{file: r.file, places: []place{{p.Line, p.Column}}}
	out.shadow, out.gather = r.shadow, r.gather
	had, before := make(map[string]bool), len(*r.errs)
	for _, f := range r.fields(n, "a rule", "name", "when", "class", "do", "because", "reply", "effects",
		"score", "unknown", "shadow", "gather", "breaker", "from", "until") {
		had[f.key] = true
		if f.key == "effects" {
			out.effects = r.effectList(f.node)
			continue
		}
		s, ok := r.scalar(f)
		if !ok {
			continue
		}
		r.setRule(&out, f.key, s)
	}
	if out.class == "" {
		out.class = "policy"
	}
	if len(*r.errs) == before { // else a key may only be misspelled
		r.complete(&out, had)
	}
	return out
}

// complete looks for what is missing in a rule, and for keys that do not go together.
func (r *reader) complete(out *ruleText, had map[string]bool) {
	for _, key := range []string{"name", "when"} {
		if !had[key] {
			r.add(out.at.fault(0, fmt.Sprintf("a rule needs %q", key), ""))
		}
	}
	switch {
	case had["do"] && had["score"]:
		r.add(out.at.fault(0, "a rule has do or score, not both", "a score is for a rule that goes on to the next"))
	case !had["do"] && !had["score"] && !had["effects"]:
		r.add(out.at.fault(0, "a rule needs do, score or effects", "else it does nothing"))
	case out.gather && !out.shadow && !r.shadow:
		r.add(out.at.fault(0, "gather is for shadow rules", "a live rule has what it needs gathered anyway"))
	case had["breaker"] && (out.do == None || out.do == Deliver):
		r.add(out.at.fault(0, "a breaker is for a rule that keeps mail back", "it needs do: quarantine, reject, defer or discard"))
	case had["reply"] && !had["do"]:
		r.add(out.reply.fault(0, "a reply needs do", "only the rule that decides can answer"))
	}
	if !out.from.IsZero() && !out.until.IsZero() && !out.from.Before(out.until) {
		r.add(out.at.fault(0, "until is not after from", ""))
	}
}

// setRule stores one plain value of a rule.
func (r *reader) setRule(out *ruleText, key string, s scalar) {
	var err error
	switch key {
	case "name":
		out.name, out.at = s.value, s
		if !ruleName.MatchString(s.value) {
			r.add(s.fault(0, fmt.Sprintf("%q is no name for a rule", s.value), "a name has up to 64 of a-z, 0-9 and -"))
		}
	case "when":
		out.when = s
	case "because":
		out.because = s
	case "reply":
		out.reply = s
	case "class":
		out.class = s.value
		if !contains(classes(), s.value) {
			r.add(s.fault(0, fmt.Sprintf("unknown class %q", s.value), orAll(s.value, classes())))
		}
	case "do":
		if err = out.do.UnmarshalText([]byte(s.value)); err != nil || out.do == None {
			r.add(s.fault(0, fmt.Sprintf("unknown do %q", s.value), orAll(s.value, dispositions[1:])))
		}
	case "score":
		out.score, err = strconv.ParseFloat(s.value, 64)
		if err != nil || out.score < -1000 || out.score > 1000 || out.score != out.score {
			r.add(s.fault(0, fmt.Sprintf("%q is no score", s.value), "a score is a number from -1000 to 1000"))
			out.score = 0
		}
	case "shadow":
		if out.shadow = r.flag(key, s); r.shadow && !out.shadow {
			r.add(s.fault(0, "the whole file is a shadow", "put this rule into another file"))
		}
	case "gather":
		out.gather = r.flag(key, s)
	case "unknown":
		i := slices.Index(unknownWords, s.value)
		if out.unknown = unanswered(i + 1); i < 0 {
			r.add(s.fault(0, fmt.Sprintf("unknown cannot be %q", s.value), orAll(s.value, unknownWords)))
		}
	case "breaker":
		out.breaker = s.value
		if !contains(breakers(), s.value) {
			r.add(s.fault(0, fmt.Sprintf("unknown breaker %q", s.value), orAll(s.value, breakers())))
		}
	case "from":
		out.from = r.date(s)
	case "until":
		out.until = r.date(s)
	}
}

// flag reads true or false.
func (r *reader) flag(key string, s scalar) bool {
	if s.value != "true" && s.value != "false" {
		r.add(s.fault(0, key+" is true or false", ""))
	}
	return s.value == "true"
}

// orAll proposes the nearest candidate, or names them all.
func orAll(word string, candidates []string) string {
	if hint := didYouMean(word, candidates); hint != "" {
		return hint
	}
	return "it is one of " + strings.Join(candidates, ", ")
}

// date reads a day (its first moment, UTC) or a moment with its zone.
func (r *reader) date(s scalar) time.Time {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s.value); err == nil {
			return t
		}
	}
	r.add(s.fault(0, fmt.Sprintf("%q is no date", s.value), "write 2026-12-01 or 2026-12-01T08:00:00+01:00"))
	return time.Time{}
}
