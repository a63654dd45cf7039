#!/bin/sh
# Checks the Debian package whole, which takes minutes, root and the network; what takes seconds is checked
# by the tests of the gateway. Makes the package, runs lintian, installs it in a new Debian, starts the
# gateway as its unit does, asks it how it is, and removes it again.
#
# Needs cargo-deb, dpkg-dev, lintian, debootstrap and systemd.
set -eu
cd "$(dirname "$0")/.."
package=$(packaging/deb.sh)
lintian --fail-on error,warning "$package"
systemd-analyze security --offline=true --threshold=20 packaging/buswire.service | tail -1

system=$(mktemp -d)
trap 'umount "$system/proc" 2> /dev/null || true; rm -rf --one-file-system "$system"' EXIT
debootstrap --variant=minbase --include=systemd,ca-certificates bookworm "$system" > /dev/null
mount -t proc proc "$system/proc"
cp "$package" "$system/tmp/buswire.deb"
inside() { chroot "$system" "$@"; }
inside apt-get install -qq -y --no-install-recommends /tmp/buswire.deb > /dev/null

inside systemd-tmpfiles --create buswire.conf

# What StateDirectory= does.
inside install -d -m 0700 -o buswire -g buswire /var/lib/buswire
start=$(sed -n 's/^ExecStart=//p' packaging/buswire.service)
for listener in http admin ops; do
    start="$start --set $listener.listen=127.0.0.1:0"
done
# shellcheck disable=SC2086 # The words of the command line.
chroot "$system" setpriv --reuid buswire --regid buswire --clear-groups -- \
    $start --set 'mdp.listen=["tcp://127.0.0.1:0"]' --ready-file /tmp/ready > "$system/tmp/log" 2>&1 &
gateway=$!
tries=0
until [ -s "$system/tmp/ready" ]; do
    tries=$((tries + 1))
    kill -0 "$gateway" && [ "$tries" -lt 300 ] || { cat "$system/tmp/log"; exit 1; }
    sleep 0.1
done
BUSWIRE_ADMIN=http://$(sed 's/.*"admin":"\([^"]*\)".*/\1/' "$system/tmp/ready")
export BUSWIRE_ADMIN
inside buswire status
inside buswire bus create shop.example
inside stat -c '%A %U:%G %n' /etc/buswire/buswire.toml /var/lib/buswire/admin.token
kill "$gateway"
wait "$gateway"
inside apt-get purge -qq -y buswire > /dev/null
[ ! -e "$system/var/lib/buswire" ] && [ ! -e "$system/etc/buswire" ]
echo "the package is good: $package"
