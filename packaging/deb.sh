#!/bin/sh
# Makes the Debian package and prints its path. Needs cargo-deb (cargo install cargo-deb) and dpkg-dev.
set -eu
cd "$(dirname "$0")/.."
cargo build --quiet --release --locked --package buswire
target=${CARGO_TARGET_DIR:-target}
program=$target/release/buswire

generated=packaging/generated
rm -rf "$generated"
"$program" man --to "$generated/man1"
for shell in bash zsh fish; do
    "$program" completions "$shell" > "$generated/buswire.$shell"
done
rm -f "$target"/debian/buswire_*.deb
cargo deb --quiet --package buswire --no-build --output "$target/debian/"
ls "$target"/debian/buswire_*.deb
