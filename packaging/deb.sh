#!/bin/sh
# Makes the Debian package from what release.sh has put into OUT (default: dist), with dpkg-deb
# alone. The same input gives the same bytes.
#   ARCH  (default: amd64)
set -eu
cd "$(dirname "$0")/.."
out=${OUT:-dist} arch=${ARCH:-amd64}
# shellcheck source=packaging/version.sh
. packaging/version.sh
binary=${BINARY:-$out/postern_${version}_linux_$arch}
umask 022
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
put() { # MODE FROM TO
	install -D -m "$1" "$2" "$root/$3"
}
put 0755 "$binary" usr/bin/postern
sed -e 's|/usr/local/bin|/usr/bin|g' -e 's|/etc/systemd/system/|/usr/lib/systemd/system/|' postern.service >"$root/unit"
put 0644 "$root/unit" usr/lib/systemd/system/postern.service
rm "$root/unit"
put 0644 postern.socket usr/lib/systemd/system/postern.socket
put 0644 packaging/debian/sysusers.conf usr/lib/sysusers.d/postern.conf
put 0644 packaging/debian/tmpfiles.conf usr/lib/tmpfiles.d/postern.conf
# Without domains and without a server nothing starts: who installs it says them first.
sed -e 's|^domains: |# domains: |' -e 's|^upstream:|# upstream:|' -e 's|^  servers: |#   servers: |' postern.example.yaml >"$root/conf"
put 0644 "$root/conf" etc/postern/postern.yaml
rm "$root/conf"
for page in README.md SECURITY.md postern.example.yaml docs/*.md; do
	put 0644 "$page" "usr/share/doc/postern/$page"
done
[ ! -e "$binary.cdx.json" ] || put 0644 "$binary.cdx.json" usr/share/doc/postern/sbom.cdx.json
mkdir "$root/DEBIAN"
echo /etc/postern/postern.yaml >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
	put 0755 "packaging/debian/$script" "DEBIAN/$script"
done
size=$(cd "$root" && find usr etc -type f -printf '%s\n' | awk '{ n += int(($1 + 1023) / 1024) } END { print n }')
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" packaging/debian/control >"$root/DEBIAN/control"
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
chmod 0755 "$root"
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$out"
dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$root" "$out/postern_${version}_$arch.deb" >&2
