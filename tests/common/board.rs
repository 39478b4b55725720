//! A simulated ESP32 on a pseudo terminal: what its console prints.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

use super::dumps::{DumpSpec, base64_lines, shape};

/// A board that is plugged in at a path, under which a link leads to the
/// pseudo terminal that it has just then.
pub struct Board {
    link: PathBuf,
    wire: Option<Arc<File>>,
}

impl Board {
    /// A board that is not plugged in yet.
    pub fn at(link: &Path) -> Self {
        Self {
            link: link.to_owned(),
            wire: None,
        }
    }

    /// Plugs it in; answers with the pseudo terminal's own path.
    pub fn plug(&mut self) -> PathBuf {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = PathBuf::from(ptsname_r(&master).unwrap());
        // nobody echoes before somebody configures the terminal
        let slave = File::options().read(true).write(true).open(&path).unwrap();
        let mut raw = nix::sys::termios::tcgetattr(&slave).unwrap();
        nix::sys::termios::cfmakeraw(&mut raw);
        nix::sys::termios::tcsetattr(&slave, nix::sys::termios::SetArg::TCSANOW, &raw).unwrap();
        self.wire = Some(Arc::new(File::from(OwnedFd::from(master))));
        symlink(&path, &self.link).unwrap();
        path
    }

    /// Pulls the plug.
    pub fn unplug(&mut self) {
        fs::remove_file(&self.link).unwrap();
        self.wire = None;
    }

    /// Prints bytes, as fast as they are taken.
    pub async fn print(&self, bytes: impl Into<Vec<u8>>) {
        let (wire, bytes) = (Arc::clone(self.wire.as_ref().unwrap()), bytes.into());
        tokio::task::spawn_blocking(move || (&*wire).write_all(&bytes).unwrap())
            .await
            .unwrap();
    }

    /// Waits for one byte from the other side.
    pub async fn hear(&self) -> u8 {
        let wire = Arc::clone(self.wire.as_ref().unwrap());
        let read = move || {
            let mut byte = [0];
            (&*wire).read_exact(&mut byte).unwrap();
            byte[0]
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }
}

/// What the ROM, the bootloader and an application print at a boot.
pub fn boot(spec: &DumpSpec, version: &str) -> String {
    format!(
        "ESP-ROM:{}-api1-20210207\r\nrst:0xc (RTC_SW_CPU_RST),boot:0x8 (SPI_FAST_FLASH_BOOT)\r\n\
         \x1b[0;32mI (127) cpu_start: Project name:     demo\x1b[0m\r\n\
         \x1b[0;32mI (127) cpu_start: App version:      {version}\x1b[0m\r\n\
         \x1b[0;32mI (127) cpu_start: ELF file SHA256:  {}...\x1b[0m\r\n\
         \x1b[0;32mI (127) cpu_start: ESP-IDF:          v5.3\x1b[0m\r\n\
         I (146) main_task: Calling app_main()\r\n",
        spec.chip, spec.app_elf_sha256
    )
}

/// A panic's text, up to where a dump or `Rebooting...` follows.
pub fn panic(spec: &DumpSpec) -> String {
    format!(
        "abort() was called at PC 0x400d66b9 on core 0\r\n\r\n\r\n\
         Backtrace: 0x4008110a:0x3ffb4ec0 0x40085109:0x3ffb4ee0\r\n\r\n\r\n\
         ELF file SHA256: {}\r\n\r\n",
        spec.app_elf_sha256
    )
}

pub const PROMPT: &str =
    "I (238) esp_core_dump_uart: Press Enter to print core dump to UART...\r\n";

/// A dump between its markers, and what follows up to the reboot.
pub fn dump(spec: &DumpSpec, version: u16) -> String {
    let image = spec.image(version, false);
    let (_, _, checksum, _) = shape(version);
    let mut stored = image[image.len() - checksum..].to_vec();
    if checksum == 4 {
        stored.reverse();
    }
    let hex: String = stored.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "================= CORE DUMP START =================\r\n{}\
         ================= CORE DUMP END =================\r\n\
         Coredump checksum='{hex}'\r\nI (265) esp_core_dump_uart: Core dump has been written to uart.\r\n\
         Rebooting...\r\n",
        base64_lines(&image, checksum)
    )
}
