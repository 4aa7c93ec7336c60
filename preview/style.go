package preview

import (
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

// maxStyle bounds one style attribute.
const maxStyle = 2 << 10

const (
	cssColor  = `(#[0-9a-f]{3,8}|[a-z]{3,20}|rgba?\([0-9]{1,3}%?(, ?[0-9.]{1,5}%?){2,3}\))`
	cssLength = `([0-9]{1,3}(\.[0-9]{1,2})?(px|pt|em|%)?)`
	cssBox    = cssLength + `( ` + cssLength + `){0,3}`
)

// properties are the parts of CSS that come out, each with what its value may look like. None of them
// fetches anything, moves anything over something else or hides it.
var properties = map[string]*regexp.Regexp{
	"color":            whole(cssColor),
	"background-color": whole(cssColor),
	"font-weight":      whole(`bold|bolder|normal|lighter|[1-9]00`),
	"font-style":       whole(`italic|normal|oblique`),
	"font-size":        whole(`larger|smaller|small|medium|large|x-large|xx-large|([89]|[1-4][0-9])(\.[0-9])?(px|pt)|[12](\.[0-9]{1,2})?em|0\.[89][0-9]?em|([89][0-9]|[12][0-9]{2})%`),
	"font-family":      whole(`monospace|serif|sans-serif`),
	"text-align":       whole(`left|right|center|justify`),
	"text-decoration":  whole(`underline|line-through|none`),
	"vertical-align":   whole(`sub|super|top|middle|bottom|baseline`),
	"white-space":      whole(`pre|pre-wrap|normal|nowrap`),
	"margin":           whole(cssBox + `|auto|0 auto`),
	"padding":          whole(cssBox),
	"line-height":      whole(`[12](\.[0-9]{1,2})?|(1[0-9]|[2-4][0-9])(px|pt)|1[0-9]{2}%`),
	"width":            whole(cssLength),
	"max-width":        whole(cssLength),
	"border":           whole(`[0-9]px (solid|dashed|dotted) ` + cssColor + `|none|0`),
}

func whole(expr string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + expr + `)$`) }

// styleAttribute is what cleanStyle gives, for the second wall.
var styleAttribute = regexp.MustCompile(`^[a-z-]+:[a-z0-9#.,%() -]+(;[a-z-]+:[a-z0-9#.,%() -]+)*$`)

// cleanStyle keeps the declarations of a style attribute that are on the list. It reads no CSS:
// what has quotes, escapes or comments is on no list.
func cleanStyle(s string) string {
	s = strings.ToLower(s[:min(len(s), maxStyle)])
	var names, values []string
	for _, d := range strings.Split(s, ";") {
		name, value, ok := strings.Cut(d, ":")
		name, value = strings.TrimSpace(name), strings.Join(strings.Fields(strings.Replace(value, "!important", "", 1)), " ")
		if name == "background" {
			name = "background-color"
		}
		if p := properties[name]; !ok || p == nil || !p.MatchString(value) {
			continue
		}
		at := len(names)
		for i := range names { // the last one counts
			if names[i] == name {
				at = i
			}
		}
		if at == len(names) {
			names, values = append(names, name), append(values, value)
		}
		values[at] = value
	}
	for i := range names {
		names[i] += ":" + values[i]
	}
	return strings.Join(names, ";")
}

// contrast gives text on a ground of its own a color that can be read, when it has none: what styles
// of the whole message said about it is gone.
func contrast(t *html.Token, style string) string {
	ground := strings.ToLower(strings.TrimSpace(get(t, "bgcolor")))
	for _, d := range strings.Split(style, ";") {
		switch name, value, _ := strings.Cut(d, ":"); name {
		case "color":
			return ""
		case "background-color":
			ground = value
		}
	}
	hex := strings.TrimPrefix(ground, "#")
	if ground == "black" {
		hex = "000"
	}
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	v, err := strconv.ParseUint(hex, 16, 32)
	if err != nil || len(hex) != 6 {
		return ""
	}
	if light := 299*(v>>16&0xff) + 587*(v>>8&0xff) + 114*(v&0xff); light < 110_000 {
		return "color:#fff"
	}
	return "color:#222"
}
