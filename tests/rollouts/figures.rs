//! How many devices a bad build reaches, as `docs/rollouts.md` has it. The rows of large
//! fleets take minutes: they are made by the command alone.
//!
//!     ESPGATE_FIGURES=docs/rollouts.md cargo test --test rollouts figures

use std::fmt::Write as _;

use espgate::rollouts::evaluate::Action;

use crate::fleet::board::{Board, Fault};
use crate::fleet::gateway::{Gateway, rollout};
use crate::fleet::random::Random;
use crate::fleet::{DAY, HOUR, Site};

const FAULTS: [(&str, Fault); 11] = [
    ("crashes at boot, bootloader goes back", Fault::AtBoot),
    ("bootloader goes back, no coredump", Fault::RolledBack),
    ("boot loop that reaches the gateway", Fault::Loops),
    ("never heard again", Fault::Vanishes),
    ("crashes after 1 hour", Fault::After(HOUR)),
    ("crashes after 6 hours", Fault::After(6 * HOUR)),
    ("crashes after 3 days", Fault::After(3 * DAY)),
    ("crashes on 1 board of 10", Fault::OneOfTen),
    ("hangs silently after 1 hour", Fault::Hangs(HOUR)),
    ("hangs silently after 3 days", Fault::Hangs(3 * DAY)),
    ("cannot fetch firmware any more", Fault::CannotAsk),
];
const SIZES: [usize; 4] = [5, 20, 100, 500];
/// Fleets up to this size are tried at each run of the tests.
const QUICK: usize = 20;
const SEEDS: u64 = 20;
/// The rollout is over by then.
const LONGEST: u64 = 30 * DAY;

/// What came of one rollout.
struct Run {
    reached: usize,
    /// Seconds until the first pause or stop.
    noticed: Option<u64>,
    is_stopped: bool,
    /// Boards that would have had it by then without a rollout.
    at_once: usize,
}

fn run(fault: Fault, size: usize, seed: u64) -> Run {
    let mut random = Random::new(seed);
    let boards: Vec<Board> = (0..size)
        .map(|number| {
            let mut board = Board::new(number, &mut random);
            let is_one = fault != Fault::OneOfTen || random.percent(10);
            board.fault = if is_one { fault } else { Fault::None };
            board
        })
        .collect();
    let asks: Vec<u64> = boards
        .iter()
        .map(|board| random.between(0, board.interval) + board.seconds)
        .collect();
    let gateway = Gateway::new(rollout(&boards, 2, |_| {}), false);
    let mut site = Site::new(boards, gateway, seed, 300);
    site.run(LONGEST, |site| {
        site.noticed().is_some() || !site.gateway.rollout.is_live()
    });
    let noticed = site.noticed();
    let stops = |action: &Action| matches!(action, Action::Stopped { .. });
    let until = noticed.unwrap_or(LONGEST);
    Run {
        reached: site.reached.len(),
        noticed,
        is_stopped: site.gateway.first(stops).is_some(),
        at_once: asks.iter().filter(|ready| **ready <= until).count(),
    }
}

fn median(mut values: Vec<usize>) -> usize {
    values.sort_unstable();
    values[values.len() / 2]
}

fn time(seconds: usize) -> String {
    match seconds {
        0..5400 => format!("{} min", seconds / 60),
        5400..172_800 => format!("{} h", (seconds + 1800) / 3600),
        _ => format!("{} d", (seconds + 43_200) / 86_400),
    }
}

fn row(name: &str, fault: Fault, size: usize) -> String {
    let runs: Vec<Run> = (0..SEEDS).map(|seed| run(fault, size, seed)).collect();
    let reached: Vec<usize> = runs.iter().map(|run| run.reached).collect();
    let worst = reached.iter().copied().max().unwrap();
    let noticed: Vec<usize> = runs
        .iter()
        .filter_map(|run| usize::try_from(run.noticed?).ok())
        .collect();
    let stopped = runs.iter().filter(|run| run.is_stopped).count();
    let paused = noticed.len() - stopped;
    let what = match (stopped, paused) {
        (0, 0) => String::from("not noticed"),
        (_, 0) => format!("stops after {}", time(median(noticed.clone()))),
        (0, _) => format!("pauses after {}", time(median(noticed.clone()))),
        (_, _) => format!(
            "stops ({stopped}) or pauses ({paused}) after {}",
            time(median(noticed.clone()))
        ),
    };
    let missed = runs.len() - noticed.len();
    let what = match missed {
        0 => what,
        _ if noticed.is_empty() => what,
        _ => format!("{what}; not noticed in {missed} of {SEEDS}"),
    };
    let at_once = median(runs.iter().map(|run| run.at_once).collect());
    let reached = median(reached);
    format!("| {name} | {size} | {reached} | {worst} | {at_once} | {what} |\n")
}

const HEAD: &str = "| the build ... | devices | reached (median) | reached (worst) | all at once | the rollout |\n\
     |--|--|--|--|--|--|\n";

fn table() -> String {
    let mut text = String::from(HEAD);
    for (name, fault) in FAULTS {
        for size in SIZES {
            text.write_str(&row(name, fault, size)).unwrap();
        }
    }
    text
}

const BEGIN: &str = "<!-- made by tests/rollouts/figures.rs -->\n";
const END: &str = "<!-- until here -->\n";

#[test]
fn figures_of_the_page_are_current() {
    let page = include_str!("../../docs/rollouts.md");
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (kept, after) = rest.split_once(END).unwrap();
    if let Ok(path) = std::env::var("ESPGATE_FIGURES") {
        let made = table();
        let text = format!("{before}{BEGIN}{made}{END}{after}");
        let mut file = std::fs::File::create(path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        return;
    }
    let advice = "ESPGATE_FIGURES=docs/rollouts.md cargo test --test rollouts figures";
    let rows = kept.strip_prefix(HEAD).expect(advice);
    assert_eq!(rows.lines().count(), FAULTS.len() * SIZES.len(), "{advice}");
    let mut rows = rows.lines();
    for (name, fault) in FAULTS {
        for size in SIZES {
            let kept = rows.next().expect(advice);
            match size <= QUICK {
                true => assert_eq!(kept, row(name, fault, size).trim_end(), "{advice}"),
                false => assert!(
                    kept.starts_with(&format!("| {name} | {size} | ")),
                    "{advice}"
                ),
            }
        }
    }
}
