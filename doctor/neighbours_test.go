package doctor

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/filters/dnsfake"
)

const zone = `
good.example.    MX 10 mx.example.org.
round.example.   MX 10 mx.example.org.
round.example.   MX 20 inner.example.org.
other.example.   MX 5 mx.provider.example.
other.example.   MX 10 mx.example.org.
elsewhere.example. MX 5 mx.provider.example.
none.example.    A 192.0.2.9
mx.example.org.  A 198.51.100.10
inner.example.org. A 198.51.100.20
mx.provider.example. A 203.0.113.1
10.100.51.198.in-addr.arpa. PTR mx.example.org.
wrong.example.org. A 198.51.100.30
30.100.51.198.in-addr.arpa. PTR host30.provider.example.
`

// What the MX records say of ways round the gateway.
func TestS52_MXThatGoesRound(t *testing.T) {
	z := dnsfake.MustParse(zone)
	for domain, want := range map[string][]State{
		"good.example":      {Ok},
		"round.example":     {Bad},
		"other.example":     {Warn},
		"elsewhere.example": {Warn, Warn},
		"none.example":      {Warn},
	} {
		b := &Bypass{Domain: domain, Hostname: "mx.example.org", Servers: []string{"198.51.100.20:25"}, Resolver: z}
		got := b.look(t.Context())
		if len(got) != len(want) {
			t.Errorf("%s: %+v", domain, got)
			continue
		}
		for i, f := range got {
			if f.State != want[i] || f.State != Ok && f.Do == "" {
				t.Errorf("%s: %+v, want %s", domain, f, want[i])
			}
		}
	}
	z.Script("good.example", "MX", dnsfake.Script{Silent: true})
	if got := (&Bypass{Domain: "good.example", Resolver: z}).look(t.Context()); len(got) != 1 || got[0].State != Unknown {
		t.Errorf("%+v", got)
	}
	for addr, want := range map[string]State{"inner.example.org:25": Unknown, "10.0.0.2:25": Ok, "127.0.0.1:25": Ok, "[2001:db8::1]:25": Unknown, "100.64.0.1:25": Ok} {
		if got := (&Server{Address: addr}).Reach(z).Look(t.Context()); len(got) != 1 || got[0].State != want {
			t.Errorf("%s: %+v", addr, got)
		}
	}
}

func TestNameOfOurs(t *testing.T) {
	z := dnsfake.MustParse(zone)
	for host, want := range map[string]State{"mx.example.org": Ok, "wrong.example.org": Warn, "missing.example.org": Warn, "mx": Warn} {
		if got := (&Name{Hostname: host, Resolver: z}).look(t.Context()); len(got) != 1 || got[0].State != want {
			t.Errorf("%s: %+v", host, got)
		}
	}
}

func TestDNSIsJudged(t *testing.T) {
	state := filters.ServerState{Addr: "127.0.0.1:53", Loopback: true, Took: time.Millisecond}
	good := filters.DNSReport{ServerState: state, Validates: true}
	far, slow, lax, inventive, dead, short := good, good, good, good, good, good
	far.Loopback, slow.Took, lax.Validates, inventive.Invents, dead.Err, short.TCP = false, time.Second, false, true, errors.New("silent"), errors.New("refused")
	for name, tt := range map[string]struct {
		report filters.DNSReport
		states []State
		word   string
	}{
		"good": {good, []State{Ok}, "DNSSEC"}, "far": {far, []State{Warn}, "not on this host"}, "slow": {slow, []State{Warn}, "1s"}, "lax": {lax, []State{Warn}, "DNSSEC"},
		"inventive": {inventive, []State{Warn}, "do not exist"}, "dead": {dead, []State{Warn, Bad}, "silent"}, "short": {short, []State{Warn}, "TCP"},
	} {
		got := judgeDNS([]filters.DNSReport{tt.report})
		if len(got) != len(tt.states) || !strings.Contains(got[0].Sentence, tt.word) {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		for i, f := range got {
			if f.State != tt.states[i] {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
	if got := judgeDNS([]filters.DNSReport{dead, good}); len(got) != 2 || got[0].State != Warn || got[1].State != Ok {
		t.Errorf("one of two: %+v", got)
	}
}

// Old signatures are told (C-16), and so are limits that let things pass (C-13).
func TestC16_OldSignatures(t *testing.T) {
	now := time.Date(2026, 11, 22, 21, 0, 0, 0, time.UTC)
	c := &Clamd{Address: "unix:/x", Max: 50 << 20, OnFailure: "defer"}
	good := filters.ClamAVCheck{Version: "ClamAV 1.4", Built: now.Add(-24 * time.Hour), Takes: true, Alerts: true, Locked: true, Finds: true, Whole: true}
	old, small, lax, blind, open, part := good, good, good, good, good, good
	part.Whole = false
	old.Built, small.Takes, lax.Alerts, blind.Finds, open.Locked = now.Add(-10*24*time.Hour), false, false, false, false
	for name, tt := range map[string]struct {
		found filters.ClamAVCheck
		err   error
		want  State
		word  string
	}{
		"good": {good, nil, Ok, "ClamAV 1.4"}, "old": {old, nil, Warn, "10 days"}, "small": {small, nil, Warn, "StreamMaxLength 50M"},
		"lax": {lax, nil, Warn, "AlertExceedsMax"}, "blind": {blind, nil, Bad, "freshclam"}, "open": {open, nil, Warn, "AlertEncryptedArchive"}, "part": {part, nil, Warn, "MaxFileSize 50M"},
		"dead": {good, errors.New("connection refused"), Bad, "defer"},
	} {
		if got := c.judge(&tt.found, tt.err, now); len(got) != 1 || got[0].State != tt.want || !strings.Contains(got[0].Sentence+got[0].Do, tt.word) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestS43_WideTrust(t *testing.T) {
	for net, want := range map[string]State{"192.0.2.1/32": Ok, "10.0.0.0/8": Ok, "192.0.2.0/24": Warn, "2001:db8::/32": Warn, "2001:db8::1/128": Ok} {
		if got := Relays("trusted_relays", []netip.Prefix{netip.MustParsePrefix(net)}).Look(t.Context()); len(got) != 1 || got[0].State != want {
			t.Errorf("%s: %+v", net, got)
		}
	}
}

// Who may read the data folder, and who may change what decides about mail (P-08).
func TestP08_Permissions(t *testing.T) {
	dir := t.TempDir()
	data, conf := filepath.Join(dir, "data"), filepath.Join(dir, "postern.yaml")
	d := &Disk{Data: data, Message: 1}
	if got := d.rights(); len(got) != 1 || got[0].State != Unknown {
		t.Errorf("not there: %+v", got)
	}
	for _, err := range []error{os.Mkdir(data, 0o700), os.WriteFile(filepath.Join(data, "postern.db"), nil, 0o600), os.WriteFile(conf, nil, 0o600), os.Chmod(conf, 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	count := func(state State) (n int) {
		for _, f := range append(d.rights(), writable(conf)...) {
			if f.State == state {
				n++
			}
		}
		return n
	}
	if n := count(Bad); n != 0 {
		t.Errorf("%d bad: %+v %+v", n, d.rights(), writable(conf))
	}
	for _, err := range []error{os.Chmod(data, 0o755), os.Chmod(filepath.Join(data, "postern.db"), 0o644), os.Chmod(conf, 0o666)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := count(Bad); n != 2 {
		t.Errorf("%d bad, want folder and configuration: %+v %+v", n, d.rights(), writable(conf))
	}
	if os.Geteuid() != 0 {
		return
	}
	if got := said(d.rights(), "root"); len(got) != 1 || got[0].State != Warn {
		t.Errorf("root's own: %+v", got)
	}
	if err := os.Chown(filepath.Join(data, "postern.db"), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if n := count(Bad); n != 3 {
		t.Errorf("%d bad, want another's file as well: %+v", n, d.rights())
	}
}

func TestD06_RoomOnDisk(t *testing.T) {
	const mib, gib = int64(1) << 20, int64(1) << 30
	d := &Disk{Message: 50 * mib, Quarantine: 10 * gib}
	for name, tt := range map[string]struct {
		free, all     int64
		inodes, files uint64
		ro            bool
		want          State
	}{
		"plenty": {100 * gib, 200 * gib, 900, 1000, false, Ok}, "full": {99 * mib, 200 * gib, 900, 1000, false, Bad},
		"little": {3 * gib, 200 * gib, 900, 1000, false, Warn}, "inodes": {100 * gib, 200 * gib, 9, 1000, false, Warn},
		"no inodes counted": {100 * gib, 200 * gib, 0, 0, false, Ok}, "read-only": {100 * gib, 200 * gib, 900, 1000, true, Bad},
		"quarantine": {8 * gib, 30 * gib, 900, 1000, false, Warn},
	} {
		if got := d.judgeRoom(tt.free, tt.all, tt.inodes, tt.files, tt.ro); len(got) != 1 || got[0].State != tt.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := (&Disk{Data: t.TempDir(), Message: 1}).room(); len(got) == 0 || got[0].State == Unknown {
		t.Errorf("%+v", got)
	}
}
