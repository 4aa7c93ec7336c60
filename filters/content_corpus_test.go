package filters

import (
	"archive/zip"
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/mail"
)

func TestC05_FileNameTricksOfTheCorpusAreSeen(t *testing.T) {
	dir := shared(t, "corpus/mime-evasion")
	var m struct {
		Mails []struct {
			File, Group, Trick string
			Validity           int
			Clamd              string `json:"clamd_alone_on_raw_mail"`
		}
	}
	readManifest(t, filepath.Join(dir, "manifest.json"), &m)
	held := 0
	for _, c := range m.Mails {
		// Their author, "me", would make all of them malformed.
		f := contentOf(t, bytes.Replace(sent(readFile(t, filepath.Join(dir, c.File))), []byte("From: me"), []byte("From: me@example.org"), 1))
		switch c.Group {
		case "filename":
			if c.Trick == "fname-ctype.png" { // the name there is file.png, by intent
				continue
			}
			ok := false
			for _, a := range f.Attachments {
				for _, n := range a.Names {
					ok = ok || strings.HasSuffix(n, ".zip")
				}
			}
			if !ok {
				t.Errorf("%s: no name ends in .zip: %q", c.Trick, allNames(&f))
			}
		case "content":
			if f.Malformed {
				held++
			}
			// What clamd cannot see in the raw mail must be held for its form.
			if c.Clamd != "found" && !f.Malformed && c.Validity < 2 {
				t.Errorf("%s (validity %d): neither clamd nor we see it: %v", c.Trick, c.Validity, f.Defects)
			}
			if !strings.Contains(allNames(&f), "eicar.zip") && !f.Malformed {
				t.Errorf("%s: no attachment: %q %v", c.Trick, allNames(&f), f.Defects)
			}
			t.Logf("%d %-70s %-9s clamd %-9s names %v  %v", c.Validity, c.Trick, map[bool]string{true: "malformed"}[f.Malformed], c.Clamd, strings.Contains(allNames(&f), "eicar.zip"), f.Defects)
		}
	}
	t.Logf("%d content mails are malformed", held)
}

func TestC02_MimeCorpusNamesAreFound(t *testing.T) {
	dir := shared(t, "corpus/mime")
	var m struct {
		Mails []struct {
			File   string
			Python struct {
				Leaves [][]any
			} `json:"python_email"`
		}
	}
	readManifest(t, filepath.Join(dir, "manifest.json"), &m)
	for _, c := range m.Mails {
		f := contentOf(t, sent(readFile(t, filepath.Join(dir, c.File))))
		names := allNames(&f)
		for _, l := range c.Python.Leaves {
			name, ok := l[1].(string)
			if !ok {
				continue
			}
			if strings.Contains(names, name+"\n") {
				continue
			}
			if strings.ContainsRune(name, '\ufffd') { // Python could not decode it
				if want := strings.Split(name, "\ufffd"); strings.Contains(names, want[0]) && strings.Contains(names, want[len(want)-1]) {
					continue
				}
			}
			t.Errorf("%s: %q is missing; have %q", c.File, name, names)
		}
		if !f.Malformed && len(c.Python.Leaves) > 0 {
			leaves := 0
			for _, p := range f.Parts {
				if !strings.HasPrefix(p.Type, "multipart/") && p.Type != "message/rfc822" {
					leaves++
				}
			}
			if leaves != len(c.Python.Leaves) {
				t.Logf("%s: %d leaves, Python %d: %v", c.File, leaves, len(c.Python.Leaves), f.Defects)
			}
		}
	}
}

func TestC06_AttachmentNamesOfArchives(t *testing.T) {
	dir := shared(t, "corpus/attachment-names")
	for file, ext := range map[string]string{"zip.eml": "exe", "zip-doublebad.eml": "exe", "rar4.eml": "exe", "rar-date-bad-ext.eml": "scr",
		"next2last-doublebad.eml": "scr", "f.zip.gz.eml": "zip", "bad_ext.dotted_file_name.eml": "exe",
		"next2last-digits_in_parens.eml": "msi", "next2last-digits_in_brackets.eml": "msi", "exe_attm.eml": "exe"} {
		f := contentOf(t, sent(readFile(t, filepath.Join(dir, "mails", file))))
		ok := false
		for _, a := range f.Attachments {
			ok = ok || slices.Contains(a.Extensions, ext) || slices.Contains(a.MemberExtensions, ext)
		}
		if !ok {
			t.Errorf("%s: no extension %s: %+v", file, ext, f.Attachments)
		}
	}
}

func TestC15_TNEFNamesOfTheCorpus(t *testing.T) {
	dir := shared(t, "corpus/tnef")
	var m struct {
		Files []struct {
			File     string
			Contains []string
		}
	}
	readManifest(t, filepath.Join(dir, "manifest.json"), &m)
	for _, c := range m.Files {
		f := contentOf(t, wrapped("application/ms-tnef", "winmail.dat", readFile(t, filepath.Join(dir, c.File))))
		names := allNames(&f)
		for _, want := range c.Contains {
			if strings.HasPrefix(want, "body.") {
				continue // that tool's own name for the message text, no file in the TNEF
			}
			if !strings.Contains(names, want+"\n") {
				t.Errorf("%s: %q is missing; have %q", c.File, want, names)
			}
		}
	}
}

func TestOrdinaryMailIsNotMalformed(t *testing.T) {
	dir := shared(t, "corpus/spam-train")
	files, _ := filepath.Glob(filepath.Join(dir, "ham", "*.eml"))
	malformed, unusual, counts := 0, 0, map[string]int{}
	for _, name := range files {
		f := contentOf(t, sent(readFile(t, name)))
		for _, d := range f.Defects {
			counts[d]++
		}
		if f.Unusual {
			unusual++
		}
		if f.Malformed {
			malformed++
			t.Logf("%s: %v", filepath.Base(name), f.Defects)
		}
	}
	t.Logf("%d of %d ham messages are malformed, %d unusual; defects: %v", malformed, len(files), unusual, counts)
	if len(files) > 0 && malformed*200 > len(files) {
		t.Errorf("%d of %d ordinary messages are malformed", malformed, len(files))
	}
}

// Found in real mail: a folded h= list of a DKIM signature looks like hidden fields.
func TestA04_FoldedDKIMListIsNoHiddenField(t *testing.T) {
	f := contentOf(t, []byte("DKIM-Signature: v=1; h=date:\r\n\tfrom:subject:to; i=x@example.org;\r\n\tcontent-type:\r\n content-transfer-encoding:cc;\r\n\tb=x\r\n"+top+"\r\nx\r\n"))
	if f.Malformed {
		t.Errorf("%v", f.Defects)
	}
}

func TestC01_ViewsShowTheHiddenFile(t *testing.T) {
	dir := shared(t, "corpus/mime-evasion")
	var m struct {
		Mails []struct {
			File, Group, Trick string
			Validity           int
			Clamd              string `json:"clamd_alone_on_raw_mail"`
		}
	}
	readManifest(t, filepath.Join(dir, "manifest.json"), &m)
	all, found, both := 0, 0, 0
	for _, c := range m.Mails {
		if c.Group != "content" {
			continue
		}
		all++
		p := sent(readFile(t, filepath.Join(dir, c.File)))
		views, _, err := decodedViews(t.Context(), mail.BodyOf(p), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		ok := false
		for _, v := range views {
			_, err := zip.NewReader(bytes.NewReader(v), int64(len(v)))
			ok = ok || err == nil
		}
		f := contentOf(t, p)
		if ok {
			found++
		}
		if ok || c.Clamd == "found" {
			both++
		} else {
			t.Logf("neither clamd on the raw mail nor a view: %s", c.Trick)
		}
		if !f.Unusual && c.Clamd != "found" {
			t.Errorf("%s: not unusual: %v", c.Trick, f.Defects)
		}
		if !ok && c.Clamd != "found" && c.Validity >= 1 {
			t.Errorf("%s (validity %d): no view has the archive", c.Trick, c.Validity)
		}
	}
	t.Logf("of %d: %d by views alone, %d with clamd on the raw mail", all, found, both)
}
