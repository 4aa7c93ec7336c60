package web

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"postern/testkit"
)

// chromium starts a real Chromium without a window, or skips the test. It ends with the test.
func chromium(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(testkit.Program(t, "chromium", "chromium")), chromedp.Flag("disable-gpu", true),
		chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("lang", "en-GB"))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return ctx
}

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
