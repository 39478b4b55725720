//! What `espgate config default` prints.

/// Every setting with its meaning and default. Lines that begin with `#: ` are
/// examples that would change something if the mark were removed.
pub const DEFAULT_TEXT: &str = r#"# espgate.toml: all settings with their defaults.
# Precedence: command line flag, environment variable, this file, default.
# `espgate config check` reports errors; `systemctl reload espgate` applies
# changes, except to settings marked "Requires a restart".

# Data directory. Default: $STATE_DIRECTORY (set by systemd), else
# ./espgate-data. Environment: ESPGATE_DATA_DIR. Requires a restart.
#: data_dir = "/var/lib/espgate"

[http]
# Listen addresses for HTTPS; "[::]:8443" includes IPv4. Port 0 selects a free
# port, written to <data_dir>/run/https-address. Ignored if systemd passes
# sockets: change espgate.socket instead.
listen = ["[::]:8443"]
# URL in upload.sh, https://host[:port]. Empty: from the certificate's names.
public_url = ""
# Maximum concurrent connections: in total, and, when the total is reached, from
# one address without authentication.
max_connections = 512
max_connections_per_address = 64

[tls]
# Your own certificate chain and key. Default: a site CA and a server certificate
# are created in <data_dir>/tls.
#: cert = "/etc/espgate/chain.pem"
#: key = "/etc/espgate/key.pem"
# Your own CA, to issue the server certificate with.
#: ca_cert = "/etc/espgate/ca.pem"
#: ca_key = "/etc/espgate/ca.key"
# Additional names and addresses in the certificate. Always included:
# espgate.internal, the host name, host name.local, localhost, and up to 8 of the
# machine's addresses.
names = []
# Maximum size of TLS records sent. "auto": 4096 for small devices (clients that
# do not offer HTTP/2), the protocol's maximum for others. 0: always the maximum.
max_record_bytes = "auto"

[auth]
# "token", or "open": no authentication, devices identify themselves with
# ?device_key= (lab use only).
devices = "token"
# "token", or "open" (only allowed if every listen address is loopback).
pipeline = "token"

# Devices that each fleet token registers at their first request: in total (those
# that a person registers do not count), at once, and per hour after that. Of
# others only dumps are stored.
[auth.fleet]
max_devices = 1000
burst = 500
per_hour = 60

[coredumps]
# Default <data_dir>/coredumps. Environment: COREDUMPS_DIR. Requires a restart.
#: dir = "/srv/coredumps"
# Maximum upload size. A larger body is answered with 400, but its first bytes are
# stored.
max_upload_bytes = 1048576
# Dumps per device; the oldest is removed first.
keep_per_device = 100
# Dumps per crash of a device: the first and the newest ones are kept.
keep_first_of_crash = 3
keep_last_of_crash = 2
# Maximum size of all dumps: percentage of the filesystem, or bytes.
max_total = "25%"
# Minimum free disk space: percentage or bytes, at most 1 GiB.
min_free = "5%"

[crashes]
# Functions of your own for the signatures of crashes, by name or with `*` for any
# text. skip: never in a signature, such as log functions. prefix: called by many, so
# what called them counts as well. base: below the application in every stack.
# Signatures of stored reports are made anew with them.
skip = []
prefix = []
base = []

[firmware]
# Default <data_dir>/assets. Environment: ASSETS_DIR. Requires a restart.
#: dir = "/srv/firmware"
# Maximum size of a firmware upload.
max_bundle_bytes = 134217728
# Builds kept per model.
keep_versions = 10
# Whether devices may also download the bundle, which contains the ELF.
zip_to_devices = true

[rollouts]
# How `espgate rollouts start` lets a build out if it is not told otherwise.
# Number of canaries, and cumulative shares of the devices after them.
canary = 2
waves = "10%,50%,100%"
# How long a device has to run the build: canaries, other devices; and how long the
# rules hold after the last wave.
canary_soak = "24h"
soak = "2h"
watch = "7d"
# A device that is not heard for so long after its download may be lost.
return_within = "30m"
# Maximum concurrent downloads: of one rollout, and of all.
parallel = 2
max_downloads = 8
# Only begin downloads in this part of the day, such as "01:00-05:00" (local time).
window = ""
# Whether each wave waits for `espgate rollouts release`, and whether it needs
# devices that were heard again after their soak.
gate = false
confirmed = false
# Devices that got a build that was stopped: "back" (to the one before) or "stay".
on_stop = "back"

[serial]
# Ports opened automatically: "espressif" (Espressif's USB devices), "all" (every
# known USB serial adapter) or "off". Other ports are listed, but only opened
# after `espgate ports claim PORT` or if configured below.
discover = "espressif"
# Additional patterns to mask secrets in stored console lines: `*` matches any
# text, and the text matched by the last `*` is masked.
#: mask = ["*license=*"]
# Offset of the boards' partition table in flash.
partition_table_offset = 0x8000

# Settings for individual ports.
#: [[serial.port]]
#: path = "/dev/ttyUSB0"
# Console speed; ignored by USB-Serial-JTAG.
#: baud = 115200
# Device and model of dumps from this port. Empty: by the board's MAC address.
#: device_key = ""
#: model = ""
# DTR and RTS after opening: both "on" or both "off".
#: lines = "on"
# How to reset the board into its bootloader: "auto", "classic" (DTR and RTS
# drive EN and IO0), "usb-jtag", or "none" (never change the modem lines).
#: reset = "auto"
# When to read coredumps from flash, which resets the board: "never",
# "on-demand" (`espgate ports read`), or "on-crash".
#: read_flash = "on-demand"
# Send Enter at the prompt "Press Enter to print core dump to UART".
#: press_enter = true
#: [[serial.port]]
# Instead of path: usb_serial, vid and pid, or place (position in the USB tree).
#: match = { vid = 0x303a, pid = 0x1001, place = "1-1.4" }
#: read_flash = "never"
"#;
