package filters

import "strings"

// Limits of the text view.
const (
	maxTextPart  = 64 << 10  // of one part
	maxTextTotal = 256 << 10 // of a message
	maxTextFact  = 16 << 10  // content.text
	maxLinks     = 1000
	maxURL       = 512
)

// gtube is the test string of spam filters, in two halves so that this file is not one.
const gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

// readText takes the decoded bytes of a text part.
func (c *collector) readText(view []byte, e *entity) {
	html := e.is("text/html") || e.is("text/xhtml")
	text := toUTF8(e.charset, string(view))
	c.facts.GTUBE = c.facts.GTUBE || strings.Contains(text, gtube)
	if html {
		c.htmlLinks(text)
	} else {
		c.textLinks(text)
	}
	if room := maxTextFact - len(c.facts.Text); room > 0 && !html {
		c.facts.Text = joinText(c.facts.Text, text, room)
	} else if room := maxTextFact - len(c.facts.HTML); room > 0 && html {
		c.facts.HTML = joinText(c.facts.HTML, text, room)
	}
}

func joinText(have, more string, room int) string {
	if len(more) > room {
		more = strings.Clone(strings.ToValidUTF8(more[:room], ""))
	}
	if have == "" {
		return more
	}
	return have + "\n" + more
}
