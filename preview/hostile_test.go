package preview_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"postern/mail"
	"postern/preview"
	"postern/preview/hostiletest"
)

// What may stand in a document: the tags of the list, with attributes that hold no address.
var documentTag = regexp.MustCompile(`^</?(?:(?:a|div|span|br|hr|pre|blockquote|h[1-6]|ul|ol|li|dl|dt|dd|table|caption|tbody|tr|td|th|img)(?: (?:style|dir|lang|align|valign|width|height|bgcolor|colspan|rowspan|border|cellpadding|cellspacing|type|start|alt|class)="[^"<>]*"| src="data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]*")*/?)>`)

// Without a browser: the documents are of nothing but harmless tags, whatever tokenizer reads them.
func TestHostileDocumentsHaveHarmlessTagsOnly(t *testing.T) {
	documents := 0
	for _, m := range hostiletest.Messages() {
		p, err := preview.Read(t.Context(), mail.BodyOf(m.Raw), preview.Options{})
		if err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		if _, err := json.Marshal(p); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		doc := p.HTML.Document
		if doc == "" {
			continue
		}
		documents++
		_, body, _ := strings.Cut(doc, `<body><div class="pv">`)
		body = strings.TrimSuffix(body, "</div></body></html>\n")
		for rest := body; ; {
			i := strings.IndexByte(rest, '<')
			if i < 0 {
				break
			}
			rest = rest[i:]
			tag := documentTag.FindString(rest)
			if tag == "" {
				t.Errorf("%s: %.100q", m.Name, rest)
				break
			}
			rest = rest[len(tag):]
		}
	}
	if documents < 300 {
		t.Errorf("%d documents", documents)
	}
}

func TestHostileMessagesAreManyAndDistinct(t *testing.T) {
	names, texts := map[string]bool{}, map[string]bool{}
	beacons := 0
	for _, m := range hostiletest.Messages() {
		if names[m.Name] || texts[strings.ReplaceAll(string(m.Raw), m.Name, "")] {
			t.Errorf("%s comes twice", m.Name)
		}
		names[m.Name], texts[strings.ReplaceAll(string(m.Raw), m.Name, "")] = true, true
		if strings.HasPrefix(m.Name, "beacon-") {
			beacons++
		}
	}
	if len(names) < 300 || beacons < 60 {
		t.Errorf("%d messages, %d beacons", len(names), beacons)
	}
}

// What a mail program would have fetched is told, with the hosts.
func TestRemoteLoadsAreCounted(t *testing.T) {
	silent := 0
	for _, m := range hostiletest.Messages() {
		if !strings.HasPrefix(m.Name, "beacon-") {
			continue
		}
		p, err := preview.Read(t.Context(), mail.BodyOf(m.Raw), preview.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if p.HTML.Remote == 0 {
			silent++
			t.Logf("%s: nothing is told: %.200q", m.Name, m.Raw[strings.Index(string(m.Raw), "<body>"):])
		}
	}
	if silent > 12 {
		t.Errorf("of %d nothing is told", silent)
	}
}
