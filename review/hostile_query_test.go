package review_test

import (
	"errors"
	"strings"
	"testing"

	"postern/review"
)

// W-11: queries built to be too much are refused with words or answered; never an error of ours.
func TestW11_HostileQueries(t *testing.T) {
	b := newBed(t)
	for range 20 {
		b.hold(t, "spam", "ann@example.org")
	}
	rep := strings.Repeat
	for name, q := range map[string]string{
		"nots":         rep("not ", 480) + "seen",
		"parentheses":  rep("(", 950) + "seen" + rep(")", 950),
		"open":         rep("(", 1990),
		"ors":          "seen" + rep(" or seen", 240),
		"ands":         "score > 1" + rep(" and score > 1", 140),
		"words":        rep("a ", 990),
		"one letter":   rep("x", 1990),
		"quotes":       rep(`"`, 1990),
		"stars":        rep("*", 1990),
		"near":         rep("NEAR(", 390),
		"columns":      rep("subject:", 240),
		"minus":        rep("-a ", 660),
		"likes":        `subject contains "` + rep("%_", 900) + `"`,
		"matches":      `subject matches "(a+)+` + rep("(b*)*", 300) + `$"`,
		"big number":   "score > 1e" + rep("9", 300),
		"long ago":     `received > ago("` + rep("9", 300) + `d"`,
		"list":         `class in ["a"` + rep(`,"a"`, 480) + "]",
		"nul":          rep("\x00", 1000),
		"bidi":         rep("\u202e", 600),
		"right to end": "(" + rep("seen or (", 210),
		"ternary":      rep("true ? ", 280) + "seen",
		"calls":        rep("ago(", 480),
		"index":        "rcpt" + rep("[0]", 600),
		"fields":       "rcpt" + rep(".domain", 280),
	} {
		for _, who := range []string{"held", "log"} {
			var err error
			if who == "held" {
				_, err = b.List(t.Context(), ann(), review.Find{Query: q})
			} else {
				_, err = b.Track(t.Context(), operator(), review.Find{Query: q})
			}
			var wrong *review.QueryError
			var input *review.InputError
			if err != nil && !errors.As(err, &wrong) && !errors.As(err, &input) {
				t.Errorf("%s, %s: %v", name, who, err)
			}
		}
	}
}
