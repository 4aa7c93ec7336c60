package doctor

import (
	"context"
	"fmt"
	"time"

	"postern/filters"
)

// A Clamd is a virus scanner.
type Clamd struct {
	Address   string
	Max       int64  // bytes of the largest message
	OnFailure string // what becomes of mail while none answers
	Ask       func(ctx context.Context, addr string, size int64) (filters.ClamAVCheck, error)
}

// freshSignatures is how old signatures may be (C-16): they come several times a day.
const freshSignatures = 3 * 24 * time.Hour

// Check asks it about itself and has it scan three small samples (C-13, C-16).
func (c *Clamd) Check() Check {
	return Check{Name: "clamd", About: c.Address, Limit: 30 * time.Second, Look: func(ctx context.Context) []Finding {
		found, err := c.Ask(ctx, c.Address, c.Max)
		return c.judge(&found, err, time.Now())
	}}
}

func (c *Clamd) judge(found *filters.ClamAVCheck, err error, now time.Time) (out []Finding) {
	say := func(st State, do, format string, args ...any) {
		out = append(out, Finding{State: st, Sentence: fmt.Sprintf(format, args...), Do: do, Reference: guideClamd})
	}
	if err != nil {
		say(Bad, "start it, or correct clamav.addresses; its socket has to be open to this user", "it gives no answer (%s): while none does, clamav.on_failure is %s", printable(err), c.OnFailure)
		return out
	}
	if !found.Finds {
		say(Bad, "run freshclam, then restart clamd", "it does not find the EICAR test file: it has no signatures, or does not look")
	}
	if age := now.Sub(found.Built); !found.Built.IsZero() && age > freshSignatures {
		say(Warn, "start freshclam (clamav-freshclam.service), and look into its log", "its signatures are %d days old, of %s", int(age.Hours()/24), found.Built.Format(time.DateOnly))
	}
	if !found.Takes {
		say(Warn, fmt.Sprintf("clamd.conf: StreamMaxLength %dM, and MaxFileSize and MaxScanSize no smaller", (c.Max+1<<20-1)>>20),
			"it takes less than the largest message (%d bytes): larger mail is held unscanned", c.Max)
	}
	if found.Takes && found.Alerts && !found.Whole {
		say(Warn, fmt.Sprintf("clamd.conf: MaxFileSize %dM, and MaxScanSize no smaller", (c.Max+1<<20-1)>>20),
			"it scans less than the largest message (%d bytes): larger mail is held, since it gives up", c.Max)
	}
	if !found.Alerts {
		say(Warn, "clamd.conf: AlertExceedsMax yes", "it calls clean what it gave up on, such as an archive nested too deeply")
	}
	if !found.Locked {
		say(Warn, "clamd.conf: AlertEncryptedArchive yes and AlertEncryptedDoc yes, or leave it so: Postern itself looks for encrypted archives, too",
			"it calls an encrypted archive clean, though it cannot look inside")
	}
	if len(out) == 0 {
		say(Ok, "", "%s; it finds the test file and tells of what it could not look into", found.Version)
	}
	return out
}

// NoScanner is the finding of a gateway without one.
func NoScanner() Check {
	return Check{Name: "clamd", About: "clamav.addresses", Look: func(context.Context) []Finding {
		return []Finding{{State: Warn, Sentence: "there is no virus scanner: rules that name it are skipped", Do: "install clamav-daemon and name its socket (clamav.addresses)", Reference: guideClamd}}
	}}
}
