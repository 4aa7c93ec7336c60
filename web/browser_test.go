package web

import (
	"context"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"postern/testkit"
)

// chromium starts a real browser for a test, or skips it.
func chromium(t *testing.T) context.Context { return testkit.Chromium(t, 3*time.Minute) }

// wear makes the page light or dark, and the window of a size.
func wear(t *testing.T, ctx context.Context, scheme string, width, height int64) {
	t.Helper()
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	if err == nil {
		err = chromedp.Do(ctx, chromedp.EmulateViewport(width, height))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// look opens a page, light or dark, in a window of a size.
func look(t *testing.T, ctx context.Context, scheme string, width, height int64, url string) {
	t.Helper()
	wear(t, ctx, scheme, width, height)
	_, err := chromedp.Call(ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "UTC"})
	if err == nil {
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		err = chromedp.Do(limited, chromedp.Navigate("about:blank"), chromedp.Navigate(url), chromedp.WaitReady("#main"))
	}
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
}
