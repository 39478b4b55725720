#!/usr/bin/env bash
# Builds espgate for arm64 on a plain Debian 12 machine (amd64).
#
#   packaging/cross-build.sh                 the package for a Raspberry Pi
#   packaging/cross-build.sh CARGO-ARGS..    cargo with these arguments, for arm64
#
# Needs cargo (any way it came), cargo-deb for the package, and
#   apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross
# The compiler is Debian's rustc-web, the one that it keeps current for its
# browsers, with the arm64 standard library of the same version. Both are
# unpacked under target/cross or $ESPGATE_CROSS_TOOLS (560 MB, once), nothing is
# installed.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
tools=$(realpath -m "${ESPGATE_CROSS_TOOLS:-target/cross}")

fail() {
    echo "cross-build: $*" >&2
    exit 1
}

# Fetches the compiler and both standard libraries with an apt that knows
# nothing of this machine's state, so that no architecture has to be added here.
fetch_compiler() {
    local apt=$tools/apt suite site version release
    rm -rf "$tools"
    mkdir -p "$apt"/{lists/partial,cache/archives/partial,none,debs}
    : >"$apt/status"
    for suite in bookworm bookworm-security; do
        # The mirror is the one that this machine's apt already uses.
        site=$(apt-get indextargets --format '$(SITE) $(CODENAME)' | awk -v name=$suite '$2 == name { print $1; exit }')
        [ -n "$site" ] || fail "this machine's apt knows no mirror of $suite"
        echo "deb [arch=amd64,arm64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $suite main"
    done >"$apt/sources.list"
    cat >"$apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/none";
Dir::Etc::preferencesparts "$apt/none";
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
APT::Architecture "amd64";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
CONF
    export APT_CONFIG=$apt/apt.conf
    apt-get -qq -o Acquire::Retries=3 update
    version=$(apt-cache madison rustc-web | awk 'NR == 1 { print $3 }')
    [ -n "$version" ] || fail "no rustc-web in bookworm-security"
    release=$(cut -d. -f1,2 <<<"$version")
    local llvm
    llvm=$(apt-cache show "libstd-rust-web-$release=$version" | grep -o 'libllvm[0-9]*' | sort -u | tail -n 1)
    (cd "$apt/debs" && apt-get -qq download "$llvm" "rustc-web=$version" \
        "libstd-rust-web-$release=$version" "libstd-rust-web-dev=$version" "libstd-rust-web-dev:arm64=$version")
    unset APT_CONFIG
    for package in "$apt"/debs/*.deb; do
        dpkg-deb -x "$package" "$tools"
    done
    printf '#!/bin/sh\nexport LD_LIBRARY_PATH="%s${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\nexec "%s" "$@"\n' \
        "$tools/usr/lib/x86_64-linux-gnu" "$tools/usr/bin/rustc" >"$tools/rustc"
    chmod +x "$tools/rustc"
    "$tools/rustc" --version || fail "the unpacked compiler does not run"
    rm -rf "$apt"
    "$tools/rustc" --version >"$tools/complete"
}

command -v aarch64-linux-gnu-gcc >/dev/null ||
    fail "aarch64-linux-gnu-gcc is missing: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
[ -e "$tools/complete" ] || fetch_compiler

export RUSTC=$tools/rustc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
export AR_aarch64_unknown_linux_gnu=aarch64-linux-gnu-ar
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu"
# Host parts (build scripts) of the two compilers must not overwrite each other.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/arm64}

if [ $# -eq 0 ]; then
    exec packaging/build-deb --target "$target"
fi
command=$1
shift
exec cargo "$command" --target "$target" "$@"
