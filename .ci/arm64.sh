#!/usr/bin/env bash
# Built for arm64 and run on this machine under qemu-user: the library's tests,
# then the package, and one upload over TLS to the daemon out of it.
#
#   .ci/arm64.sh
#
# Needs root and cargo; installs the tools it needs.
set -euo pipefail
cd "$(dirname "$0")/.."

.ci/need qemu-aarch64-static:qemu-user-static aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu \
    /usr/aarch64-linux-gnu/include/stdio.h:libc6-dev-arm64-cross \
    lintian:lintian readelf:binutils curl:curl jq:jq
command -v cargo-deb >/dev/null || cargo install -q --locked cargo-deb
ESPGATE_CROSS_TOOLS=$(.ci/cache cross)
# The dependencies' parts serve later runs; what gathers is thrown away at times.
CARGO_TARGET_DIR=$(.ci/cache arm64)
[ "$(du -sm "$CARGO_TARGET_DIR" | cut -f1)" -lt 6000 ] || rm -rf "${CARGO_TARGET_DIR:?}"/*
export ESPGATE_CROSS_TOOLS CARGO_TARGET_DIR

# The cache is shared with other clones; what is this project's own is made
# anew, since cargo tells the clones apart by the times of their files only.
packaging/cross-build.sh clean --locked -p espgate
# Two tests ask the kernel what a peer has acknowledged, which qemu-user does not know.
packaging/cross-build.sh test --locked --lib -- --skip http::server::tcp_socket
echo "not tried under qemu-user: http::server::tcp_socket (TCP_INFO)"

packaging/cross-build.sh
deb=$CARGO_TARGET_DIR/aarch64-unknown-linux-gnu/debian/espgate_$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)-1_arm64.deb
.ci/check-deb "$deb"

work=$(mktemp -d)
daemon=""
cleanup() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

dpkg-deb -x "$deb" "$work/package"
program=(qemu-aarch64-static -L /usr/aarch64-linux-gnu "$work/package/usr/bin/espgate")
espgate() {
    "${program[@]}" --config "$work/espgate.toml" --data-dir "$work/data" "$@"
}
printf '[http]\nlisten = ["127.0.0.1:0"]\n[serial]\ndiscover = "off"\n' >"$work/espgate.toml"
# Not the function: its shell would be in the way of the signal.
"${program[@]}" --config "$work/espgate.toml" --data-dir "$work/data" serve 2>"$work/log" &
daemon=$!
for _ in $(seq 150); do
    [ -s "$work/data/run/https-address" ] && break
    kill -0 $daemon || { cat "$work/log"; exit 1; }
    sleep 0.2
done
address=$(head -n 1 "$work/data/run/https-address")

espgate tls ca >"$work/ca.pem"
espgate models add kitchen >/dev/null
token=$(espgate devices add board1 --model kitchen --json | jq -er .token)
head -c 9000 /dev/urandom >"$work/dump"
code=$(curl -sS -m 60 --cacert "$work/ca.pem" -o "$work/answer" -w '%{http_code}' \
    --resolve "espgate.internal:${address##*:}:127.0.0.1" -H "Authorization: Bearer $token" \
    --data-binary "@$work/dump" \
    "https://espgate.internal:${address##*:}/api/iot/coredump?chip=esp32&firmware_version=1.0.0") ||
    { cat "$work/log"; exit 1; }
[ "$code" = 201 ] || { echo "arm64: answered $code"; cat "$work/answer" "$work/log"; exit 1; }
cmp "$work/dump" "$work/data/coredumps/board1/$(jq -er .filename "$work/answer")"
kill -TERM $daemon
wait $daemon || { echo "arm64: the daemon ended with $?"; cat "$work/log"; exit 1; }
daemon=""
echo "arm64: one upload over TLS is stored, the daemon stopped in order"
