package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/doctor"
	"postern/testkit"
)

// examined runs doctor and gives its report.
func examined(t *testing.T, args ...string) (int, doctor.Report) {
	t.Helper()
	code, stdout, stderr := postern(append([]string{"doctor", "--json"}, args...)...)
	var r doctor.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || stderr != "" {
		t.Fatalf("exit %d: %v\n%s%s", code, err, stdout, stderr)
	}
	if r.OK != (code == exitDone) || r.OK != (r.Counts[doctor.Bad] == 0) {
		t.Errorf("exit %d, ok %v, %v", code, r.OK, r.Counts)
	}
	for _, f := range r.Findings {
		if f.Check == "" || f.About == "" || f.Sentence == "" || (f.State == doctor.Bad || f.State == doctor.Warn) && f.Do == "" {
			t.Errorf("not whole: %+v", f)
		}
	}
	return code, r
}

// states gives the states of a check, for what it is about.
func states(r doctor.Report, check, about string) (out []doctor.State) {
	for _, f := range r.Findings {
		if f.Check == check && strings.Contains(f.About, about) {
			out = append(out, f.State)
		}
	}
	return out
}

func wantStates(t *testing.T, r doctor.Report, check, about string, want ...doctor.State) {
	t.Helper()
	if got := states(r, check, about); !slices.Equal(got, want) {
		t.Errorf("%s of %s: %v, want %v\n%+v", check, about, got, want, r.Findings)
	}
}

// locked is a Postfix that does not count this host among its own.
func locked(more map[string]string) testkit.PostfixOptions {
	main := map[string]string{"mynetworks": "192.0.2.0/24", "smtpd_relay_restrictions": "reject_unauth_destination", "smtpd_error_sleep_time": "0"}
	for k, v := range more {
		main[k] = v
	}
	return testkit.PostfixOptions{Mailboxes: []string{"a", "postmaster"}, TLS: true, Main: main}
}

// doctor among real neighbours that are as they should be, with the gateway running; then with
// all of them dead.
func TestDoctorRealNeighbours(t *testing.T) {
	t.Parallel()
	inside := testkit.StartPostfix(t, locked(nil))
	clamd := testkit.StartClamd(t)
	s := newSite(t, inside.Addr, fmt.Sprintf("clamav: {addresses: [%q]}\nlimits: {message_size: 25MiB}\n", clamd.Addr))
	s.replace(t, "tls: none", "tls: opportunistic")
	s.replace(t, "limits: {rate_per_address: 1000000, connections_per_address: 500, errors: 1000}\n", "")
	g := s.start(t)
	s.replace(t, `listen: ["127.0.0.1:0"]`, fmt.Sprintf("listen: [%q]", g.addr))
	_, r := examined(t, "-c", s.conf)
	for check, want := range map[string]doctor.State{"internal-server": doctor.Ok, "loop": doctor.Ok, "encryption": doctor.Ok, "relay": doctor.Ok,
		"reach": doctor.Ok, "newlines": doctor.Unknown, "clamd": doctor.Ok, "listener": doctor.Ok, "bypass": doctor.Warn, "dns": doctor.Warn} {
		about := inside.Addr
		switch check {
		case "clamd":
			about = clamd.Addr
		case "listener":
			about = g.addr
		case "bypass":
			about = "example.org"
		case "dns":
			about = s.dns.Addr
		}
		wantStates(t, r, check, about, want)
	}
	wantStates(t, r, "unknown-users", "example.org at "+inside.Addr, doctor.Ok)
	wantStates(t, r, "permissions", s.data, doctor.Ok)
	if len(inside.Messages("a"))+len(inside.Messages("postmaster")) > 0 {
		t.Error("doctor sent a message")
	}

	g.kill(t)
	clamd.Kill()
	const dead = "127.0.0.1:1"
	s.replace(t, inside.Addr, dead)
	s.replace(t, s.dns.Addr, dead)
	code, r := examined(t, "-c", s.conf)
	if code != exitFailed {
		t.Error("all is dead, and nothing is bad")
	}
	wantStates(t, r, "internal-server", dead, doctor.Bad)
	wantStates(t, r, "clamd", clamd.Addr, doctor.Bad)
	wantStates(t, r, "dns", "all servers", doctor.Bad)
	wantStates(t, r, "listener", g.addr, doctor.Unknown)
	wantStates(t, r, "bypass", "example.org", doctor.Unknown)
	code, stdout, _ := postern("doctor", "-c", s.conf)
	if code != exitFailed || !strings.Contains(stdout, "bad      internal-server "+dead) || !strings.Contains(stdout, "→ start it") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

// A Postfix that counts us among its networks relays for us, and takes bare newlines from us for
// the end of a message; with the two settings that doctor names it does neither (S-07).
func TestS07_DoctorProbesPostfix(t *testing.T) {
	t.Parallel()
	trusting := testkit.StartPostfix(t, testkit.PostfixOptions{Main: map[string]string{
		"smtpd_recipient_restrictions": "permit_mynetworks, reject_unauth_destination", "default_transport": "smtp", "smtpd_error_sleep_time": "0", "smtpd_forbid_bare_newline": "yes"}})
	strict := testkit.StartPostfix(t, locked(map[string]string{"smtpd_forbid_bare_newline": "yes", "smtpd_forbid_bare_newline_exclusions": ""}))
	for _, tt := range []struct {
		name            string
		postfix         *testkit.Postfix
		relay, newlines doctor.State
	}{{"trusting", trusting, doctor.Bad, doctor.Bad}, {"strict", strict, doctor.Ok, doctor.Ok}} {
		s := newSite(t, tt.postfix.Addr, "")
		_, r := examined(t, "-c", s.conf, "--probe", "a@example.org")
		wantStates(t, r, "relay", tt.postfix.Addr, tt.relay)
		if got := states(r, "newlines", tt.postfix.Addr); got[len(got)-1] != tt.newlines {
			t.Errorf("%s: newlines %v\n%+v", tt.name, got, r.Findings)
		}
	}
	for _, args := range [][]string{{"--probe", "a@elsewhere.example"}, {"--probe", "nobody"}} {
		if code, _, stderr := postern(append(args, "doctor", "--domain", "example.org", "--upstream", strict.Addr)...); code != exitUsage {
			t.Errorf("%v: exit %d, %s", args, code, stderr)
		}
	}
}

// From a host that is not the gateway's, a server without a lock takes mail; one with the lock of
// the guide does not (S-52).
func TestS52_DoctorFromOutside(t *testing.T) {
	t.Parallel()
	open := testkit.StartPostfix(t, testkit.PostfixOptions{Mailboxes: []string{"a", "postmaster"}})
	closed := testkit.StartPostfix(t, testkit.PostfixOptions{Main: map[string]string{"smtpd_client_restrictions": "check_client_access inline:{ 192.0.2.10=OK }, reject"}})
	for addr, want := range map[string]doctor.State{open.Addr: doctor.Bad, closed.Addr: doctor.Ok, "127.0.0.1:1": doctor.Ok} {
		_, r := examined(t, "--outside", "--domain", "example.org", "--upstream", addr, "--data", t.TempDir())
		wantStates(t, r, "outside", addr, want)
		if len(r.Findings) != 1 {
			t.Errorf("%+v", r.Findings)
		}
	}
}

// What clamd lets pass by default is found (C-13).
func TestC13_DoctorOfALaxClamd(t *testing.T) {
	t.Parallel()
	lax := testkit.StartClamd(t, "AlertExceedsMax yes", "AlertExceedsMax no", "AlertEncryptedArchive yes", "AlertEncryptedArchive no")
	s := newSite(t, "127.0.0.1:1", fmt.Sprintf("clamav: {addresses: [%q]}\n", lax.Addr))
	_, r := examined(t, "-c", s.conf)
	wantStates(t, r, "clamd", lax.Addr, doctor.Warn, doctor.Warn, doctor.Warn)
	var do []string
	for _, f := range r.Findings {
		if f.Check == "clamd" {
			do = append(do, f.Do)
		}
	}
	for _, want := range []string{"StreamMaxLength 50M", "AlertExceedsMax yes", "AlertEncryptedArchive yes"} {
		if !strings.Contains(strings.Join(do, "\n"), want) {
			t.Errorf("no %q in %q", want, do)
		}
	}
}

// An internal server that is ourselves is seen before the first message (S-50).
func TestS50_DoctorSeesOurselves(t *testing.T) {
	t.Parallel()
	s := newSite(t, "127.0.0.1:2525", "")
	s.replace(t, `listen: ["127.0.0.1:0"]`, `listen: ["127.0.0.1:2525"]`)
	code, r := examined(t, "-c", s.conf)
	if wantStates(t, r, "loop", "127.0.0.1:2525", doctor.Bad); code != exitFailed {
		t.Errorf("exit %d", code)
	}
	if _, err := os.Stat(s.data); err == nil {
		t.Error("doctor made a data folder")
	}
}

// A listener that wants a PROXY header gets one, and one that speaks TLS at once is met so.
func TestDoctorOfOtherDoors(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]string{"proxy": "proxies: [127.0.0.1]\n", "implicit": ""} {
		at := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
		if more == "" {
			more = fmt.Sprintf("tls: {certificate: cert.pem, key: key.pem, implicit_on: [%q]}\n", at)
		}
		s := newSite(t, newSink(t, nil).addr, more)
		s.replace(t, `listen: ["127.0.0.1:0"]`, fmt.Sprintf("listen: [%q]", at))
		if err := selfSigned("mx.example.org", filepath.Join(s.dir, "cert.pem"), filepath.Join(s.dir, "key.pem")); err != nil {
			t.Fatal(err)
		}
		s.start(t)
		_, r := examined(t, "-c", s.conf)
		if wantStates(t, r, "listener", at, doctor.Ok); name == "implicit" {
			wantStates(t, r, "certificate", "port 25", doctor.Warn) // nobody has signed it
		}
	}
}

// An internal server that sends all mail back to us: the message goes round once, is refused when
// it comes for the second time, and the log has it (S-50).
func TestS50_PostfixThatSendsItBack(t *testing.T) {
	t.Parallel()
	at := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	inside := testkit.StartPostfix(t, testkit.PostfixOptions{Relay: at})
	s := newSite(t, inside.Addr, "")
	s.replace(t, `listen: ["127.0.0.1:0"]`, fmt.Sprintf("listen: [%q]", at))
	g := s.serve(t)
	sendMail(t, g.addr, letter("round", "round", "x\r\n"), "a@example.org")
	end := g.log.must(t, 1, "msg", "message", "result", "refused")
	if reply := fmt.Sprint(end["reply"]); !strings.HasPrefix(reply, "554 5.4.6") {
		t.Errorf("%v", end)
	}
	if alerts := strings.Count(g.log.String(), "a mail loop was ended"); alerts != 1 {
		t.Errorf("%d alerts\n%s", alerts, g.log)
	}
	if passed := strings.Count(g.log.String(), `"result":"delivered"`); passed < 1 || passed > 2 {
		t.Errorf("it went round %d times\n%s", passed, g.log)
	}
}
