package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// requiredRows are what the scenario pages have to show: the table of mixed verdicts (design),
// the traps and findings of go-smtp (T, F), the failure matrix of the internal server (4.3) and
// the rows of the requirements. issue: rows are behaviours that have no number.
const requiredRows = `
mixed:defer mixed:reject mixed:reject-others mixed:deliver-quarantine mixed:quarantine mixed:discard
mixed:discard-others mixed:groups-route mixed:groups-effects mixed:groups-refused-before mixed:groups-refused-after mixed:split
T1 T2 T3 T4 T5 T6 T7 T8
F1 F2 F3 F4 F5 F6 F7 F8 F9 F10
4.3:refuses-connection 4.3:ehlo-5xx 4.3:mail-refused 4.3:some-rcpt 4.3:all-rcpt 4.3:rcpt-after-data 4.3:data-refused
4.3:stalls 4.3:closes-mid-data 4.3:closes-after-dot 4.3:refused-after-dot 4.3:too-late 4.3:bad-replies 4.3:wrong-codes
4.3:injected-text 4.3:dies-while-idle
S-01 S-02 S-03 S-04 S-05 S-14 S-16 S-17 S-18 S-20 S-40 S-41 S-42 S-50
S-10 S-11 S-12 S-13 S-15 S-19 S-25 S-26 S-27 S-28 S-33 S-44 S-45 S-46 S-47 S-48 S-49 S-51
C-03 C-04 C-10 C-11 C-12 C-13 C-23 C-37
A-01 A-32 A-33 A-40 A-41
D-02 D-06 D-15
issue:unknown-recipient issue:reload-bad issue:reload issue:no-domains issue:per-recipient issue:effects issue:discard
issue:gtube issue:executable issue:dmarc-reject issue:dmarc-quarantine issue:dmarc-temperror issue:clamd-restart
issue:redirect issue:bcc issue:route issue:throttle issue:injection issue:strip issue:banner issue:notify
issue:shadow issue:replay issue:explain issue:unknown issue:because
issue:flow issue:inner-text issue:fail-over issue:xforward issue:trusted-relays
issue:history issue:greylist issue:list-deny issue:list-scope issue:list-expiry issue:list-allow issue:list-network`

// provenByGo names Go tests where a page does not fit: what is measured, what needs a double of
// the disk, what depends on the segments of a stream.
var provenByGo = map[string][]string{ // a constant table
	"C-04":             {"filters.TestC04_HostileBodies"},
	"C-03":             {"filters.TestC03_LimitsAreToldNeverSkipped", "filters.TestC03_MemoryIsBounded"},
	"D-06":             {"gateway.TestD06_NoRoomForTheMessage", "quarantine.TestD06_RealFullDisk", "cmd/postern.TestD06_FullDisk"},
	"F8":               {"filters.TestC10_OnlyAnExplicitOKIsClean"},
	"F9":               {"filters.TestA15_ManySignatures", "filters.TestA04_MalformedHeaderNeverPasses", "filters.TestA31_RecordTolerance"},
	"F10":              {"rules.TestF10_NoExpressionCanRunAway"},
	"S-11":             {"gateway.TestS11_DataBefore354", "gateway.TestS11_DataBefore354InOneRecord"},
	"S-19":             {"gateway.TestS19_OptionsThatTheInternalServerLacksAreRefused", "gateway.TestS19_ParametersArePassedOn"},
	"S-41":             {"mail.TestS41_GeneratedMailboxes", "gateway.TestS41_AddressesArriveAsTheSameMailbox"},
	"T7":               {"gateway.TestD15_Stop", "gateway.TestPanicsAreContained"},
	"issue:no-domains": {"cmd/postern.TestNoDomainsNoStart"},
}

func TestScenarioRowsAreProven(t *testing.T) {
	required := strings.Fields(requiredRows)
	shown := map[string]bool{}
	for _, p := range readPages(t) {
		if len(p.rows) == 0 {
			t.Errorf("%s: its comment does not begin with rows:", p.name)
		}
		for _, r := range p.rows {
			shown[r] = true
			if (strings.Contains(r, ":") || r[0] == 'T' || r[0] == 'F') && !slices.Contains(required, r) {
				t.Errorf("%s: there is no row %s", p.name, r)
			}
		}
	}
	tests := map[string]map[string]bool{}
	for row, names := range provenByGo {
		for _, n := range names {
			room, name, _ := strings.Cut(n, ".")
			if tests[room] == nil {
				tests[room] = testsOf(t, room)
			}
			if !tests[room][name] {
				t.Errorf("%s: there is no test %s", row, n)
			}
			shown[row] = true
		}
	}
	for _, r := range required {
		if !shown[r] {
			t.Errorf("row %s has neither a page nor a Go test", r)
		}
	}
}

// testsOf lists the test functions of a package by reading its files.
func testsOf(t *testing.T, room string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", room, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				out[fn.Name.Name] = true
			}
		}
	}
	return out
}

// Without domains the program would be an open relay: it does not start, and says what to do.
func TestNoDomainsNoStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "postern.yaml")
	text := "hostname: mx.example.org\nupstream: {servers: [\"127.0.0.1:25\"]}\ndata: data\nadmin: \"\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	if code := run([]string{"serve", "-c", file, "--listen", "127.0.0.1:0"}, &out, &errs); code != 1 || !strings.Contains(errs.String(), "--domain example.org") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}
