package rules

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// How much distance looks at: what is further off is nothing alike.
const (
	maxDistance = 10
	maxLikeness = 64 // characters of a name
	maxOwn      = 50 // names that one is compared with
)

// confusables are characters that look like others, after Unicode's compatibility forms have
// been resolved: the common ones of UTS 39's table, and digits and signs in place of letters.
// Each line is what they look like and then the characters.
const confusables = `a ɑαаᴀ@4ΑАᎪⱥ
b ƄЬьвВβΒᏴʙ8ƀ
c сϲᴄϹСᏟ¢ƈ
d ԁᏧɗđÐðᎠᴅ
e еєҽ℮ᴇΕЕᎬɇ3εɛ
f ғƒϝꜰ
g ɡցǥɢᏀɠ
h һհНΗħᎻʜн
i іιıɩΙІᎥɪɨ!
j јʝЈᎫϳյ
k кκКΚᴋᏦƙ
l ӏӀǀ1|łŀɫʟᏞ
m мМΜᴍᎷ
n ոηɴΝп
o οоσօ0ΟОᴏøθөѳ
p рρРΡᴘᏢþ
q ԛզգʠ
r гᴦʀᎡɾ
s ѕЅꜱʂ5$Ꮪ
t тτТΤᴛŧᎢ7
u υսᴜμʋц
v νѵᴠᏙ
w ԝѡաᴡωᏔ
x хχХΧ×
y уγүУΥʏÿ
z ᴢΖʐƶᏃ
ae æӕ
oe œ
ss ß
- ‐‑‒–—−˗
. ․۔。
' ’‘ʼ` + "`" + `´ʹ`

// pairs are letters that together look like another one.
func pairs() *strings.Replacer { return strings.NewReplacer("rn", "m", "vv", "w", "cl", "d") }

// A likeness turns a name into what it looks like.
type likeness struct {
	letters map[rune]string
	pairs   *strings.Replacer
}

func newLikeness() *likeness {
	l := &likeness{make(map[rune]string), pairs()}
	for line := range strings.SplitSeq(confusables, "\n") {
		looks, like, _ := strings.Cut(line, " ")
		for _, r := range like {
			l.letters[r] = looks
		}
	}
	return l
}

// plain is a name without what does not show: case, blanks around and doubled, characters
// without width; A-labels of a domain are read.
func plain(s string) string {
	if len(s) > 4*maxLikeness {
		s = s[:4*maxLikeness] // it is too long, and stays so
	}
	s = strings.ToLower(strings.Join(strings.Fields(strings.ToValidUTF8(s, "�")), " "))
	if strings.Contains(s, "xn--") {
		if u, err := idna.Punycode.ToUnicode(s); err == nil {
			s = u
		}
	}
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
			return -1
		}
		return r
	}, s)
}

// skeleton is what a name looks like: as UTS 39 has it, with accents left out.
func (l *likeness) skeleton(s string) []rune {
	var b strings.Builder
	for _, r := range norm.NFKD.String(s) {
		switch looks, ok := l.letters[r]; {
		case unicode.Is(unicode.Mn, r):
		case ok:
			b.WriteString(looks)
		default:
			r = unicode.ToLower(r)
			if looks, ok := l.letters[r]; ok {
				b.WriteString(looks)
			} else {
				b.WriteRune(r)
			}
		}
	}
	return []rune(l.pairs.Replace(b.String()))
}

// An own name is one that others are compared with.
type own struct {
	plain    string
	skeleton []rune
}

func prepareOwn(c *compiler, _ int, arg string) error {
	if c.likeness == nil {
		c.likeness = newLikeness()
	}
	o := own{plain: plain(arg)}
	if o.plain == "" {
		return errors.New("a name to compare with is empty")
	}
	if o.skeleton = c.likeness.skeleton(o.plain); len(o.skeleton) > maxLikeness {
		return fmt.Errorf("a name to compare with has at most %d characters", maxLikeness)
	}
	c.own[arg] = o
	return nil
}

// nearest is the function distance.
func nearest(t *tables, args []any) (any, error) {
	said := args[0].(string)
	name := plain(said)
	if name == "" {
		return maxDistance, nil
	}
	looks := t.likeness.skeleton(name)
	var other []rune // with each capital I taken for the small L that it looks like
	if strings.Contains(said, "I") && !isASCIIUpper(said) {
		other = t.likeness.skeleton(plain(strings.ReplaceAll(said, "I", "l")))
	}
	best := maxDistance
	for _, a := range args[1:] {
		o := t.own[a.(string)]
		if o.plain == name {
			return 0, nil
		}
		best = min(best, max(1, edits(looks, o.skeleton, best)))
		if other != nil {
			best = min(best, max(1, edits(other, o.skeleton, best)))
		}
	}
	return best, nil
}

// isASCIIUpper reports whether s is written in capitals throughout, where an I is an I.
func isASCIIUpper(s string) bool { return !strings.ContainsAny(s, "abcdefghijklmnopqrstuvwxyz") }

// edits is distance on long names too: they are as far off as they are too long.
func edits(a, b []rune, limit int) int {
	if len(a) > maxLikeness {
		return limit
	}
	return distance(string(a), string(b), limit)
}
