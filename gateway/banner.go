package gateway

import (
	"io"
	"strings"

	"postern/mail"
	"postern/rules"
)

// maxTextPart bounds the text parts that get a banner, maxTexts all those of a message, counted once
// for each text that is put in: they are read into memory.
const (
	maxTextPart = 512 << 10
	maxTexts    = 8 << 20
)

// insertTexts puts banners and disclaimers into the text of the message: its first text part, and
// all alternatives of that. Where that cannot be done well it is left out, which harms nobody.
func (ed *partEditor) insertTexts(list []rules.Effect) error {
	var top, bottom []string
	var which []*rules.Effect
	for i := range list {
		switch x := &list[i]; {
		case x.Name == bannerEffect && strings.TrimSpace(x.Args[0]) != "":
			top, which = append(top, x.Args[0]), append(which, x)
		case x.Name == disclaimerEffect && strings.TrimSpace(x.Args[0]) != "":
			bottom, which = append(bottom, x.Args[0]), append(which, x)
		}
	}
	if len(which) == 0 {
		return nil
	}
	done, why, err := ed.intoTexts(top, bottom)
	note := "added" + ed.dkimNote()
	switch {
	case err != nil:
		return err
	case !done:
		note = "not added: " + why
	case why != "":
		note = "added, but not to every form of the text: " + why
	}
	for _, x := range which {
		ed.notes[x.String()] = note
	}
	return nil
}

// intoTexts reports whether any text has got them, and why one has not.
func (ed *partEditor) intoTexts(top, bottom []string) (done bool, why string, err error) {
	if ed.o.Doubt != "" {
		return false, "mail programs may divide the message in different ways (" + ed.o.Doubt + ")", nil
	}
	texts, why := ed.texts(0)
	for _, i := range texts {
		problem, err := ed.intoText(i, top, bottom)
		if err != nil {
			return false, "", err
		}
		if done = done || problem == ""; problem != "" {
			why = problem
		}
	}
	return done, why, nil
}

// texts lists the sections that hold the text of section i, or says why there are none.
func (ed *partEditor) texts(i int) (list []int, why string) {
	s := &ed.o.Sections[i]
	switch {
	case ed.gone[i]:
		return nil, "the message has no text"
	case s.Type == "multipart/signed":
		return nil, "the message is signed"
	case s.Type == "multipart/encrypted":
		return nil, "the message is encrypted"
	case strings.HasSuffix(s.Type, "pkcs7-mime"):
		return nil, "the message is signed as a whole, or encrypted"
	case s.Type == "text/plain" || s.Type == "text/html":
		if s.Named || strings.HasPrefix(s.Disposition, "attachment") {
			return nil, "the message has no text but a file"
		}
		return []int{i}, ""
	case !strings.HasPrefix(s.Type, "multipart/"):
		return nil, "the message has no text"
	}
	why = "the message has no text"
	for j := i + 1; j < len(ed.o.Sections); j++ {
		if ed.o.Sections[j].Parent != i {
			continue
		}
		more, not := ed.texts(j)
		list = append(list, more...)
		if len(more) == 0 {
			why = not
		}
		if s.Type != "multipart/alternative" && (len(more) > 0 || sealed(ed.o.Sections[j].Type)) { // what follows are files
			break
		}
	}
	if len(list) > 0 {
		return list, ""
	}
	return nil, why
}

// sealed reports whether what is in a part of this type belongs to its sender alone.
func sealed(typ string) bool {
	return typ == "multipart/signed" || typ == "multipart/encrypted" || strings.HasSuffix(typ, "pkcs7-mime")
}

// intoText plans the change of one text part; problem says why there is none.
func (ed *partEditor) intoText(i int, top, bottom []string) (problem string, err error) {
	s := &ed.o.Sections[i]
	size := s.End - s.Body
	if size > maxTextPart || *ed.texted+size > maxTexts {
		return "the text is too long", nil
	}
	*ed.texted += size
	x := textPart{Section: s, cte: s.Encoding, head: ed.header}
	if x.raw, err = ed.bytes(s.Body, s.End); err != nil {
		return "", err
	}
	if s.Parent >= 0 {
		head, err := ed.bytes(s.Header, s.Body)
		if err != nil {
			return "", err
		}
		if x.head = mail.ParseHeader(head, mail.DefaultHeaderLimits()); !x.head.Ended {
			return "its header is not ended", nil
		}
	}
	if problem := x.decode(); problem != "" {
		return problem, nil
	}
	if problem := x.insert(top, bottom); problem != "" {
		return problem, nil
	}
	x.fields()
	ed.change(&x)
	return "", nil
}

// change plans the new body, and the new fields where there are some.
func (ed *partEditor) change(x *textPart) {
	stale := func(name string) bool {
		return name == "content-type" && x.newType != "" || name == "content-transfer-encoding" && x.newCTE != ""
	}
	switch fields := x.newType + x.newCTE; {
	case fields == "":
		ed.cuts = append(ed.cuts, cut{x.Body, x.End, x.encode()})
	case x.Parent < 0:
		ed.rootContent(stale, fields)
		ed.cuts = append(ed.cuts, cut{x.Body, x.End, x.encode()})
	default:
		out := []byte(fields)
		for i := range x.head.Fields {
			if f := &x.head.Fields[i]; !stale(strings.ToLower(bareName(f))) {
				out = append(out, f.Raw...)
			}
		}
		ed.cuts = append(ed.cuts, cut{x.Header, x.End, append(append(out, "\r\n"...), x.encode()...)})
	}
}

// bytes reads a run of the message as received.
func (ed *partEditor) bytes(from, to int64) ([]byte, error) {
	p := make([]byte, to-from)
	src := ed.body.Open()
	defer src.Close()
	src.Skip(from)
	_, err := io.ReadFull(src, p)
	return p, err
}
