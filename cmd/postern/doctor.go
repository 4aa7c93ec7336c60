package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"postern/doctor"
	"postern/mail"
)

// doctorCmd asks the neighbours, and says what to do.
type doctorCmd struct {
	settings
	JSON    bool   `name:"json" help:"As JSON: ok, findings (check, about, state, sentence, do, reference), counts."`
	Probe   string `help:"Send six small messages to this address of yours, to see whether the internal server takes bare newlines for an end of message (SMTP smuggling)." placeholder:"ADDRESS"`
	Outside bool   `help:"This is another host than the gateway's: see whether the internal servers turn strangers away."`
}

// Help is shown by --help.
func (doctorCmd) Help() string {
	return "Example:\n  sudo postern doctor -c /etc/postern/postern.yaml\n  postern doctor --outside --domain example.org --upstream 198.51.100.7:25\n\n" +
		"It asks internal servers, DNS, clamd and the running gateway, looks at certificates, clock, disk and permissions, and changes nothing. " +
		"A state is ok, warn (works, should be put right), bad (mail is not taken, gets in past Postern, or your servers can be misused) or unknown. " +
		"Exit code 0 when nothing is bad, 1 otherwise. postern check looks at configuration and rules themselves."
}

// doctorLimit bounds all checks together.
const doctorLimit = 90 * time.Second

// Run looks.
func (c *doctorCmd) Run(out output) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	checks, end, err := c.checks(cfg)
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), doctorLimit)
	defer cancel()
	report := doctor.Run(ctx, checks)
	if c.JSON {
		err = printObject(out.out, report)
	} else {
		printDoctor(out.out, &report)
	}
	if err == nil && !report.OK {
		err = errQuiet
	}
	return err
}

// printDoctor shows a report to a person: what needs nothing on a line, the rest with what to do.
func printDoctor(w io.Writer, r *doctor.Report) {
	for _, f := range r.Findings {
		label := fmt.Sprintf("%-8s %-15s ", f.State, f.Check)
		paragraph(w, label, f.About+": "+f.Sentence)
		if f.State != doctor.Ok && f.Do != "" {
			tail := ""
			if f.Reference != "" {
				tail = " (" + f.Reference + ")"
			}
			paragraph(w, fmt.Sprintf("%-24s → ", ""), f.Do+tail)
		}
	}
	n := r.Counts
	fmt.Fprintf(w, "\n%d ok, %d to put right, %d bad, %d unknown\n", n[doctor.Ok], n[doctor.Warn], n[doctor.Bad], n[doctor.Unknown])
}

// probeAddress is --probe, which has to be in a domain that mail is taken for: nobody else is
// written to.
func (c *doctorCmd) probeAddress(cfg *Config) (mail.Address, error) {
	a, err := mail.ParseAddress(c.Probe, true)
	if err != nil {
		return a, &usageError{fmt.Sprintf("--probe %q: %v", c.Probe, err)}
	}
	ours, err := mail.NewDomainSet(cfg.Domains)
	if err == nil && !ours.Contains(a.Domain) {
		err = &usageError{fmt.Sprintf("--probe %s: its domain is not in domains, and a probe writes to nobody else", c.Probe)}
	}
	return a, err
}
