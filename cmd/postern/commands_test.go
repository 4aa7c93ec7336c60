package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"postern/testkit"
)

// The commands that work on the store, while the gateway runs.

// lines reads JSON objects, one a line.
func lines(t testing.TB, text string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		m := map[string]any{}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		all = append(all, m)
	}
	return all
}

// at walks into decoded JSON: at(m, "copies", 0, "class").
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			if l, _ := v.([]any); p < len(l) {
				v = l[p]
			} else {
				return nil
			}
		}
	}
	return v
}

// wantFields compares what is at paths such as "copies.0.class".
func wantFields(t testing.TB, m map[string]any, want map[string]any) {
	t.Helper()
	for name, w := range want {
		var path []any
		for _, p := range strings.Split(name, ".") {
			if p == "0" {
				path = append(path, 0)
			} else {
				path = append(path, p)
			}
		}
		if got := at(m, path...); fmt.Sprint(got) != fmt.Sprint(w) {
			t.Errorf("%s is %v, want %v", name, got, w)
		}
	}
}

func TestHeldAndLogCommands(t *testing.T) {
	t.Parallel()
	s := newSite(t, newSink(t, nil).addr, "")
	g := s.serve(t)
	text := letter("gtube", "Cheap pills", gtube+"\r\n.\r\n\xff\xfe\r\n")
	reply := sendMail(t, g.addr, text, "a@example.org", "b@example.org")
	sendMail(t, g.addr, letter("clean", "Lunch", "x\r\n"), "a@example.org")
	if err := g.program.journal.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := strings.TrimPrefix(reply, "250 2.0.0 OK ")

	// want runs a command line and wants an exit code and words on one of the outputs.
	want := func(code int, words string, args ...string) string {
		t.Helper()
		got, stdout, stderr := postern(append(args, "-c", s.conf)...)
		if got != code || !strings.Contains(stdout+stderr, words) || code != exitDone && stderr == "" && !strings.Contains(stdout, "error") {
			t.Errorf("postern %s: exit %d, want %d with %q\n%s%s", strings.Join(args, " "), got, code, words, stdout, stderr)
		}
		return stdout
	}

	items := lines(t, want(exitDone, "", "held", "list", "--json"))
	if len(items) != 1 {
		t.Fatalf("%d items", len(items))
	}
	fields := map[string]any{"id": id, "state": "kept", "subject": "Cheap pills", "from": "Eve <eve@friend.example>", "size": len(text),
		"envelope.sender": "eve@friend.example", "envelope.client.addr": "127.0.0.1", "envelope.client.helo": "mail.friend.example",
		"copies.0.recipient.address": "a@example.org", "copies.0.class": "spam", "copies.0.rule": "gtube", "copies.0.state": "kept",
		"copies.0.because": "it contains the test text for spam filters (GTUBE)"}
	wantFields(t, items[0], fields)
	wantFields(t, lines(t, want(exitDone, "", "held", "show", id, "--json"))[0], fields)
	want(exitDone, "Cheap pills", "held", "show", id)
	want(exitDone, id, "held", "list")
	for filter, n := range map[string]int{"--class=spam": 1, "--class=virus": 0, "--recipient=b@example.org": 1, "--recipient=@example.net": 0,
		"--sender=@friend.example": 1, "--rule=gtube": 1, "--text=pills": 1, "--since=1h": 1, "--state=released": 0,
		`--query=class == "spam" and rcpt.domain == "EXAMPLE.org" and received > ago("2d")`: 1, "--query=pills friend.example": 1,
		`--query=message_id == "<gtube@friend.example>"`: 1, `--query=not ("pills" or size > 1)`: 0, `--query=client in ["127.0.0.1"] and state == "deleted"`: 0} {
		if got := strings.Count(want(exitDone, "", "held", "list", "--json", filter), "\n"); got != n {
			t.Errorf("held list %s: %d items, want %d", filter, got, n)
		}
	}
	if raw := want(exitDone, "", "held", "raw", id); raw != text {
		t.Errorf("raw: %q", raw)
	}

	entries := lines(t, want(exitDone, "", "log", "search", "--json"))
	if len(entries) != 2 {
		t.Fatalf("%d entries", len(entries))
	}
	wantFields(t, entries[0], map[string]any{"result": "delivered", "subject": "Lunch", "message_id": "<clean@friend.example>", "reply.code": 250,
		"outcomes.0.do": "deliver", "outcomes.0.recipient": "a@example.org", "outcomes.0.upstream": "250 2.0.0 Taken", "facts.spf.result": "pass"})
	entry := lines(t, want(exitDone, "", "log", "show", id, "--json"))[0]
	wantFields(t, entry, map[string]any{"id": id, "result": "held", "reply.code": 250, "reply.enhanced": "2.0.0", "outcomes.0.do": "quarantine", "outcomes.0.held": id,
		"outcomes.0.rule": "gtube", "facts.content.gtube": true, "size": len(text)})
	if len(at(entry, "outcomes").([]any)) != 2 || at(entry, "outcomes", 0, "rules", 0, "rule") == nil {
		t.Errorf("outcomes %v", at(entry, "outcomes"))
	}
	for _, ms := range []any{at(entry, "took_ms"), at(entry, "filters", 0, "took_ms"), at(entry, "steps", 0, "at_ms")} {
		if v, ok := ms.(float64); !ok || v <= 0 || v > 60_000 {
			t.Errorf("%v milliseconds", ms)
		}
	}
	if at(entry, "took") != nil || at(entry, "filters", 0, "took") != nil {
		t.Error("times without their unit")
	}
	want(exitDone, "gtube, class spam", "log", "show", id)
	for filter, n := range map[string]int{"--result=held": 1, "--result=refused": 0, "--subject=lunch": 1, "--message-id=<gtube@friend.example>": 1, "--id=" + id: 1, "--client=127.0.0.1": 2,
		`--query=result == "held" and rule == "gtube"`: 1, "--query=lunch": 1, `--query=reply contains "250" and size > 10`: 2, `--query=do == "deliver"`: 1} {
		if got := strings.Count(want(exitDone, "", "log", "search", "--json", filter), "\n"); got != n {
			t.Errorf("log search %s: %d entries, want %d", filter, got, n)
		}
	}

	want(exitFailed, "postern held list", "held", "show", "01K9ZT0A6X2V9S3M8Q4R5W7Y1B")
	want(exitFailed, "postern held list", "held", "raw", "01K9ZT0A6X2V9S3M8Q4R5W7Y1B")
	want(exitFailed, "postern log search", "log", "show", "01K9ZT0A6X2V9S3M8Q4R5W7Y1B")
	want(exitFailed, "no held message", "held", "delete", "--json", "01K9ZT0A6X2V9S3M8Q4R5W7Y1B")
	want(exitUsage, "", "held", "show")
	want(exitUsage, "", "held", "list", "--since", "soon")
	want(exitUsage, "", "held", "list", "--state", "keptt")
	want(exitUsage, "", "log", "search", "--result", "lost")
	want(exitUsage, "did you mean rule?", "held", "list", "--query", `rul == "gtube"`)
	want(exitUsage, "did you mean refused?", "log", "search", "--query", `result == "refuse"`)
	want(exitUsage, "", "held", "delete", id, "--to", "not an address")
	want(exitUsage, "in none of the domains", "held", "release", id, "--to", "x@elsewhere.example")

	deleted := lines(t, want(exitDone, "", "held", "delete", "--json", "--to", "b@example.org", id))[0]
	wantFields(t, deleted, map[string]any{"id": id, "result": "deleted"})
	wantFields(t, lines(t, want(exitDone, "", "held", "show", id, "--json"))[0], map[string]any{"state": "kept", "copies.0.state": "kept"})
	wantFields(t, lines(t, want(exitDone, "", "held", "delete", "--json", id))[0], map[string]any{"result": "deleted"})
	again := lines(t, want(exitFailed, "", "held", "delete", "--json", id))[0]
	act := lines(t, want(exitDone, "", "audit", "list", "--json", "--act", "delete", "--object", id))
	wantFields(t, act[1], map[string]any{"who": whoami(), "by": "command", "result": "done", "object": id, "note": "deleted"})
	want(exitDone, "delete "+id+": done", "audit", "list", "--since", "1h")
	want(exitDone, "all as they were written", "audit", "verify")
	wantFields(t, again, map[string]any{"result": "failed"})
	want(exitFailed, "deleted", "held", "raw", id)
	wantFields(t, lines(t, want(exitDone, "", "held", "list", "--json", "--state", "any"))[0], map[string]any{"state": "deleted", "by": whoami()})
	if got := strings.TrimSpace(want(exitDone, "", "held", "list")); got != "Nothing is held that fits." {
		t.Error(got)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tt := range []struct {
		code int
		args string
	}{
		{exitDone, "version"},
		{exitDone, "--help"},
		{exitDone, "serve --help"},
		{exitDone, "held release --help"},
		{exitUsage, ""},
		{exitUsage, "sreve"},
		{exitUsage, "serve --no-such-flag"},
		{exitUsage, "held"},
		{exitUsage, "try"},
		{exitUsage, "try --ip nowhere x.eml"},
		{exitFailed, "serve -c " + dir + "/missing.yaml"},
		{exitFailed, "serve --data " + dir + "/data"}, // no domain: an open relay is never the default
		{exitFailed, "check -c " + dir + "/missing.yaml"},
		{exitFailed, "held list --data " + dir + "/missing"},
		{exitFailed, "try " + dir + "/missing.eml"},
	} {
		code, stdout, stderr := postern(strings.Fields(tt.args)...)
		if code != tt.code || (code == exitDone) != (stderr == "") || (code == exitDone) != (stdout != "") {
			t.Errorf("postern %s: exit %d, want %d\nstdout: %s\nstderr: %s", tt.args, code, tt.code, stdout, stderr)
		}
	}
}

// Released once, whoever asks how often: again, and from twenty processes at once.
func TestReleaseOnce(t *testing.T) {
	t.Parallel()
	inside := testkit.StartPostfix(t, testkit.PostfixOptions{Mailboxes: []string{"twice", "crowd"}})
	s := newSite(t, inside.Addr, "")
	g := s.serve(t)
	held := func(to string) (id, text string) {
		t.Helper()
		text = letter(to, to, gtube+"\r\n")
		reply := sendMail(t, g.addr, text, to+"@example.org")
		return strings.TrimPrefix(reply, "250 2.0.0 OK "), text
	}
	once := func(to, text string) {
		t.Helper()
		got := inside.WaitMessages(to, 1)
		if block, same := ours(got[0], []byte(text)); !same || !strings.Contains(block, "X-Postern-Verdict: released") {
			t.Errorf("%s:\n%s", to, got[0])
		}
	}

	id, twice := held("twice")
	for i, words := range []string{"released to twice@example.org", "was released already"} {
		code, stdout, stderr := postern("held", "release", "-c", s.conf, id)
		if code != exitDone || !strings.Contains(stdout, words) {
			t.Errorf("time %d: exit %d, %s%s", i+1, code, stdout, stderr)
		}
	}
	once("twice", twice)

	id, crowd := held("crowd")
	var wg sync.WaitGroup
	var mu sync.Mutex
	said := map[string]int{}
	for range 20 {
		wg.Go(func() {
			code, stdout, stderr := s.child(t, "held", "release", "--json", "-c", s.conf, id)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case code == exitDone && strings.Contains(stdout, `"released to crowd@example.org"`):
				said["released"]++
			case code == exitDone && strings.Contains(stdout, `"was released already"`):
				said["already"]++
			case code == exitFailed && strings.Contains(stdout, "it is being released"):
				said["busy"]++
			default:
				t.Errorf("exit %d, %s%s", code, stdout, stderr)
			}
		})
	}
	wg.Wait()
	if said["released"] != 1 {
		t.Errorf("%v", said)
	}
	once("crowd", crowd)
	if _, stdout, _ := postern("held", "show", "--json", "-c", s.conf, id); !strings.Contains(stdout, `"state":"released"`) || !strings.Contains(stdout, `"by":"`+whoami()) {
		t.Error(stdout)
	}
	// A message behind them in the same queue: had there been another, it would be here by now.
	sendMail(t, g.addr, letter("last", "last", "x\r\n"), "twice@example.org", "crowd@example.org")
	if a, b := inside.WaitMessages("twice", 2), inside.WaitMessages("crowd", 2); len(a) != 2 || len(b) != 2 {
		t.Errorf("%d and %d messages, want 2 and 2", len(a), len(b))
	}
}
