package gateway

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"postern/filters"
	"postern/mail"
	"postern/rules"
)

// Names of the effects that edit parts.
const (
	stripEffect      = "strip_attachments"
	bannerEffect     = "banner"
	disclaimerEffect = "disclaimer"
)

// What strip_attachments may be told to remove, besides ".extension" and "type/subtype".
const (
	stripAll       = "all"
	stripDangerous = "dangerous"
)

// checkWhat takes all, dangerous, an extension with its dot, or a type.
func checkWhat(s string) (problem, hint string) {
	const say = `write "all", "dangerous", an extension such as ".exe", or a type such as "application/x-msdownload" or "image/*"`
	major, minor, typed := strings.Cut(s, "/")
	ext, dotted := strings.CutPrefix(s, ".")
	switch {
	case typed && isTypeWord(major) && (minor == "*" || isTypeWord(minor)):
		return "", ""
	case dotted && ext != "" && len(ext) <= 16 && !strings.ContainsFunc(ext, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_' }):
		return "", ""
	case typed || dotted:
		return fmt.Sprintf("%q is no extension or type", s), say
	}
	if _, hint = rules.OneOf(stripAll, stripDangerous)(s); s == stripAll || s == stripDangerous {
		return "", ""
	} else if hint == "" {
		hint = say
	}
	return fmt.Sprintf("%q says nothing to remove", s), hint
}

func isTypeWord(s string) bool { return token(s) && s != "*" }

// strips reports whether a file is one of those to remove.
func strips(what []string, f *filters.Attachment) bool {
	return slices.ContainsFunc(what, func(w string) bool {
		w = strings.ToLower(w)
		switch {
		case w == stripAll:
			return true
		case w == stripDangerous:
			return f.Dangerous()
		case w[0] == '.':
			return f.HasExtension(w[1:])
		}
		for _, typ := range []string{f.Type, f.RealType} {
			if ok, _ := path.Match(w, typ); ok {
				return true
			}
		}
		return false
	})
}

// strip finds what to remove. What cannot be removed for sure is a reason to hold the message: it
// is not delivered with what a rule wanted off.
func (ed *partEditor) strip(x *rules.Effect) {
	var names []string
	hold := func(format string, args ...any) {
		if ed.hold == "" {
			ed.hold, ed.rule = fmt.Sprintf(format, args...), x.Rule
		}
	}
	for i := range ed.o.Sections {
		s := &ed.o.Sections[i]
		switch s.Type {
		case "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime":
			hold("it is encrypted, so that nobody can see which files are to be removed")
			return
		}
		if ed.inside(i, func(i int) bool { return ed.gone[i] }) {
			continue
		}
		found := ed.matching(i, x.Args)
		if len(found) == 0 {
			continue
		}
		name := shownName(&found[0])
		switch {
		case ed.o.Doubt != "":
			hold("%s is to be removed from it, but mail programs may divide it in different ways (%s)", name, ed.o.Doubt)
		case ed.signed(i):
			hold("%s is to be removed from it, but it is signed", name)
		case strings.HasPrefix(s.Type, "text/") && !s.Named && !strings.HasPrefix(s.Disposition, "attachment"):
			hold("%s is to be removed from it, but stands within its text", name)
		}
		if ed.hold != "" {
			return
		}
		ed.gone[i] = true
		ed.cutOut(i, found)
		for _, f := range found {
			names = append(names, shownName(&f))
		}
	}
	for i := range ed.o.Loose {
		if f := &ed.o.Loose[i]; strips(x.Args, f) {
			hold("%s is to be removed from it, but stands outside of its parts", shownName(f))
			return
		}
	}
	if ed.o.Cut {
		hold("it has more parts, names or archive members than are looked at, so that nobody can see which files are to be removed")
		return
	}
	if len(names) == 0 {
		ed.notes[x.String()] = "nothing to remove"
		return
	}
	all := bounded(strings.Join(names, ", "), 150)
	ed.notes[x.String()] = "removed " + all + ed.dkimNote()
	if ed.removed != "" {
		all = ed.removed + ", " + all
	}
	ed.removed, ed.rule = all, cmp.Or(ed.rule, x.Rule)
}

// matching lists the files of section i that are to be removed. A signature is no file of its own,
// unless its name or its bytes are those of a program.
func (ed *partEditor) matching(i int, what []string) (found []filters.Attachment) {
	s := &ed.o.Sections[i]
	signature := s.Parent >= 0 && ed.o.Sections[s.Parent].Type == "multipart/signed" && slices.Contains(signatures, s.Type)
	for j := range s.Files {
		if signature && signatureFile(&s.Files[j]) {
			continue
		}
		if strips(what, &s.Files[j]) {
			found = append(found, s.Files[j])
		}
	}
	return found
}

// signatures are the types of the second part of multipart/signed (RFC 3156 5, RFC 8551 3.5.3).
var signatures = []string{"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"} // a constant list

// signatureFile reports whether a file is what the type of a signature says, going by its names.
func signatureFile(f *filters.Attachment) bool {
	return !f.Dangerous() && f.Archive == "" && !slices.ContainsFunc(f.Extensions, func(ext string) bool {
		return !slices.Contains([]string{"asc", "sig", "pgp", "p7s"}, ext)
	})
}

// A removal is a part to be replaced by a text that says so.
type removal struct {
	from, to int64
	header   bool // the part has a header of its own, which goes with it
	host     string
	files    []filters.Attachment
}

const noticeFields = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"

func (ed *partEditor) cutOut(i int, found []filters.Attachment) {
	s := &ed.o.Sections[i]
	r := removal{from: s.Header, to: s.End, header: true, host: ed.host, files: found}
	if s.Parent < 0 {
		r.from, r.header = s.Body, false
		ed.rootContent(isContentField, noticeFields)
	}
	ed.removals = append(ed.removals, r)
}

// cut makes the text. id is that of the original in quarantine.
func (r *removal) cut(id string) cut {
	var b strings.Builder
	fmt.Fprintf(&b, "The mail gateway %s has removed from this message:\r\n\r\n", r.host)
	for i := range r.files {
		if i == maxShownFiles {
			fmt.Fprintf(&b, "    and %d more\r\n", len(r.files)-i)
			break
		}
		f := &r.files[i]
		fmt.Fprintf(&b, "    %s (%s, %s)\r\n", shownName(f), mailType(f), shownSize(f.Size))
	}
	fmt.Fprintf(&b, "\r\nSuch files are not delivered here. The whole message is kept for some time.\r\n"+
		"To get it, give your mail administrator this number:\r\n\r\n    %s\r\n", id)
	text := appendQP(nil, []byte(b.String()))
	if r.header {
		text = append([]byte(noticeFields+"\r\n"), text...)
	}
	return cut{r.from, r.to, text}
}

const maxShownFiles = 10

// shownName is a file name as it is shown to people: bounded, without what would make it look
// otherwise.
func shownName(f *filters.Attachment) string {
	name := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, bounded(f.Name, 100))
	if f.Archive != "" {
		return name + " in an archive"
	}
	if name == "" {
		return "a file without a name"
	}
	return name
}

func mailType(f *filters.Attachment) string {
	if f.RealType != "" {
		return mail.Printable(f.RealType, 80)
	}
	return mail.Printable(f.Type, 80)
}

func shownSize(n int) string {
	if n < 1000 {
		return fmt.Sprintf("%d bytes", n)
	}
	if n < 1_000_000 {
		return fmt.Sprintf("%d kB", (n+500)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
