//! `espgate ports run`: lends the port to a program until that ends.

use std::io::{self, Write as _};
use std::pin::pin;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::SEE_LIST;
use crate::cli::client::{Client, segment};
use crate::cli::failure::{Failure, Outcome};

/// Longest path of a port that is taken from the daemon.
const MAX_PATH: usize = 4096;

/// Between two tries to borrow the port again from a daemon that restarts.
const AGAIN: Duration = Duration::from_secs(2);
/// How often that is tried to give the port back to it.
const GIVE_BACK_TRIES: u32 = 8;

/// Borrows the port, runs the command, gives the port back. The exit status is
/// the command's own.
pub(super) fn run(client: &Client, port: &str, command: &[String]) -> Outcome {
    client.block_on(async {
        let (path, lease) = borrow(client, port).await?;
        let mut lease = Some(lease);
        let status = run_with(&path, command, hold(client, port, &mut lease)).await?;
        give_back(client, port, lease).await;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(ExitCode::from(code.unwrap_or(1)))
    })
}

/// The port's path, and the answer: the port is ours as long as it is read.
async fn borrow(client: &Client, port: &str) -> Result<(String, Incoming), Failure> {
    let call = client
        .post(format!("/api/ports/{}/lease", segment(port)))
        .doing(format!("borrow port {port}"))
        .advice(SEE_LIST);
    let mut lease = call.opened().await?;
    let path = first_line(&mut lease).await?;
    Ok((path, lease))
}

/// Reads the answer until it ends: most likely the daemon restarts. It keeps the
/// port reserved for some minutes, so the port is borrowed again.
async fn hold(client: &Client, port: &str, lease: &mut Option<Incoming>) {
    loop {
        while let Some(body) = lease
            && matches!(body.frame().await, Some(Ok(_)))
        {}
        *lease = None;
        tokio::time::sleep(AGAIN).await;
        *lease = borrow(client, port).await.ok().map(|(_, lease)| lease);
    }
}

/// A restarted daemon reopens the port immediately only if it was borrowed again.
async fn give_back(client: &Client, port: &str, mut lease: Option<Incoming>) {
    for _ in 0..GIVE_BACK_TRIES {
        if lease.take().is_some() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
        lease = borrow(client, port).await.ok().map(|(_, lease)| lease);
    }
    let _ = writeln!(
        io::stderr(),
        "espgate: daemon not reachable; it reopens {port} within 15 minutes"
    );
}

async fn first_line(lease: &mut Incoming) -> anyhow::Result<String> {
    let mut line = Vec::new();
    while line.len() < MAX_PATH {
        let frame = lease
            .frame()
            .await
            .context("the daemon sent no port path")??;
        line.extend_from_slice(&frame.into_data().unwrap_or_default());
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            return String::from_utf8(line).context("the port path is not valid UTF-8");
        }
    }
    Err(anyhow!("the daemon's answer is not a port path"))
}

/// Runs the command while the port is held.
async fn run_with(
    path: &str,
    command: &[String],
    hold: impl Future<Output = ()>,
) -> anyhow::Result<ExitStatus> {
    let (program, arguments) = command.split_first().context("no command to run")?;
    // The terminal's Ctrl-C is the program's, and a stop is passed on to it; in
    // both cases its end is waited for.
    let _interrupts = signal(SignalKind::interrupt())?;
    let mut stops = signal(SignalKind::terminate())?;
    let mut child = Command::new(program)
        .args(arguments.iter().map(|text| text.replace("{port}", path)))
        .env("ESPPORT", path)
        .env("ESPTOOL_PORT", path)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let mut hold = pin!(hold);
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            () = &mut hold => {}
            _ = stops.recv() => {
                let child = child.id().and_then(|id| i32::try_from(id).ok());
                let _ = child.map(|id| kill(Pid::from_raw(id), Signal::SIGTERM));
            }
        }
    }
}
