package hostiletest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"postern/testkit"
)

// A Watch is a real Chromium that notes whatever hostile mail must not bring about: a script that
// runs, a request to anywhere but the pages, a navigation, a dialog, a window. Every name under
// Domain leads to a sink that counts who asks.
type Watch struct {
	t      testing.TB
	origin string
	ours   *regexp.Regexp // addresses that pages ask for by themselves, less the origin
	quiet  *regexp.Regexp // of these, the ones to which navigations are ours, too
	ctx    context.Context
	stop   func()
	netlog string

	mu     sync.Mutex
	bad    []string
	frames int
}

// NewWatch starts a browser for the pages under origin, an http URL of the loopback without a path.
// Requests to paths that match ours, and navigations to those that match pages, are what pages do by
// themselves. It is stopped at the end of the test.
func NewWatch(t testing.TB, origin, ours, pages string) *Watch {
	t.Helper()
	program := testkit.Program(t, "chromium", "chromium")
	w := &Watch{t: t, origin: origin, ours: regexp.MustCompile("^" + regexp.QuoteMeta(origin) + "(?:" + ours + ")"), netlog: filepath.Join(t.TempDir(), "net.json"),
		quiet: regexp.MustCompile("^" + regexp.QuoteMeta(origin) + "(?:" + pages + ")")}
	host, _, err := net.SplitHostPort(strings.TrimPrefix(origin, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program),
		chromedp.Flag("host-resolver-rules", "MAP *."+Domain+" "+w.sink()+", MAP * ~NOTFOUND, EXCLUDE "+host),
		chromedp.Flag("disable-features", "IsolateSandboxedIframes,Translate,OptimizationHints,MediaRouter"), // so that all frames are heard here
		chromedp.Flag("log-net-log", w.netlog), chromedp.Flag("disable-dev-shm-usage", true))
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
	ctx, stopAll := chromedp.NewExecAllocator(ctx, opts...)
	ctx, stopTab := chromedp.NewContext(ctx)
	var once sync.Once
	w.ctx, w.stop = ctx, func() {
		once.Do(func() {
			_ = chromedp.Cancel(ctx)
			stopTab()
			stopAll()
			stop()
		})
	}
	t.Cleanup(w.stop)
	if err := chromedp.Listen(ctx, w.event); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	return w
}

// sink listens for whoever asks, and gives its address.
func (w *Watch) sink() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(5 * time.Second))
				b := make([]byte, 512)
				n, _ := c.Read(b)
				w.note("the sink was asked: %q", b[:n])
				_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			}()
		}
	}()
	return l.Addr().String()
}

func (w *Watch) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bad = append(w.bad, fmt.Sprintf(format, args...))
}

func (w *Watch) event(ev any) {
	switch e := ev.(type) {
	case *network.EventRequestWillBeSent:
		if u := e.Request.URL; !w.ours.MatchString(u) && !w.quiet.MatchString(u) && !strings.HasPrefix(u, "data:image/") && u != w.origin+"/favicon.ico" && u != "about:blank" {
			w.note("a request for %.200s by %s", u, e.DocumentURL)
		}
	case *network.EventWebSocketCreated:
		w.note("a socket to %s", e.URL)
	case *runtime.EventConsoleAPICalled:
		w.note("a script ran: %s of %d words", e.Type, len(e.Args))
	case *page.EventJavascriptDialogOpening:
		w.note("a dialog: %s", e.Message)
	case *page.EventFrameNavigated:
		switch u := e.Frame.URL; {
		case w.quiet.MatchString(u):
			w.mu.Lock()
			w.frames++
			w.mu.Unlock()
		case u != "about:blank":
			w.note("a navigation to %s", u)
		}
	case *page.EventFrameRequestedNavigation:
		if !w.quiet.MatchString(e.URL) {
			w.note("a navigation was asked for, to %s", e.URL)
		}
	case *page.EventWindowOpen:
		w.note("a window was opened: %s", e.URL)
	}
}

// Show opens a page and waits for what it may do late.
func (w *Watch) Show(path string, late time.Duration) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	err := chromedp.Do(ctx, chromedp.Navigate(w.origin+path))
	if err == nil {
		_, err = chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf("new Promise(r => setTimeout(() => r(true), %d))", late.Milliseconds()), chromedp.EvalAwaitPromise))
	}
	if err != nil {
		w.t.Fatalf("%s: %v", path, err)
	}
}

// Seen is what must not have happened and did, so far.
func (w *Watch) Seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.bad...)
}

// Documents is how many documents of pages and frames were loaded.
func (w *Watch) Documents() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.frames
}

// End ends the browser and tells how often its log of the network names something under Domain: also
// a lookup without a request does.
func (w *Watch) End() int {
	w.t.Helper()
	w.stop() // it writes the rest of its log when it ends
	log, err := os.ReadFile(w.netlog)
	if err != nil || len(log) < 1000 {
		w.t.Fatalf("the browser's log: %v, %d bytes", err, len(log))
	}
	return len(regexp.MustCompile(`[a-z0-9]\.`+regexp.QuoteMeta(Domain)).FindAll(log, -1)) // "*." stands in it, too: the flag above
}
