# shellcheck shell=bash
# Claims about a machine, tried one after the other; sourced by the scripts that
# have one, which define machine_stop.

passed=0
failed=0

# claim TEXT COMMAND..: runs the command; its output is shown if it fails, and
# the rest of a line `note: ..` of it if it does not.
claim() {
    local text=$1 output note
    shift
    if output=$("$@" 2>&1); then
        passed=$((passed + 1))
        note=$(sed -n 's/^note: //p' <<<"$output" | tail -n 1)
        echo "ok      $text${note:+ ($note)}"
    else
        failed=$((failed + 1))
        echo "FAILED  $text"
        tail -n 25 <<<"$output" | sed 's/^/        /'
    fi
}

# finish: the closing line; fails if a claim did, or if there was none.
finish() {
    machine_stop
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

# give_up TEXT: what cannot be tried is a failure.
give_up() {
    failed=$((failed + 1))
    echo "FAILED  $1"
    finish
    exit 1
}

# wait_until SECONDS COMMAND..: until it succeeds.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "not within its time: $*"; "$@"; return 1; }
        sleep 0.2
    done
}
