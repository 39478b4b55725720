//! What `espgate config default` prints.

/// Every setting with its meaning and default. Lines that begin with `#: ` are
/// examples that would change something if the mark were removed.
pub const DEFAULT_TEXT: &str = r#"# espgate.toml: all settings with their defaults.
# For every setting: a command line flag wins over the environment, that over
# this file, that over the default. `espgate config check` finds mistakes,
# `systemctl reload espgate` applies changes, but for those marked "Needs a
# restart".

# Where everything is kept. Default: $STATE_DIRECTORY (systemd sets it),
# else ./espgate-data. Environment: ESPGATE_DATA_DIR. Needs a restart.
#: data_dir = "/var/lib/espgate"

[http]
# HTTPS addresses; "[::]:8443" takes IPv4 as well. Port 0 is any free one, which
# is written to <data_dir>/run/https-address. Sockets passed by systemd replace
# this list: then change espgate.socket.
listen = ["[::]:8443"]
# What upload.sh carries, https://host[:port]; empty: from the certificate.
public_url = ""
# Connections at once: in all, and from one address.
max_connections = 512
max_connections_per_address = 256

[tls]
# A certificate of your own. Without it a site CA and a server certificate are
# made under <data_dir>/tls.
#: cert = "/etc/espgate/chain.pem"
#: key = "/etc/espgate/key.pem"
# A CA of your own, to make the server certificate with.
#: ca_cert = "/etc/espgate/ca.pem"
#: ca_key = "/etc/espgate/ca.key"
# More names and addresses for the certificate. Always in: espgate.internal,
# the host name, host name.local, localhost, and up to 8 own addresses.
names = []
# Largest TLS record sent. "auto": 4096 for small devices (clients that do not
# offer HTTP/2), the protocol's maximum for others; 0: the maximum for all.
max_record_bytes = "auto"

[auth]
# "token", or "open" for a lab: devices say who they are by ?device_key=.
devices = "token"
# "token", or "open" (only if every listen address is loopback).
pipeline = "token"

[coredumps]
# Default <data_dir>/coredumps. Environment: COREDUMPS_DIR. Needs a restart.
#: dir = "/srv/coredumps"
# A larger body gets a 400; its first bytes are kept all the same.
max_upload_bytes = 1048576
# Beyond this a device's oldest dump goes.
keep_per_device = 100
# Of the same crash of a device the first and the newest are kept.
keep_first_of_crash = 3
keep_last_of_crash = 2
# What dumps may take: part of the filesystem, or bytes.
max_total = "25%"
# What must stay free (at most 1 GiB is asked for).
min_free = "5%"

[firmware]
# Default <data_dir>/assets. Environment: ASSETS_DIR. Needs a restart.
#: dir = "/srv/firmware"
max_bundle_bytes = 134217728
# Versions of a model that are kept.
keep_versions = 10
# Whether devices may fetch the bundle, with its ELF, as well as the .bin.
zip_to_devices = true

[serial]
# "espressif": USB devices of Espressif's own are listened to; "all": every
# known USB serial adapter; "off". Others are listed and never opened until
# claimed (`espgate ports claim PORT`) or named below.
discover = "espressif"
# More rules for masking secrets in stored console lines: `*` stands for
# anything, what the last `*` stands for is masked.
#: mask = ["*license=*"]
# Where the boards' partition table is in flash.
partition_table_offset = 0x8000

# Fixed ports and exceptions.
#: [[serial.port]]
#: path = "/dev/ttyUSB0"
# Speed of the console; USB-Serial-JTAG has none.
#: baud = 115200
# Whose dumps these are; empty: by the board's MAC address.
#: device_key = ""
#: model = ""
# DTR and RTS after opening, always set together: "on" or "off".
#: lines = "on"
# How the board is reset into its bootloader: "auto", "classic" (DTR and RTS
# drive EN and IO0), "usb-jtag", or "none": no modem lines, never touch them.
#: reset = "auto"
# When the coredump is read from flash, which resets the board: "never",
# "on-demand" (`espgate ports read`), or "on-crash".
#: read_flash = "on-demand"
# Answer "Press Enter to print core dump to UART".
#: press_enter = true
#: [[serial.port]]
# Instead of path: usb_serial, vid and pid, or the place in the USB tree.
#: match = { vid = 0x303a, pid = 0x1001, place = "1-1.4" }
#: read_flash = "never"
"#;
