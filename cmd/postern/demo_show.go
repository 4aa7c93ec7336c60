package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"postern/journal"
)

// demoRow is a line of the table; the reason stands below it.
const demoRow = "%-36s  %-26s  %s\n"

// row sends one mail and prints what became of it, a line a recipient.
func (d *demo) row(ctx context.Context, w io.Writer, m *demoMail) error {
	text, err := m.signed(d.key)
	if err != nil {
		return err
	}
	answers, err := d.send(ctx, m, text)
	if err != nil {
		return err
	}
	entry, err := d.entry(ctx)
	if err != nil {
		return err
	}
	for i, to := range m.To {
		became, why := "answered "+answers[i], ""
		for _, o := range entry.Outcomes {
			if o.Recipient.String() == to {
				became, why = outcomeWords(&o, answers[i]), o.Because
			}
		}
		if why == "" {
			_, why, _ = strings.Cut(answers[i], " ")
		}
		what := m.What
		if i > 0 {
			what = ""
		}
		fmt.Fprintf(w, demoRow, what, to, became)
		paragraph(w, "    ", why)
	}
	return nil
}

func outcomeWords(o *journal.Outcome, answer string) string {
	code := answer[:min(3, len(answer))]
	switch {
	case o.Held != "":
		return "held (" + o.Class + ")"
	case code >= "500":
		return "refused " + code
	case code >= "400":
		return "put off " + code
	case o.Do == "discard":
		return "discarded"
	}
	return "delivered"
}

// entry waits for the journal's entry of the mail that was just sent.
func (d *demo) entry(ctx context.Context) (*journal.Entry, error) {
	for range 500 {
		if err := d.program.journal.Flush(ctx); err != nil {
			return nil, err
		}
		entries, _, err := d.program.journal.Search(ctx, journal.Query{Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(entries) > 0 && entries[0].ID != d.last {
			d.last = entries[0].ID
			return entries[0], nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, errors.New("the journal has no entry of it")
}

// send speaks SMTP to the gateway and gives the answer that decided each recipient's copy.
func (d *demo) send(ctx context.Context, m *demoMail, text string) ([]string, error) {
	from := &net.TCPAddr{IP: net.ParseIP(demoSender)}
	c, err := (&net.Dialer{Timeout: 10 * time.Second, LocalAddr: from}).DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	say := func(format string, args ...any) (string, error) {
		if format != "" {
			if _, err := fmt.Fprintf(c, format+"\r\n", args...); err != nil {
				return "", err
			}
		}
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return "", err
			}
			if len(line) < 4 || line[3] != '-' {
				return strings.TrimRight(line, "\r\n"), nil
			}
		}
	}
	for _, line := range []string{fmt.Sprintf("PROXY TCP4 %s 127.0.0.1 4711 25", m.Client), "EHLO " + m.Helo, "MAIL FROM:<" + m.From + ">"} {
		if a, err := say("%s", line); err != nil || a[0] != '2' {
			return nil, fmt.Errorf("%s: %s %w", line, a, err)
		}
	}
	answers, accepted := make([]string, len(m.To)), false
	for i, to := range m.To {
		if answers[i], err = say("RCPT TO:<%s>", to); err != nil {
			return nil, err
		}
		accepted = accepted || answers[i][0] == '2'
	}
	if accepted {
		if a, err := say("DATA"); err != nil || a[0] != '3' {
			return nil, fmt.Errorf("DATA: %s %w", a, err)
		}
		final, err := say("%s.", strings.ReplaceAll(text, "\r\n.", "\r\n.."))
		if err != nil {
			return nil, err
		}
		for i := range answers {
			if answers[i][0] == '2' {
				answers[i] = final
			}
		}
	}
	_, err = say("QUIT")
	return answers, err
}
