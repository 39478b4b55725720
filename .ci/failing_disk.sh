#!/usr/bin/env bash
# A disk that fails at the Nth write, sync or rename of an upload, that is
# pulled out from under the process, and one that is full: what is acknowledged
# is there afterwards, the daemon goes on, and a start puts the rest right. The
# same for firmware: an upload that fails half-way gives no device another build.
# Needs $ESPGATE_SHARED_TOOLS (failfs.c) and root (for a small filesystem).
set -euo pipefail
cd "$(dirname "$0")/.."
shim=${ESPGATE_SHARED_TOOLS:?the folder with failfs.c}/failfs.c
[ -f "$shim" ] || { echo "no $shim" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

gcc -shared -fPIC -O2 -w -o "$work/failfs.so" "$shim" -ldl
cargo build -q --locked
espgate=${CARGO_TARGET_DIR:-target}/debug/espgate
python3 .ci/failing_disk.py "$espgate" "$work"
rm -rf "$work/fresh" "$work/data"
python3 .ci/failing_firmware.py "$espgate" "$work"
