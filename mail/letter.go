package mail

import (
	"bytes"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"
	"unicode"
)

// A Letter is a message of our own to one person: a digest, a link to sign in. It is made by
// nobody's answer to anything, and says so (RFC 3834).
type Letter struct {
	ID       string // of the Message-ID, left of the '@'; also what parts are told apart by
	Host     string // right of it
	Date     time.Time
	From     Address
	FromName string // in ASCII
	To       Address
	Subject  string
	Text     string // lines end with \n
	HTML     string // the same for who likes it better; "" for none
}

// maxSubject bounds a subject, in characters.
const maxSubject = 150

// Bytes is the message as RFC 5322 has it, in 7 bits. What the letter says stays inside of its
// fields and parts, whatever it is.
func (l *Letter) Bytes() []byte {
	var b bytes.Buffer
	field := func(name, value string) { b.WriteString(name + ": " + value + "\r\n") }
	field("Date", l.Date.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	field("From", Printable(quotedName(l.FromName)+" <"+l.From.String()+">", 400))
	field("To", "<"+oneLine(l.To.String(), 400)+">")
	subject := strings.ReplaceAll(oneLine(l.Subject, maxSubject), "=?", "= ?") // else it would be read as an encoded word
	field("Subject", strings.ReplaceAll(mime.QEncoding.Encode("utf-8", subject), "?= =?", "?=\r\n =?"))
	field("Message-ID", "<"+l.ID+"@"+l.Host+">")
	field("Auto-Submitted", "auto-generated")
	field("X-Auto-Response-Suppress", "All") // Exchange's word for the same
	field("MIME-Version", "1.0")
	if l.HTML == "" {
		l.part(&b, "text/plain", l.Text)
		return b.Bytes()
	}
	between := "=_" + l.ID // no text in quoted-printable has these two characters
	field("Content-Type", "multipart/alternative; boundary=\""+between+"\"")
	b.WriteString("\r\n--" + between + "\r\n")
	l.part(&b, "text/plain", l.Text)
	b.WriteString("\r\n--" + between + "\r\n")
	l.part(&b, "text/html", l.HTML)
	b.WriteString("\r\n--" + between + "--\r\n")
	return b.Bytes()
}

// part writes the fields and the text of one part.
func (l *Letter) part(b *bytes.Buffer, kind, text string) {
	b.WriteString("Content-Type: " + kind + "; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(b)
	_, _ = w.Write([]byte(strings.NewReplacer("\r", "", "\n", "\r\n").Replace(strings.ToValidUTF8(text, "\uFFFD")))) // a buffer takes all
	_ = w.Close()
	if !strings.HasSuffix(text, "\n") {
		b.WriteString("\r\n")
	}
}

// quotedName is a display name as RFC 5322 quotes it.
func quotedName(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// oneLine is text without line ends, controls and what changes the direction of writing.
func oneLine(s string, max int) string {
	n := 0
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		n++
		switch {
		case n > max || unicode.Is(unicode.Cf, r):
			return -1
		case unicode.IsControl(r) || unicode.IsSpace(r):
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))), " ")
}
