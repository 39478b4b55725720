#!/bin/sh
# An ESP32-like client (mbedTLS, TLS 1.2, 4096-byte records) posts a dump and
# fetches firmware from a running daemon.
#
# usage: .ci/esp_client.sh HOST PORT CA.pem DUMP [QUERY [TOKEN]]
#   HOST     a DNS name in the certificate (mbedTLS 2.28 does not match addresses)
#   QUERY    more for the query string, such as device_key=aabbcc (or "")
#   TOKEN    a device's token
#   ESPGATE_SHARED_TOOLS   folder of esp_client.c
#   ESPGATE_EXPECT_FIRMWARE=FILE  what the firmware has to be, byte for byte; unset: not fetched
set -eu

[ $# -ge 4 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
host=$1 port=$2 ca=$3 dump=$4 query=${5:-} token=${6:-}
source="${ESPGATE_SHARED_TOOLS:?folder of esp_client.c}/esp_client.c"
[ -f "$source" ] || { echo "no $source" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! [ -f /usr/include/mbedtls/ssl.h ]; then
    apt-get install -y -q libmbedtls-dev >"$work/apt" 2>&1 || { cat "$work/apt" >&2; exit 1; }
fi
${CC:-cc} -O2 -w -D_GNU_SOURCE -o "$work/esp_client" "$source" -lmbedtls -lmbedx509 -lmbedcrypto

# Runs the client and checks one line of its report: status and largest record
# (4096 bytes of plaintext and what encryption adds).
client() {
    expected=$1
    shift
    "$work/esp_client" "$host" "$port" "$ca" "$@" ${token:+"token=$token"} >"$work/out" 2>&1 || {
        echo "esp_client $*: exit $?" >&2
        cat "$work/out" >&2
        exit 1
    }
    cat "$work/out"
    grep -q "status=$expected " "$work/out" || { echo "expected status $expected" >&2; exit 1; }
    largest=$(sed -n 's/.* maxrec=\([0-9]*\) .*/\1/p' "$work/out" | sort -n | tail -1)
    [ "$largest" -le 4125 ] || { echo "a record of $largest bytes" >&2; exit 1; }
}

upload="/api/iot/coredump?chip=esp32&firmware_version=v1.0-dirty${query:+&$query}"
firmware="/api/iot/firmware${query:+?$query}"

client 201 POST "$upload" "$dump" mfl=4096
client 201 POST "$upload" "$dump" mfl=4096 close=1
# refused, and the client still reads why
client 400 POST "/api/iot/coredump?chip=esp32${query:+&$query}" "$dump" mfl=4096

if [ -n "${ESPGATE_EXPECT_FIRMWARE:-}" ]; then
    client 200 GET "$firmware" - mfl=4096 out="$work/firmware"
    cmp "$work/firmware" "$ESPGATE_EXPECT_FIRMWARE"
    client 206 GET "$firmware" - mfl=4096 range=bytes=0- out="$work/firmware"
    cmp "$work/firmware" "$ESPGATE_EXPECT_FIRMWARE"
    client 200 HEAD "$firmware" - mfl=4096
    client 206 GET "$firmware" - mfl=4096 range=bytes=0-65535 repeat=3 ka=1
fi
echo "esp_client: all as expected"
