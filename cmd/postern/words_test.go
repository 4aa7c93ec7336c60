package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/testkit"
)

// TestFactsKeepToTheirWords: a fact whose tag lists its words never has another one, and one in
// lower case has no capitals; the warnings of rules rest on that. It looks at the demo's mails
// and at the corpora where they are.
func TestFactsKeepToTheirWords(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for i, m := range demoMails() {
		file := filepath.Join(dir, string(rune('a'+i))+".eml")
		if err := os.WriteFile(file, []byte(m.Raw), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	for _, corpus := range []string{"dkim", "dmarc", "mime", "mime-evasion", "phishing"} {
		more, _ := filepath.Glob(filepath.Join(testkit.Root(t), "..", "shared", "corpus", corpus, "*", "*.eml"))
		for i := 0; i < len(more); i += 1 + len(more)/15 {
			files = append(files, more[i])
		}
	}
	zone := noZone(t)
	seen := map[string]bool{}
	for _, file := range files {
		_, _, out, errs := tryRun(t, "--ip", "192.0.2.1", "--zone", zone, file)
		var r struct{ Facts map[string]json.RawMessage }
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%s: %v\n%s", file, err, errs)
		}
		for name, zero := range filters.Vocabulary() {
			facts := reflect.New(reflect.TypeOf(zero))
			if text, ok := r.Facts[name]; ok && json.Unmarshal(text, facts.Interface()) == nil {
				keepsWords(t, seen, file, name, facts.Elem())
			}
		}
	}
	for _, fact := range []string{"spf.result", "dkim.result", "dmarc.result", "content.from.domain", "content.header"} {
		if !seen[fact] {
			t.Errorf("%s was never seen", fact)
		}
	}
}

func keepsWords(t *testing.T, seen map[string]bool, file, path string, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			keepsWords(t, seen, file, path, v.Index(i))
		}
		return
	case reflect.Struct:
		if _, isTime := v.Interface().(time.Time); isTime {
			return
		}
	default:
		return
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		name := path + "." + f.Tag.Get("expr")
		words, lower := strings.Fields(f.Tag.Get("enum")), f.Tag.Get("case") == "lower"
		for _, s := range said(v.Field(i)) {
			if len(words) > 0 && s != "" && !slices.Contains(words, s) {
				t.Errorf("%s: %s is %q, which its tag does not know", file, name, s)
			}
			if lower && s != strings.ToLower(s) {
				t.Errorf("%s: %s is %q, which is not in lower case", file, name, s)
			}
			seen[name] = seen[name] || len(words) > 0 || lower
		}
		keepsWords(t, seen, file, name, v.Field(i))
	}
}

// said are the texts of a fact: itself, the elements of a list, the keys of a map.
func said(v reflect.Value) (out []string) {
	switch {
	case v.Kind() == reflect.String:
		out = []string{v.String()}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String:
		for i := range v.Len() {
			out = append(out, v.Index(i).String())
		}
	case v.Kind() == reflect.Map:
		for _, k := range v.MapKeys() {
			out = append(out, k.String())
		}
	}
	return out
}
