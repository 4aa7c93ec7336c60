#!/bin/bash
# assurance.sh: the long suites, make lint, then all tests as make test runs them, and what they
# found into docs/assurance.md. The counts come from the environment: see the Makefile.
# RUNS=REGEXP narrows the long runs and lint; SUITE=quick runs all tests without the race detector,
# SUITE=no leaves them out. FUZZ_RESULTS is a file with what make fuzz printed. Fails when a test
# fails; the page is written all the same, also when it is interrupted. Lines of long runs that
# were not repeated stay.
set -uo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
results=$dir/results
status=0
finish() {
	cat "$dir"/one >>"$results" 2>/dev/null
	go test ./cmd/postern -run '^TestAssurancePage$' -count=1 -update \
		-assurance.results "$results" -assurance.commit "$(git rev-parse --short HEAD)" &&
		rm -rf "$dir" || { status=1; echo "the page is not written; the results are in $results" >&2; }
	exit $status
}
trap finish EXIT
trap 'status=130; exit' INT TERM
wanted() { [[ $1 =~ ${RUNS:-.} ]]; }
run() { # PACKAGE TEST FLAG…: alone, since it measures
	wanted "$2" || return 0
	echo "== $2 ${*:3}" >&2
	go test -json "./$1" -run "^$2\$" -count=1 -timeout 120m "${@:3}" >"$dir/one" || status=1
	grep -ohE '(assurance: |--- (FAIL|SKIP)|panic: )[^"]*' "$dir/one" | sed 's/\\n$//' >&2
	cat "$dir/one" >>"$results"
	rm "$dir/one"
}
note() { # NAME pass|fail|skip WHAT: the result of what is no Go test
	printf '{"Action":"output","Test":"%s","Output":"assurance: %s"}\n{"Action":"%s","Test":"%s"}\n' "$1" "$3" "$2" "$1" >>"$results"
	echo "== $1: $2, $3" >&2
}
lint() {
	echo "== make lint" >&2
	local clean=pass
	make lint >"$dir/lint" 2>&1 || { clean=fail; status=1; tail -20 "$dir/lint" >&2; }
	note "make lint" $clean "vet, staticcheck, formatting, modules; gosec and govulncheck have their own lines"
	for tool in gosec govulncheck; do
		if grep -q "^$tool: .*not checked" "$dir/lint"; then note $tool skip "$(sed -n "s/^$tool: \(.*not checked\)$/\1/p" "$dir/lint")"
		elif [ $clean = pass ]; then note $tool pass "no finding"; fi
	done
}
fuzzed() { # what make fuzz printed, of one run or several, the last result of a target counting
	awk '$2 !~ /^Fuzz/ { next } { last[$1 $2] = $3 } $3 == "FAILED" { found++ }
	$3 == "execs:" { inputs += $4; seconds += $6 }
	END { for (t in last) { targets++; if (last[t] == "FAILED") open++ }
		printf "%d targets, %.0f min in all, %d inputs, %d findings, %d of them open\n", targets, seconds / 60, inputs, found, open
		exit open > 0 }' "$1" >"$dir/fuzzed" && note "make fuzz" pass "$(cat "$dir/fuzzed")" ||
		{ note "make fuzz" fail "$(cat "$dir/fuzzed")"; status=1; }
}
run cmd/postern TestD03_Crash -crash.kills="${KILLS:-500}"
run cmd/postern TestS33_NothingIsLeftBehind -leak.messages="${MESSAGES:-100000}"
run cmd/postern TestC23_ReloadUnderLoad -reload.rounds="${RELOADS:-320}" # 5 of 8 are faulty: 200
run cmd/postern TestS30S31_StalledClients -stalled.clients="${STALLED:-1000}"
run cmd/postern TestS36_LargeMessagesAtOnce -big.messages="${BIG:-200}" -big.size=50
run cmd/postern TestC04_WorstCPU -worst.size=256
run cmd/postern TestC04_WorstCPU -worst.size="${WORST:-51100}"
run cmd/postern TestD04_PowerCuts -power.cuts="${CUTS:-70}" -power.messages="${CUT_MESSAGES:-60}" # each in 3 ways: 210
run cmd/postern TestP05_EveryCallFailsOnce -fault.step="${STEP:-1}" -fault.errors=2
run cmd/postern TestD13_CutsBetweenThe250s -resend.cuts="${RESENDS:-1000}"
run cmd/postern TestD16_NoConnectionIsRefused -restart.count="${RESTARTS:-60}" -restart.every="${EVERY:-10s}"
run cmd/postern TestD14_ClientLeavesAnywhere -leaving.offsets="${OFFSETS:-1000}"
run cmd/postern TestS35_SlowScanner -busy.messages="${BUSY:-2000}" -busy.scan=1s
run cmd/postern TestP11_Exim -interop
run cmd/postern TestP11_OpenSMTPD -interop
[ -z "${FUZZ_RESULTS:-}" ] || fuzzed "$FUZZ_RESULTS"
wanted "make lint" && lint
if [ "${SUITE:-yes}" != no ]; then
	echo "== all tests" >&2
	flags=(-race -shuffle=on -pgo=off)
	[ "${SUITE:-yes}" != quick ] || flags=()
	go test -json -timeout 30m "${flags[@]}" ./... >"$dir/all" && passed=pass || { passed=fail; status=1; }
	sed 's/assurance: //' "$dir/all" >>"$results" # figures are those of the long runs
	[ ${#flags[@]} = 0 ] || printf '{"Action":"%s","Test":"make test"}\n' $passed >>"$results"
	grep -oE '(--- FAIL|panic: )[^"]*' "$results" | sed 's/\\n$//' | sort -u >&2
fi
