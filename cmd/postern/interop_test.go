package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"postern/testkit"
)

var interop = flag.Bool("interop", false, "also test beside mail servers whose packages are fetched and unpacked (make interop)")

// interopMails are what goes through: sizes, dots, 8-bit, and lines as long as RFC 5321 allows.
func interopMails() map[string]string {
	r := rand.New(rand.NewPCG(3, 5))
	return map[string]string{
		"small":  "Hello.\r\n",
		"empty":  "",
		"dots":   ".\r\n..\r\n...\r\n.a\r\n. \r\n",
		"8bit":   "Grüße, 你好\r\n",
		"long":   strings.Repeat("x", 990) + "\r\n",
		"spaces": "a  \r\n\t\r\n   \r\nFrom the start\r\n\r\n\r\n",
		"large":  randomText(r, 5<<20),
	}
}

// An mta is a real mail server of any kind.
type mta interface {
	WaitMessages(mailbox string, n int) [][]byte
	Log() string
}

// behind sends mail through the gateway to a real internal server and looks at what it has in its
// folders: the same bytes under our own block; unknown users are refused by its own answer.
func behind(t *testing.T, addr string, inside mta) {
	s := newSite(t, addr, "")
	g := s.serve(t)
	mails := interopMails()
	for round := range 3 { // on connections that are used again
		x := mustDial(t, g.addr)
		for name, text := range mails {
			to := []string{"a@example.org"}
			if round == 1 {
				to = []string{"b@example.org", "nobody@example.org", "c@example.org"}
			}
			letter := letter(fmt.Sprintf("%s-%d", name, round), name, text)
			x.must(t, "MAIL FROM:<eve@friend.example> BODY=8BITMIME", "250")
			for _, rcpt := range to {
				reply, err := x.say("RCPT TO:<" + rcpt + ">")
				if want := map[bool]string{true: "5", false: "250"}[strings.HasPrefix(rcpt, "nobody")]; err != nil || !strings.HasPrefix(reply, want) {
					t.Fatalf("%s: %q, %v\n%s", rcpt, reply, err, inside.Log())
				}
			}
			x.must(t, "DATA", "354")
			if _, err := x.conn.Write(append(stuffed([]byte(letter)), ".\r\n"...)); err != nil {
				t.Fatal(err)
			}
			if reply, err := x.reply(); err != nil || !strings.HasPrefix(reply, "250 ") {
				t.Fatalf("%s: %q, %v\n%s", name, reply, err, inside.Log())
			}
		}
		x.must(t, "QUIT", "221")
	}
	for box, n := range map[string]int{"a": 2 * len(mails), "b": len(mails), "c": len(mails)} {
		seen := map[string]bool{}
		for _, got := range inside.WaitMessages(box, n) {
			name, round, _ := strings.Cut(cutOut(string(got), "Message-ID: <", "@"), "-")
			want := letter(name+"-"+round, name, mails[name])
			if _, same := ours(got, []byte(want)); !same {
				t.Errorf("%s for %s arrived in another shape: %.500q", name, box, got)
			}
			seen[name+round] = true
		}
		if len(seen) != n {
			t.Errorf("%d of %d different messages for %s", len(seen), n, box)
		}
	}
}

// cutOut gives what stands between two words.
func cutOut(text, before, after string) string {
	_, rest, _ := strings.Cut(text, before)
	out, _, _ := strings.Cut(rest, after)
	return out
}

// through sends mail by a real server to the gateway. Where the server tries again soon, the gateway
// puts the first try of one message off. All of it arrives once.
func through(t *testing.T, retries bool, start func(relay string) (addr string, log func() string)) {
	inside := newSink(t, nil)
	s := newSite(t, inside.addr, "rules: rules\ngreylist: {delay: 1s}\n")
	s.write(t, "rules/10.yaml", "rules:\n  - {name: later, when: 'greylist.waiting and rcpt.local == \"b\"', class: spam, do: defer, because: later}\n")
	g := s.serve(t)
	addr, log := start(g.addr)
	mails := interopMails()
	delete(mails, "empty") // some servers add a line of their own
	for name, text := range mails {
		to := []string{"a@example.org"}
		if name == "small" && retries {
			to = []string{"b@example.org"}
		}
		x := mustDial(t, addr)
		if reply, _, err := x.mail("eve@friend.example", to, []byte(letter(name, name, text))); err != nil || !strings.HasPrefix(reply, "250 ") {
			t.Fatalf("%s: %q, %v\n%s", name, reply, err, log())
		}
		x.conn.Close()
	}
	for end := time.Now().Add(90 * time.Second); len(inside.taken()) < len(mails); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d arrived\n%s", len(inside.taken()), len(mails), log())
		}
	}
	g.stop(t)
	copies := map[string]int{}
	for _, m := range inside.taken() {
		name := cutOut(string(m.Data), "Message-ID: <", "@")
		if copies[name]++; copies[name] > 1 || !strings.HasSuffix(string(m.Data), "\r\n\r\n"+mails[name]) {
			t.Errorf("%s: %d copies, %.300q", name, copies[name], m.Data)
		}
	}
}

func TestP11_Exim(t *testing.T) {
	if !*interop {
		t.Skip("only with -interop")
	}
	t.Run("behind", func(t *testing.T) {
		m := testkit.StartExim(t, testkit.MTAOptions{})
		behind(t, m.Addr, m)
	})
	t.Run("in front", func(t *testing.T) {
		through(t, true, func(relay string) (string, func() string) {
			m := testkit.StartExim(t, testkit.MTAOptions{Relay: relay})
			return m.Addr, m.Log
		})
	})
}

func TestP11_OpenSMTPD(t *testing.T) {
	if !*interop {
		t.Skip("only with -interop")
	}
	t.Run("behind", func(t *testing.T) {
		m := testkit.StartOpenSMTPD(t, testkit.MTAOptions{})
		behind(t, m.Addr, m)
	})
	t.Run("in front", func(t *testing.T) {
		// It would wait 400 seconds.
		through(t, false, func(relay string) (string, func() string) {
			m := testkit.StartOpenSMTPD(t, testkit.MTAOptions{Relay: relay})
			return m.Addr, m.Log
		})
	})
}

func TestP11_Postfix(t *testing.T) {
	t.Parallel()
	t.Run("behind", func(t *testing.T) {
		p := testkit.StartPostfix(t, testkit.PostfixOptions{})
		behind(t, p.Addr, p)
	})
	t.Run("in front", func(t *testing.T) {
		through(t, true, func(relay string) (string, func() string) {
			p := testkit.StartPostfix(t, testkit.PostfixOptions{Relay: relay})
			return p.Addr, p.Log
		})
	})
}

// Postfix's own load generator: many sessions at once, several messages in each.
func TestP11_SMTPSource(t *testing.T) {
	t.Parallel()
	source := testkit.Program(t, "smtp-source", "postfix")
	inside := newSink(t, nil)
	g := newSite(t, inside.addr, "").serve(t)
	for _, args := range [][]string{
		{"-s", "10", "-m", "200", "-l", "4096"},          // a connection each
		{"-s", "10", "-m", "200", "-l", "4096", "-d"},    // connections used again
		{"-s", "3", "-m", "9", "-l", "2000000", "-d"},    //
		{"-s", "2", "-m", "4", "-l", "1000", "-r", "20"}, // many recipients
	} {
		before := len(inside.taken())
		want := before + map[string]int{"200": 200, "9": 9, "4": 4}[args[3]]
		cmd := exec.Command(source, append(args, "-M", "mail.friend.example", "-f", "eve@friend.example", "-t", "a@example.org", g.addr)...)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("smtp-source %v: %v\n%s", args, err, out)
		}
		if got := len(inside.taken()); got != want {
			t.Errorf("smtp-source %v: %d delivered, want %d", args, got-before, want-before)
		}
	}
}

func TestP11_Swaks(t *testing.T) {
	t.Parallel()
	inside := newSink(t, nil)
	g := newSite(t, inside.addr, "").serve(t)
	text := letter("swaks", "swaks", "Hello.\r\n.\r\n..\r\n")
	for name, args := range map[string][]string{
		"plain":     nil,
		"pipelined": {"--pipeline"},
		"TLS":       {"-tls"},
		"HELO":      {"--protocol", "SMTP"},
	} {
		if code, dialogue := swaks(t, g.addr, text, append(args, "--to", "a@example.org")...); code != swaksDone {
			t.Errorf("%s: exit %d\n%s", name, code, dialogue)
		}
	}
	for _, m := range inside.taken() {
		if _, same := ours(m.Data, []byte(text)); !same {
			t.Errorf("arrived in another shape: %q", m.Data)
		}
	}
}
