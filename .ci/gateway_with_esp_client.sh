#!/usr/bin/env bash
# Starts a gateway on loopback, registers a model and a device, uploads
# firmware, and lets the ESP32-like client of .ci/esp_client.sh talk to it.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
daemon=
trap '[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true; rm -rf "$work"' EXIT

cargo build -q --locked
espgate=${CARGO_TARGET_DIR:-target}/debug/espgate
export ESPGATE_DATA_DIR=$work/data ESPGATE_CONFIG=$work/espgate.toml
printf '[http]\nlisten = ["127.0.0.1:0"]\n[serial]\ndiscover = "off"\n' >"$ESPGATE_CONFIG"
"$espgate" serve 2>"$work/journal" &
daemon=$!
for _ in $(seq 100); do
    [ -S "$ESPGATE_DATA_DIR/run/control.sock" ] && "$espgate" status >/dev/null 2>&1 && break
    kill -0 "$daemon" || { cat "$work/journal"; exit 1; }
    sleep 0.1
done
port=$(sed 's/.*://' "$ESPGATE_DATA_DIR/run/https-address")

# an image as the checks want it: header, description, nothing else
python3 - "$work/lamp.bin" <<'PY'
import os, struct, sys
image = bytearray(200_000)
image[0], image[12:14] = 0xE9, struct.pack("<H", 0)
image[32:36] = struct.pack("<I", 0xABCD5432)
image[48:53] = b"1.2.3"
image[300:] = os.urandom(len(image) - 300)
open(sys.argv[1], "wb").write(image)
PY
"$espgate" models add lamp
"$espgate" firmware add "$work/lamp.bin" --model lamp
token=$("$espgate" devices add k1 --model lamp --json | jq -r .token)

# the certificate's names are DNS names: localhost is one of them
ESPGATE_EXPECT_FIRMWARE=$work/lamp.bin .ci/esp_client.sh localhost "$port" "$ESPGATE_DATA_DIR/tls/ca.pem" \
    "$ESPGATE_SHARED_DATA/coredumps/cases/esp32.raw" "" "$token"
"$espgate" coredumps list
[ "$("$espgate" coredumps list --json | jq '.coredumps | length')" = 1 ]
kill "$daemon"
wait "$daemon"
daemon=
