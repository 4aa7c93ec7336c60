package main

import (
	"slices"
	"strings"

	"postern/journal"
	"postern/rules"
)

// otherEffects tells how the effects on a copy would differ that was delivered and would be
// again: those that would come, with +, and those that would go, with -; nil when none does. by is
// the first rule whose effect would come. An effect that shows facts is compared by its name.
func otherEffects(o *journal.RecordOutcome, v *rules.Verdict, was string) (differ []string, by string) {
	if was != "deliver" || v.Do != rules.Deliver || o.Do.Text() != "deliver" || len(o.Effects) == 0 && len(v.Effects) == 0 {
		return nil, ""
	}
	var had []string
	for x := range o.Effects.Items() {
		had = append(had, x.Text())
	}
	var come []*rules.Effect
	for _, fixed := range [2]bool{true, false} { // what is compared as a whole comes first
		for i := range v.Effects {
			x := &v.Effects[i]
			if (x.Args != nil) != fixed {
				continue
			}
			said := written(x)
			if n := slices.IndexFunc(had, func(h string) bool { return strings.HasPrefix(h, said) }); n >= 0 {
				had = slices.Delete(had, n, n+1)
			} else {
				come = append(come, x)
			}
		}
	}
	for i, x := range come {
		differ = append(differ, "+"+strings.TrimSuffix(written(x), "("))
		if i == 0 {
			by = x.Rule
		}
	}
	for _, h := range had {
		name, _, _ := strings.Cut(h, "(")
		differ = append(differ, "-"+name)
	}
	slices.Sort(differ)
	return differ, by
}

// written is an effect as the journal has it, as far as that is known and kept.
func written(x *rules.Effect) string {
	if x.Args == nil {
		return x.Name + "("
	}
	said := x.String()
	return said[:min(len(said), effectKept)]
}

// effectKept is how much of an effect the journal keeps at least.
const effectKept = 150
