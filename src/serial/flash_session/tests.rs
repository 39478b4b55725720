use super::super::link::scripted::{CallLog, LinkCall, ScriptedLink};
use super::*;
use crate::bootloader::command::Command;

fn options() -> FlashReadOptions {
    FlashReadOptions {
        reset: ResetCircuit::Classic,
        lines: ModemLines::ON,
        console_baud: 74_880,
        settings: SessionSettings::default(),
    }
}

/// The last four changes of the lines, as `reset.rs` draws them.
fn ending(calls: &CallLog) -> Vec<(bool, bool)> {
    let calls = calls.lock().unwrap();
    let lines = calls.iter().filter_map(|(_, call)| match call {
        LinkCall::SetLines { dtr, rts } => Some((*dtr, *rts)),
        _ => None,
    });
    let all: Vec<_> = lines.collect();
    all[all.len() - 4..].to_vec()
}

const LEFT: [(bool, bool); 4] = [(false, false), (false, true), (false, false), (true, true)];

async fn attempt(
    link: ScriptedLink,
    stop: CancellationToken,
) -> (SessionError, Vec<BootloaderNote>) {
    attempt_as(ResetCircuit::Classic, link, stop).await
}

async fn attempt_as(
    reset: ResetCircuit,
    mut link: ScriptedLink,
    stop: CancellationToken,
) -> (SessionError, Vec<BootloaderNote>) {
    let mut notes = Vec::new();
    let failed = read_coredump(
        &mut link,
        &FlashReadOptions { reset, ..options() },
        &stop,
        &mut |note| notes.push(note),
        &mut |_| {},
    )
    .await
    .unwrap_err();
    (failed, notes)
}

#[tokio::test(start_paused = true)]
async fn a_silent_board_is_tried_three_times_and_reset_into_its_app() {
    let link = ScriptedLink::silent();
    let calls = link.calls();
    let (failed, notes) = attempt(link, CancellationToken::new()).await;
    assert!(matches!(
        failed,
        SessionError::Bootloader(bootloader::Error::NoAnswer(LineActivity::Silent))
    ));
    assert_eq!(notes, [BootloaderNote::Entering, BootloaderNote::Left]);
    assert_eq!(ending(&calls), LEFT);
    let calls = calls.lock().unwrap();
    let speeds = calls.iter().filter_map(|(_, call)| match call {
        LinkCall::Baud(baud) => Some(*baud),
        _ => None,
    });
    assert_eq!(
        speeds.collect::<Vec<_>>(),
        [115_200, 115_200, 115_200, 74_880]
    );
    let sync = LinkCall::Write(Command::Sync.frame());
    assert_eq!(
        calls.iter().filter(|(_, call)| *call == sync).count(),
        3 * 7
    );
}

#[tokio::test(start_paused = true)]
async fn a_port_without_modem_lines_is_tried_as_one_without_a_reset_circuit() {
    let speeds = |calls: &CallLog| {
        let calls = calls.lock().unwrap();
        let speeds = calls.iter().filter_map(|(_, call)| match call {
            LinkCall::Baud(baud) => Some(*baud),
            _ => None,
        });
        speeds.collect::<Vec<_>>()
    };
    let (unwired, none) = (
        ScriptedLink::silent().without_lines(),
        ScriptedLink::silent(),
    );
    let calls = [unwired.calls(), none.calls()];
    attempt(unwired, CancellationToken::new()).await;
    attempt_as(ResetCircuit::None, none, CancellationToken::new()).await;
    let raised = SessionSettings::default().faster.unwrap();
    assert_eq!(speeds(&calls[0]), [115_200, raised, 115_200, 74_880]);
    assert_eq!(speeds(&calls[0]), speeds(&calls[1]));
}

#[tokio::test(start_paused = true)]
async fn what_the_board_said_instead_is_told() {
    for (text, activity) in [
        (
            "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)",
            LineActivity::OtherText,
        ),
        (
            "boot:0x3 (DOWNLOAD_BOOT)\r\nwaiting for download\r\n",
            LineActivity::DownloadPrompt,
        ),
    ] {
        let link = ScriptedLink::new([text]);
        let (failed, _) = attempt(link, CancellationToken::new()).await;
        let SessionError::Bootloader(bootloader::Error::NoAnswer(told)) = failed else {
            panic!("{failed:?}");
        };
        assert_eq!(told, activity, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_resets_the_board_into_its_app() {
    let link = ScriptedLink::silent();
    let calls = link.calls();
    let stop = CancellationToken::new();
    let asked = stop.clone();
    let (outcome, ()) = tokio::join!(attempt(link, stop), async {
        sleep(Duration::from_millis(120)).await;
        asked.cancel();
    });
    assert!(matches!(outcome.0, SessionError::Interrupted));
    assert_eq!(outcome.1, [BootloaderNote::Entering, BootloaderNote::Left]);
    assert_eq!(ending(&calls), LEFT);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_read_resets_the_board_into_its_app() {
    let link = ScriptedLink::silent();
    let calls = link.calls();
    let reading = attempt(link, CancellationToken::new());
    let dropped = timeout(Duration::from_millis(120), reading).await;
    assert!(dropped.is_err());
    assert_eq!(ending(&calls), LEFT);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_goes_away_leaves_its_note_standing() {
    let link = ScriptedLink::silent().then_gone();
    let (failed, notes) = attempt(link, CancellationToken::new()).await;
    assert!(matches!(failed, SessionError::Link(LinkError::Gone)));
    assert_eq!(notes, [BootloaderNote::Entering]);
}

#[tokio::test(start_paused = true)]
async fn a_usb_unit_that_leaves_the_bus_is_waited_for() {
    let back = ScriptedLink::silent().then_gone().then_back(["boot text"]);
    let (failed, notes) = attempt_as(ResetCircuit::UsbJtag, back, CancellationToken::new()).await;
    let SessionError::Bootloader(bootloader::Error::NoAnswer(LineActivity::OtherText)) = failed
    else {
        panic!("{failed:?}");
    };
    assert_eq!(notes, [BootloaderNote::Entering, BootloaderNote::Left]);
    // Gone for good: so is the chip, and nothing is left to be reset.
    let gone = ScriptedLink::silent().then_gone();
    let (failed, notes) = attempt_as(ResetCircuit::UsbJtag, gone, CancellationToken::new()).await;
    assert!(matches!(failed, SessionError::Link(LinkError::Gone)));
    assert_eq!(notes, [BootloaderNote::Entering, BootloaderNote::Left]);
}
