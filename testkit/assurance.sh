#!/bin/bash
# assurance.sh: the long suites, then all tests, and what they found into docs/assurance.md.
# The counts come from the environment: see the Makefile. SUITE=no leaves the second part out,
# RUNS=REGEXP narrows the first. Fails when a test fails, with the page written all the same.
set -uo pipefail
cd "$(dirname "$0")/.."
results=$(mktemp)
trap 'rm -f "$results"' EXIT
status=0
run() { # PACKAGE TEST FLAG…: alone, since it measures
	[[ $2 =~ ${RUNS:-.} ]] || return 0
	echo "== $2 ${*:3}" >&2
	go test -json "./$1" -run "^$2\$" -count=1 -timeout 120m "${@:3}" >"$results.one" || status=1
	grep -ohE '(assurance: |--- (FAIL|SKIP)|panic: )[^"]*' "$results.one" | sed 's/\\n$//' >&2
	cat "$results.one" >>"$results"
	rm -f "$results.one"
}
run cmd/postern TestD03_Crash -crash.kills="${KILLS:-500}"
run cmd/postern TestS33_NothingIsLeftBehind -leak.messages="${MESSAGES:-100000}"
run cmd/postern TestC23_ReloadUnderLoad -reload.rounds="${RELOADS:-200}"
run cmd/postern TestS30S31_StalledClients -stalled.clients="${STALLED:-1000}"
run cmd/postern TestS36_LargeMessagesAtOnce -big.messages="${BIG:-200}" -big.size=50
run cmd/postern TestC04_WorstCPU -worst.size=256
run cmd/postern TestC04_WorstCPU -worst.size="${WORST:-51100}"
run cmd/postern TestD04_PowerCuts -power.cuts="${CUTS:-70}" -power.messages="${CUT_MESSAGES:-60}"
run cmd/postern TestP05_EveryCallFailsOnce -fault.step="${STEP:-1}" -fault.errors=2
run cmd/postern TestD13_CutsBetweenThe250s -resend.cuts="${RESENDS:-1000}"
run cmd/postern TestD16_NoConnectionIsRefused -restart.count="${RESTARTS:-60}" -restart.every="${EVERY:-10s}"
run cmd/postern TestD14_ClientLeavesAnywhere -leaving.offsets="${OFFSETS:-1000}"
run cmd/postern TestS35_SlowScanner -busy.messages="${BUSY:-2000}" -busy.scan=1s
run cmd/postern TestP11_Exim -interop
run cmd/postern TestP11_OpenSMTPD -interop
if [ "${SUITE:-yes}" != no ]; then
	echo "== all tests" >&2
	go test -json -timeout 30m ./... >"$results.all" || status=1
	sed 's/assurance: //' "$results.all" >>"$results" # figures are those of the long runs
	rm -f "$results.all"
	grep -oE '(--- FAIL|panic: )[^"]*' "$results" | sed 's/\\n$//' | sort -u >&2
fi
go test ./cmd/postern -run '^TestAssurancePage$' -count=1 -update \
	-assurance.results "$results" -assurance.commit "$(git rev-parse --short HEAD)" || status=1
exit $status
