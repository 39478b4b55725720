//! A board: what it runs, how it speaks, and what a bad build does to it.

use espgate::device::DeviceKey;

use super::random::Random;

/// What a board runs, or is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Runs {
    Base,
    Target,
}

/// What is wrong with the target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    None,
    /// It crashes before it is confirmed; the bootloader goes back, and the dump is sent by
    /// the old build.
    AtBoot,
    /// As [`Fault::AtBoot`], without a dump.
    RolledBack,
    /// It starts, speaks, and crashes half a minute later, again and again.
    Loops,
    /// It crashes so many seconds after a boot.
    After(u64),
    /// As [`Fault::After`] ten minutes, on one of ten boards.
    OneOfTen,
    /// It is never heard again.
    Vanishes,
    /// It stops after so many seconds without a crash.
    Hangs(u64),
    /// It is heard, and cannot ask for firmware any more.
    CannotAsk,
}

/// What a board's client tells, and how it fetches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    /// `running=` on its requests.
    pub(crate) tells_build: bool,
    /// `boot_count=` or `uptime_s=`.
    pub(crate) tells_boots: bool,
    /// It asks `firmware-version` before it fetches the image.
    pub(crate) asks_version: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Download {
    pub(crate) build: Runs,
    /// Bytes after which it breaks off.
    pub(crate) breaks: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Board {
    pub(crate) key: DeviceKey,
    pub(crate) votes: bool,
    pub(crate) client: Client,
    /// Seconds between contacts.
    pub(crate) interval: u64,
    /// Whether the gateway knows the interval.
    pub(crate) is_regular: bool,
    /// It installs at this second of the day.
    pub(crate) night: Option<u64>,
    /// Seconds of a download, and how often one breaks off, percent.
    pub(crate) seconds: u64,
    pub(crate) breaks: u64,
    pub(crate) fault: Fault,
    pub(crate) runs: Runs,
    pub(crate) staged: Option<Runs>,
    /// The build that failed to boot: it is not fetched again.
    pub(crate) failed: Option<Runs>,
    pub(crate) download: Option<Download>,
    pub(crate) dump: bool,
    pub(crate) has_booted: bool,
    pub(crate) boots: Vec<u64>,
    pub(crate) is_alive: bool,
    pub(crate) can_ask: bool,
    pub(crate) is_pinned: bool,
    /// What is planned for an earlier life is void.
    pub(crate) life: u64,
}

impl Board {
    /// A board that does all that a gateway can wish for, with habits of its own.
    pub(crate) fn new(number: usize, random: &mut Random) -> Self {
        Self {
            key: format!("board{number}").parse().unwrap(),
            votes: true,
            client: Client {
                tells_build: true,
                tells_boots: true,
                asks_version: random.percent(50),
            },
            interval: random.between(600, 3600),
            is_regular: true,
            night: None,
            seconds: random.between(40, 240),
            breaks: 0,
            fault: Fault::None,
            runs: Runs::Base,
            staged: None,
            failed: None,
            download: None,
            dump: false,
            has_booted: false,
            boots: Vec::new(),
            is_alive: true,
            can_ask: true,
            is_pinned: false,
            life: 0,
        }
    }

    /// Seconds until it boots into what it has just got.
    pub(crate) fn until_boot(&self, now: u64, random: &mut Random) -> u64 {
        let day = 24 * 3600;
        match self.night {
            Some(night) => (night + day - now % day) % day + random.between(1, 60),
            None => random.between(5, 20),
        }
    }
}
