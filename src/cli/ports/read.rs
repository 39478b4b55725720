//! `espgate ports read`: the coredump in a board's flash, now.

use std::pin::pin;
use std::time::Duration;

use super::SEE_LIST;
use crate::api::ports::{Read, Reading};
use crate::cli::args::Json;
use crate::cli::client::{Client, Reply, segment};
use crate::cli::confirm::agreed;
use crate::cli::failure::Failure;
use crate::cli::output::{known, print_json, print_line};
use crate::cli::progress::StatusLine;

/// How often progress is updated on a terminal.
const PULSE: Duration = Duration::from_millis(300);

/// Asks first, since it resets the board; then waits for the dump.
pub(super) fn run(client: &Client, port: &str, yes: bool, json: Json) -> Result<(), Failure> {
    agreed(yes, &format!("Reading resets the board on {port}"))?;
    let answer = client.block_on(read(client, port))?;
    if json.json {
        return print_json(&answer);
    }
    let read: Read = answer.read()?;
    let Some(id) = read.coredump_id else {
        return print_line(&format!(
            "no coredump on {port}: the coredump partition is empty"
        ));
    };
    let state = match read.kept {
        Some(false) => "already stored",
        _ => "stored",
    };
    print_line(&format!(
        "{state} coredump {id} of {}; see `espgate coredumps show {id}`",
        known(&read.device_key)
    ))
}

async fn read(client: &Client, port: &str) -> Result<Reply, Failure> {
    let path = format!("/api/ports/{}", segment(port));
    let call = client
        .post(format!("{path}/read"))
        .doing(format!("read the coredump on port {port}"))
        .advice(SEE_LIST)
        .slow();
    let mut reading = pin!(call.done());
    let mut stage = StatusLine::new();
    loop {
        tokio::select! {
            answer = &mut reading => return answer,
            () = tokio::time::sleep(PULSE), if stage.is_visible() => {}
        }
        let asked = client.get(format!("{path}/reading")).done().await;
        // It has just ended, or not begun: nothing to show.
        if let Ok(reading) = asked.and_then(|answer| answer.read()) {
            stage.show(in_words(&reading));
        }
    }
}

fn in_words(reading: &Reading) -> String {
    match (&reading.stage, reading.total) {
        (None, _) => String::from("connecting to the board"),
        (Some(stage), None | Some(0)) => stage.clone(),
        (Some(stage), Some(total)) => format!("{stage}: {} of {total} bytes", reading.done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_has_numbers_once_the_length_is_known() {
        for (stage, done, total, words) in [
            (None, 0, None, "connecting to the board"),
            (Some("connecting"), 0, Some(0), "connecting"),
            (
                Some("reading the coredump"),
                64,
                Some(9396),
                "reading the coredump: 64 of 9396 bytes",
            ),
        ] {
            let stage = stage.map(String::from);
            assert_eq!(in_words(&Reading { stage, done, total }), words);
        }
    }
}
