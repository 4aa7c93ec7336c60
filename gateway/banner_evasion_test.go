package gateway

import (
	"strings"
	"testing"
)

// A sender who would rather have no banner does not get rid of it by the order or the charset of
// the parts; nor is a text spoiled by bytes that are none of its charset.
func TestBannerIsNotEvaded(t *testing.T) {
	const file = "Content-Type: text/plain; name=a.txt\r\n\r\nfile\r\n"
	for _, c := range []struct{ name, raw, has, note string }{
		{"a file first", mixed + "--O\r\n" + pdf + "--O\r\n" + file + "--O\r\n" + text + "--O--\r\n", "\r\nCare\r\n\r\nHello\r\n", "added"},
		{"EBCDIC", top + "Content-Type: text/plain; charset=IBM037\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xc8\x89\r\n", "\xc3\x81\x99\x85", "added"},
		{"EBCDIC that nobody knows", top + "Content-Type: text/plain; charset=IBM273\r\n\r\n\xc8\x89\r\n", "\xc8\x89", "not added: the text is in ibm273"},
		{"UCS-2", top + "Content-Type: text/html; charset=iso-10646-ucs-2\r\n\r\nab\r\n", "\r\n\r\nab\r\n", "not added: the text is in iso-10646-ucs-2"},
		{"UTF-16 by its name in HTML", top + "Content-Type: text/html; charset=unicode\r\n\r\nab\r\n", "\r\n\r\nab\r\n", "not added: the text is in unicode"},
		{"signed first", mixed + "--O\r\nContent-Type: multipart/signed; boundary=S\r\n\r\n--S\r\n" + text + "--S\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--S--\r\n--O\r\n" + text + "--O--\r\n",
			"", "not added: the message is signed"},
	} {
		out, _, notes := edit(t, c.raw, banner("Care"))
		if note := notes[banner("Care").String()]; note != c.note || !strings.Contains(out, c.has) {
			t.Errorf("%s: %q, %q", c.name, note, out)
		}
	}
}

// What is read into memory for banners is bounded for a message, however many alternatives it
// has.
func TestBannersTakeBoundedMemory(t *testing.T) {
	long := "--O\r\nContent-Type: text/plain\r\n\r\n" + strings.Repeat("0123456789\r\n", maxTextPart/12-1)
	raw := top + "Content-Type: multipart/alternative; boundary=O\r\n\r\n" + strings.Repeat(long, 40) + "--O--\r\n"
	out, _, notes := edit(t, raw, banner("Care"))
	if note := notes[banner("Care").String()]; note != "added, but not to every form of the text: the text is too long" {
		t.Error(note)
	}
	if n := strings.Count(out, "Care"); n == 0 || n > maxTexts/maxTextPart+1 {
		t.Errorf("%d texts are held in memory", n)
	}
}

// A tag counts where people see it: bytes that spell it in another charset do not.
func TestTagIsNotFeigned(t *testing.T) {
	for subject, want := range map[string]bool{
		"=?utf-16be?Q?[EXTERN]?= pay":             false,
		"=?IBM037?Q?[EXTERN]?= pay":               false,
		"=?x-own?Q?[EXTERN]?= pay":                false,
		"=?iso-8859-15?Q?Re:_[EXTERN]_f=FCr?=":    true,
		"=?koi8-r?B?W0VYVEVSTl0gcGF5?=":           true,
		"Re: [EXTERN] =?utf-8?Q?f=C3=BCr?=":       true,
		"=?windows-1252?Q?AW:_[EXTERN]_5_=80?=\t": true,
	} {
		e := edits{tags: []string{"[EXTERN]"}}
		if got := len(e.missingTags(subject)) == 0; got != want {
			t.Errorf("%s: there already: %v", subject, got)
		}
	}
}
