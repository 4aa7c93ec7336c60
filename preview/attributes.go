package preview

import (
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// The attributes that come out, by what their values look like. An address is only in href of a and
// in src of img.
var (
	sizeValue  = regexp.MustCompile(`^[0-9]{1,4}%?$`)
	spanValue  = regexp.MustCompile(`^[0-9]{1,2}$`)
	alignValue = regexp.MustCompile(`^(left|right|center|justify|top|middle|bottom|baseline)$`)
	dirValue   = regexp.MustCompile(`^(ltr|rtl|auto)$`)
	langValue  = regexp.MustCompile(`^[a-z]{2,3}(-[a-z0-9]{2,8}){0,3}$`)
	colorValue = regexp.MustCompile(`^(#[0-9a-f]{3,8}|[a-z]{3,20})$`)
	typeValue  = regexp.MustCompile(`^[1aAiI]$`)
)

// maxAlt bounds what stands for a picture.
const maxAlt = 200

// attribute gives the value of an attribute as it comes out; ok is false for one that does not. room
// is for pictures; nil: any.
func attribute(element, key, val string, room *int) (string, bool) {
	low := strings.ToLower(strings.TrimSpace(val))
	switch key {
	case "style":
		s := cleanStyle(val)
		return s, s != ""
	case "dir":
		return low, dirValue.MatchString(low)
	case "lang":
		return low, langValue.MatchString(low)
	case "align", "valign":
		return low, alignValue.MatchString(low) && slices.Contains([]string{"div", "table", "tr", "td", "th", "img", "h1", "h2", "h3", "h4", "h5", "h6", "hr"}, element)
	case "width", "height":
		return low, sizeValue.MatchString(low) && slices.Contains([]string{"table", "td", "th", "img", "hr"}, element)
	case "bgcolor":
		return low, colorValue.MatchString(low) && slices.Contains([]string{"table", "tr", "td", "th"}, element)
	case "colspan", "rowspan":
		return low, spanValue.MatchString(low) && (element == "td" || element == "th")
	case "border", "cellpadding", "cellspacing":
		return low, spanValue.MatchString(low) && element == "table"
	case "type":
		return val, typeValue.MatchString(val) && element == "ol"
	case "start":
		return low, spanValue.MatchString(low) && element == "ol"
	case "alt":
		alt, _ := clip(VisibleName(val), maxAlt)
		return alt, element == "img"
	case "href":
		return linkTarget(val, element == "a")
	case "src":
		if element != "img" {
			return "", false
		}
		return pictureURL(val, room)
	}
	return "", false
}

// attributes writes those of a tag that come out as name; ok is false for a picture without bytes,
// whose place its text takes.
func (w *rewriter) attributes(t *html.Token, name, style string) (string, bool) {
	var b strings.Builder
	seen := map[string]bool{}
	write := func(key, val string) {
		if !seen[key] {
			seen[key] = true
			b.WriteString(" " + key + `="` + html.EscapeString(val) + `"`)
		}
	}
	left := maxOutput
	if w.room > 0 {
		left = w.room - w.used
	}
	alt := ""
	for _, a := range t.Attr {
		switch {
		case a.Namespace != "" || seen[a.Key]:
			continue
		case a.Key == "style":
			style += ";" + a.Val
			continue
		case a.Key == "color" && t.Data == "font":
			style += ";color:" + a.Val
			continue
		case a.Key == "alt":
			alt = a.Val
		case a.Key == "src" && name == "img":
			a.Val = w.picture(a.Val)
		}
		before := left
		if v, ok := attribute(name, a.Key, a.Val, &left); ok {
			write(a.Key, v)
			w.used += before - left
		}
	}
	if s := cleanStyle(style + ";" + contrast(t, cleanStyle(style))); s != "" {
		write("style", s)
	}
	if name == "img" && !seen["src"] {
		if alt, _ = clip(strings.TrimSpace(alt), maxAlt); alt != "" {
			w.text("[" + alt + "]")
		}
		return "", false
	}
	return b.String(), true
}
