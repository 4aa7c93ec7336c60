package web

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"postern/people"
	"postern/review"
)

// Every page, in the states in which people see it.
func everyPage() map[string]string {
	one := "/m/" + sampleID(1)
	return map[string]string{"list": "/", "nothing": "/?q=xyzzy", "bad query": "/?q=recieved+%3E+1", "narrowed": "/?class=spam&from=example", "log": "/log", "message": one, "html": one + "?tab=html", "headers": one + "?tab=headers",
		"attachments": one + "?tab=attachments", "links": one + "?tab=links", "raw": one + "?tab=raw", "allow": one + "?act=allow", "release": one + "?act=release", "asked": "/m/" + sampleID(2), "overview": "/overview",
		"rules": "/rules", "editor": "/rules/edit?file=20-spoof.yaml", "draft": "/rules/edit?from=" + sampleID(1), "history": "/rules/history", "version": "/rules/history/40", "requests": "/requests", "audit": "/audit", "lists": "/lists"}
}

// axe finds what somebody who does not see, or sees little, could not use: no violation of WCAG 2.2
// A or AA on any page, light and dark, wide and as on a small phone.
func TestAxe(t *testing.T) {
	axe, err := os.ReadFile("testdata/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t, people.Admin)
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	ctx := chromium(t)
	check := func(name, path string) {
		look(t, ctx, "light", 1360, 900, srv.URL+path)
		if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](string(axe)+";0")); err != nil {
			t.Fatal(err)
		}
		for _, view := range []struct {
			scheme string
			width  int64
		}{{"light", 1360}, {"dark", 1360}, {"dark", 360}, {"light", 360}} {
			wear(t, ctx, view.scheme, view.width, 900)
			for _, problem := range violations(t, ctx) {
				t.Errorf("%s, %s, %d px: %s", name, view.scheme, view.width, problem)
			}
			if wide, err := chromedp.Run(ctx, chromedp.Evaluate[int]("document.documentElement.scrollWidth - document.documentElement.clientWidth")); err != nil || wide > 0 {
				t.Errorf("%s, %d px: the page is %d px wider than the window (%v)", name, view.width, wide, err)
			}
		}
	}
	for name, path := range everyPage() {
		check(name, path)
	}
	b.who = person(people.User)
	for _, r := range []*review.Row{&b.desk.rows[0], &b.desk.rows[1]} {
		r.May = []review.Verb{review.Ask, review.Delete}
	}
	for name, path := range map[string]string{"own list": "/", "own message": "/m/" + sampleID(1) + "?act=ask", "own requests": "/requests"} {
		check(name, path)
	}
	b.desk.rows = nil
	check("empty", "/")
}

// violations runs axe in the page that is shown.
func violations(t *testing.T, ctx context.Context) []string {
	t.Helper()
	type found struct {
		ID, Help string
		Nodes    []struct {
			HTML           string
			FailureSummary string
		}
	}
	all, err := chromedp.Run(ctx, chromedp.Evaluate[[]found](`axe.run(document, {runOnly: ["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"], iframes: false}).then(r => r.violations)`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, v := range all {
		for _, n := range v.Nodes {
			out = append(out, fmt.Sprintf("%s (%s): %s: %s", v.ID, v.Help, n.HTML, strings.ReplaceAll(n.FailureSummary, "\n", " ")))
		}
	}
	return out
}
