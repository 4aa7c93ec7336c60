package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"postern/mail"
)

// Bounds of one reply of an internal server. RFC 5321 4.5.3.1.5 says 512 bytes a line;
// some say more.
const (
	maxReplyLine  = 2048
	maxReplyLines = 100
	maxReplyBytes = 64 << 10
)

// errBadReply is what is no SMTP reply, or not one that can answer the command. What
// the server thinks is then unknown, so the connection is never used again.
var errBadReply = errors.New("not a proper SMTP reply")

// An answer is one reply as it came: the texts of its lines, separated by \n. They may
// hold anything but that.
type answer struct {
	code int
	text string
}

// readAnswer reads one reply (RFC 5321 4.2): lines that end in CRLF, each of three
// digits, '-' or (the last) blank or nothing, text; all with one code. The buffer of
// r must be of maxReplyLine bytes.
func readAnswer(r *bufio.Reader) (answer, error) {
	var a answer
	var more strings.Builder
	total := 0
	for n := 0; n < maxReplyLines; n++ {
		line, err := r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			return answer{}, fmt.Errorf("%w: a line of more than %d bytes", errBadReply, maxReplyLine)
		}
		if err == io.EOF && (len(line) > 0 || n > 0) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return answer{}, err
		}
		if total += len(line); total > maxReplyBytes {
			return answer{}, fmt.Errorf("%w: more than %d bytes", errBadReply, maxReplyBytes)
		}
		code, last, text := splitReplyLine(line)
		if code == 0 || n > 0 && code != a.code {
			return answer{}, fmt.Errorf("%w: %q", errBadReply, mail.Printable(string(line), 100))
		}
		a.code = code
		if last && n == 0 {
			a.text = string(text)
			return a, nil
		}
		if n > 0 {
			more.WriteByte('\n')
		}
		more.Write(text)
		if last {
			a.text = more.String()
			return a, nil
		}
	}
	return answer{}, fmt.Errorf("%w: more than %d lines", errBadReply, maxReplyLines)
}

// splitReplyLine takes a line apart; code is 0 when it is none of a reply. The digits
// are those of RFC 5321 4.2: [2-5][0-5][0-9].
func splitReplyLine(line []byte) (code int, last bool, text []byte) {
	n := len(line)
	if n < 5 || line[n-2] != '\r' || line[n-1] != '\n' {
		return 0, false, nil
	}
	line = line[:n-2]
	a, b, c := line[0], line[1], line[2]
	if a < '2' || a > '5' || b < '0' || b > '5' || c < '0' || c > '9' {
		return 0, false, nil
	}
	code = int(a-'0')*100 + int(b-'0')*10 + int(c-'0')
	if len(line) == 3 {
		return code, true, nil
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, false, nil
	}
	for _, c := range line[4:] {
		if c == 0 {
			return 0, false, nil
		}
	}
	return code, line[3] == ' ', line[4:]
}

// maxReplyText leaves room on a reply line of 512 bytes for codes and our words.
const maxReplyText = 400

// reply gives the answer as it may be passed on: one line of printable text, the
// enhanced code (RFC 2034) taken out of it when it is one and of the same class,
// 421 (which would end the client's connection too) as 451.
func (a answer) reply() *mail.Reply {
	r := &mail.Reply{Code: a.code}
	text, n := "", 0
	for line := range strings.SplitSeq(a.text, "\n") {
		e, rest, ok := cutEnhanced(line, a.code/100)
		if ok {
			line = rest
			if n == 0 && r.Enhanced == [3]int{} {
				r.Enhanced = e
			}
		}
		if n++; n > 1 {
			text += " "
		}
		text += line
	}
	if r.Enhanced == [3]int{} {
		r.Enhanced = [3]int{a.code / 100, 0, 0}
	}
	if a.code == 421 {
		r.Code = 451
	}
	r.Text = mail.Printable(text, maxReplyText)
	return r
}

// cutEnhanced takes an enhanced status code (RFC 3463 2) of the class off the start.
func cutEnhanced(s string, class int) (e [3]int, rest string, ok bool) {
	word, rest, _ := strings.Cut(s, " ")
	for i := range e {
		part, left, more := strings.Cut(word, ".")
		if more != (i < 2) || part == "" || len(part) > 3 || part[0] == '0' && len(part) > 1 {
			return e, s, false
		}
		for _, c := range []byte(part) {
			if c < '0' || c > '9' {
				return e, s, false
			}
			e[i] = e[i]*10 + int(c-'0')
		}
		word = left
	}
	if e[0] != class {
		return e, s, false
	}
	return e, rest, true
}
