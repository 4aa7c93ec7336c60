// Package hostiletest makes messages that attack whoever looks at them: scripts, remote loads,
// navigations, names that break out of pages. All of them are of our own writing, made by code.
// Tests of every page that shows something of a message use it.
package hostiletest

import (
	"fmt"
	"strings"
)

// Domain is the one under which every address in the messages lies. Nothing may ask for it.
const Domain = "sink.test"

// Mark is what a script that runs writes to the console, and asks the sink for.
const Mark = "postern-script-ran"

// A Message is one attack.
type Message struct {
	Name string // unique, of letters, digits and hyphens
	Raw  []byte
}

// Messages makes all of them, the same ones each time.
func Messages() []Message {
	var out []Message
	seen := map[string]int{}
	add := func(group string, n int, make func(name string) string) {
		name := fmt.Sprintf("%s-%03d", group, n)
		seen[name]++
		out = append(out, Message{Name: name, Raw: []byte(make(name))})
	}
	for _, g := range []struct {
		name string
		html []string
	}{{"script", scripts()}, {"mxss", mutations}, {"url", addresses()}, {"beacon", beacons}, {"css", styles}, {"nav", navigations}, {"clobber", clobbering}} {
		for i, h := range g.html {
			add(g.name, i, func(name string) string { return htmlMail(name, fill(h, name)) })
		}
	}
	n := 0
	for _, f := range fields {
		for _, p := range payloads {
			add("field", n, func(name string) string { return fieldMail(name, f, fill(p, name)) })
			n++
		}
	}
	for i, e := range encodings {
		for j, h := range encoded {
			add("encoding", i*len(encoded)+j, func(name string) string { return e(name, fill(h, name)) })
		}
	}
	for i, m := range structures {
		add("structure", i, func(name string) string { return fill(m, name) })
	}
	return out
}

// fill puts in the address of the sink for {U}, without scheme for {H}, and a script for {J}.
func fill(s, name string) string {
	host := name + "." + Domain
	return strings.NewReplacer("{U}", "http://"+host+"/x", "{S}", "https://"+host+"/x", "{H}", host, "{J}", Script(name)).Replace(s)
}

// Script is what every script in the messages does: it writes Mark and asks the sink. It has no
// quotes but single ones.
func Script(name string) string {
	return "console.log('" + Mark + " " + name + "');new Image().src='http://js-" + name + "." + Domain + "/x'"
}

const head = "From: Hostile <a@hostile.example>\r\nTo: b@example.org\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%s@hostile.example>\r\nSubject: %s\r\nMIME-Version: 1.0\r\n"

func htmlMail(name, html string) string {
	return fmt.Sprintf(head, name, name) + "Content-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n" + strings.ReplaceAll(html, "\n", "\r\n") + "\r\n<p>end of " + name + "</p></body></html>\r\n"
}
