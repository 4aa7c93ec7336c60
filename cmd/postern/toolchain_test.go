package main

import (
	goversion "go/version"
	"regexp"
	"runtime"
	"testing"
)

// fixed reports whether a toolchain has the fix of GO-2026-6608, a way round the memory limit of
// multipart forms.
func fixed(toolchain string) bool {
	if goversion.Lang(toolchain) == "go1.27" {
		return goversion.Compare(toolchain, "go1.27.2") >= 0
	}
	return goversion.Compare(toolchain, "go1.26.9") >= 0
}

// What is released is built with a toolchain, and with a golang.org/x/net, that have the last fixes
// that concern us.
func TestP02_Toolchain(t *testing.T) {
	t.Parallel()
	for toolchain, want := range map[string]bool{"go1.26.8": false, "go1.26.9": true, "go1.27.1": false, "go1.27.2": true, "go1.28": true, "go1.25.12": false} {
		if fixed(toolchain) != want {
			t.Errorf("%s: %v", toolchain, !want)
		}
	}
	m := regexp.MustCompile(`(?m)^toolchain=(go\S+)$`).FindStringSubmatch(pageText(t, "packaging/version.sh"))
	if m == nil || !fixed(m[1]) {
		t.Errorf("releases are built with %v", m)
	}
	m = regexp.MustCompile(`(?m)^\tgolang\.org/x/net v(\S+)`).FindStringSubmatch(pageText(t, "go.mod"))
	if m == nil || goversion.Compare("go"+m[1], "go0.55.0") < 0 { // CVE-2026-25680
		t.Errorf("golang.org/x/net %v", m)
	}
	if here := runtime.Version(); goversion.IsValid(here) && !fixed(here) {
		t.Logf("this machine has %s: what is built here is not for release: make release fetches its own toolchain", here)
	}
}
