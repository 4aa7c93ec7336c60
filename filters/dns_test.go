package filters_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"postern/filters"
	"postern/filters/dnsfake"
)

// resolver starts a server for the zone and a resolver that asks it.
func resolver(t testing.TB, z *dnsfake.Zone, c filters.ResolverConfig) *filters.DNS {
	t.Helper()
	s, err := dnsfake.Serve(z, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c.Servers = append(c.Servers, s.Addr)
	return dnsTo(t, c)
}

func dnsTo(t testing.TB, c filters.ResolverConfig) *filters.DNS {
	t.Helper()
	d, err := filters.NewResolver(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// leaks fails the test when a goroutine is left after all other clean-ups.
func leaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

func dnsError(t *testing.T, err error) *filters.DNSError {
	t.Helper()
	var d *filters.DNSError
	if !errors.As(err, &d) {
		t.Fatalf("no DNSError: %v", err)
	}
	return d
}

func TestA42_RecordsAndTheirAbsence(t *testing.T) {
	leaks(t)
	z := dnsfake.MustParse(`
a.test          A    192.0.2.1
a.test          A    192.0.2.2
a.test          AAAA 2001:db8::1
a.test          MX   20 two.test.
a.test          MX   10 one.test.
alias.test      CNAME more.test.
more.test       CNAME a.test.
dangling.test   CNAME gone.test.
loop.test       CNAME loop2.test.
loop2.test      CNAME loop.test.
a.b.c.test      A    192.0.2.9
1.2.0.192.in-addr.arpa PTR a.test.
*.wild.test     TXT  "w"
sick.test       TXT  !SERVFAIL
`)
	z.Add(&dns.TXT{Hdr: dns.RR_Header{Name: "a.test.", Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{"one ", `q\"b\\n\000\255`}})
	v6, _ := dns.ReverseAddr("2001:db8::1")
	rr, _ := dns.NewRR(v6 + " PTR six.test.")
	z.Add(rr)
	d := resolver(t, z, filters.ResolverConfig{})
	ctx := t.Context()

	if got, err := d.Addrs(ctx, "A.Test.", false); err != nil || fmt.Sprint(got) != "[192.0.2.1 192.0.2.2]" {
		t.Error(got, err)
	}
	if got, err := d.Addrs(ctx, "alias.test", true); err != nil || fmt.Sprint(got) != "[2001:db8::1]" {
		t.Error(got, err)
	}
	if got, err := d.MX(ctx, "a.test"); err != nil || fmt.Sprint(got) != "[{one.test 10} {two.test 20}]" {
		t.Error(got, err)
	}
	if got, err := d.TXT(ctx, "a.test"); err != nil || len(got) != 1 || got[0] != "one q\"b\\n\x00\xff" {
		t.Errorf("%q %v", got, err)
	}
	if got, err := d.TXT(ctx, "x.wild.test"); err != nil || fmt.Sprint(got) != "[w]" {
		t.Error(got, err)
	}
	for addr, want := range map[string]string{"192.0.2.1": "[a.test]", "::ffff:192.0.2.1": "[a.test]", "2001:db8::1": "[six.test]"} {
		if got, err := d.PTR(ctx, netip.MustParseAddr(addr)); err != nil || fmt.Sprint(got) != want {
			t.Error(addr, got, err)
		}
	}
	for name, want := range map[string]filters.DNSError{
		"gone.test":     {NotFound: true, NXDomain: true},
		"a.b.c.test":    {NotFound: true},
		"b.c.test":      {NotFound: true}, // an empty name in between
		"dangling.test": {NotFound: true}, // it exists, its target does not
		"loop.test":     {},
		"sick.test":     {Temporary: true},
	} {
		_, err := d.TXT(ctx, name)
		if e := dnsError(t, err); e.NotFound != want.NotFound || e.NXDomain != want.NXDomain || e.Temporary != want.Temporary {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestA42_LargeAnswersOverTCP(t *testing.T) {
	leaks(t)
	z := dnsfake.New()
	add := func(name string, n int) {
		for i := range n {
			z.Add(&dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{fmt.Sprint(i, strings.Repeat("x", 200))}})
		}
	}
	add("large.test.", 20)
	add("huge.test.", 250)
	d := resolver(t, z, filters.ResolverConfig{})
	if got, err := d.TXT(t.Context(), "large.test"); err != nil || len(got) != 20 {
		t.Error(len(got), err)
	}
	if s := d.Stats(); s.OverTCP != 1 {
		t.Errorf("%+v", s)
	}
	_, err := d.TXT(t.Context(), "huge.test")
	if e := dnsError(t, err); e.Temporary || e.NotFound {
		t.Errorf("%+v", e)
	}
}

func TestA23_NamesThatAreNoneAreNotAsked(t *testing.T) {
	z := dnsfake.New()
	d := resolver(t, z, filters.ResolverConfig{})
	for _, name := range []string{"", ".", "a..b", ".a", strings.Repeat("x", 64) + ".test", strings.Repeat("abc.", 64) + "test", "a b.test", "a\x00.test", "ü.test", "a\n.test"} {
		_, err := d.TXT(t.Context(), name)
		if e := dnsError(t, err); !e.NXDomain {
			t.Errorf("%q: %+v", name, e)
		}
	}
	_, _ = d.TXT(t.Context(), "localhost")
	if got := z.Asked(); !slices.Equal(got, []string{"TXT localhost"}) { // nothing appended
		t.Errorf("asked %q", got)
	}
}

// A rawServer answers over UDP with whatever answer returns, in that order.
func rawServer(t *testing.T, answer func(n int, query []byte) [][]byte) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for n := 0; ; n++ {
			l, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, b := range answer(n, slices.Clone(buf[:l])) {
				_, _ = pc.WriteTo(b, from)
			}
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	return pc.LocalAddr().String()
}

// reply makes an answer with one TXT record.
func reply(t testing.TB, query []byte, txt string, edit func(*dns.Msg)) []byte {
	t.Helper()
	var q, m dns.Msg
	if err := q.Unpack(query); err != nil {
		t.Error(err)
		return nil
	}
	m.SetReply(&q)
	m.RecursionAvailable = true
	m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{txt}}}
	if edit != nil {
		edit(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return b
}

func TestA42_SpoofedAnswersAreIgnored(t *testing.T) {
	leaks(t)
	addr := rawServer(t, func(_ int, q []byte) [][]byte {
		other := slices.Clone(q)
		binary.BigEndian.PutUint16(other, binary.BigEndian.Uint16(q)+1)
		return [][]byte{
			reply(t, other, "wrong id", nil),
			reply(t, q, "wrong name", func(m *dns.Msg) { m.Question[0].Name = "evil.test." }),
			reply(t, q, "wrong type", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA }),
			reply(t, q, "no question", func(m *dns.Msg) { m.Question = nil }),
			reply(t, q, "a query", func(m *dns.Msg) { m.Response = false }),
			{1, 2, 3},
			reply(t, q, "right", func(m *dns.Msg) {
				stray := dns.Copy(m.Answer[0]).(*dns.TXT)
				stray.Hdr.Name, stray.Txt = "evil.test.", []string{"out of the chain"}
				m.Answer = append(m.Answer, stray)
			}),
		}
	})
	d := dnsTo(t, filters.ResolverConfig{Servers: []string{addr}})
	if got, err := d.TXT(t.Context(), "a.test"); err != nil || !slices.Equal(got, []string{"right"}) {
		t.Errorf("%q %v", got, err)
	}
	if s := d.Stats(); s.Spoofed != 5 {
		t.Errorf("%+v", s)
	}
}

func TestA42_PortsAndIdsChange(t *testing.T) {
	var mu sync.Mutex
	ids := map[uint16]bool{}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	ports := map[string]bool{}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			mu.Lock()
			ids[binary.BigEndian.Uint16(buf)], ports[from.String()] = true, true
			mu.Unlock()
			_, _ = pc.WriteTo(reply(t, buf[:n], "x", nil), from)
		}
	}()
	d := dnsTo(t, filters.ResolverConfig{Servers: []string{pc.LocalAddr().String()}})
	const n = 3000
	for i := range n {
		if _, err := d.TXT(t.Context(), fmt.Sprintf("n%d.test", i)); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ids) < n*9/10 || len(ports) < 8 || len(ports) > n/50 {
		t.Errorf("%d ids, %d ports", len(ids), len(ports))
	}
}

func TestA42_SilenceIsTemporaryAndInTime(t *testing.T) {
	leaks(t)
	addr := rawServer(t, func(int, []byte) [][]byte { return nil })
	d := dnsTo(t, filters.ResolverConfig{Servers: []string{addr}, Timeout: 200 * time.Millisecond})
	_, err := d.TXT(t.Context(), "a.test")
	if e := dnsError(t, err); !e.Temporary {
		t.Errorf("%+v", e)
	}
	if s := d.Stats(); s.Sent != 2 || s.Failures != 1 {
		t.Errorf("%+v", s)
	}
	_, err = d.TXT(t.Context(), "a.test") // remembered for a moment: no storm
	if s := d.Stats(); err == nil || s.Sent != 2 {
		t.Errorf("%+v %v", s, err)
	}
}

func TestA42_OtherServersAreTried(t *testing.T) {
	leaks(t)
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	refusing := rawServer(t, func(_ int, q []byte) [][]byte {
		return [][]byte{reply(t, q, "", func(m *dns.Msg) { m.Answer, m.Rcode = nil, dns.RcodeRefused })}
	})
	lame := rawServer(t, func(_ int, q []byte) [][]byte {
		return [][]byte{reply(t, q, "", func(m *dns.Msg) { m.Answer, m.RecursionAvailable = nil, false })}
	})
	corrupt := rawServer(t, func(_ int, q []byte) [][]byte {
		b := reply(t, q, strings.Repeat("x", 100), nil)
		return [][]byte{b[:len(b)-20]}
	})
	d := resolver(t, dnsfake.MustParse(`a.test TXT "x"`), filters.ResolverConfig{Servers: []string{closed.LocalAddr().String(), refusing, lame, corrupt}, Timeout: time.Minute})
	if got, err := d.TXT(t.Context(), "a.test"); err != nil || !slices.Equal(got, []string{"x"}) {
		t.Errorf("%q %v", got, err)
	}
}

// A server that keeps silent is asked last after a while.
func TestA42_SilentServerIsPassedOver(t *testing.T) {
	var asked atomic.Int32
	silent := rawServer(t, func(int, []byte) [][]byte { asked.Add(1); return nil })
	z := dnsfake.MustParse(`*.test TXT "x"`)
	d := resolver(t, z, filters.ResolverConfig{Servers: []string{silent}, Timeout: 400 * time.Millisecond})
	for i := range 20 {
		if _, err := d.TXT(t.Context(), fmt.Sprintf("n%d.test", i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

func TestA42_ServerWithoutEDNS(t *testing.T) {
	addr := rawServer(t, func(_ int, q []byte) [][]byte {
		return [][]byte{reply(t, q, "plain", func(m *dns.Msg) {
			var query dns.Msg
			if _ = query.Unpack(q); query.IsEdns0() != nil {
				m.Answer, m.Rcode = nil, dns.RcodeFormatError
			}
		})}
	})
	d := dnsTo(t, filters.ResolverConfig{Servers: []string{addr}, Timeout: time.Minute})
	if got, err := d.TXT(t.Context(), "a.test"); err != nil || !slices.Equal(got, []string{"plain"}) {
		t.Errorf("%q %v", got, err)
	}
}

func TestA42_OneQueryForAllAndNoneKilledByOne(t *testing.T) {
	leaks(t)
	gate := make(chan struct{})
	var asked atomic.Int32
	arrived := make(chan struct{}, 10)
	addr := rawServer(t, func(_ int, q []byte) [][]byte {
		asked.Add(1)
		arrived <- struct{}{}
		<-gate
		return [][]byte{reply(t, q, "x", nil)}
	})
	d := dnsTo(t, filters.ResolverConfig{Servers: []string{addr}, Timeout: time.Minute})
	first, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { _, err := d.TXT(first, "a.test"); left <- err }()
	<-arrived
	errs := make(chan error, 50)
	for range 50 {
		go func() { _, err := d.TXT(t.Context(), "a.test"); errs <- err }()
	}
	for d.Waiting() < 51 {
		runtime.Gosched()
	}
	cancel()
	err := <-left
	if e := dnsError(t, err); !e.Temporary || !errors.Is(err, context.Canceled) {
		t.Errorf("%+v", e)
	}
	close(gate)
	for range 50 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d queries", n)
	}
}

func TestA42_CacheHonoursTTL(t *testing.T) {
	z := dnsfake.MustParse(`
short.test 10 TXT "x"
long.test 999999 TXT "x"
zero.test 0 TXT "x"
chain.test 5 CNAME long.test.
test 3600 SOA ns.test. p.test. 1 2 3 4 30
`)
	d := resolver(t, z, filters.ResolverConfig{})
	var mu sync.Mutex
	now := time.Now()
	d.SetNow(func() time.Time { mu.Lock(); defer mu.Unlock(); return now })
	for _, c := range []struct {
		name string
		keep time.Duration
	}{{"short.test", 10 * time.Second}, {"long.test", time.Hour}, {"zero.test", 0}, {"chain.test", 5 * time.Second}, {"gone.test", 30 * time.Second}} {
		asked := func() int { _, _ = d.TXT(t.Context(), c.name); return len(z.Asked()) }
		move := func(by time.Duration) { mu.Lock(); now = now.Add(by); mu.Unlock() }
		n := asked()
		if c.keep > 0 {
			move(c.keep - time.Nanosecond)
			if got := asked(); got != n {
				t.Errorf("%s: asked again before %v", c.name, c.keep)
			}
			move(time.Nanosecond)
		}
		if got := asked(); got != n+1 {
			t.Errorf("%s: not asked again after %v", c.name, c.keep)
		}
	}
}

func TestA42_CacheIsBounded(t *testing.T) {
	z := dnsfake.MustParse(`*.test TXT "` + strings.Repeat("x", 200) + `"`)
	d := resolver(t, z, filters.ResolverConfig{Entries: 50, Bytes: 8 << 10})
	for i := range 200 {
		_, _ = d.TXT(t.Context(), fmt.Sprintf("n%d.test", i))
		_, _ = d.TXT(t.Context(), "hot.test")
	}
	s := d.Stats()
	if s.Entries > 50 || s.Bytes > 8<<10 || s.Entries < 10 {
		t.Errorf("%+v", s)
	}
	n := len(z.Asked())
	if _, _ = d.TXT(t.Context(), "hot.test"); len(z.Asked()) != n {
		t.Error("what is used most was thrown away")
	}
}

func TestA34_Outage(t *testing.T) {
	leaks(t)
	var dead atomic.Bool
	var asked atomic.Int32
	addr := rawServer(t, func(_ int, q []byte) [][]byte {
		if asked.Add(1); dead.Load() {
			return nil
		}
		return [][]byte{reply(t, q, "x", nil)}
	})
	d := dnsTo(t, filters.ResolverConfig{Servers: []string{addr}, Timeout: 100 * time.Millisecond})
	var clock atomic.Int64
	d.SetNow(func() time.Time { return time.Unix(clock.Load(), 0) })
	ask := func(i int) error { _, err := d.TXT(t.Context(), fmt.Sprintf("n%d.test", i)); return err }
	clock.Store(1000)
	if err := ask(0); err != nil || d.Degraded() {
		t.Fatal(err)
	}
	dead.Store(true)
	for i := range 3 {
		if err := ask(10 + i); err == nil || d.Degraded() {
			t.Fatal(err, d.Degraded())
		}
	}
	clock.Add(60)
	if !d.Degraded() {
		t.Fatal("not degraded after 60 s")
	}
	// Many questions at once: one goes out to see, the rest fail at once.
	asked.Store(0)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if err := ask(100 + i); err == nil {
				t.Error("an answer from the dead")
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n > 20 {
		t.Errorf("%d queries", n)
	}
	dead.Store(false)
	if err := ask(300); err != nil || d.Degraded() {
		t.Errorf("it does not come back: %v", err)
	}
}

// Domains without a living server, and nothing else asked for a minute, are no outage: the next
// question of another domain has its answer.
func TestA34_DomainsWithoutServersAreNoOutage(t *testing.T) {
	leaks(t)
	dead := make(chan struct{}, 100)
	addr := rawServer(t, func(_ int, q []byte) [][]byte {
		if bytes.Contains(q, []byte("dead")) {
			dead <- struct{}{}
			return nil
		}
		return [][]byte{reply(t, q, "x", nil)}
	})
	d := dnsTo(t, filters.ResolverConfig{Servers: []string{addr}, Timeout: 200 * time.Millisecond})
	var clock atomic.Int64
	d.SetNow(func() time.Time { return time.Unix(clock.Load(), 0) })
	for i := range 3 {
		if _, err := d.TXT(t.Context(), fmt.Sprintf("dead%d.test", i)); err == nil {
			t.Fatal("an answer from the dead")
		}
	}
	clock.Add(60)
	for len(dead) > 0 {
		<-dead
	}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = d.TXT(t.Context(), "dead9.test") })
	<-dead // the probe, once more of a domain that is dead
	if _, err := d.TXT(t.Context(), "good.test"); err != nil {
		t.Errorf("a domain with a server: %v", err)
	}
	wg.Wait()
}

// A client that comes and goes leaves no questions behind, which others would have to wait for.
func TestA42_QuestionsThatNobodyHasAnyMoreEnd(t *testing.T) {
	leaks(t)
	addr := rawServer(t, func(_ int, q []byte) [][]byte {
		if bytes.Contains(q, []byte("dead")) {
			return nil
		}
		return [][]byte{reply(t, q, "x", nil)}
	})
	d := dnsTo(t, filters.ResolverConfig{Servers: []string{addr}, Timeout: time.Minute})
	for i := range 3000 {
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := d.TXT(gone, fmt.Sprintf("dead%d.test", i)); err == nil {
			t.Fatal("an answer from the dead")
		}
	}
	if _, err := d.TXT(t.Context(), "good.test"); err != nil {
		t.Error(err)
	}
	if d.Degraded() {
		t.Error("questions that were given up count as failures")
	}
}

func TestA42_Check(t *testing.T) {
	leaks(t)
	silent := rawServer(t, func(int, []byte) [][]byte { return nil })
	d := resolver(t, dnsfake.New(), filters.ResolverConfig{Servers: []string{silent}, Timeout: 200 * time.Millisecond})
	s := d.Check(t.Context())
	if len(s) != 2 || s[0].Err == nil || s[1].Err != nil || !s[1].Loopback || s[0].Addr != silent {
		t.Errorf("%+v", s)
	}
}

func TestA42_CloseEndsEverything(t *testing.T) {
	leaks(t)
	arrived := make(chan struct{}, 10)
	addr := rawServer(t, func(int, []byte) [][]byte { arrived <- struct{}{}; return nil })
	d := dnsTo(t, filters.ResolverConfig{Servers: []string{addr}, Timeout: time.Minute})
	left := make(chan error)
	go func() { _, err := d.TXT(t.Context(), "a.test"); left <- err }()
	<-arrived
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if e := dnsError(t, <-left); !e.Temporary {
		t.Errorf("%+v", e)
	}
	_, err := d.TXT(t.Context(), "b.test")
	if e := dnsError(t, err); !e.Temporary {
		t.Errorf("%+v", e)
	}
}

func TestResolverConfigErrors(t *testing.T) {
	for _, s := range []string{"dns.test", "127.0.0.1:x", "dns.test:53"} {
		if _, err := filters.NewResolver(filters.ResolverConfig{Servers: []string{s}}); err == nil {
			t.Errorf("%s is taken", s)
		}
	}
	for _, s := range []string{"127.0.0.1", "::1", "[::1]", "[::1]:5353", "127.0.0.1:5353"} {
		d, err := filters.NewResolver(filters.ResolverConfig{Servers: []string{s}})
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		d.Close()
	}
}
