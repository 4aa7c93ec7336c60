package web

import (
	"bytes"
	"flag"
	"fmt"
	"image/png"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"postern/people"
)

var shots = flag.String("shots", "", "make the pictures of the documentation in this folder")
var only = flag.String("only", "", "of the pictures: those whose name holds this")

// A shot is one picture of a page.
type shot struct {
	name, path    string
	width, height int64
	dark          bool
	role          people.Role
}

func pictures() []shot {
	var out []shot
	for _, p := range []shot{{name: "list", path: "/"}, {name: "message", path: "/m/" + sampleID(1)}, {name: "explain", path: "/m/" + sampleID(1) + "#explain"}, {name: "overview", path: "/overview"}, {name: "rules", path: "/rules"}} {
		p.role, p.width, p.height = people.Admin, 1280, 690
		out = append(out, p)
		dark := p
		dark.name, dark.dark = p.name+"-dark", true
		out = append(out, dark)
	}
	for _, p := range []shot{{name: "list-phone", path: "/"}, {name: "message-phone", path: "/m/" + sampleID(1)}} {
		p.role, p.width, p.height = people.Admin, 390, 800
		out = append(out, p)
	}
	return out
}

// The pictures of the documentation: make screenshots.
func TestScreenshots(t *testing.T) {
	if *shots == "" {
		t.Skip("make screenshots asks for them")
	}
	b := newBed(t, people.Admin)
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close) // after the browser, whose streams it would wait for
	ctx := chromium(t)
	all := pictures()
	if *only != "" { // also pages of which the documentation has no picture
		for name, path := range everyPage() {
			for _, width := range []int64{1280, 390} {
				all = append(all, shot{name: fmt.Sprintf("page-%s-%d", strings.ReplaceAll(name, " ", "-"), width), path: path, width: width, height: 900, role: people.Admin})
			}
		}
	}
	for _, p := range all {
		if !strings.Contains(p.name, *only) {
			continue
		}
		b.who = person(p.role)
		scheme := "light"
		if p.dark {
			scheme = "dark"
		}
		look(t, ctx, scheme, p.width, p.height, srv.URL+p.path)
		if err := chromedp.Do(ctx, chromedp.Sleep(300*time.Millisecond)); err != nil { // frames and fonts
			t.Fatal(err)
		}
		shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		if err := os.WriteFile(filepath.Join(*shots, p.name+".png"), smaller(t, shot), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// smaller packs a picture as well as it goes.
func smaller(t *testing.T, shot []byte) []byte {
	picture, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, picture); err != nil {
		t.Fatal(err)
	}
	if b.Len() < len(shot) {
		return b.Bytes()
	}
	return shot
}
