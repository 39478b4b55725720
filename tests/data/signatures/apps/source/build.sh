#!/bin/sh
# Builds the ELF files beside this folder with Debian's gcc-riscv64-unknown-elf and
# gcc-xtensa-lx106 (the ESP8266's Xtensa, without register windows; the tests only look
# its functions up). The folders are as real builds have them.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

# NAME COMPILER CODE VECTOR VECTOR_FILE IDF APP TOOLCHAIN FLAGS
build() {
    name=$1 compiler=$2 idf=$6 app=$7 toolchain=$8
    for file in sdk.c app.cpp link.ld; do
        sed -e "s|@CODE@|$3|; s|@VECTOR@|$4|; s|@VECTOR_FILE@|$5|; s|@IDF@|$idf|; s|@APP@|$app|; s|@TOOLCHAIN@|$toolchain|" $file >"$work/$file"
    done
    # a reproducible build has a component's name in place of its folder
    if [ "$idf" = /IDF ]; then
        sed -i -E 's|/IDF/components/([a-z_]+)/|/COMPONENT_\U\1\E_DIR/|; s|/IDF_PROJECT/components/([a-z_]+)/|/COMPONENT_\U\1\E_DIR/|' "$work/sdk.c" "$work/app.cpp"
        sed -i 's|/IDF_PROJECT/main/|/COMPONENT_MAIN_DIR/|' "$work/app.cpp"
    fi
    shift 8
    flags="$* -ffreestanding -fno-builtin -nostdlib -fno-optimize-sibling-calls -fno-exceptions -fno-rtti -fno-ipa-icf -fno-ipa-cp -fno-ipa-sra -fno-partial-inlining -fdebug-prefix-map=$work=/build -fdebug-prefix-map=$PWD=/build -w"
    "$compiler-gcc" $flags -c "$work/sdk.c" -o "$work/sdk.o"
    "$compiler-g++" $flags -std=gnu++17 -c "$work/app.cpp" -o "$work/app.o"
    "$compiler-gcc" $flags -Wl,--build-id=none -T "$work/link.ld" "$work/app.o" "$work/sdk.o" -o "../$name.elf"
    chmod 644 "../$name.elf"
}

riscv="-march=rv32imc -mabi=ilp32 -fno-asynchronous-unwind-tables"
xtensa="-mtext-section-literals"
build riscv-opt riscv64-unknown-elf 0x42000020 _global_interrupt_handler riscv/interrupt.c \
    /opt/esp/idf /home/ci/pump /builds/idf/crosstool-NG/.build/riscv32-esp-elf/src \
    $riscv -O2 -gdwarf-5
build riscv-reproducible riscv64-unknown-elf 0x42000020 _global_interrupt_handler riscv/interrupt.c \
    /IDF /IDF_PROJECT /TOOLCHAIN $riscv -Os -gdwarf-4 -DINLINED
build xtensa-home xtensa-lx106-elf 0x400d0020 _xt_lowint1 xtensa/xtensa_vectors.S \
    /home/user/esp/esp-idf /home/user/pump /home/user/.espressif/tools/xtensa-esp-elf/esp-13.2.0_20240530/xtensa-esp-elf/src \
    $xtensa -Og -gdwarf-4
build xtensa-framework xtensa-lx106-elf 0x400d0020 _xt_lowint1 xtensa/xtensa_vectors.S \
    /home/user/.platformio/packages/framework-espidf /home/user/pump /home/user/.platformio/packages/toolchain-xtensa-esp32/src \
    $xtensa -O2 -gdwarf-5 -DINLINED
