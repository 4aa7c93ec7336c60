package gateway

import (
	"fmt"
	"strings"
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
