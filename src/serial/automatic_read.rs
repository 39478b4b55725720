//! Whether the flash is read after a crash without a request, which resets the
//! board: decided by what was read before. No I/O.

use std::time::Duration;

use crate::clock::Moment;
use crate::config::ReadFlash;
use crate::ingest::Received;

use super::port_plan::PortPlan;
use super::reset::ResetCircuit;
use super::state::{AutomaticReads, StoredMoment};

/// Whether to read: the dump from the console is incomplete, the crash is new,
/// the last read is long enough ago, and the reset does not disable the port.
pub(super) fn should_read(
    plan: &PortPlan,
    received: &Received,
    reads: &AutomaticReads,
    now: &Moment,
) -> bool {
    let allowed = plan.settings.read_flash == ReadFlash::OnCrash
        && plan.reset_circuit() != ResetCircuit::UsbJtag;
    let apart = match &received.fingerprint {
        Some(_) => APART,
        None => APART_UNKNOWN,
    };
    let recent = reads
        .last
        .as_ref()
        .is_some_and(|last| last.elapsed(now) < apart);
    let crash = received.fingerprint.as_ref();
    let known = crash.is_some_and(|crash| reads.crashes.contains(crash));
    allowed && !received.verdict.is_whole() && !recent && !known
}

/// Remembers a read for this crash.
pub(super) fn record_read(reads: &mut AutomaticReads, crash: Option<&str>, now: &Moment) {
    reads.last = Some(StoredMoment::of(now));
    reads.crashes.extend(crash.map(str::to_owned));
    let too_many = reads.crashes.len().saturating_sub(MOST_CRASHES);
    reads.crashes.drain(..too_many);
}

/// Minimum time between two reads.
const APART: Duration = Duration::from_secs(600);
/// The same for a crash without fingerprint, which may have been read already.
const APART_UNKNOWN: Duration = Duration::from_secs(24 * 3600);
const MOST_CRASHES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coredump::Verdict;
    use crate::serial::discover::{FoundPort, Usb};
    use crate::serial::selection;
    use crate::serial::state::PortsState;

    fn plan(text: &str, pid: u16) -> PortPlan {
        let config = crate::config::parse(text).unwrap().config.serial;
        let usb = Usb {
            vid: 0x303a,
            pid,
            place: "1-1".to_owned(),
            ..Usb::default()
        };
        let found = [FoundPort {
            path: "/dev/ttyACM0".into(),
            usb,
        }];
        selection::plan_ports(&found, &[], &config, &PortsState::default(), &at(0)).remove(0)
    }

    fn received(verdict: Verdict, fingerprint: Option<&str>) -> Received {
        Received {
            is_crash: true,
            filename: String::new(),
            id: String::new(),
            kept: true,
            verdict,
            fingerprint: fingerprint.map(str::to_owned),
        }
    }

    fn at(minute: u64) -> Moment {
        Moment {
            monotonic_us: minute * 60_000_000,
            ..Moment::now()
        }
    }

    const ON_CRASH: &str =
        "[[serial.port]]\nmatch = { place = \"1-1\" }\nread_flash = \"on-crash\"";

    #[test]
    fn the_flash_is_read_once_per_crash_and_not_too_often() {
        let plan = plan(ON_CRASH, 2);
        let mut reads = AutomaticReads::default();
        let mut should_read = |verdict, crash, minute: u64| {
            let now = at(minute);
            let crash = received(verdict, crash);
            let wanted = should_read(&plan, &crash, &reads, &now);
            if wanted {
                record_read(&mut reads, crash.fingerprint.as_deref(), &now);
            }
            wanted
        };
        assert!(!should_read(Verdict::Valid, Some("a"), 0));
        assert!(should_read(Verdict::PanicOnly, Some("a"), 1));
        assert!(!should_read(Verdict::PanicOnly, Some("b"), 2));
        assert!(!should_read(Verdict::PanicOnly, Some("a"), 12));
        assert!(should_read(Verdict::Truncated, Some("b"), 12));
        assert!(!should_read(Verdict::PanicOnly, None, 23));
        assert!(should_read(Verdict::PanicOnly, None, 12 + 24 * 60));
        assert!(!should_read(Verdict::PanicOnly, Some("a"), 48 * 60));
    }

    #[test]
    fn crashes_that_were_read_long_ago_are_forgotten_after_many_others() {
        let mut reads = AutomaticReads::default();
        for n in 0..=MOST_CRASHES {
            record_read(&mut reads, Some(&n.to_string()), &at(0));
        }
        assert_eq!(reads.crashes.len(), MOST_CRASHES);
        assert_eq!(reads.crashes[0], "1");
    }

    #[test]
    fn it_is_never_read_unasked_over_a_chips_own_usb_or_if_not_configured() {
        let crash = received(Verdict::PanicOnly, Some("a"));
        for plan in [plan(ON_CRASH, 0x1001), plan("", 2)] {
            let wanted = should_read(&plan, &crash, &AutomaticReads::default(), &at(0));
            assert!(!wanted, "{plan:?}");
        }
    }
}
