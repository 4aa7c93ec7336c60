#!/bin/sh
# Builds the release and the Debian package twice, from copies of the commit in two folders with
# other caches, umasks and time zones, and compares the bytes.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
epoch=$(git log -1 --format=%ct)
commit=$(git rev-parse HEAD)
export COMMIT="$commit"
build() { # FOLDER UMASK ZONE
	mkdir -p "$work/$1"
	git archive HEAD | tar -x -C "$work/$1"
	(umask "$2" && cd "$work/$1" && SOURCE_DATE_EPOCH=$epoch TZ=$3 GOCACHE="$work/cache-$2" packaging/release.sh && SOURCE_DATE_EPOCH=$epoch TZ=$3 packaging/deb.sh) >/dev/null
	(cd "$work/$1/dist" && sha256sum -- *) >"$work/sums-$2"
}
build one 022 UTC
build another/and/longer/path 077 Asia/Kathmandu
diff "$work/sums-022" "$work/sums-077" && echo "the same, twice:" && cat "$work/sums-022"
