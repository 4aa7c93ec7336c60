package main

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/mail"
	"postern/quarantine"
	"postern/testkit"

	"github.com/oklog/ulid/v2"
)

// check asks the neighbours, says what to do about each, and changes nothing.
func TestCheck(t *testing.T) {
	inside, err := startSample("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, inside.addr, "rules: rules\n")
	s.write(t, "rules/10.yaml", "rules:\n  - {name: early, when: 'client.trusted', do: reject, class: policy, because: x}\n"+
		"  - {name: late, when: 'content.malformed', do: quarantine, class: malformed, because: x}\n"+
		"  - {name: none, when: 'clamav.infected', do: quarantine, class: virus, because: x}\n"+
		"  - {name: behind, when: 'client.esmtp', do: reject, class: policy, because: x}\n")
	code, stdout, stderr := postern("check", "-c", s.conf)
	for _, want := range []string{"ok    internal server " + inside.addr, "ok    DNS server " + s.dns.Addr, "warn  no virus scanner", "is filled at the first start"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if words := strings.Join(strings.Fields(stdout), " "); !strings.Contains(words, "early reject policy client RCPT 10.yaml:2 late quarantine malformed content end of data 10.yaml:3 "+
		"none quarantine virus clamav (off) never 10.yaml:4 behind reject policy client end of data 10.yaml:5 ") {
		t.Errorf("the rules:\n%s", stdout)
	}
	if _, err := os.Stat(s.data); code != exitDone || stderr != "" || err == nil {
		t.Errorf("exit %d, data folder made: %v\n%s", code, err == nil, stderr)
	}
	if err := os.Mkdir(s.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := postern("check", "-c", s.conf); code != exitDone {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if names, _ := os.ReadDir(s.data); len(names) != 0 {
		t.Errorf("check made %v", names)
	}

	inside.Close()
	s.dns.Addr = "127.0.0.1:1"
	s.configure(t, "rules: rules\n")
	code, stdout, stderr = postern("check", "-c", s.conf)
	if code != exitFailed || !strings.Contains(stdout, "FAIL  no DNS server answers") || !strings.Contains(stdout, "FAIL  internal server "+inside.addr) || stderr == "" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	s.write(t, "rules/20.yaml", "rules:\n  - {name: doubtful, when: 'spf.result == \"fial\"', do: reject, class: spoof, because: x}\n"+
		"  - {name: past, when: 'content.gtube', do: reject, until: 2020-01-01}\n")
	if _, stdout, _ := postern("check", "--offline", "-c", s.conf); !strings.Contains(stdout, `20.yaml:2:43: rule doubtful: spf.result is never "fial" [unknown-value]`) || !strings.Contains(stdout, "^ did you mean fail?") || !strings.Contains(stdout, "20.yaml:3) is over since 2020-01-01T00:00:00Z: take it out") {
		t.Errorf("no warning in\n%s", stdout)
	}
	s.write(t, "rules/20.yaml", "rules:\n  - {name: bad, when: 'spf.reslt == \"fail\"', do: reject, class: spoof, because: x}\n")
	code, stdout, stderr = postern("check", "-c", s.conf)
	if code != exitFailed || !strings.Contains(stderr, `20.yaml:2:28: spf has no fact "reslt"`) || !strings.Contains(stderr, "^ did you mean result?") || stdout != "" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	s.write(t, "rules/20.yaml", "")
	s.write(t, "rules/30.yml", "rules: []\n")
	if code, _, stderr := postern("check", "-c", s.conf); code != exitFailed || !strings.Contains(stderr, "30.yml would not be read") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

// Two things that clamd does by default let mail pass or be held unscanned; check finds both.
func TestC13_CheckOfClamd(t *testing.T) {
	inside, err := startSample("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	good := testkit.StartClamd(t)
	lax := testkit.StartClamd(t, "AlertExceedsMax yes", "AlertExceedsMax no")
	s := newSite(t, inside.addr, "clamav: {addresses: ['"+good.Addr+"', '"+lax.TCP+"']}\n")
	const stream, alert = "StreamMaxLength is below the largest message (52428800 bytes)", "calls clean what it gave up on"
	code, stdout, _ := postern("check", "-c", s.conf)
	for want, there := range map[string]bool{
		"warn  clamd " + good.Addr + ": " + stream: true, "warn  clamd " + lax.TCP + ": " + stream: true,
		"warn  clamd " + good.Addr + " " + alert: false, "warn  clamd " + lax.TCP + " " + alert: true,
		"does freshclam run?": false, "set StreamMaxLength 50M": true,
	} {
		if strings.Contains(stdout, want) != there {
			t.Errorf("%q: want %v in\n%s", want, there, stdout)
		}
	}
	if code != exitDone {
		t.Errorf("exit %d", code)
	}
	lax.Kill()
	if code, stdout, _ := postern("check", "-c", s.conf); code != exitFailed || !strings.Contains(stdout, "FAIL  clamd "+lax.TCP) {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

// A wrong --data makes no gateway's data folder of it.
func TestNoStoreIsMadeByLooking(t *testing.T) {
	dir := t.TempDir()
	for _, args := range []string{"held list", "log search", "held delete X", "held release X --upstream 127.0.0.1:9 --domain example.org"} {
		code, _, stderr := postern(append(strings.Fields(args), "--data", dir)...)
		if code != exitFailed || !strings.Contains(stderr, "no gateway has run on it") || !strings.Contains(stderr, "--data DIR") {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
	}
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("made %v", names)
	}
}

// heldSample puts one message into the quarantine of a data folder.
func heldSample(t *testing.T, data string) (id string) {
	t.Helper()
	st, err := openStores(t.Context(), &Config{Data: data}, slog.New(slog.DiscardHandler), true)
	if err != nil {
		t.Fatal(err)
	}
	id = ulid.Make().String()
	holdSample(t, st.quarantine, id, time.Now())
	if err := st.close(); err != nil {
		t.Fatal(err)
	}
	return id
}

func holdSample(t *testing.T, q *quarantine.Store, id string, received time.Time) {
	t.Helper()
	text := letter("held", "held", "x\r\n")
	to := mail.RcptTo{Address: mail.Address{Local: "ana", Domain: "example.org"}}
	it := &quarantine.Item{ID: id, Received: received, State: quarantine.Kept, Size: int64(len(text)),
		Copies: []quarantine.Copy{{Recipient: to, Class: "policy", Rule: "r", Because: "b"}}}
	if err := q.Hold(t.Context(), it, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

// A command run as root works as the owner of the data folder, so that the gateway can read what
// it leaves; and it is still root who did it.
func TestRootWorksAsTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Without(t, "only root can become the owner of a folder")
	}
	const uid = 65534
	dir, err := os.MkdirTemp("", "postern-owner-") // where the owner can get to
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	data := filepath.Join(dir, "data")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	id := heldSample(t, data)
	if err := filepath.WalkDir(data, func(path string, _ os.DirEntry, err error) error { return os.Lchown(path, uid, uid) }); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(builtProgram(t), "held", "delete", "--data", data, id)
	cmd.Env = append(os.Environ(), "SUDO_USER=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	err = filepath.WalkDir(data, func(path string, d os.DirEntry, err error) error {
		st, serr := os.Lstat(path)
		if serr == nil && st.Sys().(*syscall.Stat_t).Uid != uid {
			t.Errorf("%s is not the owner's", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(builtProgram(t), "held", "show", "--json", "--data", data, id).Output()
	if err != nil || !strings.Contains(string(out), `"by":"root"`) {
		t.Errorf("%v: %s", err, out)
	}
}
