#!/usr/bin/env bash
# ELF files made to take the decoder's stack and memory: the dump is read without
# them, within the decoder's limits, and the report says why.
# Needs $ESPGATE_SHARED_TOOLS/hostile.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=${ESPGATE_SHARED_TOOLS:?the folder with hostile/}/hostile
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo build -q --locked
espgate=${CARGO_TARGET_DIR:-target}/debug/espgate
for name in inl20000 manycu2M; do
    gunzip -c "$tools/$name.elf.gz" >"$work/$name.elf"
    "$espgate" decode --json "$tools/$name.raw" --elf "$work/$name.elf" >"$work/report"
    jq -e '.verdict == "valid" and (.problems[0] | startswith("ELF not used: "))
        and (.tasks | length > 0)' "$work/report" >/dev/null ||
        { echo "$name: $(cut -c1-300 "$work/report")" >&2; exit 1; }
    echo "$name: $(jq -r '.problems[0]' "$work/report")"
done
