package preview

import (
	"strings"

	"golang.org/x/net/html"
)

// FrameSandbox is the value of the sandbox attribute of the frame that shows a document: nothing is
// allowed, no script, no form, no navigation, and its origin is none.
const FrameSandbox = ""

// FrameCSP is the Content-Security-Policy of the document.
const FrameCSP = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'self'; base-uri 'none'; sandbox"

// FrameHeaders are the header fields, names and values, of the response that carries a document,
// each of which is needed.
func FrameHeaders() [][2]string {
	return [][2]string{
		{"Content-Type", "text/html; charset=utf-8"},
		{"Content-Security-Policy", FrameCSP},
		{"X-Content-Type-Options", "nosniff"},
		{"Referrer-Policy", "no-referrer"},
		{"Cache-Control", "no-store"},
		{"X-Frame-Options", "SAMEORIGIN"},
		{"Cross-Origin-Resource-Policy", "same-origin"},
		{"Permissions-Policy", "accelerometer=(), autoplay=(), camera=(), clipboard-read=(), clipboard-write=(), display-capture=(), fullscreen=(), geolocation=(), gyroscope=(), microphone=(), midi=(), payment=(), usb=()"},
		{"X-DNS-Prefetch-Control", "off"},
	}
}

// The look of the document; nothing of a message can bear these classes.
const frameHead = `<!DOCTYPE html>
<html lang="und"><head><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>Message</title><style>
html{background:#fff;color:#222;font:15px/1.45 system-ui,sans-serif;overflow-wrap:anywhere}
body{margin:0}.pv{padding:12px;overflow:auto;contain:paint}
img{max-width:100%;height:auto}table{border-collapse:collapse;max-width:100%}td,th{padding:2px}
.pv-link{text-decoration:underline dotted}
.pv-host,.pv-bad{font:12px/1.3 ui-monospace,monospace;border:1px solid #777;border-radius:3px;padding:0 3px;margin:0 3px;background:#f3f3f3;color:#333;white-space:normal}
.pv-bad{border:2px solid #b00020;background:#fff0f0;color:#8a0018;font-weight:bold}
</style></head><body><div class="pv">
`

// document makes a whole document of sanitised HTML: each link becomes text with its host behind it.
func document(core string) string {
	var b strings.Builder
	b.WriteString(frameHead)
	z := html.NewTokenizer(strings.NewReader(core))
	href, text := "", ""
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		raw := string(z.Raw())
		t := z.Token()
		switch {
		case t.Data == "a" && kind == html.StartTagToken:
			href, text = get(&t, "href"), ""
			b.WriteString(`<span class="pv-link">`)
		case t.Data == "a" && kind == html.EndTagToken:
			b.WriteString("</span>" + hostMark(text, href))
			href = ""
		default:
			if kind == html.TextToken && href != "" && len(text) < maxLinkText {
				text += t.Data
			}
			b.WriteString(raw)
		}
	}
	b.WriteString("\n</div></body></html>\n")
	return b.String()
}

// hostMark says where a link leads.
func hostMark(text, href string) string {
	if href == "" {
		return ""
	}
	l := newLink(text, href)
	host := l.Host
	if host == "" {
		host = "no host"
	}
	if l.Unicode != "" {
		host += " = " + l.Unicode
	}
	if l.Mismatch {
		return `<span class="pv-bad">⚠ leads to ` + html.EscapeString(host) + `, not ` + html.EscapeString(l.TextHost) + `</span>`
	}
	return `<span class="pv-host">` + html.EscapeString(host) + `</span>`
}
