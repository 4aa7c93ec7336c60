#!/bin/bash
# fuzz.sh TIME [PATTERN]: runs every fuzz target of the project for TIME each, one after the
# other, and prints how many inputs each tried, in how long. Fails at the first finding.
set -euo pipefail
time=${1:-30s} pattern=${2:-.}
status=0
for pkg in $(go list ./...); do
	dir=$(go list -f '{{.Dir}}' "$pkg")
	for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go 2>/dev/null | sed 's/^func //' | sort | grep -E "$pattern" || true); do
		begun=$SECONDS failed=no
		out=$(go test "$pkg" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 3s -parallel "${FUZZ_PARALLEL:-$(nproc)}" 2>&1) || failed=yes
		# Before 1.27 Go may call the end of the time a failure, without an input (golang/go#75804).
		if [[ $failed == yes ]] && { [[ $out == *'Failing input'* ]] || [[ $out != *'context deadline exceeded'* ]]; }; then
			echo "$pkg $target: FAILED"
			tail -40 <<<"$out"
			status=1
		else
			echo "$pkg $target: $(grep -oE 'execs: [0-9]+' <<<"$out" | tail -1) in $((SECONDS - begun)) s"
		fi
	done
done
exit $status
