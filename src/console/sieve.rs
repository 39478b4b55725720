//! A quick look at a line: whether it may mean something at all. Most lines of
//! a long log do not, and are passed over without being read.

/// Four bytes of everything that gives a line a meaning, at any place in it.
/// Whoever adds a mark or a form adds its own here.
const WINDOWS: &[&[u8; 4]] = &[
    // marks
    b"E DU", b"sum=", b"-ROM", b"ets ", b"rst:", b"r do", b".esp", b"u_st", b"p_in", b"Back",
    b"ster", b"SHA2", b"Rebo", b"Ente", b"mp h", b"mp f", b"Brow",
    // dialects, also within a line
    b"Guru", b"abor", b"asse", b"*** ", b"ROR*", b"ow i", b"Stac", b"Pani", b"Debu", b"MMU ",
    b"Writ", b"Dbus", b"Cach", b"CORR", b"Unde", b"Task", b"Abor", b"thre", b"anic", b"PANI",
    b"!! A", b"Exce", b"FATA", b"mcau", b"ZEPH", b"#CD:", b"_pan", b"_exc", b"sert", b"CRAS",
    b"ESP_", b"expr", b"term", b"what", b"nt C", b"ASSE",
];

const fn slot(window: [u8; 4]) -> (usize, u64) {
    let hash = u32::from_le_bytes(window).wrapping_mul(0x9E37_79B1) >> 16;
    ((hash >> 6) as usize, 1 << (hash & 63))
}

/// One bit for each value of the hash.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static BITS: [u64; 1024] = {
    let mut bits = [0; 1024];
    let mut at = 0;
    while at < WINDOWS.len() {
        let (word, bit) = slot(*WINDOWS[at]);
        bits[word] |= bit;
        at += 1;
    }
    bits
};

/// Whether `line` may mean something; few lines that do not are let through.
pub(super) fn may_mean_something(line: &[u8]) -> bool {
    line.windows(4).any(|window| {
        let Ok(window) = window.try_into() else {
            return false;
        };
        let (word, bit) = slot(window);
        BITS.get(word).is_some_and(|bits| bits & bit != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_has_a_meaning_is_passed_over() {
        for line in super::super::dialect::beginnings() {
            assert!(may_mean_something(line.as_bytes()), "{line}");
        }
        for line in [
            "================= CORE DUMP START =================",
            "AQ==================== CORE DUMP END =================",
            "Coredump checksum='4c634608'",
            "ets Jul 29 2019 12:21:46",
            "ESP-ROM:esp32c3-api1-20210207",
            "rst:0x1 (POWERON_RESET),boot:0x12 (SPI_FAST_FLASH_BOOT)",
            "waiting for download",
            "I (22) boot.esp32c3: SPI Speed      : 80MHz",
            "I (3) cpu_start: Project name:     pump",
            "I (3) app_init: App version:      v1",
            "I (3) esp_core_dump_uart: Press Enter to print core dump to UART...",
            "Core dump has been saved to flash.",
            "Core dump flash config is corrupted! CRC=0x0",
            "Brownout detector was triggered",
            "Core  0 register dump:",
            "Register dump:",
            "Backtrace: 0x1:0x2",
            "ELF file SHA256: 1b43",
            "Rebooting...",
            "Print CPU 0 (current core) registers",
        ] {
            assert!(may_mean_something(line.as_bytes()), "{line}");
        }
        for line in [
            "I (12) wifi: connected to pump-7",
            "level 3, 1200 rpm",
            "abc",
        ] {
            assert!(!may_mean_something(line.as_bytes()), "{line}");
        }
    }
}
