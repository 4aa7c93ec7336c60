package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Addresses and servers that effects name are those of the configuration: a mistake is shown at
// its place when the rules are loaded, with what may have been meant.
func TestEffectsNameWhatIsConfigured(t *testing.T) {
	cfg := defaultConfig()
	cfg.Domains, cfg.Rules = []string{"example.org", ".branch.example"}, t.TempDir()
	cfg.Routes = []RouteConfig{{Name: "lab"}, {Domains: []string{"x.branch.example"}}}
	load := func(effect string) string {
		text := "rules:\n  - name: r\n    when: 'true'\n    effects:\n      - " + effect + "\n"
		if err := os.WriteFile(filepath.Join(cfg.Rules, "r.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := compile(cfg, filterList(cfg, outside{})); err != nil {
			return err.Error()
		}
		return ""
	}
	for _, effect := range []string{`route("lab")`, `route("default")`, `redirect("a@example.org")`, `bcc("a@x.branch.example")`, `notify("a@example.org")`,
		`notify("a@example.org", "from {{sender.address}}")`, `throttle("client", 10, 1h)`, `strip_attachments("all")`, `strip_attachments(".exe", "image/*")`, `banner("{{content.subject}}")`} {
		if err := load(effect); err != "" {
			t.Errorf("%s: %s", effect, err)
		}
	}
	for effect, want := range map[string]string{
		`route("lap")`:                         "r.yaml:5:16: \"lap\" is none of: default, lab\n    5 |       - route(\"lap\")\n      |                ^ did you mean lab?",
		`redirect("a@gmail.example")`:          "r.yaml:5:19: gmail.example is not in domains",
		`bcc("archive")`:                       "r.yaml:5:14: \"archive\" is no address",
		`notify("{{sender.address}}")`:         "the address of notify is fixed",
		`throttle("clients", 10, 1h)`:          "did you mean client?",
		`throttle("client", 0, 1h)`:            "r.yaml:5:28: \"0\" is no number of copies",
		`throttle("client", 10, 1y)`:           "r.yaml:5:32: \"1y\" is no span of time",
		`strip_attachments("dangerus")`:        "did you mean dangerous?",
		`strip_attachments()`:                  "write strip_attachments(what, …)",
		`add_header("Content-Type", "x")`:      "Content-Type is not for rules to change",
		`redirct("a@example.org")`:             "did you mean redirect?",
		`add_header("X-{{client.helo}}", "x")`: "the name of add_header is fixed",
	} {
		if err := load(effect); !strings.Contains(err, want) {
			t.Errorf("%s: %s\nwant %s", effect, err, want)
		}
	}
}

func TestRoutesHaveNames(t *testing.T) {
	for routes, want := range map[string]string{
		"[{name: lab, servers: ['h:25']}]":                                    "",
		"[{servers: ['h:25']}]":                                               "a route without domains needs a name",
		"[{name: default, servers: ['h:25']}]":                                "is what rules call upstream",
		"[{name: The Lab, servers: ['h:25']}]":                                "is no name",
		"[{name: lab, servers: ['h:25']}, {name: lab, servers: ['h:26']}]":    "there is a route \"lab\" already",
		"[{name: lab, domains: [example.org], servers: ['h:25']}, {name: b}]": "no internal server",
	} {
		cfg := defaultConfig()
		err := cfg.parse("postern.yaml", []byte("hostname: mx.example.org\ndomains: [example.org]\nupstream: {servers: ['h:25']}\nroutes: "+routes+"\n"))
		if err == nil {
			err = cfg.validate()
		}
		if err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", routes, err, want)
		}
	}
}
