package filters

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/mail"

	"github.com/baruwa-enterprise/clamd"
)

// ClamAVConfig says where clamd listens.
type ClamAVConfig struct {
	Addresses  []string      // "unix:/run/clamav/clamd.ctl" or "tcp:127.0.0.1:3310", tried in order
	Timeout    time.Duration // for one message, queueing included; default 60 s
	MaxSize    int64         // clamd's StreamMaxLength; larger mail is not sent. 0: ask and see
	Concurrent int           // scans at once; default 8, below clamd's MaxThreads
	SocketDir  string        // where private sockets are made; default the temporary folder
}

// ClamAVFacts is what clamd said. Only an explicit OK is clean: whatever else it says sets
// Infected or makes the filter fail.
type ClamAVFacts struct {
	Error     string `expr:"error" json:"error,omitempty" doc:"Why there is no answer: clamd dead, slow, or not making sense."`
	Infected  bool   `expr:"infected" json:"infected" doc:"clamd reported something; see heuristic for what is no known virus."`
	Signature string `expr:"signature" json:"signature" doc:"Name of what clamd reported, such as Eicar-Test-Signature." example:"clamav.signature startsWith \"Eicar\""`
	Heuristic string `expr:"heuristic" json:"heuristic" doc:"\"limits\" when clamd gave up over one of its limits, \"encrypted\" when it could not look inside, else empty." enum:"limits encrypted"`
	TooBig    bool   `expr:"too_big" json:"too_big" doc:"The message is larger than clamd takes (StreamMaxLength); it was not scanned."`
}

// tooBigSignature names an oversize message the way clamd names its own limits.
const tooBigSignature = "Heuristics.Limits.Exceeded.StreamMaxLength"

func clamav(c ClamAVConfig) Filter {
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.Concurrent == 0 {
		c.Concurrent = 8
	}
	s := &scanner{config: c, queue: queue{slots: make(chan struct{}, c.Concurrent), timeout: c.Timeout}, parts: make(chan struct{}, partMessages), down: make([]breaker, len(c.Addresses))}
	return Filter{Name: "clamav", Cost: Scanner, Doc: "What clamd says of it. Without clamav.addresses it is off.",
		Stage: mail.Data, After: []string{"content"}, Facts: ClamAVFacts{}, OnFail: Defer, Lazy: true, Timeout: c.Timeout, Gather: s.gather, Full: s.queue.full}
}

// A scanner asks one clamd after the other.
type scanner struct {
	config ClamAVConfig
	queue  queue
	parts  chan struct{} // messages at once that are scanned part by part
	down   []breaker
}

func (s *scanner) gather(ctx context.Context, in *Input) (any, error) {
	select { // clamd is asked about whole messages only
	case <-in.Body.Done():
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if s.config.MaxSize > 0 && in.Body.Size() > s.config.MaxSize {
		return tooBig(), nil
	}
	facts, err := s.turn(ctx, in.Body)
	if err != nil || facts.Infected {
		return facts, err
	}
	return s.views(ctx, in)
}

// What is scanned a second time: bytes of all decoded parts of a message, parts, and messages
// at once, since their parts are held in memory.
const (
	maxViews     = 32 << 20
	maxViewParts = 500
	partMessages = 2
)

// views scans the decoded parts one by one where the message's form is unusual: clamd reads a
// message in one way, mail programs may in others (C-01).
func (s *scanner) views(ctx context.Context, in *Input) (any, error) {
	v, err := in.Fact(ctx, "content")
	if err != nil {
		return nil, fmt.Errorf("parts to scan: %w", err)
	}
	if c, ok := v.(ContentFacts); !ok || !c.Unusual {
		return ClamAVFacts{}, nil
	}
	select {
	case s.parts <- struct{}{}:
		defer func() { <-s.parts }()
	case <-ctx.Done():
		return nil, fmt.Errorf("parts to scan: %w", context.Cause(ctx))
	}
	views, over, err := decodedViews(ctx, in.Body, maxViews)
	if err != nil {
		return nil, fmt.Errorf("decode parts to scan: %w", err)
	}
	if len(views) > maxViewParts {
		views, over = views[:maxViewParts], true
	}
	for i, view := range views {
		part := mail.BodyOf(view)
		views[i] = nil
		facts, err := s.turn(ctx, part)
		part.Close()
		if err != nil || facts.Infected {
			return facts, err
		}
	}
	if over {
		return ClamAVFacts{Infected: true, Signature: "Heuristics.Limits.Exceeded.Views", Heuristic: "limits"}, nil
	}
	return ClamAVFacts{}, nil
}

// ask has the first clamd that answers look at a body.
func (s *scanner) ask(ctx context.Context, body *mail.Body) (ClamAVFacts, error) {
	var errs []error
	for i, addr := range s.config.Addresses {
		if last := i == len(s.config.Addresses)-1; !last && s.down[i].open() {
			continue
		}
		// A share of the time for each, so that one that hangs leaves some for the next.
		share := ctx
		if left := len(s.config.Addresses) - i; left > 1 {
			if end, ok := ctx.Deadline(); ok {
				var cancel context.CancelFunc
				share, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
				defer cancel()
			}
		}
		facts, err := s.scan(share, addr, body)
		s.down[i].report(err == nil)
		if err == nil {
			return facts, nil
		}
		errs = append(errs, fmt.Errorf("clamd at %s: %w", addr, err))
	}
	return ClamAVFacts{}, errors.Join(errs...)
}

// scan has one clamd look at the body. The library is given a relay in place of clamd (see
// clamav_relay.go), which keeps the deadline, bounds the answer and shows it as it was said.
func (s *scanner) scan(ctx context.Context, addr string, body *mail.Body) (ClamAVFacts, error) {
	network, address, ok := strings.Cut(addr, ":")
	if !ok {
		return ClamAVFacts{}, fmt.Errorf("address %q is neither unix:PATH nor tcp:HOST:PORT", addr)
	}
	relay, err := newRelay(ctx, s.config.SocketDir, network, address)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return ClamAVFacts{}, err
	}
	defer relay.close()
	client, err := clamd.NewClient("unix", relay.path)
	if err != nil {
		return ClamAVFacts{}, err
	}
	end, _ := ctx.Deadline()
	client.SetConnTimeout(time.Until(end))
	client.SetCmdTimeout(time.Until(end))
	r := body.Open()
	defer r.Close()
	counted := &counter{r: r}
	answers, err := client.ScanReader(ctx, counted)
	said := relay.close()
	if ctx.Err() != nil {
		return ClamAVFacts{}, fmt.Errorf("no answer: %w", context.Cause(ctx))
	}
	return judge(said, answers, err, counted.n == body.Size())
}

// judge reads clamd's answer. Its words and the library's reading of them must agree on OK,
// and all of the message must have been handed over; a FOUND counts however it is dressed,
// since the library refuses names with a colon.
func judge(said string, answers []*clamd.Response, err error, whole bool) (ClamAVFacts, error) {
	line := strings.TrimRight(said, "\n\x00")
	switch {
	case strings.Contains(line, "size limit exceeded"):
		return tooBig(), nil
	case strings.ContainsAny(line, "\n\x00"):
		return ClamAVFacts{}, fmt.Errorf("more than one answer: %.200q", said)
	case strings.HasPrefix(line, "stream: ") && strings.HasSuffix(line, " FOUND"):
		name := strings.TrimSuffix(strings.TrimPrefix(line, "stream: "), " FOUND")
		return ClamAVFacts{Infected: true, Signature: mail.Printable(name, 200), Heuristic: heuristic(name)}, nil
	case err != nil && said == "":
		return ClamAVFacts{}, err
	case line == "stream: OK" && said == line+"\n" && err == nil && whole && len(answers) == 1 && answers[0].Status == "OK":
		return ClamAVFacts{}, nil
	case said == "":
		return ClamAVFacts{}, errors.New("connection closed without an answer")
	}
	return ClamAVFacts{}, fmt.Errorf("not a clean answer: %.200q", said)
}

func tooBig() ClamAVFacts {
	return ClamAVFacts{Infected: true, Signature: tooBigSignature, Heuristic: "limits", TooBig: true}
}

func heuristic(name string) string {
	switch {
	case strings.HasPrefix(name, "Heuristics.Limits."):
		return "limits"
	case strings.HasPrefix(name, "Heuristics.Encrypted."):
		return "encrypted"
	}
	return ""
}

// counter counts what was handed over.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// Version asks clamd for its version and database, as "ClamAV 1.4.6/27000/Sat Nov 21 …"; for
// check and health. It tries every address and reports the last error when none answers.
func (c ClamAVConfig) Version(ctx context.Context) (version string, err error) {
	for _, addr := range c.Addresses {
		network, address, _ := strings.Cut(addr, ":")
		var relay *relay
		if relay, err = newRelay(ctx, c.SocketDir, network, address); err != nil {
			continue
		}
		var client *clamd.Client
		if client, err = clamd.NewClient("unix", relay.path); err == nil {
			version, err = client.Version(ctx)
		}
		relay.close()
		if err == nil {
			return version, nil
		}
	}
	return "", err
}
