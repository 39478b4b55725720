# shellcheck shell=bash disable=SC2034
# Starts and stops one throwaway machine in a container; sourced by `run`.
#
# The machine's root is an overlay over the cached one, so every run begins from
# the same state and leaves nothing behind. It shares this kernel: there is no
# udev, no USB and no clock of its own in it.

# machine_start ROOT WORK [SECONDS]: boots; ends by itself after SECONDS.
machine_start() {
    local root=$1 began
    machine_work=$2
    began=$(date +%s%N)
    mkdir -p "$machine_work"/{upper,work,root}
    mount -t overlay overlay \
        -o "lowerdir=$root,upperdir=$machine_work/upper,workdir=$machine_work/work" "$machine_work/root"
    timeout -s TERM -k 20 "${3:-900}" \
        systemd-nspawn --quiet --register=no --keep-unit --private-network --console=pipe \
        --system-call-filter="adjtimex clock_adjtime" \
        -D "$machine_work/root" --boot >"$machine_work/console.log" 2>&1 </dev/null &
    machine_pid=$!
    local nspawn=""
    machine_leader=""
    while [ -z "$machine_leader" ]; do
        kill -0 "$machine_pid" 2>/dev/null || { cat "$machine_work/console.log" >&2; return 1; }
        sleep 0.05
        nspawn=$(pgrep -P "$machine_pid" -x systemd-nspawn) || continue
        machine_leader=$(pgrep -P "$nspawn" -x systemd) || true
    done
    local state=""
    while [ "$state" != running ] && [ "$state" != degraded ]; do
        kill -0 "$machine_pid" 2>/dev/null || { cat "$machine_work/console.log" >&2; return 1; }
        state=$(on_machine systemctl is-system-running --wait 2>/dev/null) || true
    done
    machine_boot_ms=$((($(date +%s%N) - began) / 1000000))
}

# on_machine COMMAND..: runs as root in the machine.
on_machine() {
    nsenter -t "$machine_leader" -m -u -i -p -n -C -r -w -- \
        env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb "$@"
}

# machine_stop: shuts down and removes what the machine wrote.
machine_stop() {
    [ -n "${machine_pid:-}" ] || return 0
    kill -TERM "$machine_pid" 2>/dev/null || true
    wait "$machine_pid" 2>/dev/null || true
    machine_pid=""
    umount "$machine_work/root"
    rm -rf "${machine_work:?}"
}
