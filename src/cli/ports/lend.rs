//! `espgate ports run`: the port is lent while a program runs.

use std::io::{self, Write as _};
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context as _, anyhow};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::SEE_LIST;
use crate::cli::client::{Client, segment};
use crate::cli::failure::Outcome;

/// Longest path of a port that is taken from the daemon.
const MAX_PATH: usize = 4096;

/// Borrows the port, runs the command, gives the port back. The exit status is
/// the command's own.
pub(super) fn run(client: &Client, port: &str, command: &[String]) -> Outcome {
    let call = client
        .post(format!("/api/ports/{}/lease", segment(port)))
        .doing(format!("borrow port {port}"))
        .advice(SEE_LIST);
    client.block_on(async {
        // The port is ours as long as this body is read.
        let mut lease = call.opened().await?;
        let path = first_line(&mut lease).await?;
        let status = run_with(&path, command, &mut lease).await?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(ExitCode::from(code.unwrap_or(1)))
    })
}

async fn first_line(lease: &mut Incoming) -> anyhow::Result<String> {
    let mut line = Vec::new();
    while line.len() < MAX_PATH {
        let frame = lease.frame().await.context("the daemon lent no port")??;
        line.extend_from_slice(&frame.into_data().unwrap_or_default());
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            return String::from_utf8(line).context("the port's path is not text");
        }
    }
    Err(anyhow!("the daemon's answer is no port"))
}

async fn run_with(
    path: &str,
    command: &[String],
    lease: &mut Incoming,
) -> anyhow::Result<ExitStatus> {
    let (program, arguments) = command.split_first().context("no command to run")?;
    // The terminal's Ctrl-C is the program's; we wait for its end and give the
    // port back then.
    let _interrupts = signal(SignalKind::interrupt())?;
    let mut child = Command::new(program)
        .args(arguments.iter().map(|text| text.replace("{port}", path)))
        .env("ESPPORT", path)
        .env("ESPTOOL_PORT", path)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let mut is_lent = true;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            pulse = lease.frame(), if is_lent => {
                if !matches!(pulse, Some(Ok(_))) {
                    is_lent = false;
                    let _ = writeln!(
                        io::stderr(),
                        "espgate: the daemon ended the loan of {path}; {program} goes on"
                    );
                }
            }
        }
    }
}
