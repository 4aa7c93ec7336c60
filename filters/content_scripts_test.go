package filters

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestScripts(t *testing.T) {
	for _, c := range []struct {
		text, names string
		mixed       bool
	}{
		{"Invoice 77", "", false}, // plain ASCII is not looked at
		{"Grüße aus Köln", "Latin", false},
		{"Счёт 77", "Cyrillic", false},
		{"Re: Счёт", "Latin Cyrillic", false}, // two words
		{"Pаypal", "Latin Cyrillic", true},    // the first a is Cyrillic
		{"Ρaypal", "Greek Latin", true},       // the P is Greek
		{"𝐏𝐚𝐲𝐏𝐚𝐥", "Mathematical", false},
		{"𝐏aypal", "Mathematical Latin", true},
		{"Googleアカウント 確認", "Latin Katakana Han", false}, // how Japanese is written
		{"ｐａｙｐａｌ", "Latin", false},
		{"don’t", "Latin", false},
		{"P\u0301а", "Latin Cyrillic", true}, // an accent does not end the word
		{"😀 sale", "Latin", false},
		{"ⴰⵣⵓⵍ", "Other", false},
		{"a ⴰ b а", "Latin Other Cyrillic", false},
		{"\xff\xfe", "", false},
	} {
		names, mixed := scriptsOf(c.text)
		if strings.Join(names, " ") != c.names || mixed != c.mixed {
			t.Errorf("%q: %v %v, not %q %v", c.text, names, mixed, c.names, c.mixed)
		}
	}
	for _, s := range scripts {
		if s.table == nil {
			t.Errorf("%s has no table", s.name)
		}
	}
	if n := testing.AllocsPerRun(100, func() { scriptsOf("Invoice 77") }); n != 0 {
		t.Errorf("an ASCII text costs %v allocations", n)
	}
}

func TestSubjectAndNameFacts(t *testing.T) {
	for _, c := range []struct {
		subject, charset string
		scripts          []string
		mixed            bool
	}{
		{"Lunch?", "", nil, false},
		{"=?KOI8-R?B?8NLJ18XU?=", "koi8-r", []string{"Cyrillic"}, false},
		{"P=?utf-8?q?=D0=B0?=ypal", "utf-8", []string{"Latin", "Cyrillic"}, true},
		{"Grüße", "utf-8", []string{"Latin"}, false},
		{"Gr\xfc\xdfe", "unknown-8bit", []string{"Latin"}, false},
	} {
		f := contentOf(t, []byte("From: =?utf-8?q?P=D0=B0ypal?= <a@b.example>\r\nTo: Ann <x@y.example>\r\nSubject: "+c.subject+"\r\n\r\nx\r\n"))
		if f.SubjectCharset != c.charset || !slices.Equal(f.SubjectScripts, c.scripts) || f.SubjectMixed != c.mixed {
			t.Errorf("%q: charset %q, scripts %v, mixed %v", c.subject, f.SubjectCharset, f.SubjectScripts, f.SubjectMixed)
		}
		if !f.From[0].NameMixed || f.To[0].NameMixed {
			t.Errorf("mixed names: %+v %+v", f.From, f.To)
		}
	}
}

// A part's real type is there where its bytes were looked at: of what is attached, and of what
// is called text and is none.
func TestPartsRealType(t *testing.T) {
	f := contentOf(t, []byte(strings.ReplaceAll(`From: a@b.example
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/plain

hello
--x
Content-Type: image/png; name=a.png

%PDF-1.7
--x
Content-Type: text/plain
Content-Transfer-Encoding: base64

UEsDBBQAAAAIAAAA
--x--
`, "\n", "\r\n")))
	var got []string
	for _, p := range f.Parts {
		got = append(got, p.Type+" is "+p.RealType)
	}
	want := []string{"multipart/mixed is ", "text/plain is ", "image/png is application/pdf", "text/plain is application/zip"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nnot %q", got, want)
	}
}

// What facts say that they can be is what the code says.
func TestClosedSetsFollowTheirTables(t *testing.T) {
	var defects, names []string
	for _, d := range DefectWords() {
		defects = append(defects, d.Word)
	}
	for i := range len(scripts) + 1 {
		names = append(names, scriptName(i))
	}
	for fact, want := range map[string][]string{"Defects": defects, "SubjectScripts": names} {
		f, _ := reflect.TypeFor[ContentFacts]().FieldByName(fact)
		if got := strings.Fields(f.Tag.Get("enum")); !slices.Equal(got, want) {
			t.Errorf("%s: %q, not %q", fact, got, want)
		}
	}
	f, _ := reflect.TypeFor[Attachment]().FieldByName("Encoding")
	if got := strings.Fields(f.Tag.Get("enum")); !slices.Equal(got, []string{"base64", "quoted-printable", "uuencode", "yenc", "binhex"}) || len(got) != int(encCount)-1 {
		t.Errorf("encodings: %q", got)
	}
}
