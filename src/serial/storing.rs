//! Stores what a port captured, beside the task that reads: a slow disk must
//! not make a board's bytes overflow.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::{Moment, iso8601};
use crate::journal::{Event, chain};

use super::intake::{Crash, Intake, Site};
use super::status::{Board, LastCrash};

/// A crash and where it came from.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) crash: Crash,
    pub(super) site: Site,
}

/// Crashes that may wait for the disk, per port.
pub(super) const WAITING: usize = 4;

/// Stores one crash after the other until the port's task is gone.
pub(super) async fn store(
    mut crashes: mpsc::Receiver<Captured>,
    board: Arc<Board>,
    intake: Arc<Intake>,
) {
    while let Some(captured) = crashes.recv().await {
        let captured = Arc::new(captured);
        for attempt in 1..=ATTEMPTS {
            if store_one(&captured, &board, &intake, attempt == ATTEMPTS).await {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether the crash needs no further attempt.
async fn store_one(
    captured: &Arc<Captured>,
    board: &Board,
    intake: &Arc<Intake>,
    last: bool,
) -> bool {
    let work = (Arc::clone(captured), Arc::clone(intake));
    let stored = tokio::task::spawn_blocking(move || {
        let (captured, intake) = work;
        intake.take(&captured.crash, &captured.site)
    });
    let path = captured.site.plan.path.display();
    let failure = match stored.await {
        Ok(Ok((received, device))) => {
            board.change(|status| {
                status.device_key = Some(device.to_string());
                status.stored += 1;
                status.last_crash = Some(LastCrash {
                    at: iso8601(Moment::now().wall),
                    coredump_id: received.id,
                    filename: received.filename,
                    verdict: received.verdict.to_string(),
                    kept: received.kept,
                });
            });
            return true;
        }
        Ok(Err(error)) => chain(&error),
        // one dump may cost its attempt, not the daemon
        Err(panic) => {
            Event::RequestFailed
                .entry()
                .port(&path)
                .say(format_args!("storing a crash from {path} failed: {panic}"));
            return true;
        }
    };
    if last {
        Event::RequestFailed
            .entry()
            .port(&path)
            .say(format_args!("a crash from {path} is lost: {failure}"));
    }
    false
}

/// While the disk is full or failing, each crash is tried so often.
const ATTEMPTS: u32 = 12;
const PAUSE: Duration = Duration::from_secs(5);
