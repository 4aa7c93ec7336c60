package gateway

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/mail"
)

// Checks of the arguments of effects, done when rules are loaded. Each says what is wrong with
// an argument, "" when nothing is, and what to write.

// checkHeaderName takes a field name (RFC 5322 2.2) of a length that leaves room for a value on
// its line, unless the field decides how a message is read or tells where it came from.
func checkHeaderName(s string) (problem, hint string) {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return fmt.Sprintf("%q is no name for a header field", s), "it has letters, digits and -"
		}
	}
	if s == "" || len(s) > 76 {
		return fmt.Sprintf("a header field has a name of 1 to 76 characters, not %d", len(s)), ""
	}
	lower := strings.ToLower(s)
	for _, fixed := range []string{"from", "received", "mime-version", "authentication-results", "content-"} {
		if lower == fixed || fixed == "content-" && strings.HasPrefix(lower, fixed) {
			return fmt.Sprintf("%s is not for rules to change", s), "it says who wrote a message, how it came or how it is read"
		}
	}
	return "", ""
}

// checkOwnAddress takes addresses in our domains: rules send mail to nobody else.
func checkOwnAddress(ours mail.DomainSet) func(string) (problem, hint string) {
	return func(s string) (string, string) {
		a, err := mail.ParseAddress(s, false)
		switch {
		case err != nil:
			return fmt.Sprintf("%q is no address", s), "write one such as archive@example.org"
		case !ours.Contains(a.Domain):
			return fmt.Sprintf("%s is not in domains", a.Domain), "rules send mail to addresses of ours alone"
		}
		return "", ""
	}
}

const maxCount = 1_000_000

func checkCount(s string) (problem, hint string) {
	if n, err := strconv.Atoi(s); err != nil || n < 1 || n > maxCount {
		return fmt.Sprintf("%q is no number of copies", s), fmt.Sprintf("write one from 1 to %d", maxCount)
	}
	return "", ""
}

const maxSpan = 7 * 24 * time.Hour

func checkSpan(s string) (problem, hint string) {
	if d, err := parseSpan(s); err != nil || d < time.Second || d > maxSpan {
		return fmt.Sprintf("%q is no span of time", s), `write one from 1s to 7d, such as "10m" or "1h"`
	}
	return "", ""
}

// parseSpan reads a span of time; besides what Go reads it knows days.
func parseSpan(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}
