#!/usr/bin/env bash
# Built for arm64 and run on this machine under qemu-user: the library's tests,
# then one upload over TLS to the daemon.
#
#   .ci/arm64.sh
#
# Needs what packaging/cross-build.sh needs, and qemu-user-static, curl, jq.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in qemu-aarch64-static aarch64-linux-gnu-gcc curl jq; do
    command -v $tool >/dev/null || { echo "arm64: $tool is missing" >&2; exit 1; }
done

packaging/cross-build.sh test --locked --lib
packaging/cross-build.sh build --locked --bin espgate

work=$(mktemp -d)
daemon=""
cleanup() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

espgate() {
    qemu-aarch64-static -L /usr/aarch64-linux-gnu \
        target/arm64/aarch64-unknown-linux-gnu/debug/espgate \
        --config "$work/espgate.toml" --data-dir "$work/data" "$@"
}
printf '[http]\nlisten = ["127.0.0.1:0"]\n[serial]\ndiscover = "off"\n' >"$work/espgate.toml"
# Not the function: its shell would be in the way of the signal.
qemu-aarch64-static -L /usr/aarch64-linux-gnu target/arm64/aarch64-unknown-linux-gnu/debug/espgate \
    --config "$work/espgate.toml" --data-dir "$work/data" serve 2>"$work/log" &
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
