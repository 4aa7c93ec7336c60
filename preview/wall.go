package preview

import (
	"regexp"
	"sync"

	"github.com/microcosm-cc/bluemonday"
)

// wall is the second wall: a policy of bluemonday with the same lists.
var wall = sync.OnceValue(func() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	for e := range kept {
		p.AllowNoAttrs().OnElements(e)
		p.AllowElements(e)
	}
	any := func(re *regexp.Regexp, attrs ...string) { p.AllowAttrs(attrs...).Matching(re).Globally() }
	any(styleAttribute, "style")
	any(dirValue, "dir")
	any(langValue, "lang")
	any(alignValue, "align", "valign")
	any(sizeValue, "width", "height")
	any(colorValue, "bgcolor")
	any(spanValue, "colspan", "rowspan", "border", "cellpadding", "cellspacing", "start")
	p.AllowAttrs("type").Matching(typeValue).OnElements("ol")
	p.AllowAttrs("alt").OnElements("img")
	p.AllowAttrs("src").OnElements("img")
	p.AllowAttrs("href").OnElements("a")
	p.AllowURLSchemes("http", "https", "mailto")
	p.AllowDataURIImages()
	p.RequireParseableURLs(true)
	return p
})
