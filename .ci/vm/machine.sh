# shellcheck shell=bash disable=SC2154
# Starts, cuts off and stops one virtual machine; sourced by `run`. It is
# emulated (a test machine has no KVM): a boot takes 20 to 110 seconds.
#
# machine_work holds its disk and sockets: usb.sock is the other end of the USB
# serial adapter, monitor.sock takes QEMU's commands. Every machine ends by
# itself after half an hour.

# An FTDI adapter with a serial number, at the place 1-1.
adapter=usb-serial,id=adapter,bus=xhci.0,port=1,chardev=usb,always-plugged=on,serial=GW0001

# machine_start IMAGE [OPTIONS OF QEMU]: boots the disk in machine_work, a copy of
# the image's the first time; its port 8443 is port $machine_https here.
machine_start() {
    local image=$1
    shift
    [ -e "$machine_work/disk.ext4" ] || cp --sparse=always "$image/base.ext4" "$machine_work/disk.ext4"
    rm -f "$machine_work"/*.sock "$machine_work/pid"
    timeout -s KILL 1800 qemu-system-x86_64 -nodefaults -no-user-config -machine q35,accel=tcg -cpu max \
        -smp 2 -m 768 -kernel "$image/vmlinuz" -initrd "$image/initrd.img" \
        -append "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet" \
        -drive "if=none,id=disk,format=raw,file=$machine_work/disk.ext4,cache=writeback" \
        -device virtio-blk-pci,drive=disk -device virtio-rng-pci \
        -netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$machine_ssh-:22,hostfwd=tcp:127.0.0.1:$machine_https-:8443" \
        -device virtio-net-pci,netdev=net,romfile= -device qemu-xhci,id=xhci \
        -chardev "socket,id=usb,path=$machine_work/usb.sock,server=on,wait=off" \
        -monitor "unix:$machine_work/monitor.sock,server=on,wait=off" \
        "$@" -display none -serial "file:$machine_work/console.log" -pidfile "$machine_work/pid" \
        >"$machine_work/qemu.log" 2>&1 </dev/null &
    wait_until 20 test -s "$machine_work/pid" || { cat "$machine_work/qemu.log"; return 1; }
    wait_until 240 on_machine true || { tail -n 20 "$machine_work/console.log"; return 1; }
}

# on_machine COMMANDS: a root shell's commands in the machine.
on_machine() {
    ssh -q -F /dev/null -i "$machine_key" -p "$machine_ssh" -o StrictHostKeyChecking=no \
        -o UserKnownHostsFile=/dev/null -o ConnectTimeout=3 -o ServerAliveInterval=5 root@127.0.0.1 -- "$@"
}

# monitor COMMAND: a command of QEMU's monitor.
monitor() {
    printf '%s\n' "$1" | socat -t 1 - "UNIX-CONNECT:$machine_work/monitor.sock" >/dev/null
}

plug() {
    monitor "device_add $adapter"
}
unplug() {
    monitor 'device_del adapter'
}

# board FILE: a board that prints a recorded console and then lives on a while.
board() {
    { cat "$1"; sleep 10; } | timeout 60 socat -u - "UNIX-CONNECT:$machine_work/usb.sock"
}

# machine_cut: the power goes off.
machine_cut() {
    local pid
    pid=$(cat "$machine_work/pid" 2>/dev/null) || return 0
    kill -KILL "$pid" 2>/dev/null
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
}

# machine_stop: cuts it off and removes what it wrote.
machine_stop() {
    [ -n "${machine_work:-}" ] || return 0
    machine_cut
    rm -rf "${machine_work:?}"
    machine_work=""
}
