# shellcheck shell=bash disable=SC2034,SC2154,SC2016,SC2317,SC2329
# What is promised about USB, udev and the power, in the order in which it is
# tried; sourced by `run`. A function's name is the claim.

claims=(
    the_package_installs
    an_adapter_that_nobody_claimed_is_seen_and_left_alone
    a_claim_opens_it_under_the_hardened_unit
    what_a_board_prints_becomes_stored_dumps
    an_unplugged_adapter_is_absent
    a_replugged_adapter_is_listened_to_within_a_second
    udev_gives_it_a_name_and_a_unit_and_keeps_its_group
    modem_manager_keeps_off
    a_native_usb_port_is_listened_to_without_being_claimed
    its_board_is_known_by_its_mac_address
    a_native_usb_port_that_goes_is_absent
    the_power_can_be_cut_during_intake
    the_machine_boots_again
    every_acknowledged_dump_is_whole_after_the_cut
    the_port_is_listened_to_again
    udev_gives_it_a_name_and_a_unit_and_keeps_its_group
    modem_manager_keeps_off
)

# port_is STATE: the state of the only plugged port, as the daemon sees it.
port_is() {
    on_machine 'espgate ports list --json' | tee /dev/stderr |
        jq -e --arg state "$1" '.ports[] | select(.place == "1-1") | .state == $state' >/dev/null
}

the_package_installs() {
    on_machine 'cat >/root/espgate.deb && dpkg -i /root/espgate.deb' <"$deb" &&
        wait_until 60 on_machine espgate status && on_machine espgate tls ca >"$machine_work/ca.pem"
}

an_adapter_that_nobody_claimed_is_seen_and_left_alone() {
    plug
    wait_until 20 port_is seen || return 1
    on_machine '
        stat -c "%a %G" /dev/ttyUSB0 | grep -x "660 dialout" &&
        ! ls -l /proc/$(systemctl show -P MainPID espgate)/fd | grep ttyUSB &&
        ! udevadm info /dev/ttyUSB0 | grep ID_MM_.*_IGNORE'
}

a_claim_opens_it_under_the_hardened_unit() {
    on_machine espgate ports claim ttyUSB0 && wait_until 20 port_is listening || return 1
    on_machine '
        set -e
        pid=$(systemctl show -P MainPID espgate)
        ls -l /proc/$pid/fd | grep ttyUSB0
        ps -o user= -p $pid | grep -x espgate
        systemctl show -P DevicePolicy espgate | grep -x closed'
}

what_a_board_prints_becomes_stored_dumps() {
    board "$ESPGATE_SHARED_DATA/console/esp32.log" &
    local printing=$!
    three_are_stored() {
        on_machine 'espgate coredumps list --json' | tee /dev/stderr |
            jq -e '[.coredumps[] | select(.verdict == "valid" and .source == "uart")] | length == 3' >/dev/null
    }
    wait_until 60 three_are_stored
    local outcome=$?
    wait $printing
    return $outcome
}

an_unplugged_adapter_is_absent() {
    unplug
    wait_until 20 port_is absent
}

a_replugged_adapter_is_listened_to_within_a_second() {
    plug
    wait_until 20 port_is listening || return 1
    # Both by the machine's own clock.
    local took
    took=$(on_machine '
        at() { jq -s "[.[].__MONOTONIC_TIMESTAMP | tonumber] | last"; }
        came=$(journalctl -b -k -o json -g "now attached to ttyUSB0" | at)
        open=$(journalctl -b -u espgate -o json -g "listening to /dev/ttyUSB0" | at)
        echo $(((open - came) / 1000))')
    echo "note: $took ms"
    [ "$took" -ge 0 ] && [ "$took" -le 1000 ]
}

udev_gives_it_a_name_and_a_unit_and_keeps_its_group() {
    on_machine '
        test "$(readlink -f /dev/espgate/by-path/*-usb-0:1:1.0)" = /dev/ttyUSB0 &&
        systemctl is-active dev-ttyUSB0.device &&
        stat -c "%a %G" /dev/ttyUSB0 | grep -x "660 dialout" &&
        udevadm info /dev/ttyUSB0 | grep -x "E: ID_MM_PORT_IGNORE=1" &&
        udevadm info /sys/bus/usb/devices/1-1 | grep -x "E: ID_MM_DEVICE_IGNORE=1"'
}

# Its last word on the port, which came with the last plug or boot.
modem_manager_keeps_off() {
    has_declined() {
        on_machine 'journalctl -b -u ModemManager -o cat -g "ttyUSB0.*port filtered" | tail -n 1' |
            tee /dev/stderr | grep -q blocklisted
    }
    wait_until 60 has_declined
}

# native_is STATE: the same of the port with Espressif's vendor id, 0x303a.
native_is() {
    on_machine 'espgate ports list --json' | tee /dev/stderr | jq -e --arg state "$1" \
        '.ports[] | select(.usb.vid == 12346) | .state == $state' >/dev/null
}

# The kernel's own emulated port with the ids of an ESP32-C3's: ttyACM0 is the
# gateway's end of the cable and ttyGS0 the board's.
a_native_usb_port_is_listened_to_without_being_claimed() {
    on_machine '
        modprobe dummy_hcd && modprobe g_serial use_acm=1 idVendor=0x303a idProduct=0x1001 \
            iManufacturer=Espressif iProduct="USB JTAG/serial debug unit" iSerialNumber=84:F7:03:00:00:01' || return 1
    wait_until 20 native_is listening || return 1
    on_machine '
        readlink -f /dev/espgate/by-path/* | grep -x /dev/ttyACM0 &&
        udevadm info /dev/ttyACM0 | grep -x "E: ID_MM_PORT_IGNORE=1" &&
        stat -c "%t %G" /dev/ttyACM0 | grep -x "a6 dialout" &&
        ! journalctl -b -u ModemManager -o cat -g "ttyACM0.*port grabbed"'
}

its_board_is_known_by_its_mac_address() {
    on_machine 'stty -F /dev/ttyGS0 raw -echo && cat >/dev/ttyGS0' <"$ESPGATE_SHARED_DATA/console/esp32c3.log" || return 1
    are_stored() {
        on_machine 'espgate coredumps list --device 84f703000001 --json' | tee /dev/stderr |
            jq -e '[.coredumps[] | select(.verdict == "valid")] | length >= 3' >/dev/null
    }
    wait_until 60 are_stored
}

a_native_usb_port_that_goes_is_absent() {
    on_machine 'rmmod g_serial dummy_hcd' && wait_until 20 native_is absent
}

# upload_loop NAME: boards' uploads from outside until the power goes; what was
# acknowledged is noted as `sha256 key filename`. Of random bytes 20 a day and
# board are stored, so each board uploads 15.
upload_loop() {
    local dump=$machine_work/$1.dump n=0 key name
    while head -c 3000 /dev/urandom >"$dump"; do
        key=$1x$((n / 15))
        n=$((n + 1))
        name=$(curl -sS -m 20 --cacert "$machine_work/ca.pem" --resolve "espgate.internal:$machine_https:127.0.0.1" \
            -H "Authorization: Bearer $(cat "$machine_work/fleet.token")" --data-binary "@$dump" \
            "https://espgate.internal:$machine_https/api/iot/coredump?chip=esp32&firmware_version=1.0.0&device_key=$key" |
            jq -er .filename) || return 0
        echo "$(sha256sum <"$dump" | cut -d' ' -f1) $key $name" >>"$machine_work/acknowledged"
    done 2>/dev/null
}

the_power_can_be_cut_during_intake() {
    on_machine espgate models add kitchen || return 1
    on_machine espgate tokens add load --role fleet --model kitchen --json | jq -er .token >"$machine_work/fleet.token" || return 1
    local name
    : >"$machine_work/acknowledged"
    board "$ESPGATE_SHARED_DATA/console/esp32_bin.log" >/dev/null 2>&1 &
    for name in a b c d; do
        upload_loop $name &
    done
    enough() { [ "$(wc -l <"$machine_work/acknowledged")" -ge 60 ]; }
    wait_until 120 enough || return 1
    machine_cut
    wait
    echo "note: $(wc -l <"$machine_work/acknowledged") acknowledged"
}

the_machine_boots_again() {
    machine_start "$image" -device "$adapter" && wait_until 60 on_machine espgate status
}

every_acknowledged_dump_is_whole_after_the_cut() {
    on_machine '
        cd /var/lib/espgate/coredumps && sha256sum */*.dmp | tr / " "' |
        awk '{ print $1, $2, $3 }' | sort >"$machine_work/stored" || return 1
    sort "$machine_work/acknowledged" >"$machine_work/expected"
    local lost
    lost=$(comm -23 "$machine_work/expected" "$machine_work/stored")
    [ -z "$lost" ] || { echo "lost or damaged: $lost"; return 1; }
    echo "note: $(wc -l <"$machine_work/stored") stored"
    # Each has its sidecar, none is left half-way.
    on_machine '
        cd /var/lib/espgate/coredumps
        for dump in */*.dmp; do jq -e .id "${dump%.dmp}.json" >/dev/null || { echo "$dump: no sidecar"; exit 1; }; done
        ! find . -mindepth 1 -name ".*" | grep .'
}

the_port_is_listened_to_again() {
    wait_until 30 port_is listening
}
