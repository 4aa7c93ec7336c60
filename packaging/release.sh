#!/bin/sh
# Builds what is released into OUT (default: dist): the static program, its bill of materials, what
# it was made from, and the hashes of all. The same commit and the same toolchain give the same bytes, in whatever
# folder, by whoever.
#   VERSION    of the release (default: from the commit)
#   TOOLCHAIN  Go toolchain, fetched by checksum when it is not the one here; "local" takes that
#   ARCHS      (default: amd64)
#   KEY        an SSH key to sign SHA256SUMS with (ssh-keygen -Y verify checks it)
set -eu
cd "$(dirname "$0")/.."
out=${OUT:-dist}
# shellcheck source=packaging/version.sh
. packaging/version.sh
! git rev-parse -q --verify HEAD >/dev/null 2>&1 || git diff --quiet HEAD || echo "release: what is built is not the commit alone: there are changes beside it" >&2
mkdir -p "$out"
export CGO_ENABLED=0 GOOS=linux GOTOOLCHAIN="${TOOLCHAIN:-$toolchain}" GOFLAGS=
: >"$out/SHA256SUMS.new"
for arch in ${ARCHS:-amd64}; do
	file=postern_${version}_linux_$arch
	# No time zones and no name lookups of the C library: the program needs no other file.
	GOARCH=$arch ${GO:-go} build -trimpath -buildvcs=false -tags timetzdata,netgo,osusergo \
		-ldflags "-s -w -buildid= -X main.release=$version" -o "$out/$file" ./cmd/postern
	${GO:-go} run -trimpath ./cmd/sbom -version "$version" "$out/$file" >"$out/$file.cdx.json"
	${GO:-go} run -trimpath ./cmd/sbom -version "$version" -commit "$commit" "$out/$file" >"$out/$file.provenance.json"
	(cd "$out" && sha256sum "$file" "$file.cdx.json" "$file.provenance.json") >>"$out/SHA256SUMS.new"
done
mv "$out/SHA256SUMS.new" "$out/SHA256SUMS"
[ -z "${KEY:-}" ] || ssh-keygen -q -Y sign -f "$KEY" -n postern "$out/SHA256SUMS"
cat "$out/SHA256SUMS"
