package main

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"postern/filters"
	"postern/filters/dnsfake"
	"postern/journal"
	"postern/mail"
	"postern/rules"
)

// longestPinned bounds a text of a test, in bytes as written: a line of a rule file has a limit.
const longestPinned = 15 << 10

// offlineRules compiles the rules of a file's folder, else those of the configuration. The
// filters ask no DNS.
func offlineRules(cfg *Config, file string) (*rules.Policy, []filters.Filter, error) {
	zone, err := dnsfake.Parse("")
	if err != nil {
		return nil, nil, err
	}
	fs := filterList(cfg, outside{Resolver: zone})
	if file == "" {
		policy, err := compile(cfg, fs)
		return policy, fs, err
	}
	set, err := rulesBeside(cfg, file, nil)
	if err != nil {
		return nil, nil, err
	}
	policy, err := set.compile(fs)
	return policy, fs, err
}

// keptMessage is the message of an entry, while it is in quarantine; else nil.
func (d *stores) keptMessage(ctx context.Context, e *journal.Entry) []byte {
	ids := []string{e.ID}
	for i := range e.Outcomes {
		ids = append(ids, e.Outcomes[i].Held)
	}
	for _, id := range slices.Compact(ids) {
		text, err := d.quarantine.Content(ctx, id)
		if err != nil {
			continue
		}
		message, err := io.ReadAll(io.LimitReader(text, maxAgain))
		if text.Close() == nil && err == nil {
			return message
		}
	}
	return nil
}

// addTexts gives the test what rules read and the journal does not keep: texts of the message,
// read again where it is there. What cannot be had is in lacks.
func (p *pin) addTexts(ctx context.Context, e *journal.Entry, message []byte, reads map[string][]string, fs []filters.Filter) {
	vocabulary := filters.Vocabulary()
	for name := range e.Facts {
		if vocabulary[name] == nil {
			continue
		}
		gone := abridgedFacts(vocabulary[name])
		var found map[string]any
		for _, fact := range reads[name] {
			if !gone[fact] {
				continue
			}
			if found == nil && message != nil {
				found = factsAgain(ctx, e, message, name, fs)
			}
			text, ok := found[fact].(string)
			switch {
			case found == nil || ok && len(quoted(text)) > longestPinned:
				p.lacks = append(p.lacks, name+"."+fact)
			case ok && text != "":
				p.set(name, fact, text)
			}
		}
	}
	if len(p.lacks) > 0 {
		slices.Sort(p.lacks)
		p.note = strings.TrimPrefix(p.note+"; not kept, so empty here: "+strings.Join(p.lacks, ", "), "; ")
	}
}

// factsAgain runs a filter again, and gives its facts as they are in JSON; nil when it fails.
func factsAgain(ctx context.Context, e *journal.Entry, message []byte, name string, fs []filters.Filter) (found map[string]any) {
	j := judge{filters: fs}
	facts, ok := j.gather(ctx, filters.Input{Envelope: e.Envelope, Recipient: mail.Address{}}, message, []string{name})[name]
	if !ok || failure(facts) != nil {
		return nil
	}
	text, err := json.Marshal(facts)
	if err != nil || json.Unmarshal(text, &found) != nil {
		return nil
	}
	return found
}

func (p *pin) set(filter, fact string, value any) {
	if p.facts[filter] == nil {
		p.facts[filter] = map[string]any{}
	}
	p.facts[filter][fact] = value
}
