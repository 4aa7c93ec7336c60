package rules

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // zones are there without files of the system
)

// days is a set of weekdays, one bit for each.
type days uint8

const allDays = 7

func (d days) has(w time.Weekday) bool { return d&(1<<w) != 0 }

func weekdays() []string { return []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"} }

// parseDays reads "Mon-Fri", "Sat,Sun", "Mon-Wed,Fri"; a range may go round the week's end.
func parseDays(s string) (out days, err error) {
	day := func(s string) (int, error) {
		s = strings.TrimSpace(s)
		for i, name := range weekdays() {
			if strings.EqualFold(s, name) {
				return i, nil
			}
		}
		return 0, &hinted{fmt.Sprintf("%q is no weekday", s), orAll(s, weekdays())}
	}
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := day(first)
		to := from
		if err == nil && isRange {
			to, err = day(last)
		}
		if err != nil {
			return 0, err
		}
		for i := from; ; i = (i + 1) % allDays {
			if out |= 1 << i; i == to {
				break
			}
		}
	}
	return out, nil
}

// parseClock reads a time of day as minutes; 24:00 is the end of the day.
func parseClock(s string) (int, error) {
	if s == "24:00" {
		return 24 * 60, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil || len(s) != 5 {
		return 0, &hinted{fmt.Sprintf("%q is no time of day", s), `write it as "08:00" or "17:30"`}
	}
	return t.Hour()*60 + t.Minute(), nil
}

// prepareBetween checks one argument of between and keeps what it means.
func prepareBetween(c *compiler, i int, arg string) (err error) {
	switch i {
	case 1:
		c.days[arg], err = parseDays(arg)
	case 2, 3:
		c.clocks[arg], err = parseClock(arg)
	case 4:
		var zone *time.Location
		if zone, err = time.LoadLocation(arg); err != nil || arg == "" || strings.EqualFold(arg, "local") {
			return &hinted{fmt.Sprintf("there is no time zone %q", arg), `write UTC, or a name like "Europe/Berlin"`}
		}
		c.zones[arg] = zone
	}
	return err
}

// between tells whether a moment is in [from, to) by the clock of a zone. Where to is not
// after from, the time goes over midnight and belongs to the day on which it began.
func between(t *tables, args []any) (any, error) {
	at, on := args[0].(time.Time), t.days[args[1].(string)]
	from, to := t.clocks[args[2].(string)], t.clocks[args[3].(string)]
	at = at.In(t.zones[args[4].(string)])
	now, today := at.Hour()*60+at.Minute(), at.Weekday()
	if from < to {
		return on.has(today) && from <= now && now < to, nil
	}
	return on.has(today) && now >= from || on.has((today+allDays-1)%allDays) && now < to, nil
}

// age is the time from one moment to another, which is message.received where only one was
// given.
func age(_ *tables, args []any) (any, error) {
	at := args[1].(time.Time)
	switch from := args[0].(type) {
	case time.Time:
		if !from.IsZero() {
			return at.Sub(from), nil
		}
	case string:
		if moment, err := time.Parse(time.RFC3339, from); err == nil {
			return at.Sub(moment), nil
		}
	}
	return time.Duration(0), nil
}

func prepareMoment(_ *compiler, _ int, arg string) error {
	if _, err := time.Parse(time.RFC3339, arg); err != nil {
		return &hinted{fmt.Sprintf("%q is no moment", arg), `write it as "2026-12-01T08:00:00Z"`}
	}
	return nil
}

// errNoClock is said where the facts have no time.
var errNoClock = errors.New("age needs the fact message.received")

// hinted is a mistake in an argument with what may have been meant.
type hinted struct{ msg, hint string }

func (h *hinted) Error() string { return h.msg }
