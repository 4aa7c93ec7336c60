#!/bin/sh
# Fills ROOTFS (default: OUT/rootfs) with all that is in the container image: the program, its
# user, trusted certificates, and the empty folders that are mounted over.
#   BINARY  (default: that of release.sh)
set -eu
cd "$(dirname "$0")/.."
out=${OUT:-dist} arch=${ARCH:-amd64}
# shellcheck source=packaging/version.sh
. packaging/version.sh
root=${ROOTFS:-$out/rootfs}
umask 022
rm -rf "$root"
install -D -m 0755 "${BINARY:-$out/postern_${version}_linux_$arch}" "$root/usr/bin/postern"
install -d -m 0755 "$root/etc/postern"
install -d -m 0700 "$root/var/lib/postern"
install -d -m 1777 "$root/tmp"
echo 'postern:x:65532:65532:Postern mail gateway:/var/lib/postern:/nonexistent' >"$root/etc/passwd"
echo 'postern:x:65532:' >"$root/etc/group"
[ "$(id -u)" -ne 0 ] || chown 65532:65532 "$root/var/lib/postern"
for ca in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
	if [ -e "$ca" ]; then
		install -D -m 0644 "$ca" "$root/etc/ssl/certs/ca-certificates.crt"
		break
	fi
done
