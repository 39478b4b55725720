//! Thirty-two boards that print at 921,600 baud each, into one process: counts
//! lost bytes and dumps, and what it costs. Run it with `--release`.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use espgate::ingest::Ingest;
use espgate::metrics::Metrics;
use espgate::serial::Ports;
use espgate::serial::crash_recorder::CrashRecorder;
use espgate::serial::discover::PortSources;
use espgate::serial::status::State;
use espgate::store::Store;
use espgate::{bundle, config};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::resource::{UsageWho, getrusage};
use tokio_util::sync::CancellationToken;

const BOARDS: usize = 32;
const DURATION: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(10);
/// 92,160 bytes a second, which is 921,600 baud with start and stop bit.
const PER_TICK: usize = 922;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        play()
    } else {
        listen(&arguments)
    }
}

/// The boards' side.
#[expect(clippy::print_stdout, reason = "a report for people")]
fn play() -> anyhow::Result<ExitCode> {
    let boards: Vec<(PtyMaster, PathBuf)> =
        (0..BOARDS).map(|_| open()).collect::<anyhow::Result<_>>()?;
    let script = script();
    let mut listener = Command::new(std::env::current_exe()?)
        .args(boards.iter().map(|(_, path)| path))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = listener.stdout.take().context("no output")?;
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stdout));
    ensure!(
        lines.next().context("the listener ended")?? == "ready",
        "the listener is not ready"
    );

    let began = Instant::now();
    let mut sent = vec![0usize; BOARDS];
    let mut behind = 0;
    let mut ticks = 0u32;
    // whole scripts, so that every dump is whole
    let total = PER_TICK * 1000 / script.len() * script.len();
    while sent.iter().any(|sent| *sent < total) && began.elapsed() < DURATION * 2 {
        ticks += 1;
        let due = (PER_TICK * ticks as usize).min(total);
        for ((board, _), sent) in boards.iter().zip(&mut sent) {
            while *sent < due {
                let at = *sent % script.len();
                let piece = script
                    .get(at..script.len().min(at + due - *sent))
                    .unwrap_or_default();
                match (&*board).write(piece) {
                    Ok(count) => *sent += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        behind = behind.max(due - *sent);
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        std::thread::sleep((TICK * ticks).saturating_sub(began.elapsed()));
    }
    let took = began.elapsed();
    let all: usize = sent.iter().sum();
    let dumps = all / script.len();
    listener
        .stdin
        .take()
        .context("no input")?
        .write_all(format!("{all} {dumps}\n").as_bytes())?;
    println!(
        "{BOARDS} boards sent {all} bytes in {:.1} s ({:.2} MB/s), at most {behind} bytes behind",
        took.as_secs_f64(),
        all as f64 / took.as_secs_f64() / 1e6
    );
    for line in lines {
        println!("{}", line?);
    }
    Ok(match listener.wait()?.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn open() -> anyhow::Result<(PtyMaster, PathBuf)> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let path = PathBuf::from(ptsname_r(&master)?);
    Ok((master, path))
}

/// Some seconds of a console: log lines, then a crash with a dump of 8 KiB.
fn script() -> Vec<u8> {
    let mut text = String::new();
    for number in 0..3000 {
        text.push_str(&format!(
            "\x1b[0;32mI ({number}) wifi: state: run -> run, rssi -{}\x1b[0m\r\n",
            number % 90
        ));
    }
    let mut image = 8216u32.to_le_bytes().to_vec();
    image.extend(0x0005_0102u32.to_le_bytes());
    image.resize(24, 0);
    image.extend(
        b"\x7fELF\x01\x01\x01\0"
            .iter()
            .copied()
            .chain((0..=255).cycle())
            .take(8188),
    );
    image.extend(crc32fast::hash(&image).to_le_bytes());
    text.push_str("abort() was called at PC 0x42009351 on core 0\r\n");
    text.push_str("================= CORE DUMP START =================\r\n");
    let (body, checksum) = image.split_at(image.len() - 4);
    for line in body.chunks(48).chain([checksum]) {
        text.push_str(&STANDARD.encode(line));
        text.push_str("\r\n");
    }
    text.push_str("================= CORE DUMP END =================\r\nRebooting...\r\n");
    text.into_bytes()
}

/// The daemon's side, in a process of its own so that its cost can be told.
#[expect(clippy::print_stdout, reason = "read by the boards' side")]
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn listen(paths: &[String]) -> anyhow::Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let ports: String = paths
        .iter()
        .map(|path| format!("[[serial.port]]\npath = \"{path}\"\n"))
        .collect();
    let config = config::parse(&ports)
        .map_err(|faults| anyhow::anyhow!("{faults:?}"))?
        .config;
    let limits = bundle::BundleLimits::for_bundles_of(1 << 20);
    let store = Arc::new(Store::open(
        &folder.path().join("data"),
        None,
        None,
        limits,
    )?);
    let metrics = Arc::new(Metrics::default());
    let ingest = Ingest::new(
        Arc::clone(&store),
        Arc::clone(&metrics),
        config.coredumps.clone(),
    );
    let intake = CrashRecorder::new(Arc::new(ingest), store, Box::new(|_| None));
    let sources = PortSources {
        sys: folder.path().to_owned(),
        dev: PathBuf::from("/dev"),
        list: Arc::new(Vec::new),
    };
    let state = folder.path().join("data/state");
    let ports = Ports::new(
        intake,
        metrics,
        sources,
        &state,
        config.serial,
        config.coredumps.max_upload_bytes,
    )?;
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (ports, stop) = (ports.clone(), stop.clone());
        async move { ports.run(stop).await }
    });
    while ports.list().len() < paths.len() {
        tokio::task::yield_now().await;
    }
    for path in paths {
        ports
            .monitor(path)?
            .until(|status| status.state == State::Listening)
            .await;
    }
    let before = cpu()?;
    let began = Instant::now();
    println!("ready");
    let expected = tokio::task::spawn_blocking(|| std::io::stdin().lines().next()).await?;
    let (sent, dumps) = expected
        .context("no figures")??
        .split_once(' ')
        .map(|(a, b)| (a.parse(), b.parse()))
        .context("no figures")?;
    let (sent, dumps): (u64, u64) = (sent?, dumps?);
    let received = || ports.list().iter().map(|port| port.bytes).sum::<u64>();
    let patience = Instant::now();
    while received() < sent && patience.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(TICK).await;
    }
    let (cpu, took) = (cpu()? - before, began.elapsed());
    let received = received();
    stop.cancel();
    running.await?;
    let captured: u64 = ports.list().iter().map(|port| port.dumps).sum();
    let stored: u64 = ports.list().iter().map(|port| port.stored).sum();
    let memory = peak_memory()?;
    println!(
        "received {received} of {sent} bytes, captured {captured} and stored {stored} of {dumps} dumps"
    );
    println!(
        "{:.1} % of one core, {:.1} MB resident at most",
        cpu.as_secs_f64() / took.as_secs_f64() * 100.0,
        memory as f64 / 1e3
    );
    Ok(match received == sent && captured == dumps {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn cpu() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: nix::sys::time::TimeVal| {
        Duration::new(
            u64::try_from(time.tv_sec()).unwrap_or(0),
            u32::try_from(time.tv_usec() * 1000).unwrap_or(0),
        )
    };
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// Kilobytes.
fn peak_memory() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(Path::new("/proc/self/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}
