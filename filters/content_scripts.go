package filters

import "unicode"

// scripts are those that facts name, the commonest first (Unicode UAX 24). What is written in
// others is "Other".
var scripts = [...]struct {
	name  string
	table *unicode.RangeTable
	twins bool // has letters that look like those of another script with twins
}{
	{"Latin", unicode.Latin, true}, {"Cyrillic", unicode.Cyrillic, true}, {"Greek", unicode.Greek, true},
	{"Han", unicode.Han, false}, {"Hiragana", unicode.Hiragana, false}, {"Katakana", unicode.Katakana, false}, {"Hangul", unicode.Hangul, false},
	{"Arabic", unicode.Arabic, false}, {"Hebrew", unicode.Hebrew, false}, {"Thai", unicode.Thai, false}, {"Devanagari", unicode.Devanagari, false},
	{"Bengali", unicode.Bengali, false}, {"Tamil", unicode.Tamil, false}, {"Telugu", unicode.Telugu, false}, {"Georgian", unicode.Georgian, false},
	{"Armenian", unicode.Armenian, true}, {"Cherokee", unicode.Cherokee, true}, {"Coptic", unicode.Coptic, true},
	{"Mathematical", mathematical, true},
}

// mathematical letters look like Latin and Greek ones in bold or script, and are read as them.
var mathematical = &unicode.RangeTable{R32: []unicode.Range32{{Lo: 0x1d400, Hi: 0x1d7ff, Stride: 1}}}

// scriptsOf names the scripts of the letters in s, in the order in which they come; mixed means
// that one word has letters of two scripts that look alike (UTS 39 5.1 calls that suspicious).
// It is nil and false for what is ASCII, which most texts are.
func scriptsOf(s string) (names []string, mixed bool) {
	if isASCII(s) {
		return nil, false
	}
	const other = len(scripts)
	var seen [other + 1]bool
	last, word := 0, -1 // script of the letter before, and of this word as far as it has twins
	for _, r := range s {
		if !unicode.IsLetter(r) {
			if !unicode.In(r, unicode.Mn, unicode.Nd, unicode.Pc) {
				word = -1
			}
			if !unicode.Is(mathematical, r) { // digits, too
				continue
			}
		}
		at := last
		if at == other || !unicode.Is(scripts[at].table, r) {
			for at = 0; at < other && !unicode.Is(scripts[at].table, r); at++ {
			}
		}
		last = at
		if !seen[at] {
			seen[at] = true
			names = append(names, scriptName(at))
		}
		if at < other && scripts[at].twins {
			mixed = mixed || word >= 0 && word != at
			word = at
		}
	}
	return names, mixed
}

func scriptName(at int) string {
	if at < len(scripts) {
		return scripts[at].name
	}
	return "Other"
}
