package preview_test

import (
	"context"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"postern/mail"
	"postern/preview"
	"postern/preview/hostiletest"
	"postern/testkit"
)

// perPage is how many messages stand on one page, each with a frame of its own.
const perPage = 40

// The page around the frames is as the real one: everything of a message as text, under a policy
// that allows no script at all.
var around = template.Must(template.New("").Parse(`<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Messages</title></head><body>
{{range .}}<article><h2>{{.M.Subject}}</h2><p title="{{.M.Subject}}">{{.M.Addresses.Envelope}}{{range .M.Addresses.From}} {{.Name}} {{.Address}} {{.Unicode}}{{end}}
{{range .M.Addresses.ReplyTo}} {{.Name}} {{.Address}}{{end}}{{range .M.Addresses.To}} {{.Name}} {{.Address}}{{end}}</p>
<table>{{range .M.Fields}}<tr><td>{{.Name}}<td title="{{.Raw}}">{{.Raw}}<td>{{.Decoded}}<td>{{.Defect}}{{end}}</table>
<ol>{{range .M.Hops}}<li>{{.From}} {{.Address}} {{.By}} {{.With}} {{.TLS}} {{.ID}} {{.For}} {{.Raw}} {{.Doubt}}{{end}}</ol>
<ul>{{range .M.Attachments}}<li>{{.Name}} {{.Names}} {{.Type}} {{.RealType}} {{.Inside}}{{end}}</ul>
<ul>{{range .M.Links}}<li>{{.Text}} {{.Target}} {{.Host}} {{.Unicode}} {{.Scheme}}{{end}}</ul>
<ul>{{range .M.Defects}}<li>{{.Word}}{{end}}</ul><pre>{{.M.Text.Body}}</pre>
<p>{{.M.HTML.Why}} {{.M.HTML.Removed}} {{.M.HTML.Hosts}}</p>
{{if .M.HTML.Document}}<iframe id="f{{.I}}" title="The message" src="/frame/{{.I}}" sandbox="` + preview.FrameSandbox + `" referrerpolicy="no-referrer" width="600" height="80"></iframe>{{end}}</article>{{end}}
</body></html>`))

const aroundCSP = "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// A sink counts whoever asks it for anything.
type sink struct {
	l  net.Listener
	mu sync.Mutex
	in []string
}

func newSink(t *testing.T) *sink {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{l: l}
	t.Cleanup(func() { l.Close() })
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
				s.mu.Lock()
				s.in = append(s.in, string(b[:n]))
				s.mu.Unlock()
				_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			}()
		}
	}()
	return s
}

func (s *sink) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.in...)
}

// A watcher notes whatever must not happen in the browser.
type watcher struct {
	origin string
	mu     sync.Mutex
	bad    []string
	frames int // documents of frames that were loaded
}

func (w *watcher) note(format string, args ...any) {
	w.mu.Lock()
	w.bad = append(w.bad, fmt.Sprintf(format, args...))
	w.mu.Unlock()
}

func (w *watcher) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.bad...)
}

func (w *watcher) event(ev any) {
	switch e := ev.(type) {
	case *network.EventRequestWillBeSent:
		if u := e.Request.URL; !strings.HasPrefix(u, w.origin+"/frame/") && !strings.HasPrefix(u, w.origin+"/page/") && !strings.HasPrefix(u, "data:image/") && u != w.origin+"/favicon.ico" {
			w.note("a request for %.200s by %s", u, e.DocumentURL)
		}
	case *network.EventWebSocketCreated:
		w.note("a socket to %s", e.URL)
	case *runtime.EventConsoleAPICalled:
		w.note("a script ran: %s of %d words", e.Type, len(e.Args))
	case *page.EventJavascriptDialogOpening:
		w.note("a dialog: %s", e.Message)
	case *page.EventFrameNavigated:
		u := e.Frame.URL
		if strings.HasPrefix(u, w.origin+"/frame/") {
			w.mu.Lock()
			w.frames++
			w.mu.Unlock()
		} else if !strings.HasPrefix(u, w.origin+"/page/") && u != "about:blank" {
			w.note("a navigation to %s", u)
		}
	case *page.EventFrameRequestedNavigation:
		if !strings.HasPrefix(e.URL, w.origin+"/frame/") {
			w.note("a navigation was asked for, to %s", e.URL)
		}
	case *page.EventWindowOpen:
		w.note("a window was opened: %s", e.URL)
	}
}

// A bed is a browser, a sink that every name leads to, and pages.
type bed struct {
	sink   *sink
	watch  *watcher
	origin string
	netlog string
	ctx    context.Context
	cancel func()
}

func newBed(t *testing.T, pages http.Handler) *bed {
	program := testkit.Program(t, "chromium", "chromium")
	srv := httptest.NewServer(pages)
	t.Cleanup(srv.Close)
	b := &bed{sink: newSink(t), origin: srv.URL, netlog: filepath.Join(t.TempDir(), "net.json")}
	b.watch = &watcher{origin: srv.URL}
	host, _ := strings.CutPrefix(srv.URL, "http://")
	host, _, _ = net.SplitHostPort(host)
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox,
		chromedp.Flag("host-resolver-rules", "MAP *."+hostiletest.Domain+" "+b.sink.l.Addr().String()+", MAP * ~NOTFOUND, EXCLUDE "+host),
		chromedp.Flag("disable-features", "IsolateSandboxedIframes,Translate,OptimizationHints,MediaRouter"),
		chromedp.Flag("log-net-log", b.netlog), chromedp.Flag("disable-dev-shm-usage", true))
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	ctx, stopAll := chromedp.NewExecAllocator(ctx, opts...)
	ctx, stopTab := chromedp.NewContext(ctx)
	b.ctx = ctx
	var once sync.Once
	b.cancel = func() {
		once.Do(func() {
			_ = chromedp.Cancel(ctx)
			stopTab()
			stopAll()
			stop()
		})
	}
	t.Cleanup(b.cancel)
	if err := chromedp.Listen(ctx, b.watch.event); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	return b
}

// show opens a page and waits for what it may do late.
func (b *bed) show(t *testing.T, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	late := chromedp.Evaluate[bool]("new Promise(r => setTimeout(() => r(true), 400))", chromedp.EvalAwaitPromise)
	err := chromedp.Do(ctx, chromedp.Navigate(b.origin+path))
	if err == nil {
		_, err = chromedp.Run(ctx, late)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// lookups are the names under the domain of the messages that the browser asked its resolver for.
func (b *bed) lookups(t *testing.T) int {
	t.Helper()
	b.cancel() // it writes the rest of its log when it ends
	log, err := os.ReadFile(b.netlog)
	if err != nil || len(log) < 1000 {
		t.Fatalf("the browser's log: %v, %d bytes", err, len(log))
	}
	return len(regexp.MustCompile(`[a-z0-9]\.`+regexp.QuoteMeta(hostiletest.Domain)).FindAll(log, -1)) // "*." stands in the log, too
}

func TestC30_NothingInAHostileMessageIsAlive(t *testing.T) {
	var shown []map[string]any
	for i, m := range hostiletest.Messages() {
		p, err := preview.Read(t.Context(), mail.BodyOf(m.Raw), preview.Options{Sender: m.Name + "@" + hostiletest.Domain})
		if err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		shown = append(shown, map[string]any{"I": i, "M": p, "Name": m.Name})
	}
	if len(shown) < 300 {
		t.Fatalf("only %d messages", len(shown))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", aroundCSP)
		_ = around.Execute(w, shown[n*perPage:min((n+1)*perPage, len(shown))])
	})
	mux.HandleFunc("GET /frame/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		for _, h := range preview.FrameHeaders() {
			w.Header().Set(h[0], h[1])
		}
		_, _ = io.WriteString(w, shown[n]["M"].(*preview.Message).HTML.Document)
	})
	b := newBed(t, mux)
	documents := 0
	for n := 0; n*perPage < len(shown); n++ {
		b.show(t, "/page/"+strconv.Itoa(n))
	}
	for i, s := range shown {
		if s["M"].(*preview.Message).HTML.Document != "" {
			documents++
		}
		for _, bad := range b.watch.seen() {
			if strings.Contains(bad, "/frame/"+strconv.Itoa(i)+" ") || strings.HasSuffix(bad, "/frame/"+strconv.Itoa(i)) || strings.Contains(bad, s["Name"].(string)) {
				t.Errorf("%s: %s", s["Name"], bad)
			}
		}
	}
	for _, bad := range b.watch.seen() {
		t.Error(bad)
	}
	for _, in := range b.sink.asked() {
		t.Errorf("asked: %.100q", in)
	}
	if b.watch.frames < documents || documents < 200 {
		t.Errorf("%d frames were loaded of %d", b.watch.frames, documents)
	}
	if n := b.lookups(t); n > 0 {
		t.Errorf("the browser's log names the domain %d times", n)
	}
	t.Logf("%d messages, %d with a document", len(shown), documents)
}

// The same watch sees what a page does that is not sanitised, so that silence above means something.
func TestTheWatchSeesWhatIsAlive(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page/0", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `<!DOCTYPE html><iframe src="/frame/0"></iframe><iframe src="/frame/1"></iframe><iframe src="/frame/2"></iframe>`)
	})
	mux.HandleFunc("GET /frame/{n}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, []string{
			"<script>" + hostiletest.Script("control") + "</script>",
			"<img src=http://load." + hostiletest.Domain + "/x><link rel=dns-prefetch href=//lookup." + hostiletest.Domain + ">",
			"<meta http-equiv=refresh content='0;url=http://go." + hostiletest.Domain + "/x'>",
		}[r.PathValue("n")[0]-'0'])
	})
	b := newBed(t, mux)
	b.show(t, "/page/0")
	all := strings.Join(b.watch.seen(), "\n") + "\n" + strings.Join(b.sink.asked(), "\n")
	for _, want := range []string{"a script ran", "a request for http://load." + hostiletest.Domain, "navigation", "Host: load." + hostiletest.Domain, "Host: js-control." + hostiletest.Domain, "Host: go." + hostiletest.Domain} {
		if !strings.Contains(all, want) {
			t.Errorf("%q was not seen in\n%s", want, all)
		}
	}
	if b.lookups(t) == 0 {
		t.Error("the browser's log names no lookup")
	}
}
