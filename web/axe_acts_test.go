package web

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"postern/people"
)

// The pages on which one acts, as axe sees them: with the reason that a site wants, the summary
// of many, and what is told when something is not there.
func TestAxeActs(t *testing.T) {
	axe, err := os.ReadFile("testdata/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t, people.Admin)
	wantReasons(b.desk)
	b.desk.rows[0].Subject = strings.Repeat("A very long subject that a stranger made up to fill the screen ", 15)
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	ctx := chromium(t)
	one := "/m/" + sampleID(1)
	for _, c := range []struct{ name, path, click string }{
		{"delete", one + "?act=delete", ""},
		{"spam", one + "?act=spam", ""},
		{"release", one + "?act=release", ""},
		{"allow", one + "?act=allow", ""},
		{"long subject", one, `document.querySelector(".whole-subject summary").click()`},
		{"asked", "/m/" + sampleID(2), ""},
		{"why", "/", `document.querySelector(".subject").focus(); document.dispatchEvent(new KeyboardEvent("keydown", {key: "d", bubbles: true}))`},
		{"tracking", "/log", ""},
		{"not there", "/nope", ""},
		{"summary", "/", `document.querySelector("#pick-page").click(); document.querySelector('.bar button[value="delete"]').click()`},
	} {
		look(t, ctx, "light", 1360, 900, srv.URL+c.path)
		if c.click != "" {
			if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](c.click+";0"), chromedp.Sleep(400*time.Millisecond), chromedp.WaitReady("#main")); err != nil {
				t.Fatal(err)
			}
		}
		if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](string(axe)+";0")); err != nil {
			t.Fatal(err)
		}
		for _, view := range []struct {
			scheme string
			width  int64
		}{{"light", 1360}, {"dark", 360}} {
			wear(t, ctx, view.scheme, view.width, 800)
			for _, problem := range violations(t, ctx) {
				t.Errorf("%s, %s, %d px: %s", c.name, view.scheme, view.width, problem)
			}
			if wide, err := chromedp.Run(ctx, chromedp.Evaluate[int]("document.documentElement.scrollWidth - document.documentElement.clientWidth")); err != nil || wide > 0 {
				t.Errorf("%s, %d px: the page is %d px wider than the window (%v)", c.name, view.width, wide, err)
			}
			if *shots == "" {
				continue
			}
			shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("act-%s-%s-%d.png", strings.ReplaceAll(c.name, " ", "-"), view.scheme, view.width)
			if err := os.WriteFile(filepath.Join(*shots, name), shot, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
