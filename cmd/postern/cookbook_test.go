package main

import (
	"fmt"
	"strings"
	"testing"

	"postern/policies"
)

// Each rule of docs/cookbook.md is loaded without a warning, alone and with all others, and its
// tests pass; each is matched by one of them.
func TestCookbook(t *testing.T) {
	t.Parallel()
	lists := policies.Files{"partners.txt": []byte("@partner.example\n"), "blocked.txt": []byte(".evil.example\n"), "recipients.txt": []byte("ana@example.org\n")}
	cfg := defaultConfig()
	cfg.Hostname, cfg.Domains = "mx.example.org", []string{"example.org"}
	cfg.Upstream.Servers = []string{"127.0.0.1:25"}
	cfg.Routes = []RouteConfig{{Name: "lab", Domains: []string{"example.org"}, UpstreamConfig: UpstreamConfig{Servers: []string{"127.0.0.1:26"}}}}
	all := policies.Files{}
	for name, text := range lists {
		all[name] = text
	}
	recipes := 0
	for i, text := range blocks(pageText(t, "docs/cookbook.md"), "yaml rule") {
		files := policies.Files{"recipe.yaml": []byte(text)}
		for name, text := range lists {
			files[name] = text
		}
		set, err := newRuleSet(cfg, "cookbook", policies.Of("cookbook", files))
		if err != nil {
			t.Fatal(err)
		}
		c, err := set.candidate(cfg, outside{})
		if err != nil {
			t.Errorf("%v\nin\n%s", err, text)
			continue
		}
		for _, w := range c.rules.Lint() {
			t.Error(w)
		}
		if c.tests.Failed > 0 {
			t.Error(c.passes())
		}
		for _, name := range c.tests.Untouched {
			if strings.Contains(text, "name: "+name+"\n") || strings.Contains(text, "name: "+name+",") {
				t.Errorf("rule %s matches in no test of\n%s", name, text)
			}
		}
		for _, r := range c.rules.Rules() {
			if r.File != "builtin.yaml" {
				recipes++
			}
		}
		for name, old := range map[string]string{"tests": "tests:", "include": "include: builtin\n"} {
			if before, _, found := strings.Cut(text, old); found && name == "tests" {
				text = before // they are about their own block
			} else if found {
				text = strings.Replace(text, old, "", 1)
			}
		}
		all[fmt.Sprintf("%02d.yaml", i)] = []byte(text)
	}
	if recipes < 25 {
		t.Errorf("only %d rules", recipes)
	}
	set, err := newRuleSet(cfg, "cookbook", policies.Of("cookbook", all))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.candidate(cfg, outside{}); err != nil {
		t.Errorf("all together: %v", err)
	}
}
