#!/bin/sh
# Packs what ESP-IDF, PlatformIO, ESPHome or Arduino built and uploads it to espgate.
#
#   ESPGATE_TOKEN=eg1_... sh upload.sh [model] [firmware.bin]
#
# Run it in the project's folder, after the build. The model is the ESP-IDF project's
# name (`-` becomes `_`) unless given; the .elf and .map are those beside the .bin.
# ESPGATE_URL overrides the gateway's address, ESPGATE_BUILD_DIR the folder `build`.
# ESPGATE_VERSION is the version of an image that has none of its own (Arduino).
# Needs curl and zip.
set -eu

default_url='@URL@'

fail() {
    printf 'upload: %s\n' "$*" >&2
    exit 1
}

say() {
    printf '%s\n' "$*" >&2
}

# The text value of a key of project_description.json, which has a key a line.
described() {
    [ -f "$description" ] || return 0
    sed -n 's/^[[:space:]]*"'"$1"'"[[:space:]]*:[[:space:]]*"\(.*\)",\{0,1\}[[:space:]]*$/\1/p' \
        "$description" | head -n 1
}

# Text from a fixed place of the .bin, up to its first NUL.
from_image() {
    dd if="$bin" bs=1 skip="$1" count=32 2>/dev/null | tr '\000' '\n' | head -n 1
}

json_text() {
    printf '%s' "$1" | tr -d '\000-\037' | sed 's/[\\"]/\\&/g'
}

first_file() {
    for candidate in "$@"; do
        if [ -f "$candidate" ]; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
}

# The only .bin that PlatformIO, ESPHome or the Arduino IDE left.
built() {
    found=
    for candidate in .pio/build/*/firmware.bin .pioenvs/*/firmware.bin ./*.ino.bin "$build"/*/*.ino.bin; do
        [ -f "$candidate" ] || continue
        [ -z "$found" ] || fail "more than one build found: $found, $candidate; give a model and one of them"
        found=$candidate
    done
    printf '%s\n' "$found"
}

# One line for each text of the answer's list of warnings.
warnings() {
    awk '
        { answer = answer $0 }
        END {
            at = index(answer, "\"warnings\":[")
            if (!at) exit
            rest = substr(answer, at + 12)
            while (match(rest, /^,?"([^"\\]|\\.)*"/)) {
                item = substr(rest, 1, RLENGTH)
                rest = substr(rest, RLENGTH + 1)
                sub(/^,?"/, "", item)
                sub(/"$/, "", item)
                gsub(/\\"/, "\"", item)
                print "warning: " item
            }
        }' "$1"
}

main() {
    for tool in curl zip; do
        command -v "$tool" >/dev/null 2>&1 || fail "$tool is not installed"
    done
    url=${ESPGATE_URL:-$default_url}
    url=${url%/}
    token=${ESPGATE_TOKEN:-}
    [ -n "$token" ] || fail "ESPGATE_TOKEN is not set; make one with: espgate tokens add NAME --role pipeline"
    case $token in
        *[!A-Za-z0-9_.~+/=-]*) fail "ESPGATE_TOKEN has characters that no token has" ;;
    esac

    build=${ESPGATE_BUILD_DIR:-build}
    description=$build/project_description.json
    if [ $# -ge 2 ]; then
        bin=$2
    elif [ -f "$description" ]; then
        bin=$build/$(described app_bin)
    else
        bin=$(built) || exit 1
        [ -n "$bin" ] ||
            fail "$description not found: run this in the project's folder after the build, or give a model and a .bin"
        [ $# -ge 1 ] || fail "found $bin; give its model as well: sh upload.sh MODEL"
    fi
    model=${1:-$(described project_name)}
    model=$(printf '%s' "$model" | tr 'A-Z-' 'a-z_')
    case $model in
        '' | *[!a-z0-9_]*) fail "'$model' cannot be a model: a-z, 0-9 and _ only" ;;
    esac
    [ -f "$bin" ] || fail "$bin not found"
    beside=$(dirname "$bin")
    stem=$beside/$(basename "$bin" .bin)
    elf=$(first_file "$stem.elf" "$build/$(described app_elf)")
    [ -n "$elf" ] || fail "$stem.elf not found"
    map=$(first_file "$stem.map" "${elf%.elf}.map")
    environment=$(basename "$(cd "$beside" && pwd)")
    sdkconfig=$(first_file "$(described config_file)" "$beside/../../../sdkconfig.$environment" \
        "$beside/../sdkconfig" "$beside/sdkconfig" "sdkconfig.$environment" sdkconfig)
    partial=
    if [ -z "$map" ] || [ -z "$sdkconfig" ]; then
        # only ESP-IDF always makes both
        if [ $# -lt 2 ] && [ -f "$description" ]; then
            [ -n "$map" ] || fail "$stem.map not found"
            fail "sdkconfig not found"
        fi
        partial=',"partial":true'
    fi

    commit=$(git -C "$beside" rev-parse HEAD 2>/dev/null) || commit=unknown
    version=$(described project_version)
    version=${ESPGATE_VERSION:-${version:-$(from_image 48)}}
    query=
    if [ -n "${ESPGATE_VERSION:-}" ]; then
        case $ESPGATE_VERSION in
            *[!A-Za-z0-9._+-]*) fail "ESPGATE_VERSION may have A-Z a-z 0-9 . _ + - only" ;;
        esac
        query="?version=$ESPGATE_VERSION"
    fi
    idf_version=$(described git_revision)
    idf_version=${idf_version:-$(from_image 144)}

    umask 077
    work=$(mktemp -d "${TMPDIR:-/tmp}/espgate.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM

    say "packing $model $version"
    mkdir "$work/bundle"
    cp "$bin" "$work/bundle/$model.bin"
    cp "$elf" "$work/bundle/$model.elf"
    [ -z "$map" ] || cp "$map" "$work/bundle/$model.map"
    [ -z "$sdkconfig" ] || cp "$sdkconfig" "$work/bundle/sdkconfig"
    printf '{"git_commit":"%s","idf_version":"%s","firmware_version":"%s"%s}\n' \
        "$(json_text "$commit")" "$(json_text "$idf_version")" "$(json_text "$version")" "$partial" \
        >"$work/bundle/version.json"
    (cd "$work/bundle" && zip -q -X ../bundle.zip ./*)

    cat >"$work/ca.pem" <<'ESPGATE_CA'
@CA@
ESPGATE_CA
    # the token goes into a file, not into the list of processes
    {
        printf 'header = "Authorization: Bearer %s"\n' "$token"
        printf 'header = "Content-Type: application/zip"\n'
        if grep -q 'BEGIN CERTIFICATE' "$work/ca.pem"; then
            printf 'cacert = "%s"\n' "$work/ca.pem"
        fi
        if [ -t 2 ]; then
            printf 'progress-bar\n'
        else
            printf 'silent\nshow-error\n'
        fi
    } >"$work/curl.conf"

    say "uploading to $url"
    status=$(curl --config "$work/curl.conf" --request POST --upload-file "$work/bundle.zip" \
        --connect-timeout 15 --output "$work/answer" --write-out '%{http_code}' \
        "$url/api/pipeline/models/$model/firmware$query") || fail "could not upload to $url"
    [ -f "$work/answer" ] || : >"$work/answer"
    cat "$work/answer"
    echo
    [ "$status" = 200 ] || fail "refused with HTTP status $status"
    warnings "$work/answer" >&2
}

# in a function, so that half a script does nothing
main "$@"
