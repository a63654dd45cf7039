#!/bin/sh
# Prints what is in the image as CycloneDX 1.5 JSON: the crates that the gateway is made of, with their
# licences and hashes, and the Debian packages beside it. Runs in the build stage of the Dockerfile.
# The argument is a folder with the `status` file of dpkg in the final image.
set -eu
cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --manifest-path gateway/Cargo.toml >&2
# shellcheck disable=SC2016 # The fields are dpkg-query's.
packages='{"type":"library","name":"${Package}","version":"${Version}",
    "purl":"pkg:deb/debian/${Package}@${Version}?arch=${Architecture}"}\n'
dpkg-query --admindir="$1" --show --showformat="$packages" \
    | jq --slurp '.' \
    | jq '.components += $debian[0]' --slurpfile debian /dev/stdin gateway/buswire.cdx.json
