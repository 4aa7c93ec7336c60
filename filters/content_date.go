package filters

import (
	"net/mail"
	"strings"
	"time"
)

// date reads Date (RFC 5322 3.3, with its obsolete forms).
func (c *collector) date(v string, received time.Time) {
	if v == "" {
		c.flaws.add(dateMissing)
		return
	}
	t, ok := usualDate(v)
	if !ok {
		var err error
		if t, err = mail.ParseDate(v); err != nil || t.Year() < 1900 || t.Year() > 9999 {
			c.flaws.add(dateMalformed)
			return
		}
	}
	c.facts.Date = t.Format(time.RFC3339)
	if !received.IsZero() {
		c.facts.DateSkewSeconds = int(t.Sub(received) / time.Second)
	}
}

// usualDate reads "Tue, 14 Nov 2023 22:13:20 +0000", with or without the weekday and a comment
// at the end; the library tries dozens of layouts one by one.
func usualDate(v string) (time.Time, bool) {
	if i := strings.IndexByte(v, ','); i == 3 {
		v = strings.TrimLeft(v[4:], " ")
	}
	v, _, _ = strings.Cut(v, " (")
	if t, ok := fixedDate(v); ok {
		return t, true
	}
	for _, layout := range [...]string{"2 Jan 2006 15:04:05 -0700", "02 Jan 2006 15:04:05 -0700"} {
		if len(v) == len(layout) {
			t, err := time.Parse(layout, v)
			return t, err == nil && t.Year() >= 1900
		}
	}
	return time.Time{}, false
}

// fixedDate reads "14 Nov 2023 22:13:20 +0000" to the letter, as nearly all of them are written.
func fixedDate(v string) (t time.Time, ok bool) {
	const form = "00 AAA 0000 00:00:00 +0000"
	if len(v) != len(form) {
		return t, false
	}
	for i := range len(form) {
		if digit := v[i] >= '0' && v[i] <= '9'; form[i] == '0' && !digit || strings.IndexByte(" :", form[i]) >= 0 && v[i] != form[i] {
			return t, false
		}
	}
	month := strings.Index(months, v[3:6])
	number := func(i int) int { return int(v[i]-'0')*10 + int(v[i+1]-'0') }
	day, year, hour, minute, second := number(0), 100*number(7)+number(9), number(12), number(15), number(18)
	zone := 60 * (60*number(22) + number(24))
	switch {
	case v[21] == '-':
		zone = -zone
	case v[21] != '+':
		return t, false
	}
	if month < 0 || month%3 != 0 || year < 1900 || hour > 23 || minute > 59 || second > 59 || number(22) > 23 || number(24) > 59 {
		return t, false
	}
	t = time.Date(year, time.Month(1+month/3), day, hour, minute, second, 0, time.FixedZone("", zone))
	return t, t.Day() == day
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"
