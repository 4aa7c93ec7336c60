package filters

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// C-05: a name that no file system keeps as it stands is listed as what it becomes there too, so that
// a rule that looks at the last extension sees it.
func TestC05_NamesThatFileSystemsChange(t *testing.T) {
	for name, want := range map[string]string{
		"evil.exe:zone.txt": "evil.exe", "evil.exe::$DATA": "evil.exe", "dir/evil.exe:a.txt": "evil.exe", "evil.exe;1": "evil.exe",
		"evil.exe/": "evil.exe", "evil.exe/.": "evil.exe", "evil.exe\\": "evil.exe", "x/evil.exe/ .. ": "evil.exe",
		"'evil.exe'": "evil.exe", "`evil.exe`": "evil.exe", "evil.exe?": "evil.exe", "evil.e*xe": "evil.exe", "evil.exe|": "evil.exe", "<evil.exe>": "evil.exe",
		"evil. exe": "evil.exe", "evil.exe: ": "evil.exe",
	} {
		l := nameList{flaws: &defects{}}
		l.add(name, false)
		if !slices.Contains(l.names, want) {
			t.Errorf("%q: %q is not among %q", name, want, l.names)
		}
	}
	for name, most := range map[string]int{"Report 10:30.pdf": 1, "Your order at amazon.com: shipped.eml": 1, "Re: offer.pdf": 1, "What?.docx": 1, "a.tar.gz": 1, "Mr. Smith's list.xlsx": 1, "=?utf-8?q?a=2Epdf?=": 2} {
		l := nameList{flaws: &defects{}}
		if l.add(name, false); len(l.names) > most || l.flaws.any() {
			t.Errorf("%q: an ordinary name became %q, %v", name, l.names, l.flaws.words())
		}
	}
}

// C-02: what some readers take for a delimiter, with a header of any field behind it, is never passed over.
func TestC02_BoundariesThatSomeReadersSee(t *testing.T) {
	file := "X-Any: 1\r\nContent-Type: application/octet-stream; name=evil.exe\r\n\r\nMZ\r\n"
	body := func(line string) string {
		return top + "Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n" + line + "\r\n" + file + "--b1--\r\n"
	}
	for name, c := range map[string]struct{ mail, defect string }{
		"longer":           {body("--b1junk"), "boundary_junk"},
		"vertical tab":     {body("--b1\v"), "boundary_junk"},
		"no-break space":   {body("--b1\xa0"), "boundary_junk"},
		"control":          {body("--b1\x01"), "boundary_junk"},
		"closing and junk": {body("--b1--junk"), "boundary_junk"},
		"encoded word":     {strings.Replace(body("--b1"), "boundary=b1", `boundary="=?us-ascii?q?b1?="`, 1), "boundary_odd"},
	} {
		f := contentOf(t, []byte(c.mail))
		if !f.Malformed || !slices.Contains(f.Defects, c.defect) {
			t.Errorf("%s: malformed is %v: %v", name, f.Malformed, f.Defects)
		}
	}
	for name, m := range map[string]string{
		"an inner boundary that begins with the outer one": top + "Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Type: multipart/alternative; boundary=b1-2\r\n\r\n" +
			"--b1-2\r\nContent-Type: text/plain\r\n\r\nx\r\n--b1-2\r\nX-A: 1\r\n\r\nx\r\n--b1-2--\r\n--b1--\r\n",
		"a line of text that begins with it": body("--b1 said")[:strings.Index(body("--b1 said"), "X-Any")] + "hello again\r\n--b1--\r\n",
		"a boundary with a question mark":    strings.ReplaceAll(body("--b1"), "b1", "=?_1"),
	} {
		m = strings.Replace(m, "boundary==?_1", `boundary="=?_1"`, 1)
		if f := contentOf(t, []byte(m)); f.Malformed {
			t.Errorf("%s: %v", name, f.Defects)
		}
	}
}

// C-15: readers take any octal number for the mode of a uuencoded file.
func TestC15_UuencodeWithOddModes(t *testing.T) {
	for _, begin := range []string{"begin 6 evil.exe", "begin 0100644 evil.exe", "begin 000000644 evil.exe", "BEGIN 644 evil.exe"} {
		f := contentOf(t, []byte(top+"\r\nsee\r\n"+begin+"\r\n#0V%T\r\n`\r\nend\r\n"))
		if !strings.Contains(allNames(&f), "evil.exe\n") {
			t.Errorf("%s: %v", begin, f.Attachments)
		}
	}
	if f := contentOf(t, []byte(top+"\r\nsee\r\nbegin 1 of these days\r\nwe went to the market together\r\n")); len(f.Attachments) > 0 {
		t.Errorf("a sentence became %v", f.Attachments)
	}
}

// C-05: a message that is attached as a file is opened like any other, and what is in it with it.
func TestC05_FilesInSavedMessages(t *testing.T) {
	saved := "Subject: x\nContent-Type: multipart/mixed; boundary=in\n\n--in\nContent-Disposition: attachment; filename=evil.exe\nContent-Transfer-Encoding: base64\n\nTVqQAA==\n--in--\n"
	for _, typ := range []string{"multipart/mixed", "multipart/related", "multipart/x-unknown"} {
		for _, name := range []string{"letter.eml", "page.mht", "Letter.EML "} {
			m := top + "Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"" + name + "\"\r\n\r\n" +
				base64.StdEncoding.EncodeToString([]byte(strings.Replace(saved, "multipart/mixed", typ, 1))) + "\r\n--b1--\r\n"
			f := contentOf(t, []byte(m))
			seen := slices.ContainsFunc(f.Attachments, func(a Attachment) bool { return slices.Contains(a.Names, "evil.exe") && a.Executable })
			if f.Malformed || !seen {
				t.Errorf("%s in %q: malformed is %v, seen %v: %v %+v", typ, name, f.Malformed, seen, f.Defects, f.Attachments)
			}
		}
	}
	broken := "this is\nno message: at all\n\n--\n\x00 \n"
	m := part("Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=a.eml")
	m = strings.Replace(m, "TVqQAA==", base64.StdEncoding.EncodeToString([]byte(broken)), 1)
	if f := contentOf(t, []byte(m)); f.Malformed {
		t.Errorf("a broken file makes the message malformed: %v", f.Defects)
	}
}
