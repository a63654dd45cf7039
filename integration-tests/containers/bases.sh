#!/usr/bin/env bash
# Makes the base images that the Dockerfile and docker-compose.yml name, under the same names, from
# Debian's packages (debootstrap) and the Rust toolchain of this machine: for machines that reach a
# mirror of Debian and crates.io, but no registry of images. They stand in for the published images
# and are no copies of them. Run as root; an image that is there already is left as it is.
set -euo pipefail

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
root=$(mktemp -d "${TMPDIR:-/tmp}/buswire-bases.XXXXXX")
trap 'rm -rf "$root"' EXIT

# make IMAGE PACKAGES FUNCTION CHANGE…: a Debian with more packages, what FUNCTION adds to the folder
# that it is given, and changes of the image as `docker import --change` takes them.
make() {
    local image=$1 packages=$2 add=$3 changes=()
    if docker image inspect "$image" >/dev/null 2>&1; then return; fi
    for change in "${@:4}"; do changes+=(--change "$change"); done
    echo "making $image"
    debootstrap --variant=minbase ${packages:+--include="$packages"} bookworm "$root/image" "$mirror" \
        >"$root/log" 2>&1 || { tail "$root/log"; exit 1; }
    "$add" "$root/image"
    rm -rf "$root"/image/var/cache/apt/* "$root"/image/var/lib/apt/lists/*
    tar --create --numeric-owner --directory "$root/image" . \
        | docker import "${changes[@]}" - "$image" >/dev/null
    rm -rf "$root/image"
}

nothing() { :; }

rust() {
    local toolchain
    toolchain=$(rustc --print sysroot)
    mkdir -p "$1/usr/local/cargo/bin"
    cp -a "$toolchain/bin/." "$1/usr/local/cargo/bin/"
    cp -a "$toolchain/lib" "$1/usr/local/cargo/"
    # Whatever this machine trusts, crates.io is behind it.
    cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"
}

# Accounts and folders as the published images have them.
redis() { account "$1" redis 999 /data; }
haproxy() { account "$1" haproxy 99 /var/lib/haproxy; }

account() {
    sed -i "/^$2:/d" "$1/etc/passwd" "$1/etc/group"
    echo "$2:x:$3:$3::$4:/usr/sbin/nologin" >>"$1/etc/passwd"
    echo "$2:x:$3:" >>"$1/etc/group"
    mkdir -p "$1$4"
    chown "$3:$3" "$1$4"
}

make debian:bookworm-slim "" nothing 'CMD ["bash"]'
make rust:1.95-bookworm ca-certificates,gcc,g++,make,libc6-dev,pkg-config,git,curl rust \
    'ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    'ENV CARGO_HOME=/usr/local/cargo'
make redis:7-bookworm redis-server,redis-tools redis \
    'WORKDIR /data' 'VOLUME /data' 'CMD ["redis-server"]'
make haproxy:2.6-bookworm haproxy haproxy \
    'USER haproxy' 'CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]'
