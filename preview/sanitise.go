package preview

import (
	"errors"
	"strings"

	"golang.org/x/net/html"
)

// maxRounds is how often what came out is put in again. All but built traps settle in the second.
const maxRounds = 6

var errUnsettled = errors.New("it is built so that it reads differently each time it is read")

// Sanitise makes of HTML a piece of HTML that does nothing: a short list of elements and attributes,
// no address of anything but http, https and mailto in links and data: in pictures (png, jpeg,
// gif, webp). It is stable: sanitising what it gives changes nothing. It fails for what does not
// settle. Its cost is linear in src, and what it gives is at most some ten times as long.
func Sanitise(src string) (string, error) {
	out, err := settle(src, &rewriter{})
	return out, err
}

// settle rewrites src, with w taking notes of the first round, and checks the result with a second
// wall (bluemonday) until nothing changes any more.
func settle(src string, w *rewriter) (string, error) {
	have := wall().Sanitize(w.rewrite(src))
	for range maxRounds {
		again := wall().Sanitize((&rewriter{room: w.room}).rewrite(have))
		if again == have {
			return have, inspect(have)
		}
		have = again
	}
	return "", errUnsettled
}

// inspect is the third wall: it fails when anything in s is not on the list.
func inspect(s string) error {
	z := html.NewTokenizer(strings.NewReader(s))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return nil
		case html.TextToken:
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			if !kept[t.Data] {
				return errors.New("the element " + VisibleName(t.Data) + " was not expected")
			}
			for _, a := range t.Attr {
				if v, ok := attribute(t.Data, a.Key, a.Val, nil); !ok || v != a.Val {
					return errors.New("the attribute " + VisibleName(a.Key) + " was not expected")
				}
			}
		case html.EndTagToken:
			if name, _ := z.TagName(); !kept[string(name)] {
				return errors.New("the element " + VisibleName(string(name)) + " was not expected")
			}
		default:
			return errors.New("a comment or declaration was not expected")
		}
	}
}

// kept are the elements that come out.
var kept = set("a div span br hr pre blockquote h1 h2 h3 h4 h5 h6 ul ol li dl dt dd table caption tbody tr td th img")

// swallowed are elements whose text is no text for people.
var swallowed = set("script style title iframe noembed noframes")

// live are elements that do or fetch something; that they were there is told.
var live = set("script iframe frame frameset object embed applet svg math form input button select textarea link base meta audio video source track portal template")

// styled are elements that are written as a plain one with a style: so that what comes out has none of
// those that parsers open again by themselves (the "active formatting elements" of HTML 13.2.4.3).
var styled = map[string][2]string{
	"p": {"div", "margin:1em 0"}, "center": {"div", "text-align:center"}, "address": {"div", "font-style:italic"},
	"article": {"div"}, "section": {"div"}, "header": {"div"}, "footer": {"div"}, "main": {"div"}, "nav": {"div"}, "aside": {"div"}, "figure": {"div"},
	"figcaption": {"div"}, "details": {"div"}, "summary": {"div"}, "fieldset": {"div"}, "legend": {"div"}, "form": {"div"}, "dir": {"ul"}, "menu": {"ul"},
	"b": {"span", "font-weight:bold"}, "strong": {"span", "font-weight:bold"}, "i": {"span", "font-style:italic"}, "em": {"span", "font-style:italic"},
	"cite": {"span", "font-style:italic"}, "u": {"span", "text-decoration:underline"}, "ins": {"span", "text-decoration:underline"},
	"s": {"span", "text-decoration:line-through"}, "strike": {"span", "text-decoration:line-through"}, "del": {"span", "text-decoration:line-through"},
	"big": {"span", "font-size:larger"}, "small": {"span", "font-size:smaller"}, "sub": {"span", "vertical-align:sub"}, "sup": {"span", "vertical-align:super"},
	"code": {"span", "font-family:monospace"}, "tt": {"span", "font-family:monospace"}, "kbd": {"span", "font-family:monospace"}, "samp": {"span", "font-family:monospace"},
	"font": {"span"}, "label": {"span"}, "q": {"span"}, "abbr": {"span"}, "mark": {"span"}, "thead": {"tbody"}, "tfoot": {"tbody"},
	"listing": {"pre"}, "xmp": {"pre"}, "plaintext": {"pre"}, "textarea": {"pre"},
}

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}
