package gateway

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/mail"
	"postern/rules"
)

// Whom a throttle counts.
const (
	perClient    = "client" // its address, of IPv6 the /64; trusted relays are spared
	perSender    = "sender" // the envelope sender; of the null sender the client
	perRecipient = "recipient"
)

// A rate is how many copies may be delivered in some time.
type rate struct {
	rule  string
	by    string
	count int
	span  time.Duration
	said  string // the span as the rule says it
}

func (e *edits) throttle(x *rules.Effect) {
	count, err := strconv.Atoi(x.Args[1])
	span, wrong := parseSpan(x.Args[2])
	if err == nil && wrong == nil {
		e.rates = append(e.rates, rate{rule: x.Rule, by: x.Args[0], count: count, span: span, said: x.Args[2]})
	}
}

// throttled counts a copy that is to be delivered, and gives another verdict when that is one too
// many. Rules cannot say so themselves: they know the message and nothing of others.
func (t *transaction) throttled(r *recipient, e *edits) *rules.Verdict {
	for i := range e.rates {
		x := &e.rates[i]
		who := x.who(&t.env, r.to.Address)
		if who == "" {
			continue
		}
		c, ok := t.g.meters.take(who, x, t.env.Received)
		if !ok {
			return &rules.Verdict{Do: rules.Defer, Rule: x.rule, Class: "policy", Reply: replyThrottled,
				Because: fmt.Sprintf("more than %d in %s of %s %s", x.count, x.said, x.by, mail.Printable(who, 100))}
		}
		t.counted = append(t.counted, c)
	}
	return nil
}

// uncount takes back what was counted for a message that was not taken in the end.
func (t *transaction) uncount() {
	for _, c := range t.counted {
		t.g.meters.giveBack(c)
	}
	t.counted = nil
}

// who is what the rate counts by in this message; "" when it does not count it.
func (x *rate) who(env *mail.Envelope, to mail.Address) string {
	switch {
	case x.by == perRecipient:
		return strings.ToLower(to.String())
	case x.by == perSender && !env.Sender.IsNull():
		return strings.ToLower(env.Sender.String())
	case env.Client.Trusted:
		return ""
	}
	a := env.Client.Addr.Unmap()
	if a.Is6() {
		return netip.PrefixFrom(a.WithZone(""), 64).Masked().String()
	}
	return a.String()
}

// maxMeters bounds how many are counted at once. When there are more, the oldest are forgotten:
// who sends from so many addresses is not stopped by counting them.
const maxMeters = 100_000

// Meters count by rule and whom it counts. They live in memory: a restart begins anew.
type meters struct {
	mu    sync.Mutex
	known map[meterKey]*meter
}

type meterKey struct {
	rule, by, who string
	count         int
	span          time.Duration
}

// A meter counts within a window of time and remembers the window before it, of which a part
// still counts: the share of it that lies within one span back from now.
type meter struct {
	start       time.Time
	now, before int
}

// A count is one copy that was counted.
type count struct {
	key   meterKey
	start time.Time
}

// take counts one more; false when that would be too many, which are not counted.
func (ms *meters) take(who string, x *rate, at time.Time) (count, bool) {
	key := meterKey{rule: x.rule, by: x.by, who: who, count: x.count, span: x.span}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m := ms.known[key]
	if m == nil {
		if ms.known == nil {
			ms.known = map[meterKey]*meter{}
		}
		if len(ms.known) >= maxMeters {
			ms.shed(at)
		}
		m = &meter{start: at}
		ms.known[key] = m
	}
	m.advance(at, x.span)
	share := 1 - float64(max(at.Sub(m.start), 0))/float64(x.span)
	if float64(m.now)+float64(m.before)*share+1 > float64(x.count) {
		return count{}, false
	}
	m.now++
	return count{key, m.start}, true
}

func (m *meter) advance(at time.Time, span time.Duration) {
	switch n := at.Sub(m.start) / span; {
	case n < 1:
	case n == 1:
		m.start, m.before, m.now = m.start.Add(span), m.now, 0
	default:
		m.start, m.before, m.now = m.start.Add(n*span), 0, 0
	}
}

func (ms *meters) giveBack(c count) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	switch m := ms.known[c.key]; {
	case m == nil:
	case m.start.Equal(c.start):
		m.now = max(m.now-1, 0)
	case m.start.Equal(c.start.Add(c.key.span)):
		m.before = max(m.before-1, 0)
	}
}

// shed forgets what counts no more, and then the older half.
func (ms *meters) shed(at time.Time) {
	var starts []time.Time
	for k, m := range ms.known {
		if at.Sub(m.start) >= 2*k.span {
			delete(ms.known, k)
			continue
		}
		starts = append(starts, m.start)
	}
	if len(starts) < maxMeters/2 {
		return
	}
	slices.SortFunc(starts, time.Time.Compare)
	middle := starts[len(starts)/2]
	for k, m := range ms.known {
		if !m.start.After(middle) {
			delete(ms.known, k)
		}
	}
}
