#!/bin/sh
# Builds ../app.elf with Debian's gcc-riscv64-unknown-elf. The decoder's tests
# know its frame layouts: whoever rebuilds it looks at the disassembly.
set -eu
cd "$(dirname "$0")"
flags="-march=rv32imc -mabi=ilp32 -Og -ffreestanding -nostdlib -ffile-prefix-map=$PWD=/project/main -fno-asynchronous-unwind-tables"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
# one unit in either version of DWARF, as ESP-IDF's precompiled libraries bring about
riscv64-unknown-elf-gcc $flags -gdwarf-5 -c "$PWD/app.c" -o "$work/app.o"
riscv64-unknown-elf-gcc $flags -gdwarf-4 -c "$PWD/system.c" -o "$work/system.o"
riscv64-unknown-elf-gcc $flags -Wl,--build-id=none -T link.ld "$work/app.o" "$work/system.o" -o ../app.elf
chmod 644 ../app.elf
