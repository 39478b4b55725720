# shellcheck shell=bash disable=SC2034,SC2154,SC2013,SC2016,SC2317,SC2329
# What the package promises, in the order in which it is tried; sourced by
# `run`. A function's name is the claim, its output is shown if it fails.
# Commands between on_machine and the end of the line run in the machine.

claims=(
    the_package_is_clean_small_and_needs_only_the_c_library
    the_previous_package_installs
    both_units_are_enabled_and_running
    a_dump_over_tls_is_stored
    an_upgrade_under_load_refuses_and_loses_nothing
    an_upgrade_keeps_dumps_and_the_edited_configuration
    the_port_and_the_files_belong_to_the_daemon
    the_status_line_says_something
    manual_pages_and_completions_work
    hardening_is_in_force
    the_security_figure_is_at_most_2_0
    every_remaining_exposure_is_explained
    the_clock_can_be_asked_under_the_syscall_filter
    a_real_dump_is_decoded_by_the_hardened_child
    the_journal_tells_the_story_of_a_device
    the_catalog_explains_entries
    a_reload_takes_a_new_configuration
    a_faulty_configuration_is_refused_on_reload
    twenty_restarts_under_load_refuse_and_lose_nothing
    a_hung_daemon_is_restarted
    a_daemon_that_cannot_start_leaves_clients_waiting
    slow_readers_and_slow_uploads_stay_below_the_memory_limit
    a_disk_that_becomes_read_only_is_told_and_loses_nothing
    stopping_both_units_closes_the_port
    a_connection_starts_the_daemon
    removing_the_package_keeps_data_and_configuration
    installing_again_goes_on_with_the_data
    purging_removes_everything
)

# One request to the gateway, over TLS with the site's CA: request PATH [CURL OPTIONS]
request() {
    local path=$1
    shift
    on_machine curl -sS -m 60 --cacert /root/ca.pem "$@" "https://localhost:8443$path"
}

# apt, without a question: an edited espgate.toml is kept, as a technician would.
install="env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y -o Dpkg::Options::=--force-confold"

# as_older_version FROM TO FOLDER: the same package under a lower version.
as_older_version() {
    dpkg-deb -R "$1" "$3" && sed -i 's/^Version: .*/Version: 0.0.1-1/' "$3/DEBIAN/control" &&
        dpkg-deb --root-owner-group -Zgzip -b "$3" "$2" >&2 && rm -rf "$3"
}

property() {
    on_machine systemctl show -P "$1" "${2:-espgate.service}"
}

main_pid() {
    property MainPID
}

the_package_is_clean_small_and_needs_only_the_c_library() {
    .ci/check-deb "$deb"
}

the_previous_package_installs() {
    on_machine apt-get install -qq -y /root/old.deb
}

both_units_are_enabled_and_running() {
    on_machine systemctl is-enabled espgate.service espgate.socket &&
        on_machine systemctl is-active espgate.service espgate.socket
}

a_dump_over_tls_is_stored() {
    on_machine sh -ec '
        espgate tls ca >/root/ca.pem
        espgate models add kitchen
        espgate devices add board1 --model kitchen --json | jq -er .token >/root/token
        head -c 3000 /dev/urandom >/root/dump
        code=$(curl -sS --cacert /root/ca.pem -o /root/answer -w "%{http_code}" \
            -H "Authorization: Bearer $(cat /root/token)" -H "Content-Type: application/octet-stream" \
            --data-binary @/root/dump "https://localhost:8443/api/iot/coredump?chip=esp32&firmware_version=1.0.0")
        cat /root/answer
        test "$code" = 201
        cmp /root/dump "/var/lib/espgate/coredumps/board1/$(jq -er .filename /root/answer)"'
}

an_upgrade_under_load_refuses_and_loses_nothing() {
    # Loads keep more than a device's usual hundred, and count every one.
    on_machine sed -i 's/^keep_per_device = .*/keep_per_device = 100000/' /etc/espgate/espgate.toml &&
        on_machine systemctl reload espgate.service &&
        on_machine load "$install /root/new.deb; sleep 1" &&
        on_machine check-load
}

an_upgrade_keeps_dumps_and_the_edited_configuration() {
    on_machine sh -ec '
        cmp /root/dump "/var/lib/espgate/coredumps/board1/$(jq -er .filename /root/answer)"
        grep -x "keep_per_device = 100000" /etc/espgate/espgate.toml
        dpkg-query -W -f "\${Version}\n\${Conffiles}\n" espgate | tee /dev/stderr | grep -q /etc/espgate/espgate.toml
        test "$(dpkg-query -W -f "\${Version}" espgate)" != 0.0.1-1
        systemctl is-active espgate.service espgate.socket
        espgate coredumps list --json | jq -e ".coredumps | length > 1"'
}

the_port_and_the_files_belong_to_the_daemon() {
    on_machine sh -ec '
        expect() { test "$(stat -c "%a %U:%G" "$1")" = "$2" || { stat "$1"; exit 1; }; }
        expect /var/lib/espgate "750 espgate:espgate"
        expect /var/lib/espgate/state "700 espgate:espgate"
        expect /var/lib/espgate/tls "700 espgate:espgate"
        expect /run/espgate/control.sock "660 espgate:espgate"
        expect /etc/espgate/espgate.toml "644 root:root"
        id -nG espgate | grep -qw espgate'
}

the_status_line_says_something() {
    says_how_it_is() { property StatusText | tee /dev/stderr | grep -q ' ports, .* dumps (.* disk free'; }
    wait_until 30 says_how_it_is && echo "note: $(property StatusText)"
}

manual_pages_and_completions_work() {
    on_machine sh -ec '
        man espgate | grep -q "espgate coredumps list"
        man 5 espgate.toml | grep -q keep_per_device
        bash -ec ". /usr/share/bash-completion/completions/espgate; complete -p espgate"
        test -s /usr/share/zsh/vendor-completions/_espgate
        test -s /usr/share/fish/vendor_completions.d/espgate.fish'
}

hardening_is_in_force() {
    on_machine sh -ec '
        pid=$(systemctl show -P MainPID espgate.service)
        grep -E "^(Uid|CapBnd|CapEff|NoNewPrivs|Seccomp):" /proc/$pid/status
        grep -qP "^CapBnd:\t0+$" /proc/$pid/status
        grep -qP "^CapEff:\t0+$" /proc/$pid/status
        grep -qP "^NoNewPrivs:\t1$" /proc/$pid/status
        grep -qP "^Seccomp:\t2$" /proc/$pid/status
        grep -P "^Groups:.*\b$(getent group dialout | cut -d: -f3)\b" /proc/$pid/status
        ! nsenter -t $pid -m -- touch /usr/bin/espgate
        ! nsenter -t $pid -m -- ls /root/token
        nsenter -t $pid -m -- test -w /var/lib/espgate'
}

the_security_figure_is_at_most_2_0() {
    on_machine systemd-analyze security --no-pager --threshold=20 espgate.service >"$machine_work/security"
    local outcome=$?
    grep '✗' "$machine_work/security"
    sed -n 's/^→ Overall exposure level.*: /note: /p' "$machine_work/security"
    return $outcome
}

# The unit's last comment names each setting that the figure is made of.
every_remaining_exposure_is_explained() {
    local exposures exposure explained
    exposures=$(sed -n 's/^✗ \([^ ]*\) .*/\1/p' "$machine_work/security")
    explained=$(sed -n '/^#.*`systemd-analyze security/,$p' systemd/espgate.service)
    [ -n "$exposures" ] || { echo "no exposure is listed"; return 1; }
    for exposure in $exposures; do
        # FAMILY of RestrictAddressFamilies=~FAMILY, else the setting's name.
        exposure=${exposure##*~}
        grep -qF "${exposure%%=*}" <<<"$explained" || { echo "not explained: $exposure"; return 1; }
    done
    echo "note: $(wc -w <<<"$exposures")"
}

the_clock_can_be_asked_under_the_syscall_filter() {
    # adjtimex is 159 on this architecture; modes = 0 only asks.
    on_machine sh -c 'systemd-run --quiet --wait --pipe -p User=espgate -p NoNewPrivileges=yes \
        -p "SystemCallFilter=$(systemctl show -P SystemCallFilter espgate.service)" \
        -p SystemCallErrorNumber=EPERM -p CapabilityBoundingSet= \
        perl -e "my \$timex = qq(\\0) x 512; exit(syscall(159, \$timex) < 0)"'
}

a_real_dump_is_decoded_by_the_hardened_child() {
    local dump=${ESPGATE_SHARED_DATA:?is not set: the folder with real coredumps}/coredumps/esp32.b64
    base64 -d "$dump" >"$machine_work/root/root/real" || return 1
    request "/api/iot/coredump?chip=esp32&firmware_version=1.0.0" -f -o /root/real.answer \
        -H "Authorization: Bearer $(on_machine cat /root/token)" --data-binary @/root/real || return 1
    is_decoded() {
        on_machine sh -c 'espgate coredumps show --json "$(jq -er .coredump_id /root/real.answer)" |
            tee /root/report | jq -e ".verdict == \"valid\" and .crashed_task.name == \"main\""'
    }
    # The first word of the child about what it could not do is in the journal.
    wait_until 30 is_decoded || { on_machine journalctl -u espgate.service -n 5 --no-pager; return 1; }
}

the_journal_tells_the_story_of_a_device() {
    on_machine sh -ec '
        id=$(jq -er .coredump_id /root/answer)
        journalctl -o json DEVICE_KEY=board1 COREDUMP_ID=$id >/tmp/story
        jq -er "select(.MESSAGE_ID and ._SYSTEMD_UNIT == \"espgate.service\") | [.PRIORITY, .MESSAGE_ID, .MESSAGE] | @tsv" /tmp/story
        jq -se "map(select(.DEVICE_KEY == \"board1\" and .MODEL_CODE == \"kitchen\" and .FIRMWARE_VERSION == \"1.0.0\")) | length > 0" /tmp/story
        ! journalctl -u espgate.service -o json | grep -F "$(cut -d_ -f3 /root/token)"'
}

the_catalog_explains_entries() {
    on_machine journalctl --list-catalog >"$machine_work/catalog" || return 1
    local id
    for id in $(sed -n 's/^-- //p' systemd/espgate.catalog); do
        grep -q "^$id espgate" "$machine_work/catalog" || { echo "not compiled: $id"; return 1; }
    done
    on_machine journalctl -x -u espgate.service --no-pager >"$machine_work/explained"
    # of CoredumpUnrecognised
    grep -F "$(grep -A1 '^-- 0c28cec1b94742afa4b936976b4b76b0' systemd/espgate.catalog | sed -n 's/^Subject: /Subject: /p')" \
        "$machine_work/explained"
}

a_reload_takes_a_new_configuration() {
    local pid
    pid=$(main_pid)
    on_machine sed -i 's/^keep_per_device = .*/keep_per_device = 99/' /etc/espgate/espgate.toml &&
        on_machine systemctl reload espgate.service &&
        [ "$(main_pid)" = "$pid" ] &&
        [ "$(property ActiveState)" = active ] &&
        on_machine journalctl -u espgate.service MESSAGE_ID=fab36728a78b4b7e8787c0de2f960063 -n 1 -q | grep .
}

a_faulty_configuration_is_refused_on_reload() {
    local pid
    pid=$(main_pid)
    on_machine sh -ec '
        cp /etc/espgate/espgate.toml /root/good.toml
        sed -i "s/^keep_per_device = .*/keep_per_device = \"many\"/" /etc/espgate/espgate.toml
        ! espgate config check
        systemctl reload espgate.service || true
        systemctl is-active espgate.service
        journalctl -u espgate.service MESSAGE_ID=a712755f6cac44d599d5269512e74f7b -n 1 -q | grep "line [0-9]"
        systemctl show -P StatusText espgate.service | grep degraded
        cp /root/good.toml /etc/espgate/espgate.toml
        systemctl reload espgate.service
        ! systemctl show -P StatusText espgate.service | grep degraded' && [ "$(main_pid)" = "$pid" ]
}

twenty_restarts_under_load_refuse_and_lose_nothing() {
    on_machine load 'for n in $(seq 20); do systemctl restart espgate.service; done' && on_machine check-load
}

a_hung_daemon_is_restarted() {
    local pid
    [ "$(property WatchdogUSec)" = 30s ] || { echo "WatchdogSec is not 30 s"; return 1; }
    # The same with a shorter time, so that this does not last 30 seconds.
    on_machine sh -ec '
        mkdir -p /run/systemd/system/espgate.service.d
        printf "[Service]\nWatchdogSec=4\n" >/run/systemd/system/espgate.service.d/watchdog.conf
        systemctl daemon-reload
        systemctl restart espgate.service'
    pid=$(main_pid)
    # It is fed: nothing happens to a healthy one.
    sleep 6
    [ "$(main_pid)" = "$pid" ] || { echo "a healthy daemon was restarted"; return 1; }
    on_machine kill -STOP "$pid"
    has_restarted() { [ "$(main_pid)" != "$pid" ] && [ "$(property ActiveState)" = active ]; }
    wait_until 40 has_restarted && request /readyz && on_machine journalctl -u espgate.service | grep -i 'watchdog timeout'
    local outcome=$?
    on_machine sh -ec 'rm -r /run/systemd/system/espgate.service.d; systemctl daemon-reload; systemctl restart espgate.service'
    return $outcome
}

a_daemon_that_cannot_start_leaves_clients_waiting() {
    on_machine sh -ec '
        mkdir -p /run/systemd/system/espgate.service.d
        printf "[Service]\nRestartSec=100ms\nExecStartPre=/usr/bin/test ! -e /run/broken\n" \
            >/run/systemd/system/espgate.service.d/restart.conf
        touch /run/broken
        systemctl daemon-reload
        systemctl restart espgate.service || true'
    local before
    before=$(property NRestarts)
    failed_often() { [ "$(property NRestarts)" -ge $((before + 15)) ]; }
    wait_until 60 failed_often || return 1
    [ "$(property ActiveState espgate.socket)" = active ] || { echo "the socket unit gave up"; return 1; }
    request /healthz -o /dev/null -w '%{http_code}' >"$machine_work/late" &
    local waiting=$!
    sleep 1
    kill -0 $waiting || { echo "the client was not left waiting"; return 1; }
    on_machine rm /run/broken
    wait $waiting || return 1
    [ "$(cat "$machine_work/late")" = 200 ] || return 1
    on_machine sh -ec 'rm -r /run/systemd/system/espgate.service.d; systemctl daemon-reload; systemctl restart espgate.service'
}

# What board1 is answered when it uploads so many bytes at random.
upload() {
    head -c "$1" /dev/urandom >"$machine_work/root/root/upload"
    request "/api/iot/coredump?chip=esp32&firmware_version=1.0.0" -o /root/upload.answer -w '%{http_code}' \
        -H "Authorization: Bearer $(on_machine cat /root/token)" --data-binary @/root/upload
}

# hostile TOOL ARGUMENTS..: a client of the shared tools in the machine's network.
hostile() {
    local tool=$1
    shift
    nsenter -t "$machine_leader" -n -- python3 "${ESPGATE_SHARED_TOOLS:?is not set: the folder with hostile/}/hostile/$tool" "$@"
}

# The folder of the daemon's memory control group, with the unit's MemoryMax as its
# limit. Where this machine's systemd cannot have one (this kernel's groups are of
# version 1), the daemon is put into one that is made here.
memory_group() {
    local group limit daemon
    limit=$(property MemoryMax)
    if on_machine test -e "/sys/fs/cgroup$(property ControlGroup)/memory.max"; then
        find /sys/fs/cgroup -path "*$(property ControlGroup)" | head -n 1
        return
    fi
    group=/sys/fs/cgroup/memory/espgate-$machine_leader
    daemon=$(pgrep -P "$machine_leader" -x espgate)
    mkdir -p "$group"
    echo "$limit" >"$group/memory.limit_in_bytes"
    echo 3 >"$group/memory.move_charge_at_immigrate" 2>/dev/null
    echo "$daemon" >"$group/cgroup.procs"
    echo "$group"
}

slow_readers_and_slow_uploads_stay_below_the_memory_limit() {
    local pid group peak readers drip
    python3 .ci/torture.d/application.py $((6 << 20)) >"$machine_work/root/root/slow.bin" || return 1
    on_machine sh -ec '
        cp /etc/espgate/espgate.toml /root/closed.toml
        sed -i "s/^devices = .*/devices = \"open\"/" /etc/espgate/espgate.toml
        grep -x "devices = \"open\"" /etc/espgate/espgate.toml
        systemctl restart espgate.service
        espgate models add slow
        for n in 0 1 2 3 4 5 6 7; do espgate devices add dev$n --model slow >/dev/null; done
        espgate firmware add /root/slow.bin --model slow' || return 1
    [ "$(property MemoryMax)" = $((320 << 20)) ] || { property MemoryMax; return 1; }
    pid=$(main_pid)
    group=$(memory_group) || return 1
    grep -q . "$group/cgroup.procs" || { echo "the daemon is not in $group"; return 1; }
    hostile slow_downloads_memory.py 500 20000 15 8443 self >"$machine_work/readers" &
    readers=$!
    hostile upload_slots_drip.py 8443 15 >/dev/null &
    drip=$!
    sleep 8
    [ "$(upload 100000)" = 201 ] || { cat "$machine_work/root/root/upload.answer"; return 1; }
    wait $readers $drip
    grep '500 conns' "$machine_work/readers" || { cat "$machine_work/readers"; return 1; }
    [ "$(main_pid)" = "$pid" ] || { echo "the daemon was restarted"; return 1; }
    # one of the two is there
    [ "$(grep -hx 'oom_kill 0' "$group/memory.events" "$group/memory.oom_control" 2>/dev/null)" = 'oom_kill 0' ] ||
        { echo "the kernel killed for lack of memory"; return 1; }
    peak=$(cat "$group"/memory.peak "$group"/memory.max_usage_in_bytes 2>/dev/null)
    on_machine sh -ec 'cp /root/closed.toml /etc/espgate/espgate.toml; systemctl restart espgate.service'
    case $group in */memory/espgate-*) rmdir "$group" ;; esac
    echo "note: $((peak >> 20)) of $(($(property MemoryMax) >> 20)) MB"
}

# The data is moved to a disk of its own, which has an error: ext4 is read-only then.
a_disk_that_becomes_read_only_is_told_and_loses_nothing() {
    local disk pid
    truncate -s 256M "$machine_work/data.ext4"
    mkfs.ext4 -q -e remount-ro "$machine_work/data.ext4" || return 1
    disk=$(losetup -f --show "$machine_work/data.ext4") || return 1
    read_only_disk "$disk"
    local outcome=$?
    on_machine sh -c 'systemctl stop espgate.socket espgate.service
        umount /var/lib/espgate; rm -rf /var/lib/espgate
        mv /root/espgate-data /var/lib/espgate
        systemctl start espgate.socket espgate.service'
    losetup -d "$disk"
    return $outcome
}

read_only_disk() {
    local disk=$1 pid
    on_machine sh -ec "
        systemctl stop espgate.socket espgate.service
        mknod /dev/data b $(stat -c '0x%t 0x%T' "$disk" | xargs printf '%d %d')
        cp -a /var/lib/espgate /root/espgate-data
        mount -o errors=remount-ro /dev/data /var/lib/espgate
        cp -a /root/espgate-data/. /var/lib/espgate
        # what the daemon writes itself is on the disk, this copy may not be
        sync
        systemctl start espgate.socket espgate.service" || return 1
    [ "$(upload 3000)" = 201 ] || { echo "no upload before the error"; return 1; }
    on_machine cp /root/upload /root/upload.kept
    on_machine cp /root/upload.answer /root/kept.answer
    pid=$(main_pid)
    echo 1 >"/sys/fs/ext4/${disk##*/}/trigger_fs_error"
    [ "$(upload 3000)" = 507 ] || { cat "$machine_work/root/root/upload.answer"; return 1; }
    [ "$(request /readyz -o /dev/null -w '%{http_code}')" = 503 ] || { echo "ready"; return 1; }
    on_machine sh -ec '
        espgate status | grep "read-only"
        ! espgate doctor >/root/doctor
        grep "disk is read-only" /root/doctor
        espgate coredumps list | grep board1
        journalctl -u espgate.service MESSAGE_ID=6f3d7a51c0de4b2f9a86e4b1d7c2905e -n 1 -q | grep .' || return 1
    [ "$(main_pid)" = "$pid" ] || { echo "the daemon was restarted"; return 1; }
    # as a technician would repair it
    on_machine systemctl stop espgate.socket espgate.service
    on_machine umount /var/lib/espgate || return 1
    e2fsck -fy "$disk"
    on_machine mount /dev/data /var/lib/espgate && on_machine systemctl start espgate.socket espgate.service ||
        { on_machine journalctl -u espgate.service -n 10 --no-pager; return 1; }
    [ "$(upload 3000)" = 201 ] || { cat "$machine_work/root/root/upload.answer"; return 1; }
    request /readyz -f && on_machine sh -c \
        'cmp /root/upload.kept "/var/lib/espgate/coredumps/board1/$(jq -er .filename /root/kept.answer)"'
}

stopping_both_units_closes_the_port() {
    on_machine systemctl stop espgate.socket espgate.service || return 1
    [ "$(property Result)" = success ] || { property Result; return 1; }
    [ "$(property ExecMainStatus)" = 0 ] || { property ExecMainStatus; return 1; }
    ! request /healthz
}

a_connection_starts_the_daemon() {
    on_machine systemctl start espgate.socket &&
        [ "$(property ActiveState)" = inactive ] &&
        request /healthz -f && [ "$(property ActiveState)" = active ]
}

removing_the_package_keeps_data_and_configuration() {
    on_machine apt-get remove -qq -y espgate || return 1
    on_machine sh -ec '
        ! test -e /usr/bin/espgate
        ! systemctl is-active espgate.service espgate.socket
        cmp /root/dump "/var/lib/espgate/coredumps/board1/$(jq -er .filename /root/answer)"
        test -e /etc/espgate/espgate.toml' && ! request /healthz
}

installing_again_goes_on_with_the_data() {
    on_machine $install /root/new.deb || return 1
    both_units_are_enabled_and_running && request /readyz -f &&
        on_machine sh -ec 'espgate coredumps show "$(jq -er .coredump_id /root/answer)"'
}

purging_removes_everything() {
    on_machine apt-get purge -qq -y espgate || return 1
    on_machine sh -ec '
        for path in /var/lib/espgate /etc/espgate /run/espgate /usr/bin/espgate; do
            ! test -e $path || { ls -la $path; exit 1; }
        done
        ! systemctl list-unit-files --no-legend "espgate*" | grep .'
}
