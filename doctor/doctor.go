// Package doctor looks at what a gateway lives among (internal servers, DNS, clamd, certificates,
// clock, disk) and says what to do about each. It changes nothing, and sends no message unless a
// probe is asked for. Every check has a limit of its own, so that dead neighbours cost time, and
// nothing else.
package doctor

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A State is how serious a finding is.
type State string

// Ok needs nothing. Warn works, and should be put right. Bad means that mail is not taken, that it
// gets in past the gateway, or that others can misuse the servers. Unknown could not be found out.
const (
	Ok      State = "ok"
	Warn    State = "warn"
	Bad     State = "bad"
	Unknown State = "unknown"
)

// A Finding is one thing that was looked at. Its fields are a contract of --json.
type Finding struct {
	Check     string `json:"check"` // what was looked at: relay, newlines, dns …
	About     string `json:"about"` // at whom: an address, a domain, a file
	State     State  `json:"state"`
	Sentence  string `json:"sentence"`            // what was found
	Do        string `json:"do,omitempty"`        // what to do about it
	Reference string `json:"reference,omitempty"` // where to read on
}

// A Report is all findings, in the order of the checks.
type Report struct {
	OK       bool          `json:"ok"` // nothing is bad
	Findings []Finding     `json:"findings"`
	Counts   map[State]int `json:"counts"`
}

// A Check looks at one thing. What it finds after its limit is not waited for.
type Check struct {
	Name  string
	About string
	Limit time.Duration // 0 means DefaultLimit
	Look  func(ctx context.Context) []Finding
}

// DefaultLimit bounds a check that names no limit of its own.
const DefaultLimit = 20 * time.Second

// Run runs all checks at the same time. A check that panics or does not end in time is Unknown.
func Run(ctx context.Context, checks []Check) Report {
	found := make([][]Finding, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { found[i] = c.run(ctx) })
	}
	wg.Wait()
	r := Report{OK: true, Findings: []Finding{}, Counts: map[State]int{Ok: 0, Warn: 0, Bad: 0, Unknown: 0}}
	for _, list := range found {
		for _, f := range list {
			r.Findings = append(r.Findings, f)
			r.Counts[f.State]++
			r.OK = r.OK && f.State != Bad
		}
	}
	return r
}

func (c *Check) run(ctx context.Context) []Finding {
	limit := c.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within %v", limit))
	defer cancel()
	done := make(chan []Finding, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				done <- []Finding{{State: Unknown, Sentence: fmt.Sprintf("the check itself failed: %v", v), Do: "report it"}}
			}
		}()
		done <- c.Look(ctx)
	}()
	var list []Finding
	select {
	case list = <-done:
	case <-ctx.Done():
		list = []Finding{{State: Unknown, Sentence: "no answer: " + context.Cause(ctx).Error()}}
	}
	for i := range list {
		if list[i].Check == "" {
			list[i].Check = c.Name
		}
		if list[i].About == "" {
			list[i].About = c.About
		}
	}
	return list
}

// The places in the administrator's guide that findings refer to.
const (
	guide       = "docs/operate.md"
	guideServer = guide + "#your-mail-server"
	guideMX     = guide + "#the-mx"
	guideDNS    = guide + "#dns"
	guideClamd  = guide + "#clamd"
	guideTLS    = guide + "#tls"
	guideSafety = guide + "#security"
	guideSetUp  = guide + "#install"
	guideSize   = guide + "#size"
)
