#!/bin/sh
# Installs the Debian packages that the tests of real parts need, when their programs are
# missing: ClamAV's scanner, Postfix, swaks with TLS, strace, the browser
# Chromium, 7z. Nothing else on the machine is
# changed: daemons that come along are neither configured nor used; the tests start private
# instances.
set -eu
want=
add() { # PROGRAM PACKAGE
	PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null 2>&1 || want="$want $2"
}
add clamd clamav-daemon
add postfix postfix
add swaks swaks
add strace strace
add chromium chromium
add 7z p7zip-full
perl -MNet::SSLeay -e 1 >/dev/null 2>&1 || want="$want libnet-ssleay-perl" # swaks needs it for STARTTLS
[ -n "$want" ] || exit 0
command="apt-get update && apt-get install --no-install-recommends$want"
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" -ne 0 ]; then
	echo "tests of real parts will be skipped; as root on Debian: $command" >&2
	exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086 # a list of names
if apt-get install -s --no-install-recommends $want | grep -q '^Remv'; then
	echo "installing$want would remove other packages; to do so all the same: $command" >&2
	exit 0
fi
# Keep the packages' own services from starting: nothing here needs them.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap 'rm -f "$policy"' EXIT
fi
# shellcheck disable=SC2086
apt-get install -y -q --no-install-recommends $want
