package rules

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestBetween(t *testing.T) {
	for _, c := range []struct {
		at, args string
		want     bool
	}{
		// 2026-12-01 is a Tuesday; Berlin is an hour ahead of UTC in winter, two in summer.
		{"2026-12-01T07:00:00Z", `"Mon-Fri", "08:00", "18:00", "Europe/Berlin"`, true},
		{"2026-12-01T06:59:59Z", `"Mon-Fri", "08:00", "18:00", "Europe/Berlin"`, false},
		{"2026-12-01T16:59:59Z", `"Mon-Fri", "08:00", "18:00", "Europe/Berlin"`, true},
		{"2026-12-01T17:00:00Z", `"Mon-Fri", "08:00", "18:00", "Europe/Berlin"`, false},
		{"2026-07-01T06:00:00Z", `"Mon-Fri", "08:00", "18:00", "Europe/Berlin"`, true},
		{"2026-12-05T12:00:00Z", `"Mon-Fri", "08:00", "18:00", "Europe/Berlin"`, false},
		{"2026-12-05T12:00:00Z", `"sat,Sun", "00:00", "24:00", "UTC"`, true},
		{"2026-12-05T23:59:59Z", `"Sat", "00:00", "24:00", "UTC"`, true},
		{"2026-12-06T00:00:00Z", `"Sat", "00:00", "24:00", "UTC"`, false},
		{"2026-12-05T23:30:00Z", `"Sun", "00:00", "01:00", "Europe/Berlin"`, true}, // Sunday there
		{"2026-12-06T12:00:00Z", `"Fri-Mon", "08:00", "18:00", "UTC"`, true},
		{"2026-12-02T12:00:00Z", `"Fri-Mon, Wed", "08:00", "18:00", "UTC"`, true},
		{"2026-12-03T12:00:00Z", `"Fri-Mon, Wed", "08:00", "18:00", "UTC"`, false},
		{"2026-12-04T23:00:00Z", `"Mon-Fri", "22:00", "06:00", "UTC"`, true}, // Friday's night
		{"2026-12-05T05:59:00Z", `"Mon-Fri", "22:00", "06:00", "UTC"`, true}, // still
		{"2026-12-05T06:00:00Z", `"Mon-Fri", "22:00", "06:00", "UTC"`, false},
		{"2026-12-07T05:00:00Z", `"Mon-Fri", "22:00", "06:00", "UTC"`, false},       // Sunday's
		{"2026-03-29T01:30:00Z", `"Sun", "03:00", "04:00", "Europe/Berlin"`, true},  // the hour that is left out
		{"2026-10-25T00:30:00Z", `"Sun", "02:00", "03:00", "Europe/Berlin"`, true},  // the hour that
		{"2026-10-25T01:30:00Z", `"Sun", "02:00", "03:00", "Europe/Berlin"`, true},  // comes twice
		{"2026-12-01T00:30:00Z", `"Tue", "06:00", "07:00", "Asia/Kathmandu"`, true}, // 5:45 ahead
	} {
		p := compile(t, rulesOf("name: a\n    do: discard\n    when: |\n      between(message.received, "+c.args+")"))
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if v := decide(t, p, factMap{"message": messageFacts{Received: at}}); (v.Do == Discard) != c.want {
			t.Errorf("%s between %s: %v", c.at, c.args, v.Do)
		}
	}
}

func TestAge(t *testing.T) {
	at := time.Date(2026, 12, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	for expr, want := range map[string]string{
		`age(client.helo)`: "1h0m0s", `age(sender.address)`: "0s", `age(rcpt.address)`: "0s",
		`age(date("2026-12-02T11:00:00Z"))`: "-24h0m0s", `age("2026-11-30T11:00:00Z")`: "24h0m0s",
		`age(message.received)`: "0s",
	} {
		p := compile(t, rulesOf("name: a\n    when: 'true'\n    do: discard\n    because: '{{"+expr+"}}'"))
		v := decide(t, p, factMap{"message": messageFacts{Received: at}, "client": clientFacts{Helo: "2026-12-01T10:00:00Z"}, "sender": addressFacts{Address: "no date"}}.all())
		if v.Because != want {
			t.Errorf("%s is %s, want %s", expr, v.Because, want)
		}
	}
	p := compile(t, rulesOf(`{name: a, when: 'age(client.helo) > duration("1h")', do: discard}`))
	if n := fmt.Sprint(p.Needs()); n != "[client message]" {
		t.Error(n)
	}
	if _, err := Compile(whenRule(`age("2026-12-01T00:00:00Z") > duration("1h")`), Options{Vocabulary: Vocabulary{"client": clientFacts{}}}); err == nil || !strings.Contains(err.Error(), "needs the fact message.received") {
		t.Error(err)
	}
}

// FuzzBetween: no words for days, times and zones do harm.
func FuzzBetween(f *testing.F) {
	f.Add("Mon-Fri", "08:00", "18:00", "Europe/Berlin", int64(1796113800))
	f.Add("Sat-Mon,Wed", "22:00", "06:00", "UTC", int64(-1))
	f.Add("-,", "24:00", "00:60", "../../etc/passwd", int64(1)<<60)
	f.Fuzz(func(t *testing.T, on, from, to, zone string, at int64) {
		c := compiler{tables: newTables()}
		for i, s := range []string{on, from, to, zone} {
			if prepareBetween(&c, i+1, s) != nil {
				return
			}
		}
		if _, err := between(&c.tables, []any{time.Unix(at, 0), on, from, to, zone}); err != nil {
			t.Fatal(err)
		}
	})
}
