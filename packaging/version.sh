# Read by the other scripts: version and time of what is built, from the commit, and the toolchain
# that releases are built with (row P-02: no older than the last security fix).
# shellcheck shell=sh disable=SC2034 # they use them
toolchain=go1.26.9
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1767225600)}
export SOURCE_DATE_EPOCH
version=${VERSION:-0.1.$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M)}
commit=${COMMIT:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
