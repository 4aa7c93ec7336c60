package doctor

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

// Clock looks at whether something keeps the clock of this host right. DKIM signatures and
// certificates have times in them, and so have retention and the log.
func Clock() Check {
	return Check{Name: "clock", About: "this host", Look: func(context.Context) []Finding {
		var t unix.Timex // Modes 0: nothing is set
		_, err := unix.Adjtimex(&t)
		return clock(t.Status, t.Maxerror, err)
	}}
}

// clock judges what the kernel says (adjtimex(2)).
func clock(status int32, maxError int64, err error) []Finding {
	const do = "run systemd-timesyncd, chrony or ntpd on this host"
	switch {
	case err != nil:
		return []Finding{{State: Unknown, Sentence: "the kernel does not say whether it is set by others: " + err.Error(), Do: do}}
	case status&unix.STA_UNSYNC != 0:
		return []Finding{{State: Warn, Sentence: "nothing keeps it right: signatures that expire, certificates and retention go by it", Do: do}}
	}
	return []Finding{{State: Ok, Sentence: fmt.Sprintf("it is kept right, to within %v", time.Duration(maxError)*time.Microsecond)}}
}

// drift is what two clocks may differ by.
const drift = time.Minute

// tells compares the time in a greeting, which some servers have there, with ours.
func tells(banner string, now time.Time) []Finding {
	said := regexp.MustCompile(`(?:[A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}`).FindString(banner)
	for _, form := range []string{"Mon, 2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 -0700"} {
		at, err := time.Parse(form, said)
		if err != nil {
			continue
		}
		if off := now.Sub(at); off.Abs() > drift {
			return []Finding{{Check: "clock", State: Warn, Sentence: fmt.Sprintf("its clock and ours differ by %v", off.Abs().Round(time.Second)), Do: "find out which is wrong, and have NTP keep both"}}
		}
		return []Finding{{Check: "clock", State: Ok, Sentence: "its clock agrees with ours"}}
	}
	return nil
}
