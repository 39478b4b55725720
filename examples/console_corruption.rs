//! Corrupts console recordings at random and checks what is captured of them:
//! never a panic, never a wrong dump that passes for a whole one, and every
//! undamaged dump is captured. The recordings are the `console/*.log` of the
//! folder in `ESPGATE_SHARED_DATA`; the seed is fixed, so a run can be repeated.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use espgate::console::{Console, Dump, Event, Settings, dumps_in};
use espgate::coredump::{self, Verdict};

const ROUNDS: usize = 10_000;

/// A recording and the dumps in it, each with the bytes it was printed in.
struct Recording {
    name: String,
    bytes: Vec<u8>,
    dumps: Vec<Original>,
}

struct Original {
    /// From the start marker to the end of the checksum line.
    span: (usize, usize),
    image: Vec<u8>,
}

#[derive(Default)]
struct Figures {
    originals: usize,
    untouched: usize,
    whole: usize,
    damaged: usize,
    healed: usize,
    panics: usize,
}

#[expect(clippy::print_stdout, reason = "a report for people")]
fn main() -> anyhow::Result<ExitCode> {
    let folder = std::env::var("ESPGATE_SHARED_DATA").context("set ESPGATE_SHARED_DATA")?;
    let recordings = recordings(&Path::new(&folder).join("console"))?;
    anyhow::ensure!(!recordings.is_empty(), "no recordings in {folder}/console");
    let mut failed = 0;
    for recording in &recordings {
        println!(
            "{}: {} whole dumps in {} bytes",
            recording.name,
            recording.dumps.len(),
            recording.bytes.len()
        );
        if recording.dumps.is_empty() {
            failed += 1;
        }
    }
    let began = Instant::now();
    let mut figures = Figures::default();
    for round in 0..ROUNDS {
        let mut random = Random::new(round as u64 + 1);
        let Some(recording) = recordings.get(round % recordings.len()) else {
            continue;
        };
        let faults = check(recording, &mut random, &mut figures);
        if !faults.is_empty() {
            failed += 1;
            println!("round {round} ({}): {}", recording.name, faults.join("; "));
        }
    }
    println!(
        "{} dumps, of them {} untouched; {} captured whole ({} of them healed), {} damaged, {} panic texts; {:.1} s",
        figures.originals,
        figures.untouched,
        figures.whole,
        figures.healed,
        figures.damaged,
        figures.panics,
        began.elapsed().as_secs_f64()
    );
    println!("{} passed, {failed} failed", ROUNDS - failed.min(ROUNDS));
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn recordings(folder: &Path) -> anyhow::Result<Vec<Recording>> {
    let mut found = Vec::new();
    for entry in
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let bytes = std::fs::read(&path)?;
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            found.push(Recording {
                name,
                dumps: originals(&bytes),
                bytes,
            });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn originals(bytes: &[u8]) -> Vec<Original> {
    let images = dumps_in(bytes)
        .into_iter()
        .filter(|dump| dump.complete)
        .map(|dump| dump.bytes);
    let mut spans = Vec::new();
    let mut from = 0;
    while let Some(start) = find(bytes, from, b"================= CORE DUMP START")
        && let Some(end) = find(bytes, start, b"Coredump checksum='")
        && let Some(end) = find(bytes, end, b"\n")
    {
        spans.push((start, end + 1));
        from = end;
    }
    spans
        .into_iter()
        .zip(images)
        .map(|(span, image)| Original { span, image })
        .collect()
}

fn find(bytes: &[u8], from: usize, text: &[u8]) -> Option<usize> {
    let at = bytes
        .get(from..)?
        .windows(text.len())
        .position(|window| window == text)?;
    Some(from + at)
}

fn check(recording: &Recording, random: &mut Random, figures: &mut Figures) -> Vec<String> {
    let damages = 1 + random.below(12);
    let (corrupted, touched) = corrupt(&recording.bytes, damages, random);
    let Ok((dumps, panics)) = std::panic::catch_unwind(|| capture(&corrupted, &mut random.clone()))
    else {
        return vec!["panicked".to_owned()];
    };
    let mut faults = Vec::new();
    let known = |dump: &Dump| {
        recording
            .dumps
            .iter()
            .any(|original| original.image == dump.bytes)
    };
    for dump in &dumps {
        let verdict = coredump::examine(&dump.bytes).verdict;
        let passes = dump.complete || matches!(verdict, Verdict::Valid | Verdict::Repaired);
        if passes && !known(dump) {
            faults.push(format!(
                "a wrong dump of {} bytes passes for whole",
                dump.bytes.len()
            ));
        }
    }
    for original in &recording.dumps {
        // one byte around it belongs to it: a line end, or what stands before it
        let untouched = !touched
            .iter()
            .any(|at| (original.span.0.saturating_sub(1)..=original.span.1).contains(at));
        let captured = dumps
            .iter()
            .any(|dump| dump.complete && dump.bytes == original.image);
        figures.originals += 1;
        figures.untouched += usize::from(untouched);
        figures.whole += usize::from(captured);
        figures.healed += usize::from(captured && !untouched);
        if untouched && !captured {
            faults.push(format!(
                "the undamaged dump at {} was not captured",
                original.span.0
            ));
        }
    }
    figures.damaged += dumps.iter().filter(|dump| !dump.complete).count();
    figures.panics += panics;
    faults
}

/// Captures in chunks of random size, as a port delivers them.
fn capture(bytes: &[u8], random: &mut Random) -> (Vec<Dump>, usize) {
    let mut console = Console::new(Settings::default());
    let mut events = Vec::new();
    let mut rest = bytes;
    let mut now = Duration::ZERO;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at((1 + random.below(700)).min(rest.len()));
        now += Duration::from_millis(1);
        events.extend(console.feed(chunk, now));
        rest = after;
    }
    events.extend(console.finish());
    let panics = events
        .iter()
        .filter(|event| matches!(event, Event::Panic(_)))
        .count();
    let dumps = events.into_iter().filter_map(|event| match event {
        Event::Dump(dump) => Some(*dump),
        _ => None,
    });
    (dumps.collect(), panics)
}

/// A damaged copy, and where in the original it was damaged.
fn corrupt(bytes: &[u8], damages: usize, random: &mut Random) -> (Vec<u8>, Vec<usize>) {
    let mut touched: Vec<usize> = (0..damages).map(|_| random.below(bytes.len())).collect();
    touched.sort_unstable();
    touched.dedup();
    let mut corrupted = Vec::with_capacity(bytes.len() + 4096);
    let mut all = Vec::new();
    let mut from = 0;
    for at in touched {
        if at < from {
            continue;
        }
        corrupted.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        let rest = bytes.get(at..).unwrap_or_default();
        let run = (1 + random.below(90)).min(rest.len());
        let piece = rest.get(..run).unwrap_or_default();
        let line = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(rest.len(), |end| end + 1);
        let gone = match random.below(9) {
            0 => 1,
            1 => run,
            2 => line,
            3 => {
                corrupted.extend(rest.first());
                0
            }
            4 => {
                corrupted.extend_from_slice(piece);
                0
            }
            5 => {
                let flipped = rest.first().map(|byte| byte ^ random.byte().max(1));
                corrupted.extend(flipped);
                1
            }
            6 => {
                corrupted.extend((0..run).map(|_| random.byte()));
                run
            }
            7 => {
                corrupted.extend_from_slice(
                    b"\x1b[0;32mI (4711) wifi: new:<6,0>, old:<1,0>, ap\x1b[0m\r\n",
                );
                0
            }
            _ => {
                corrupted.extend_from_slice(b"\r\ndone\r\nOKAY\r\n");
                0
            }
        };
        all.push(at);
        all.push(at + gone.saturating_sub(1));
        from = at + gone;
        all.extend((at..from).step_by(16));
    }
    corrupted.extend_from_slice(bytes.get(from..).unwrap_or_default());
    (corrupted, all)
}
/// Repeatable randomness: SplitMix64.
#[derive(Clone)]
struct Random(u64);

impl Random {
    /// The sequence that `seed` begins.
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// The next number.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or(0)
    }

    /// Any byte.
    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}
