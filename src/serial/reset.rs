//! How a board is reset into its bootloader and back into its application by
//! its port's two modem lines.
//!
//! On the usual circuit (Espressif's boards and their copies) RTS alone holds
//! the chip in reset, DTR alone holds IO0 low; a chip that leaves reset with IO0
//! low starts its bootloader. The USB-Serial-JTAG unit of newer chips does
//! the same without wires.

use std::time::Duration;

use super::discover::Usb;
use super::link::{Link, LinkError, ModemLines};
use crate::config;

/// A reset circuit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResetCircuit {
    /// Two transistors between DTR, RTS and EN, IO0.
    Classic,
    /// The chip's own USB-Serial-JTAG unit.
    UsbJtag,
    /// No modem lines, or not wired to the board: they are not changed.
    None,
}

/// One step of a reset.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResetStep {
    /// Both lines in one call.
    Set(ModemLines),
    Wait(Duration),
    /// Drops what the board printed until now.
    Discard,
}

impl ResetCircuit {
    /// The circuit behind a port: the configured one, else by its USB ids.
    pub fn of(configured: config::Reset, usb: Option<&Usb>) -> Self {
        match configured {
            config::Reset::Classic => Self::Classic,
            config::Reset::UsbJtag => Self::UsbJtag,
            config::Reset::None => Self::None,
            config::Reset::Auto if usb.is_some_and(Usb::is_serial_jtag) => Self::UsbJtag,
            config::Reset::Auto => Self::Classic,
        }
    }

    /// The steps into the bootloader. `hold` is how long IO0 stays low after
    /// the reset; boards with a large capacitor at EN need half a second.
    pub fn enter(self, hold: Duration) -> Vec<ResetStep> {
        match self {
            Self::Classic => vec![
                ResetStep::Set(ModemLines::OFF),
                ResetStep::Set(ModemLines::ON),
                IN_RESET,
                ResetStep::Wait(RESET),
                BOOT_LOW,
                ResetStep::Wait(hold),
                ResetStep::Set(ModemLines::OFF),
            ],
            // The unit reads IO0 at the moment when RTS falls, and ignores both
            // lines asserted: reset is entered through that state.
            Self::UsbJtag => vec![
                ResetStep::Set(ModemLines::OFF),
                ResetStep::Wait(RESET),
                BOOT_LOW,
                ResetStep::Wait(RESET),
                ResetStep::Set(ModemLines::ON),
                IN_RESET,
                ResetStep::Wait(RESET),
                ResetStep::Set(ModemLines::OFF),
            ],
            Self::None => vec![],
        }
    }

    /// The steps into the application, which end with the lines at `rest`.
    pub fn leave(self, rest: ModemLines) -> Vec<ResetStep> {
        let (reset, settle) = match self {
            Self::Classic => (RESET, Duration::ZERO),
            // The unit disconnects and connects again.
            Self::UsbJtag => (2 * RESET, 2 * RESET),
            Self::None => return vec![],
        };
        vec![
            ResetStep::Set(ModemLines::OFF),
            IN_RESET,
            ResetStep::Wait(reset),
            // The reset cut off what the board was printing.
            ResetStep::Discard,
            ResetStep::Set(ModemLines::OFF),
            ResetStep::Wait(settle),
            ResetStep::Set(rest),
        ]
    }
}

/// Runs `steps`. `false` if the port has no modem lines, in which case
/// nothing happened.
pub async fn run_steps<L: Link>(link: &mut L, steps: &[ResetStep]) -> Result<bool, LinkError> {
    for step in steps {
        match step {
            ResetStep::Set(lines) => {
                if !link.set_lines(*lines)? {
                    return Ok(false);
                }
            }
            ResetStep::Wait(time) => tokio::time::sleep(*time).await,
            ResetStep::Discard => link.discard()?,
        }
    }
    Ok(!steps.is_empty())
}

/// The same without async: waits block the thread, but only as long as a chip
/// needs.
pub(super) fn run_steps_blocking<L: Link>(
    link: &mut L,
    steps: &[ResetStep],
) -> Result<(), LinkError> {
    for step in steps {
        match step {
            ResetStep::Set(lines) => {
                link.set_lines(*lines)?;
            }
            ResetStep::Wait(time) => std::thread::sleep(*time.min(&NOTICED)),
            ResetStep::Discard => link.discard()?,
        }
    }
    Ok(())
}

const IN_RESET: ResetStep = ResetStep::Set(ModemLines {
    dtr: false,
    rts: true,
});
const BOOT_LOW: ResetStep = ResetStep::Set(ModemLines {
    dtr: true,
    rts: false,
});

/// Far longer than any board's capacitor at EN takes.
const RESET: Duration = Duration::from_millis(100);

/// Long enough for most.
const NOTICED: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::super::link::scripted::{LinkCall, ScriptedLink};
    use super::*;

    /// `+` asserted, `-` released, DTR first; with the time in milliseconds.
    async fn drawn(steps: &[ResetStep]) -> Vec<String> {
        let mut link = ScriptedLink::silent();
        let calls = link.calls();
        run_steps(&mut link, steps).await.unwrap();
        let sign = |on| if on { '+' } else { '-' };
        let calls = calls.lock().unwrap();
        calls
            .iter()
            .map(|(at, call)| match call {
                LinkCall::SetLines { dtr, rts } => {
                    format!("{} {}{}", at.as_millis(), sign(*dtr), sign(*rts))
                }
                LinkCall::Discard => format!("{} discard", at.as_millis()),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    const HOLD: Duration = Duration::from_millis(50);

    #[tokio::test(start_paused = true)]
    async fn classic_releases_reset_in_the_step_that_pulls_io0_low() {
        assert_eq!(
            drawn(&ResetCircuit::Classic.enter(HOLD)).await,
            ["0 --", "0 ++", "0 -+", "100 +-", "150 --"]
        );
        assert_eq!(
            drawn(&ResetCircuit::Classic.leave(ModemLines::ON)).await,
            ["0 --", "0 -+", "100 discard", "100 --", "100 ++"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn usb_jtag_goes_through_both_asserted() {
        assert_eq!(
            drawn(&ResetCircuit::UsbJtag.enter(HOLD)).await,
            ["0 --", "100 +-", "200 ++", "200 -+", "300 --"]
        );
        assert_eq!(
            drawn(&ResetCircuit::UsbJtag.leave(ModemLines::OFF)).await,
            ["0 --", "0 -+", "200 discard", "200 --", "400 --"]
        );
    }

    #[test]
    fn none_leaves_the_lines_alone() {
        assert_eq!(ResetCircuit::None.enter(HOLD), []);
        assert_eq!(ResetCircuit::None.leave(ModemLines::ON), []);
    }

    #[test]
    fn auto_goes_by_the_usb_ids() {
        let usb = |vid, pid| Usb {
            vid,
            pid,
            ..Usb::default()
        };
        let native = usb(0x303A, 0x1001);
        let auto = |usb: Option<&Usb>| ResetCircuit::of(config::Reset::Auto, usb);
        assert_eq!(auto(Some(&native)), ResetCircuit::UsbJtag);
        for usb in [None, Some(usb(0x303A, 0x0002)), Some(usb(0x10C4, 0xEA60))] {
            assert_eq!(auto(usb.as_ref()), ResetCircuit::Classic, "{usb:?}");
        }
        let none = ResetCircuit::of(config::Reset::None, Some(&native));
        assert_eq!(none, ResetCircuit::None);
    }
}
