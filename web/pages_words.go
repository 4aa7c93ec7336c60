package web

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"strings"
	"time"

	"postern/preview"
	"postern/review"
)

// words are the functions of the templates: how times, sizes and names are said.
func (s *Server) words() template.FuncMap {
	return template.FuncMap{
		"rfc":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"full":    func(t time.Time) string { return t.Format("Mon 2 Jan 2006, 15:04:05 MST") },
		"short":   func(t time.Time) string { return shortTime(t, s.now()) },
		"ago":     func(t time.Time) string { return ago(s.now().Sub(t)) },
		"left":    func(t time.Time) string { return left(t.Sub(s.now())) },
		"size":    sizeWords,
		"size64":  func(n int) string { return sizeWords(int64(n)) },
		"word":    func(text string) string { return strings.ReplaceAll(text, " ", "-") },
		"done":    doneName,
		"took":    tookWords,
		"class":   className,
		"verb":    verbName,
		"result":  resultName,
		"safe":    preview.VisibleName,
		"unfold":  func(text string) string { return strings.ReplaceAll(text, preview.VisibleName("\t"), " ") }, // lines are folded with tabs
		"cut":     func(n int, text string) string { return cut(preview.VisibleName(text), n) },
		"asset":   s.asset,
		"noun":    noun,
		"many":    many,
		"count":   countWords,
		"total":   thousands,
		"share":   share,
		"since":   func(t time.Time) string { return span(s.now().Sub(t)) },
		"percent": func(n, of int) string { return fmt.Sprintf("%.1f %%", float64(n)*100/float64(max(1, of))) },
		"line":    lineID,
		"message": isMessage,
		"upto":    func(n int) []struct{} { return make([]struct{}, n) },
		"add":     func(a, b int) int { return a + b },
		"lower":   strings.ToLower,
		"join":    strings.Join,
		"symbol":  symbolOf,
		"said":    said,
		"keymap":  keymap,
		"why":     why,
		"single":  single,
	}
}

// asset is the address of an embedded file, with its hash, so that a new version is fetched.
func (s *Server) asset(name string) string { return "/static/" + name + "?v=" + s.hashes[name] }

func hashAssets() (map[string]string, error) {
	out := map[string]string{}
	err := fs.WalkDir(staticFiles, "static", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := staticFiles.ReadFile(p)
		sum := sha256.Sum256(b)
		out[strings.TrimPrefix(p, "static/")] = hex.EncodeToString(sum[:6])
		return err
	})
	return out, err
}

// shortTime says a time as people read it in a list: today by the hour, else by the day.
func shortTime(t, now time.Time) string {
	t = t.In(now.Location())
	switch y, m, d := now.Date(); {
	case t.After(time.Date(y, m, d, 0, 0, 0, 0, now.Location())):
		return t.Format("15:04")
	case t.Year() == y:
		return t.Format("2 Jan 15:04")
	}
	return t.Format("2 Jan 2006")
}

func ago(d time.Duration) string {
	if d < time.Minute {
		return "just now"
	}
	return span(d) + " ago"
}

// left says how long something has still to go.
func left(d time.Duration) string {
	if d <= 0 {
		return "now"
	}
	return "in " + span(d)
}

func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return many(int(d/time.Second), "second")
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	}
	return many(int(d/(24*time.Hour)), "day")
}

func tookWords(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func sizeWords(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d bytes", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.0f KB", float64(n)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1_000_000)
}

func many(n int, what string) string { return thousands(n) + " " + noun(n, what) }

func noun(n int, what string) string {
	if n == 1 {
		return what
	}
	return what + "s"
}

func countWords(c review.Count) string {
	if c.More {
		return "more than " + thousands(c.N)
	}
	return thousands(c.N)
}

func thousands(n int) string {
	if n < 10_000 {
		return fmt.Sprint(n)
	}
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + " " + text[i:]
	}
	return text
}

func className(class string) string {
	if class == "" {
		return "Other"
	}
	return strings.ToUpper(class[:1]) + class[1:]
}

func verbName(v review.Verb) string {
	switch v {
	case review.Spam:
		return "Report as spam"
	case review.Unspam:
		return "Not spam"
	case review.Seen:
		return "Mark as seen"
	case review.Unseen:
		return "Mark as not seen"
	case review.Take:
		return "Take it"
	case review.Leave:
		return "Give it back"
	case review.Ask:
		return "Ask for release"
	}
	return className(string(v))
}

// said is what has become of messages by a verb, for "410 messages deleted".
func said(v review.Verb) string {
	switch v {
	case review.Release:
		return "released"
	case review.Delete:
		return "deleted"
	case review.Spam:
		return "reported as spam"
	case review.Unspam:
		return "waiting again"
	case review.Seen:
		return "marked as seen"
	case review.Unseen:
		return "marked as not seen"
	case review.Take:
		return "taken"
	case review.Leave:
		return "given back"
	case review.Ask:
		return "asked for"
	case review.Approve:
		return "approved"
	case review.Deny:
		return "denied"
	}
	return "done"
}

func resultName(r string) string {
	if r == "" {
		return "not known"
	}
	return r
}

// symbolOf is how a result of SPF, DKIM or DMARC is drawn, so that colour is not the only sign.
func symbolOf(result string) string {
	switch result {
	case "pass":
		return "pass"
	case "":
		return "none"
	case "none", "neutral":
		return "none"
	case "temperror", "permerror":
		return "odd"
	}
	return "fail"
}

// cut shortens a text to n characters.
func cut(text string, n int) string {
	i := 0
	for at := range text {
		if i == n {
			return text[:at] + "…"
		}
		i++
	}
	return text
}
