package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRulesFactsTellsOne(t *testing.T) {
	code, out, errs := postern("rules", "facts", "SPF.result")
	want := `SPF
  May the client send for the domain of the envelope sender (SPF, RFC 7208)? Costs: DNS. Known at
  RCPT.

  spf.result  string
      Result for the envelope sender (for an empty one, for postmaster at the EHLO name): none,
      neutral, pass, fail, softfail, temperror or permerror.
      e.g. spf.result in ["fail", "softfail"]

`
	if code != exitDone || out != want || errs != "" {
		t.Errorf("%d, %s%s", code, out, errs)
	}
	if code, out, errs := postern("rules", "facts", "no-such-word"); code != exitFailed || out != "" || !strings.Contains(errs, "shows everything") {
		t.Errorf("%d, %s%s", code, out, errs)
	}
}

func TestRulesFactsAsJSON(t *testing.T) {
	code, out, _ := postern("rules", "facts", "--json")
	var r struct {
		Filters []struct{ Name, Doc, Cost, Known string }
		Facts   []struct {
			Name, Type, Doc, Filter, Cost, Known, Example string
			Values                                        []string
		}
		Functions []struct{ Signature, Example, Result string }
		Effects   []struct{ Usage, Doc string }
	}
	if err := json.Unmarshal([]byte(out), &r); code != exitDone || err != nil {
		t.Fatal(code, err)
	}
	cost, known := map[string]string{}, map[string]string{}
	for _, f := range r.Facts {
		cost[f.Filter], known[f.Name] = f.Cost, f.Known
		if f.Name == "dmarc.policy" && strings.Join(f.Values, " ") != "none quarantine reject" {
			t.Error(f.Values)
		}
	}
	for filter, want := range map[string]string{"client": "free", "spf": "DNS", "content": "body", "lists": "header", "clamav": "scanner", "history": "database"} {
		if cost[filter] != want {
			t.Errorf("%s costs %q, not %q", filter, cost[filter], want)
		}
	}
	for fact, want := range map[string]string{"message.received": "RCPT", "message.size": "end of data", "lists.denied": "RCPT or end of data", "history.known": "RCPT", "dmarc.result": "end of data"} {
		if known[fact] != want {
			t.Errorf("%s is known at %q, not %q", fact, known[fact], want)
		}
	}
	if len(r.Facts) < 150 || len(r.Functions) < 30 || len(r.Effects) < 3 || r.Functions[0].Example == "" || r.Effects[0].Doc == "" {
		t.Errorf("%d facts, %d functions, %d effects", len(r.Facts), len(r.Functions), len(r.Effects))
	}
}
