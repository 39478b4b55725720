#!/usr/bin/env bash
# A disk that fails at the Nth write, sync or rename of an upload, that is
# pulled out from under the process, and one that is full: what is acknowledged
# is there afterwards, the daemon goes on, and a start puts the rest right. The
# same for several boards at once, whose dumps are committed together, also when
# the power goes; and for firmware: an upload that fails half-way gives no device
# another build. On a disk without a block or an inode left, dumps of boards that somebody
# invented with a fleet token give way, and what people remove or revoke is gone.
# Needs $ESPGATE_SHARED_TOOLS (failfs.c, slowsync.c) and root (for small
# filesystems, one of them on a loop device).
set -euo pipefail
cd "$(dirname "$0")/.."
tools=${ESPGATE_SHARED_TOOLS:?the folder with failfs.c and slowsync.c}
for shim in failfs slowsync; do
    [ -f "$tools/$shim.c" ] || { echo "no $tools/$shim.c" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for shim in failfs slowsync; do
    gcc -shared -fPIC -O2 -w -o "$work/$shim.so" "$tools/$shim.c" -ldl -lpthread
done
cargo build -q --locked
espgate=${CARGO_TARGET_DIR:-target}/debug/espgate
python3 .ci/failing_disk.py "$espgate" "$work"
rm -rf "$work/fresh" "$work/data"
python3 .ci/failing_together.py "$espgate" "$work"
rm -rf "$work/fresh" "$work/data"
python3 .ci/failing_firmware.py "$espgate" "$work"
rm -rf "$work/fresh" "$work/data"
python3 .ci/full_disk.py "$espgate" "$work"
