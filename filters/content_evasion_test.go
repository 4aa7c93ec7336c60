package filters

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"postern/mail"
)

const top = "From: a@example.org\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nMIME-Version: 1.0\r\n"

// part is the header of a multipart with one part whose header is given.
func part(header string) string {
	return top + "Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\n" + header + "\r\n\r\nTVqQAA==\r\n--b1--\r\n"
}

func named(field string) string { return part("Content-Transfer-Encoding: base64\r\n" + field) }

// evasions are messages of our own: what hides the file, the name that must be seen, and the
// defects that must be told (serious ones make the message malformed).
var evasions = []struct {
	trick, mail, name string
	defects           []string
}{
	{"plain", named(`Content-Disposition: attachment; filename="evil.exe"`), "evil.exe", nil},
	{"name only", named(`Content-Type: application/x; name=evil.exe`), "evil.exe", nil},
	{"two dispositions", named("Content-Disposition: inline; filename=a.txt\r\nContent-Disposition: attachment; filename=evil.exe"), "evil.exe", []string{"name_conflict"}},
	{"two parameters", named(`Content-Disposition: attachment; filename=a.txt; filename=evil.exe`), "evil.exe", []string{"name_conflict"}},
	{"disposition against type", named("Content-Type: text/plain; name=evil.exe\r\nContent-Disposition: attachment; filename=a.txt"), "evil.exe", []string{"name_conflict"}},
	{"RFC 2231", named(`Content-Disposition: attachment; filename*=utf-8''evil%2Eexe`), "evil.exe", nil},
	{"RFC 2231 and plain", named(`Content-Disposition: attachment; filename=a.txt; filename*=utf-8''evil%2Eexe`), "evil.exe", []string{"name_conflict"}},
	{"RFC 2231 in pieces", named(`Content-Disposition: attachment; filename*0*=utf-8''ev; filename*1=il.; filename*2*=%65xe`), "evil.exe", nil},
	{"RFC 2231 backwards", named(`Content-Disposition: attachment; filename*1=.exe; filename*0=evil`), "evil.exe", nil},
	{"RFC 2231 with a gap", named(`Content-Disposition: attachment; filename*0=evil; filename*7=.exe`), "evil.exe", nil},
	{"RFC 2231 twice", named(`Content-Disposition: attachment; filename*0=evil; filename*1=.txt; filename*1=.exe`), "evil.exe", nil},
	{"RFC 2231 padded number", named(`Content-Disposition: attachment; filename*00=evil; filename*01=.exe`), "evil.exe", nil},
	{"RFC 2231 in UTF-7", named(`Content-Disposition: attachment; filename*=utf-16le''e%00v%00i%00l%00.%00e%00x%00e%00`), "evil.exe", nil},
	{"RFC 2047", named(`Content-Type: application/x; name="=?utf-8?B?ZXZpbC5leGU=?="`), "evil.exe", nil},
	{"RFC 2047 unquoted", named(`Content-Disposition: attachment; filename==?utf-8?Q?evil=2Eexe?=`), "evil.exe", nil},
	{"RFC 2047 split", named(`Content-Disposition: attachment; filename="=?utf-8?Q?evil?= =?utf-8?Q?.exe?="`), "evil.exe", nil},
	{"RFC 2047 split inside a character", named(`Content-Disposition: attachment; filename="=?utf-8?Q?=C3?= =?utf-8?Q?=A4.exe?="`), "ä.exe", nil},
	{"RFC 2047 with blanks", named(`Content-Disposition: attachment; filename="=?utf-8?Q?evil .exe?="`), "evil.exe", nil},
	{"RFC 2047 language", named(`Content-Disposition: attachment; filename="=?utf-8*en?Q?evil.exe?="`), "evil.exe", nil},
	{"percent", named(`Content-Disposition: attachment; filename="evil%2Eexe"`), "evil.exe", nil},
	{"trailing dot", named(`Content-Disposition: attachment; filename="evil.exe."`), "evil.exe", nil},
	{"trailing dots and blanks", named(`Content-Disposition: attachment; filename="evil.exe. . "`), "evil.exe", nil},
	{"right to left", named("Content-Disposition: attachment; filename*=utf-8''evil%E2%80%AEgpj.exe"), "evilgpj.exe", []string{"name_control"}},
	{"zero width", named("Content-Disposition: attachment; filename*=utf-8''evil.e%E2%80%8Bxe"), "evil.exe", []string{"name_control"}},
	{"full width", named("Content-Disposition: attachment; filename*=utf-8''evil%EF%BC%8Eexe"), "evil.exe", nil},
	{"NUL", named("Content-Disposition: attachment; filename*=utf-8''evil.exe%00.pdf"), "evil.exe", []string{"name_control"}},
	{"tab", named("Content-Disposition: attachment; filename=\"evil.exe\t.pdf\""), "evil.exe\t.pdf", []string{"name_control"}},
	{"path", named(`Content-Disposition: attachment; filename="..\\..\\evil.exe"`), "evil.exe", nil},
	{"slash path", named(`Content-Disposition: attachment; filename="/tmp/evil.exe"`), "evil.exe", nil},
	{"unquoted blank", named(`Content-Disposition: attachment; filename=a.txt evil.exe`), "a.txt evil.exe", []string{"name_odd"}},
	{"unquoted semicolon", named(`Content-Disposition: attachment; filename=evil;.exe`), "evil;.exe", []string{"name_odd"}},
	{"misplaced quote", named(`Content-Disposition: attachment; filename="a".exe`), "a.exe", []string{"name_odd"}},
	{"open quote", named(`Content-Disposition: attachment; filename="evil.exe`), "evil.exe", nil},
	{"single quotes", named(`Content-Disposition: attachment; filename='evil.exe'`), "'evil.exe'", nil},
	{"comment in the value", named(`Content-Disposition: attachment; filename=evil(x).exe`), "evil.exe", []string{"name_odd"}},
	{"comment in the key", named(`Content-Disposition: attachment; filena(x)me=evil.exe`), "evil.exe", []string{"name_odd"}},
	{"blank before the equals sign", named(`Content-Disposition: attachment; filename =evil.exe`), "evil.exe", []string{"name_odd"}},
	{"no semicolon", named(`Content-Disposition: attachment filename=evil.exe`), "evil.exe", []string{"name_odd"}},
	{"comma for a semicolon", named(`Content-Disposition: attachment, filename=evil.exe`), "evil.exe", []string{"name_odd"}},
	{"semicolon first", named(`Content-Disposition: ;filename=evil.exe`), "evil.exe", nil},
	{"upper case", named(`CONTENT-DISPOSITION: ATTACHMENT; FILENAME=evil.exe`), "evil.exe", nil},
	{"folded", named("Content-Disposition: attachment;\r\n\tfilename\r\n =\r\n \"evil.exe\""), "evil.exe", nil},
	{"blank before the colon", named(`Content-Disposition : attachment; filename=evil.exe`), "evil.exe", nil},
	{"description", named("Content-Type: application/x\r\nContent-Description: evil.exe"), "evil.exe", nil},
	{"8-bit", named("Content-Disposition: attachment; filename=\"\xe4.exe\""), "ä.exe", nil},

	{"two types", top + "Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nx\r\n--b1--\r\n", "evil.exe", []string{"type_conflict"}},
	{"two boundaries", top + "Content-Type: multipart/mixed; boundary=b0; boundary=b1\r\n\r\n--b1\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nx\r\n--b1--\r\n", "evil.exe", []string{"boundary_conflict"}},
	{"no boundary", top + "Content-Type: multipart/mixed\r\n\r\n--b1\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nx\r\n--b1--\r\n", "evil.exe", []string{"boundary_missing"}},
	{"boundary in a comment", top + "Content-Type: multipart/mixed; (boundary=b0) boundary=b1\r\n\r\n--b1\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nx\r\n--b1--\r\n", "evil.exe", []string{"boundary_odd"}},
	{"another boundary", top + "Content-Type: multipart/mixed; boundary=b0\r\n\r\n--b1\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nx\r\n--b1--\r\n", "evil.exe", []string{"boundary_mismatch"}},
	{"junk behind the boundary", top + "Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1 junk\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nx\r\n--b1--\r\n", "evil.exe", []string{"boundary_junk"}},
	{"behind the end", top + "Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\n\r\nx\r\n--b1--\r\n--b1\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nx\r\n--b1--\r\n", "evil.exe", []string{"part_after_close"}},
	{"in the epilogue", top + "Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\n\r\nx\r\n--b1--\r\nbegin 644 evil.exe\r\n#0V%T\r\n`\r\nend\r\n", "evil.exe", []string{"uuencode"}},
	{"same boundary inside", top + "Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nx\r\n--b1--\r\n", "evil.exe", nil},
	{"outer boundary is a prefix", top + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nx\r\n--b1--\r\n--b--\r\n", "evil.exe", nil},
	{"unknown multipart", top + "Content-Type: multipart/x-unknown; boundary=b1\r\n\r\n--b1\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nx\r\n--b1--\r\n", "evil.exe", nil},
	{"odd type", top + "Content-Type: multi(x)part/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nx\r\n--b1--\r\n", "evil.exe", []string{"type_malformed"}},
	{"encoded multipart", top + "Content-Type: multipart/mixed; boundary=b1\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		"LS1iMQ0KQ29udGVudC1EaXNwb3NpdGlvbjogYXR0YWNobWVudDsgZmlsZW5hbWU9ZXZpbC5leGUN\r\nCg0KeA0KLS1iMS0tDQo=\r\n", "evil.exe", []string{"encoding_on_multipart"}},
	{"message inside", top + "Content-Type: message/rfc822\r\n\r\nSubject: x\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nx\r\n", "evil.exe", nil},
	{"encoded message inside", top + "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQ29udGVudC1EaXNwb3NpdGlvbjogYXR0YWNobWVudDsgZmlsZW5hbWU9ZXZpbC5leGUNCg0KeA0K\r\n", "evil.exe", nil},
	{"digest", top + "Content-Type: multipart/digest; boundary=b1\r\n\r\n--b1\r\n\r\nSubject: x\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nx\r\n--b1--\r\n", "evil.exe", nil},
	{"partial", top + "Content-Type: message/partial; id=x; number=1; total=2\r\n\r\nSubject: x\r\n\r\nx\r\n", "", []string{"partial_message"}},
	{"junk line in a part header", part("junk\r\nContent-Disposition: attachment; filename=evil.exe"), "evil.exe", []string{"malformed_header"}},
	{"no header of its own", "\r\n--b1\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nx\r\n--b1--\r\n", "evil.exe", []string{"embedded_part", "from_missing"}},
	{"header without an end", "From: a@example.org\r\nContent-Disposition: attachment; filename=evil.exe", "evil.exe", []string{"header_unended"}},
	{"two encodings", part("Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=evil.exe"), "evil.exe", []string{"encoding_conflict"}},
	{"uuencode in text", top + "\r\nsee\r\nbegin 644 evil.exe\r\n#0V%T\r\n`\r\nend\r\n", "evil.exe", []string{"uuencode"}},
	{"uuencode in base64 text", top + "Content-Transfer-Encoding: base64\r\n\r\nYmVnaW4gNjQ0IGV2aWwuZXhlDQojMFYlVA0KYA0KZW5kDQo=\r\n", "evil.exe", []string{"uuencode"}},
	{"yEnc in text", top + "\r\n=ybegin line=128 size=3 name=evil.exe\r\n\x77\x84\xba\r\n=yend size=3\r\n", "evil.exe", []string{"yenc"}},
	{"two From", "From: a@example.org\r\nFrom: b@example.org\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n\r\nx\r\n", "", []string{"from_multiple", "dup_header"}},
	{"hidden From", "Subject: x\r\n\tFrom: a@example.org\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n\r\nx\r\n", "", []string{"hidden_field", "from_missing"}},
	{"bare CR", top + "\r\na\rb\r\n", "", []string{"bare_cr"}},
	{"mixed ends", top + "\r\na\nb\r\n", "", []string{"mixed_line_ends"}},
	{"NUL byte", top + "\r\na\x00b\r\n", "", []string{"nul"}},
}

func TestC05_OwnEvasions(t *testing.T) {
	for _, c := range evasions {
		f := contentOf(t, []byte(c.mail))
		if c.name != "" && !strings.Contains(allNames(&f), c.name+"\n") {
			t.Errorf("%s: %q is not among %q (%v)", c.trick, c.name, allNames(&f), f.Defects)
		}
		if c.name != "" && strings.Contains(c.name, ".exe") && !slices.ContainsFunc(f.Attachments, func(a Attachment) bool { return a.Executable && slices.Contains(a.Extensions, "exe") }) {
			t.Errorf("%s: extensions do not show exe: %+v", c.trick, f.Attachments)
		}
		serious := false
		for _, d := range c.defects {
			if !slices.Contains(f.Defects, d) {
				t.Errorf("%s: %s is not among %v", c.trick, d, f.Defects)
			}
			for _, row := range defectTable {
				serious = serious || row.word == d && row.serious
			}
		}
		if c.defects == nil && len(f.Defects) > 0 {
			t.Logf("%s: %v", c.trick, f.Defects)
		}
		if f.Malformed != serious {
			t.Errorf("%s: malformed is %v: %v", c.trick, f.Malformed, f.Defects)
		}
	}
}

// testZip is an archive with a stored, a deflated and a "../" member.
func testZip() []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, n := range []string{"readme.txt", "dir/setup.exe", "../../evil.scr"} {
		f, _ := w.Create(n)
		_, _ = f.Write(bytes.Repeat([]byte("some text "), 50))
	}
	_ = w.Close()
	return b.Bytes()
}

func TestC06_ZipMembersAreListed(t *testing.T) {
	f := contentOf(t, wrapped("application/octet-stream", "a.zip", testZip()))
	if len(f.Attachments) != 4 || f.Malformed {
		t.Fatalf("%+v %v", f.Attachments, f.Defects)
	}
	outer, exe := f.Attachments[0], f.Attachments[2]
	if outer.RealType != "application/zip" || outer.Members != 3 || !slices.Equal(outer.MemberExtensions, []string{"exe", "scr", "txt"}) {
		t.Errorf("outer: %+v", outer)
	}
	if exe.Archive != "a.zip" || exe.Name != "dir/setup.exe" || !slices.Contains(exe.Names, "setup.exe") || !exe.Executable {
		t.Errorf("member: %+v", exe)
	}
}

func TestC06_EncryptedZip(t *testing.T) {
	z := testZip()
	for i := 0; i+8 < len(z); i++ {
		switch string(z[i : i+4]) {
		case zipLocal:
			z[i+6] |= 1
		case zipCentral:
			z[i+8] |= 1
		}
	}
	f := contentOf(t, wrapped("application/zip", "a.zip", z))
	for _, a := range f.Attachments {
		if !a.Encrypted {
			t.Errorf("%s is not encrypted", a.Name)
		}
	}
}

func TestC06_ZipWithTwoListsOfNames(t *testing.T) {
	z := testZip()
	i := bytes.LastIndex(z, []byte("readme.txt")) // in the central directory
	copy(z[i:], "readme.exe")
	f := contentOf(t, wrapped("application/zip", "a.zip", z))
	if !slices.Contains(f.Defects, "archive_conflict") || !strings.Contains(allNames(&f), "readme.exe") || !strings.Contains(allNames(&f), "readme.txt") {
		t.Errorf("%v %q", f.Defects, allNames(&f))
	}
}

func TestC03_LimitsAreToldNeverSkipped(t *testing.T) {
	for _, name := range []string{"depth", "messages", "parts", "strangers", "fields", "partfields", "boundary", "params", "sections", "begin", "zipnames"} {
		f := contentOf(t, hostile[name](1<<20))
		if !f.OverLimits || !f.Malformed || !slices.Contains(f.Defects, "limits") {
			t.Errorf("%s: %v", name, f.Defects)
		}
		checkFacts(t, f)
	}
}

// Memory is what a test can count: it must not grow with the message.
func TestC03_MemoryIsBounded(t *testing.T) {
	for name, make := range hostile {
		small, big := allocated(t, make(2<<20)), allocated(t, make(8<<20))
		if big > 3*small && big > 2<<20 {
			t.Errorf("%s: %d bytes for 2 MiB, %d for 8 MiB", name, small, big)
		}
	}
}

func allocated(t *testing.T, p []byte) uint64 {
	body := mail.NewSpool(t.TempDir(), 0, 0).New() // archives lie in it, too
	_, _ = body.Write(p)
	body.Finish(nil)
	defer body.Close()
	if _, err := body.Header(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := readContent(context.Background(), &Input{Body: body}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A name more than are looked at is a limit like any other: a reader that takes the last of
// twenty sees another file than we do.
func TestC03_ManyNamesOfOnePart(t *testing.T) {
	for _, field := range []string{"Content-Type: text/plain", "Content-Disposition: attachment"} {
		for i := range maxParamValues + 1 {
			ext := "txt"
			if i == maxParamValues {
				ext = "exe"
			}
			field += fmt.Sprintf(";\r\n name=a%d.%s", i, ext)
		}
		f := contentOf(t, []byte(top+field+"\r\n\r\nx\r\n"))
		if !f.OverLimits || !f.Malformed {
			t.Errorf("%.20s: over its limits %v, malformed %v, names %v", field, f.OverLimits, f.Malformed, f.Attachments[0].Names)
		}
	}
}
