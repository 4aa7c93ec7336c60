package preview_test

import (
	"html/template"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/preview"
	"postern/preview/hostiletest"
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
	srv := httptest.NewServer(mux)
	defer srv.Close()
	w := hostiletest.NewWatch(t, srv.URL, "/frame/|/page/", "/frame/|/page/")
	documents := 0
	for n := 0; n*perPage < len(shown); n++ {
		w.Show("/page/"+strconv.Itoa(n), 400*time.Millisecond)
		documents++
	}
	for _, s := range shown {
		if s["M"].(*preview.Message).HTML.Document != "" {
			documents++
		}
	}
	for _, bad := range w.Seen() {
		t.Error(bad)
	}
	if n := w.Documents(); n < documents || documents < 200 {
		t.Errorf("%d documents were loaded of %d", n, documents)
	}
	if n := w.End(); n > 0 {
		t.Errorf("the browser's log names the domain %d times", n)
	}
	t.Logf("%d messages, %d documents", len(shown), documents)
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
	srv := httptest.NewServer(mux)
	defer srv.Close()
	w := hostiletest.NewWatch(t, srv.URL, "/frame/|/page/", "/frame/|/page/")
	w.Show("/page/0", 400*time.Millisecond)
	all := strings.Join(w.Seen(), "\n")
	for _, want := range []string{"a script ran", "a request for http://load." + hostiletest.Domain, "navigation", "Host: load." + hostiletest.Domain, "Host: js-control." + hostiletest.Domain, "Host: go." + hostiletest.Domain} {
		if !strings.Contains(all, want) {
			t.Errorf("%q was not seen in\n%s", want, all)
		}
	}
	if w.End() == 0 {
		t.Error("the browser's log names no lookup")
	}
}
