package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/journal"
	"postern/quarantine"
	"postern/testkit"
)

// The gateway among real neighbours: Postfix behind it, clamd beside it, swaks in front.

// Exit codes of swaks.
const (
	swaksDone     = 0
	swaksNoRcpt   = 24 // every recipient was refused
	swaksNotTaken = 26 // refused after the message
)

// swaks sends a message, which has to end in CRLF, and gives its exit code and the dialogue.
func swaks(t testing.TB, addr, message string, args ...string) (code int, dialogue string) {
	t.Helper()
	bin := testkit.Program(t, "swaks", "swaks")
	file := filepath.Join(t.TempDir(), "message.eml")
	lines := strings.ReplaceAll(strings.TrimSuffix(message, "\r\n"), "\r\n", "\n") // it makes the last CRLF itself
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all := append([]string{"--server", addr, "--helo", "mail.friend.example", "--from", "eve@friend.example", "--data", "@" + file}, args...)
	cmd := exec.CommandContext(ctx, bin, all...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir()) // nobody's .swaksrc
	out, err := cmd.CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatalf("swaks: %v\n%s", err, out)
	}
	if strings.Contains(string(out), "requires Net::SSLeay") {
		testkit.Missing(t, "swaks has no TLS (Debian: apt-get install libnet-ssleay-perl)")
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// heldWith lists what is held with these words in its subject.
func (g *running) heldWith(t testing.TB, subject string) []*quarantine.Item {
	t.Helper()
	items, _, err := g.program.quarantine.List(t.Context(), quarantine.Query{Subject: subject, State: quarantine.Any})
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// entry gives the journal's newest entry with these words in its subject.
func (g *running) entry(t testing.TB, subject string) *journal.Entry {
	t.Helper()
	if err := g.program.journal.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, _, err := g.program.journal.Search(t.Context(), journal.Query{Subject: subject, Limit: 1})
	if err != nil || len(list) != 1 {
		t.Fatalf("journal: %d entries of %q, %v", len(list), subject, err)
	}
	return list[0]
}

func TestRealNeighbours(t *testing.T) {
	t.Parallel()
	inside := testkit.StartPostfix(t, testkit.PostfixOptions{Mailboxes: []string{"clean", "tls", "large", "big", "virus"},
		Main: map[string]string{"message_size_limit": "3000000"}})
	clamd := testkit.StartClamd(t)
	s := newSite(t, inside.Addr, fmt.Sprintf("clamav: {addresses: [%q]}\n", clamd.Addr))
	g := s.serve(t)
	g.program.upstream.Probe(t.Context()) // its SIZE is known from here on

	t.Run("S45_an unknown recipient is refused at RCPT", func(t *testing.T) {
		code, said := swaks(t, g.addr, letter("nobody", "x", "x\r\n"), "--to", "nobody@example.org")
		if code != swaksNoRcpt || !strings.Contains(said, "<** 550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown") || strings.Contains(said, "354") {
			t.Errorf("exit %d\n%s", code, said)
		}
	})
	t.Run("a clean mail arrives as it was", func(t *testing.T) {
		text := letter("clean", "Hello", "One.\r\n.dot\r\n..dots\r\n.\r\n\r\n  8-bit: \xc3\xa4 \xff\r\ntrailing blank \r\n")
		code, said := swaks(t, g.addr, text, "--to", "clean@example.org")
		if code != swaksDone || !regexp.MustCompile(`<-  250 2\.0\.0 Ok: (\d+ bytes )?queued as `).MatchString(said) {
			t.Fatalf("exit %d; Postfix's own reply is to be there\n%s", code, said)
		}
		got := inside.WaitMessages("clean", 1)
		if block, same := ours(got[0], []byte(text)); !same || !strings.Contains(block, "spf=pass") {
			t.Errorf("arrived:\n%s", got[0])
		}
	})
	t.Run("STARTTLS", func(t *testing.T) {
		text := letter("tls", "Over TLS", "Secret.\r\n")
		code, said := swaks(t, g.addr, text, "--to", "tls@example.org", "--tls")
		if code != swaksDone || !strings.Contains(said, "=== TLS started") {
			t.Fatalf("exit %d\n%s", code, said)
		}
		if block, same := ours(inside.WaitMessages("tls", 1)[0], []byte(text)); !same || !strings.Contains(block, "with ESMTPS (") {
			t.Errorf("block:\n%s", block)
		}
		if e := g.entry(t, "Over TLS"); e.Envelope.Client.TLS == "" {
			t.Error("the journal does not know of TLS")
		}
	})
	t.Run("S26_SIZE is the smaller one and exact", func(t *testing.T) {
		x := mustDial(t, g.addr)
		if ehlo := x.must(t, "EHLO again.example", "250"); !strings.Contains(ehlo, "SIZE 3000000") {
			t.Errorf("EHLO: %s", ehlo)
		}
		x.must(t, "MAIL FROM:<eve@friend.example> SIZE=3000001", "552")
		text := letter("large", "Large", strings.Repeat(strings.Repeat("x", 98)+"\r\n", 29_000))
		code, said := swaks(t, g.addr, text, "--to", "large@example.org")
		if code != swaksDone {
			t.Fatalf("exit %d\n%.2000s", code, said)
		}
		if _, same := ours(inside.WaitMessages("large", 1)[0], []byte(text)); !same {
			t.Error("2.9 MB arrived in another shape")
		}
		code, said = swaks(t, g.addr, text+strings.Repeat("y", 200_000)+"\r\n", "--to", "large@example.org")
		if code != swaksNotTaken || !strings.Contains(said, "<** 552 5.3.4 ") {
			t.Errorf("3.1 MB: exit %d\n%.2000s", code, said[max(0, len(said)-2000):])
		}
	})
	t.Run("DNS over TCP", func(t *testing.T) {
		text := letter("big", "A big record", "x\r\n")
		code, said := swaks(t, g.addr, text, "--to", "big@example.org", "--from", "eve@big.example")
		if code != swaksDone {
			t.Fatalf("exit %d\n%s", code, said)
		}
		if block, _ := ours(inside.WaitMessages("big", 1)[0], []byte(text)); !strings.Contains(block, "spf=pass") || !strings.Contains(block, "big.example") {
			t.Errorf("block:\n%s", block)
		}
		if n := g.program.resolver.Stats(); n.OverTCP == 0 || n.Sent == 0 {
			t.Errorf("%+v", n)
		}
	})
	t.Run("check", func(t *testing.T) {
		code, stdout, stderr := postern("check", "-c", s.conf)
		if code != exitDone || strings.Contains(stdout, "FAIL") {
			t.Errorf("exit %d\n%s%s", code, stdout, stderr)
		}
		for _, line := range []string{"\nok    internal server " + inside.Addr + " (postfix.test), in clear\n", "\nok    DNS server " + s.dns.Addr + " answers\n",
			"\nok    clamd " + clamd.Addr + ": ClamAV ", "\nok    data folder "} {
			if !strings.Contains(stdout, line) {
				t.Errorf("no line %q in\n%s", line, stdout)
			}
		}
	})
	t.Run("a virus is held", func(t *testing.T) { eicarIsHeld(t, g, inside) })
}

// eicarIsHeld sends the EICAR test in several dresses.
func eicarIsHeld(t *testing.T, g *running, inside *testkit.Postfix) {
	zipped := func(name string, data []byte) []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.Write(data)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	part := func(id, kind, encoding string, data []byte) string {
		body := string(data)
		if encoding == "base64" {
			body = base64.StdEncoding.EncodeToString(data)
		}
		return "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n" + letter("eicar-"+id, "eicar "+id,
			"--b\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n--b\r\nContent-Type: "+kind+"\r\nContent-Disposition: attachment; filename=document."+id+
				"\r\nContent-Transfer-Encoding: "+encoding+"\r\n\r\n"+body+"\r\n--b--\r\n")
	}
	one := zipped("document.txt", []byte(eicar))
	for id, text := range map[string]string{
		"body":   letter("eicar-body", "eicar body", eicar+"\r\n"),
		"plain":  part("plain", "text/plain", "7bit", []byte(eicar)),
		"base64": part("base64", "application/octet-stream", "base64", []byte(eicar)),
		"zip":    part("zip", "application/zip", "base64", one),
		"nested": part("nested", "application/zip", "base64", zipped("inner.zip", zipped("more.zip", one))),
	} {
		code, said := swaks(t, g.addr, text, "--to", "virus@example.org")
		if code != swaksDone || !strings.Contains(said, "<-  250 2.0.0 OK 0") {
			t.Errorf("%s: exit %d\n%s", id, code, said)
			continue
		}
		items := g.heldWith(t, "eicar "+id)
		if len(items) != 1 || items[0].Copies[0].Class != "virus" || items[0].Copies[0].Rule != "virus" || !strings.Contains(items[0].Copies[0].Because, "Eicar") {
			t.Errorf("%s: held %+v", id, items)
			continue
		}
		if err := g.program.quarantine.Verify(t.Context(), items[0].ID); err != nil {
			t.Error(err)
		}
		if it := items[0]; it.Size != int64(len(text)) {
			t.Errorf("%s: %d bytes of %d", id, it.Size, len(text))
		}
	}
	if got := inside.Messages("virus"); len(got) != 0 {
		t.Errorf("%d viruses were delivered", len(got))
	}
}

// C-11: without the scanner nothing passes, and nothing is lost: the sending Postfix keeps the
// mail and delivers it when clamd is back.
func TestC11_ScannerDies(t *testing.T) {
	t.Parallel()
	inside := testkit.StartPostfix(t, testkit.PostfixOptions{Mailboxes: []string{"a"}})
	clamd := testkit.StartClamd(t)
	s := newSite(t, inside.Addr, fmt.Sprintf("clamav: {addresses: [%q, %q]}\n", clamd.Addr, clamd.TCP))
	g := s.serve(t)
	outside := testkit.StartPostfix(t, testkit.PostfixOptions{Relay: g.addr})

	if r := sendMail(t, g.addr, letter("before", "before", "x\r\n"), "a@example.org"); !strings.HasPrefix(r, "250") {
		t.Fatal(r)
	}
	clamd.Kill()
	code, said := swaks(t, g.addr, letter("during", "during", "x\r\n"), "--to", "a@example.org")
	if code != swaksNotTaken || !strings.Contains(said, "<** 451 4.3.0 ") || strings.Contains(said, "clamd") && strings.Contains(said, "/tmp/") {
		t.Errorf("without clamd: exit %d\n%s", code, said)
	}
	if e := g.entry(t, "during"); e.Result != "deferred" || !strings.Contains(string(e.Facts["clamav"]), "error") {
		t.Errorf("journal: %s, clamav %s", e.Result, e.Facts["clamav"])
	}
	queued := letter("queued", "queued", "Through a queue.\r\n")
	if r := sendMail(t, outside.Addr, queued, "a@example.org"); !strings.HasPrefix(r, "250") {
		t.Fatal(r)
	}
	g.log.must(t, 1, "msg", "message", "subject", "queued", "result", "deferred")
	g.healthy(t, "clamav")
	if code, stdout, _ := postern("check", "-c", s.conf); code != exitFailed || !strings.Contains(stdout, "\nFAIL  clamd "+clamd.Addr) {
		t.Errorf("check: exit %d\n%s", code, stdout)
	}
	clamd.Start()
	outside.Flush()
	got := inside.WaitMessages("a", 2)
	if block, same := ours(got[1], []byte(queued)[strings.Index(queued, "From:"):]); !same {
		t.Errorf("arrived:\n%s\n%s", block, got[1])
	}
	if len(got) != 2 {
		t.Errorf("%d messages arrived", len(got))
	}
	g.healthy(t, "")
}
