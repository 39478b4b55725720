#!/bin/sh
# esptool, unchanged and without its stub, against the simulated board; then
# our own flash read against the same board, with its time.
#
# usage: .ci/esptool.sh
#   ESPTOOL            an esptool to use; unset: one is installed from PyPI
#   ESPTOOL_VERSION    which one to install ("esptool>=5,<6")
#   CARGO_TARGET_DIR   where cargo puts the programs (target)
#   ESPGATE_PROFILE    release or dev (dev)
set -eu

cd "$(dirname "$0")/.."
profile=${ESPGATE_PROFILE:-dev}
programs=${CARGO_TARGET_DIR:-target}/$profile/examples
[ "$profile" = dev ] && programs=${CARGO_TARGET_DIR:-target}/debug/examples
work=$(mktemp -d)
board=
finish() {
    [ -z "$board" ] || kill "$board" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

if [ -z "${ESPTOOL:-}" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install -q --disable-pip-version-check "${ESPTOOL_VERSION:-esptool>=5,<6}"
    ESPTOOL=$work/venv/bin/esptool
fi
cargo build -q --profile "$profile" --example simulated_board --example flash_read

# Plugs a board in; its port is then in $port, its flash in $work/flash.
plug() {
    mkfifo "$work/port"
    "$programs/simulated_board" --save-flash "$work/flash" "$@" >"$work/port" &
    board=$!
    read -r port <"$work/port"
    rm "$work/port"
}

unplug() {
    kill "$board"
    wait "$board" 2>/dev/null || true
    board=
}

# Runs esptool; its report has to have the line $1.
esptool_says() {
    expected=$1
    shift
    "$ESPTOOL" --no-stub --port "$port" "$@" >"$work/report" 2>&1 || {
        cat "$work/report" >&2
        echo "esptool $*: failed on $chip" >&2
        exit 1
    }
    grep -q "$expected" "$work/report" || {
        cat "$work/report" >&2
        echo "esptool $*: no '$expected' from $chip" >&2
        exit 1
    }
}

# Bytes $2..$2+$3 of the flash have to be the file $1.
same() {
    tail -c "+$(($2 + 1))" "$work/flash" | head -c "$(($3))" | cmp - "$1"
}

for chip in esp32 esp32s2 esp32c3; do
    plug --chip "$chip" --mac 30aea44b417c --dump-size 65536
    esptool_says 'Detected flash size: 4MB' flash-id
    esptool_says 'MAC: *30:ae:a4:4b:41:7c' read-mac
    esptool_says 'Read 3072 bytes' read-flash 0x8000 0xC00 "$work/table"
    same "$work/table" 0x8000 0xC00
    esptool_says 'Read 10000 bytes' --baud 921600 read-flash 0x110000 10000 "$work/read"
    same "$work/read" 0x110000 10000
    # a fresh board: esptool leaves this one at its own speed until it tires of waiting
    unplug
    plug --chip "$chip" --mac 30aea44b417c --dump-size 65536
    "$programs/flash_read" "$port" "$work/dump"
    same "$work/dump" 0x110000 0x10000
    unplug
    echo "$chip: esptool and we read the same"
done

# A board in secure download mode: esptool has to see it as one, too.
chip=esp32c3
plug --chip "$chip" --secure-download
"$ESPTOOL" --no-stub --port "$port" read-flash 0x8000 0xC00 "$work/table" >"$work/report" 2>&1 && {
    echo "esptool read flash in secure download mode" >&2
    exit 1
}
grep -q 'Secure Download Mode' "$work/report" || { cat "$work/report" >&2; exit 1; }
unplug

# As fast as a real line: 921,600 baud, 1 ms from request to answer. The best
# of three, since the time of a busy machine says nothing about us.
chip=esp32
for attempt in 1 2 3; do
    plug --chip "$chip" --paced --turnaround 1 --dump-size 65536
    "$programs/flash_read" "$port" "$work/dump" | tee "$work/time"
    unplug
    seconds=$(sed -n 's/.*: \([0-9]*\)\.[0-9]* s, .*/\1/p' "$work/time")
    [ "$seconds" -ge 6 ] || exit 0
done
echo "64 KiB took 6 s or longer" >&2
exit 1
