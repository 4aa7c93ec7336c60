package gateway

import (
	"bufio"
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"postern/mail"
)

func parseReply(s string) (answer, error) {
	return readAnswer(bufio.NewReaderSize(strings.NewReader(s), maxReplyLine))
}

func TestReadAnswer(t *testing.T) {
	long := strings.Repeat("x", maxReplyLine-6)
	for in, want := range map[string]answer{
		"250 Ok\r\n":                        {250, "Ok"},
		"250\r\n":                           {250, ""},
		"250 \r\n":                          {250, ""},
		"250-a\r\n250-b c\r\n250 d\r\nrest": {250, "a\nb c\nd"},
		"250-\r\n250\r\n":                   {250, "\n"},
		"354 a\rb\r\n":                      {354, "a\rb"},
		"559 \xff\x01\r\n":                  {559, "\xff\x01"},
		"250 " + long + "\r\n":              {250, long},
		strings.Repeat("250-\r\n", maxReplyLines-1) + "250 x\r\n": {250, strings.Repeat("\n", maxReplyLines-1) + "x"},
	} {
		if a, err := parseReply(in); err != nil || a != want {
			t.Errorf("%.40q: %.40v, %v", in, a, err)
		}
	}
	for _, in := range []string{"", "250", "250 Ok", "250 Ok\n", "250 Ok\r", "25 Ok\r\n", "2500 Ok\r\n", "250_Ok\r\n", "250Ok\r\n", " 250 Ok\r\n",
		"\r\n", "\r\n250 Ok\r\n", "999 x\r\n", "199 x\r\n", "600 x\r\n", "260 x\r\n", "2a0 x\r\n", "٢٥٠ x\r\n", "250-a\r\n251 b\r\n", "250-a\r\nb\r\n", "250-a\r\n",
		"250 a\x00b\r\n", "250-a\n250 b\r\n", "250 " + long + "x\r\n", strings.Repeat("250-\r\n", maxReplyLines) + "250 x\r\n",
		strings.Repeat("250-"+long+"\r\n", 40) + "250 x\r\n"} {
		if a, err := parseReply(in); err == nil {
			t.Errorf("%.40q was taken as %v", in, a)
		}
	}
}

func TestAnswerAsReply(t *testing.T) {
	for in, want := range map[string]string{
		"250 2.0.0 Ok\r\n":        "250 2.0.0 Ok",
		"250 Ok\r\n":              "250 2.0.0 Ok",
		"550 5.1.1 <a@b>: no\r\n": "550 5.1.1 <a@b>: no",
		"550-5.1.1 one\r\n550-5.1.1 two\r\n550 three\r\n": "550 5.1.1 one two three",
		"550 4.1.1 wrong class\r\n":                       "550 5.0.0 4.1.1 wrong class",
		"450 4.01.1 zero\r\n":                             "450 4.0.0 4.01.1 zero",
		"450 4.1234.1 long\r\n":                           "450 4.0.0 4.1234.1 long",
		"450 4.1 short\r\n":                               "450 4.0.0 4.1 short",
		"450 4.1.1.1 more\r\n":                            "450 4.0.0 4.1.1.1 more",
		"450 4.7.1\r\n":                                   "450 4.7.1 ",
		"421 4.3.2 Bye\r\n":                               "451 4.3.2 Bye",
		"550 a\r250 b\x00\r\n":                            "",
		"550 a\rb\tc  d\x1b\r\n":                          "550 5.0.0 a b c d?",
	} {
		a, err := parseReply(in)
		if got := a.reply().String(); err == nil && got != want || err != nil && want != "" {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

// plainReply is the reference: the whole reply by one regular expression.
var plainReply = regexp.MustCompile(`(?s)\A((?:[2-5][0-5][0-9]-[^\n\x00]*\r\n)*)([2-5][0-5][0-9])(?: ([^\n\x00]*))?\r\n`)

func FuzzReply(f *testing.F) {
	for _, s := range []string{"250 Ok\r\n", "250-a\r\n250 b\r\n250 c\r\n", "250-a\r\n251 b\r\n", "354\r\n", "250 a\rb\r\n", "250-\r\n250-\r\n250\r\n", "250 x\n", "421 4.7.0 x\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(in)), maxReplyLine)
		got, err := readAnswer(r)
		want, rest, ok := plainAnswer(in)
		if (err == nil) != ok {
			t.Fatalf("%q: %v, reference %v", in, err, ok)
		}
		if err != nil {
			return
		}
		left, _ := io.ReadAll(r)
		if got != want || !bytes.Equal(left, rest) {
			t.Fatalf("%q: %v and %q left, reference %v and %q", in, got, left, want, rest)
		}
		reply := got.reply()
		if s := reply.String(); len(s) > 450 || s != mail.Printable(s, 500) && strings.TrimSpace(s) != mail.Printable(s, 500) {
			t.Fatalf("%q: unsafe reply %q", in, s)
		}
		if reply.Code/100 != got.code/100 || reply.Enhanced[0] != got.code/100 {
			t.Fatalf("%q: class changed: %v", in, reply)
		}
	})
}

func plainAnswer(in []byte) (a answer, rest []byte, ok bool) {
	m := plainReply.FindSubmatch(in)
	if m == nil {
		return a, nil, false
	}
	rest = in[len(m[0]):]
	var texts []string
	lines := bytes.SplitAfter(m[0], []byte("\r\n"))
	lines = lines[:len(lines)-1]
	for i, l := range lines {
		if string(l[:3]) != string(m[2]) || len(l) > maxReplyLine {
			return a, nil, false
		}
		text := strings.TrimSuffix(string(l[3:]), "\r\n")
		if text != "" {
			text = text[1:]
		} else if i < len(lines)-1 {
			return a, nil, false
		}
		texts = append(texts, text)
	}
	if len(lines) > maxReplyLines || len(m[0]) > maxReplyBytes {
		return a, nil, false
	}
	a.code = int(m[2][0]-'0')*100 + int(m[2][1]-'0')*10 + int(m[2][2]-'0')
	a.text = strings.Join(texts, "\n")
	return a, rest, true
}
