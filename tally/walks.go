package tally

import "postern/journal"

// walks remembers which live rules matched in a walk: nearly all mail has one of a few, and the
// rules give out each of these as the same bytes.
type walks map[*byte][]string

// maxWalks is how many are remembered.
const maxWalks = 256

// matched lists the live rules that matched in a walk, []rules.Step as JSON.
func (w walks) matched(walk []byte) []string {
	if len(walk) == 0 {
		return nil
	}
	names, known := w[&walk[0]]
	if known {
		return names
	}
	names = matchedIn(walk)
	if len(w) >= maxWalks {
		clear(w)
	}
	w[&walk[0]] = names
	return names
}

func matchedIn(walk journal.Raw) (names []string) {
	for step := range walk.Items() {
		name, matched, shadow := "", false, false
		for member, v := range step.Members() {
			switch string(member) {
			case "rule":
				name = v.Text()
			case "matched":
				matched = string(v) == "true"
			case "shadow":
				shadow = string(v) == "true"
			}
		}
		if matched && !shadow {
			names = append(names, name)
		}
	}
	return names
}
