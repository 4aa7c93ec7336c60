package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Probe sends messages to one address, to see what a server takes for the end of a message
// (S-07, "SMTP smuggling"). Each has, in its middle, one sequence that is no end of data; it is
// harmless text whichever way it is read.
type Probe struct {
	Server   *Server
	Address  string        // a mailbox of yours
	Patience time.Duration // for how long a server that takes a sequence for the end is waited for
}

// endings are what some servers took for an end of data, though only CRLF.CRLF is one (RFC 5321
// 4.1.1.4).
func endings() []string {
	return []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n"}
}

// Check sends the messages.
func (p *Probe) Check() Check {
	return Check{Name: "newlines", About: p.Server.Address, Limit: 60 * time.Second, Look: p.look}
}

// What became of a probe.
type fate int

const (
	kept    fate = iota // the sequence stayed text, or was made right
	refused             // the message was refused
	ended               // the sequence ended the message
)

func (p *Probe) look(ctx context.Context) []Finding {
	all := endings()
	fates, errs := make([]fate, len(all)), make([]error, len(all))
	var wg sync.WaitGroup
	for i, end := range all {
		wg.Go(func() { fates[i], errs[i] = p.try(ctx, i, end) })
	}
	wg.Wait()
	guide := guideServer
	var smuggled, turned []string
	for i, f := range fates {
		switch name := strings.Trim(strconv.Quote(all[i]), `"`); {
		case errs[i] != nil:
		case f == ended:
			smuggled = append(smuggled, name)
		case f == refused:
			turned = append(turned, name)
		}
	}
	if len(smuggled) > 0 {
		return []Finding{{State: Bad, Reference: guide,
			Sentence: "it takes " + strings.Join(smuggled, " and ") + " from this host for the end of a message: whoever gets such bytes through could send mail that no filter has seen",
			Do:       "Postfix: smtpd_forbid_bare_newline = reject and an empty smtpd_forbid_bare_newline_exclusions; Exchange: BareLinefeedRejectionEnabled; else update the server"}}
	}
	if err := errors.Join(errs...); err != nil {
		return []Finding{{State: Unknown, Sentence: "the probe failed: " + printable(err), Do: "give an address that the server takes mail for", Reference: guide}}
	}
	said := "it keeps them as text"
	if len(turned) > 0 {
		said = "it refuses " + strings.Join(turned, " ")
	}
	return []Finding{{State: Ok, Sentence: fmt.Sprintf("nothing but CRLF.CRLF ends a message for it: %d probes were sent to %s; %s", len(all), p.Address, said)}}
}

// try sends one message. Its error is a dialogue that did not come so far.
func (p *Probe) try(ctx context.Context, n int, end string) (fate, error) {
	d, err := p.Server.door().meet(ctx)
	if err != nil {
		return kept, err
	}
	defer d.close()
	for _, step := range []struct {
		say  string
		want int
	}{{"MAIL FROM:<>", 250}, {"RCPT TO:<" + p.Address + ">", 250}, {"DATA", 354}} {
		r, err := d.say("%s", step.say)
		if err == nil && r.code != step.want {
			err = fmt.Errorf("%s: %v", step.say, r)
		}
		if err != nil {
			return kept, err
		}
	}
	head := fmt.Sprintf("Subject: postern doctor: probe %d of %d\r\nFrom: <postmaster@%s>\r\nTo: <%s>\r\nDate: %s\r\nAuto-Submitted: auto-generated\r\n\r\n"+
		"postern doctor asks whether this server takes %q for the end of a message.", n+1, len(endings()), p.Server.Helo, p.Address, time.Now().Format(time.RFC1123Z), end)
	if err := d.write(head + end); err != nil {
		return kept, err
	}
	if said, err := d.speaks(p.Patience); said || err != nil {
		return p.early(d, err)
	}
	if err := d.write("It does not.\r\n.\r\n"); err != nil {
		return kept, err
	}
	r, err := d.read()
	switch {
	case err != nil:
		return kept, err
	case r.code/100 == 2:
		return kept, nil
	case r.code/100 == 5:
		return refused, nil
	}
	return kept, fmt.Errorf("it put the message off: %v", r)
}

// early judges what came before the end of the message.
func (p *Probe) early(d *dialogue, err error) (fate, error) {
	if err != nil {
		return kept, err
	}
	r, err := d.read()
	if err == nil && r.code/100 == 2 {
		return ended, nil
	}
	if err == nil && r.code/100 == 5 || r.code == 421 { // refused in the middle of it
		return refused, nil
	}
	return kept, errors.Join(err, fmt.Errorf("it said %v", r))
}

// write sends bytes as they are.
func (d *dialogue) write(s string) error {
	if _, err := d.text.W.WriteString(s); err != nil {
		return err
	}
	return d.text.W.Flush()
}

// speaks waits for a while for the server to say something.
func (d *dialogue) speaks(patience time.Duration) (bool, error) {
	_ = d.conn.SetReadDeadline(time.Now().Add(patience))
	_, err := d.text.R.Peek(1)
	_ = d.conn.SetReadDeadline(d.end)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return false, nil
	}
	return err == nil, err
}
