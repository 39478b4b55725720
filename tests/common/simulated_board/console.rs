//! What a simulated application prints: a recording, or a crash with its
//! coredump as base64.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A piece of an application's life on its console.
#[derive(Clone, Debug)]
pub enum Piece {
    Print(Vec<u8>),
    Pause(Duration),
    /// Until Enter is pressed, or this long.
    Enter(Duration),
}

/// A recording, piece by piece as a UART's buffer empties; Enter is waited for
/// where the recording asks for it.
pub fn replay(recording: &[u8], enter: Duration) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for line in recording.split_inclusive(|byte| *byte == b'\n') {
        pieces.push(Piece::Print(line.to_vec()));
        let prompt = b"Press Enter to print core dump";
        if line.windows(prompt.len()).any(|window| window == prompt) {
            pieces.push(Piece::Enter(enter));
        }
    }
    pieces
}

/// Boot, some seconds of life, a panic, the dump, and a reboot.
pub fn crash(dump: &[u8], life: Duration, enter: Duration) -> Vec<Piece> {
    let mut text = String::from(PANIC);
    let mut pieces = vec![Piece::Print(BOOT.into()), Piece::Pause(life)];
    pieces.push(Piece::Print(text.clone().into_bytes()));
    pieces.push(Piece::Enter(enter));
    let (payload, checksum) = dump.split_at(dump.len() - 4);
    // line by line: what a reader has not taken yet fits into the terminal's buffer
    let mut print = |line: String| pieces.push(Piece::Print(line.into_bytes()));
    print("================= CORE DUMP START =================\r\n".to_owned());
    for line in payload.chunks(48).chain([checksum]) {
        print(format!("{}\r\n", STANDARD.encode(line)));
    }
    text = "================= CORE DUMP END =================\r\n".to_owned();
    let stored = u32::from_le_bytes(checksum.try_into().unwrap());
    text += &format!("I (4433) esp_core_dump_uart: Coredump checksum='{stored:08x}'\r\n");
    text += "Rebooting...\r\n";
    pieces.push(Piece::Print(text.into_bytes()));
    pieces
}

/// What the ROM and the second stage print before an application runs.
pub const BOOT: &str = "ets Jun  8 2016 00:22:57\r\n\r\n\
    rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n\
    I (29) boot: ESP-IDF v5.2.1 2nd stage bootloader\r\n\
    I (300) cpu_start: Project name:     simulated_board\r\n\
    I (305) cpu_start: App version:      1.0.0\r\n";

/// What the ROM prints when it waits for us.
pub const DOWNLOAD: &str = "ets Jun  8 2016 00:22:57\r\n\r\n\
    rst:0x1 (POWERON_RESET),boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))\r\n\
    waiting for download\r\n";

const PANIC: &str = "Guru Meditation Error: Core  0 panic'ed (LoadProhibited). \
    Exception was unhandled.\r\n\r\nBacktrace: 0x400d1234:0x3ffb4ec0 0x400d5678:0x3ffb4ee0\r\n\r\n\
    I (3384) esp_core_dump_uart: Press Enter to print core dump to UART...\r\n";
