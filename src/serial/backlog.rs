//! Crashes that wait for the disk, of all ports together. They wait for as long
//! as the disk needs; what is too much for the memory is dropped, repeats first.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::journal::Event;
use crate::metrics::Metrics;
use crate::printable;

use super::intake::{Captured, Crash, Likeness, Site};
use super::request::Asked;
use super::status::Board;

/// All crashes that wait; clones are the same.
#[derive(Clone)]
pub(super) struct Backlog {
    waiting: Arc<Mutex<Waiting>>,
    metrics: Arc<Metrics>,
}

/// A port's way in. Dropped, it ends [`Outlet::next`] once all is taken out.
pub(super) struct Inlet {
    backlog: Backlog,
    port: String,
    board: Arc<Board>,
    arrived: Arc<Notify>,
    _open: DropGuard,
}

/// A port's way out, for who stores.
pub(super) struct Outlet {
    backlog: Backlog,
    port: String,
    arrived: Arc<Notify>,
    closed: CancellationToken,
}

/// A crash to be stored.
pub(super) struct Taken {
    pub(super) number: u64,
    pub(super) captured: Arc<Captured>,
    pub(super) asked: Option<Asked>,
}

impl Backlog {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            waiting: Arc::default(),
            metrics,
        }
    }

    /// The two ends for one port.
    pub(super) fn of(&self, port: &str, board: &Arc<Board>) -> (Inlet, Outlet) {
        let (closed, arrived) = (CancellationToken::new(), Arc::new(Notify::new()));
        let inlet = Inlet {
            backlog: self.clone(),
            port: port.to_owned(),
            board: Arc::clone(board),
            arrived: Arc::clone(&arrived),
            _open: closed.clone().drop_guard(),
        };
        let outlet = Outlet {
            backlog: self.clone(),
            port: port.to_owned(),
            arrived,
            closed,
        };
        (inlet, outlet)
    }

    /// Says what is lost because the daemon ends before it is stored.
    pub(super) fn give_up(&self) {
        let lost = std::mem::take(&mut self.lock().entries);
        self.say_dropped(lost, "the daemon stopped before the storage took it");
    }

    fn say_dropped(&self, dropped: impl IntoIterator<Item = Entry>, why: &str) {
        let mut ports: BTreeMap<String, (u64, Entry)> = BTreeMap::new();
        for entry in dropped {
            let of_port = ports.entry(entry.port.clone());
            of_port.or_insert((0, entry)).0 += 1;
        }
        for (count, entry) in ports.into_values() {
            self.metrics.serial_crashes_dropped.inc_by(count);
            entry.board.change(|status| status.dropped += count);
            let path = entry.captured.site.plan.path.display();
            let crashes = match count {
                1 => String::from("1 crash"),
                _ => format!("{count} crashes"),
            };
            Event::CrashDropped
                .entry()
                .port(&path)
                .say(format_args!("{crashes} from {path} dropped: {why}"));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show_bytes(&self, waiting: &Waiting) {
        let bytes = i64::try_from(waiting.bytes()).unwrap_or(i64::MAX);
        self.metrics.serial_waiting_bytes.set(bytes);
    }
}

impl Inlet {
    /// Lets a crash wait for the disk. Does not wait itself: the port would
    /// lose what the board prints next.
    pub(super) fn push(&self, crash: Crash, site: Site, asked: Option<Asked>) {
        let mut waiting = self.backlog.lock();
        let dropped = waiting.push(Entry {
            number: 0,
            port: self.port.clone(),
            bytes: crash.weight(),
            likeness: None,
            captured: Arc::new(Captured { crash, site }),
            board: Arc::clone(&self.board),
            may_go: asked.is_none(),
            asked,
        });
        self.backlog.show_bytes(&waiting);
        let bytes = printable::bytes(waiting.bytes() as u64);
        drop(waiting);
        let why = format!("storage too slow ({bytes} of captured crashes wait for the disk)");
        self.backlog.say_dropped(dropped, &why);
        self.arrived.notify_one();
    }
}

impl Outlet {
    /// The port's next crash; `None` if there is none and comes none.
    pub(super) async fn next(&self) -> Option<Taken> {
        loop {
            // in this order: what was pushed last was pushed before the end
            let closed = self.closed.is_cancelled();
            if let Some(taken) = self.backlog.lock().take(&self.port) {
                return Some(taken);
            }
            if closed {
                return None;
            }
            tokio::select! {
                () = self.arrived.notified() => {}
                () = self.closed.cancelled() => {}
            }
        }
    }

    /// The crash waits no longer: it is stored, or lost.
    pub(super) fn done(&self, number: u64, stored: Option<Likeness>) {
        let mut waiting = self.backlog.lock();
        waiting.done(number, stored.map(|likeness| (self.port.clone(), likeness)));
        self.backlog.show_bytes(&waiting);
    }
}

/// What waits, oldest first.
#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    numbers: u64,
    /// Crashes of ports that were stored lately: another one like them is a repeat.
    stored: VecDeque<(String, Likeness)>,
}

struct Entry {
    number: u64,
    port: String,
    bytes: usize,
    /// Found out when there is no room.
    likeness: Option<Option<Likeness>>,
    captured: Arc<Captured>,
    board: Arc<Board>,
    /// Not if it is being stored, or if a person waits for it.
    may_go: bool,
    asked: Option<Asked>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    /// Adds a crash; answers with those that are dropped for it.
    fn push(&mut self, mut entry: Entry) -> Vec<Entry> {
        self.numbers += 1;
        entry.number = self.numbers;
        self.entries.push_back(entry);
        let mut dropped = Vec::new();
        while self.bytes() > MOST_BYTES && self.entries.len() > 1 {
            let Some(at) = to_drop(&self.weigh()) else {
                break;
            };
            dropped.extend(self.entries.remove(at));
        }
        dropped
    }

    fn take(&mut self, port: &str) -> Option<Taken> {
        // a crash that a person waits for may not go either, and is taken once
        let is_next =
            |entry: &&mut Entry| entry.port == port && (entry.may_go || entry.asked.is_some());
        let entry = self.entries.iter_mut().find(is_next)?;
        entry.may_go = false;
        Some(Taken {
            number: entry.number,
            captured: Arc::clone(&entry.captured),
            asked: entry.asked.take(),
        })
    }

    fn done(&mut self, number: u64, stored: Option<(String, Likeness)>) {
        self.entries.retain(|entry| entry.number != number);
        self.stored.extend(stored);
        let too_many = self.stored.len().saturating_sub(MOST_STORED);
        self.stored.drain(..too_many);
    }

    fn weigh(&mut self) -> Vec<Weighed<'_>> {
        let mut known: HashSet<(&str, &Likeness)> = self
            .stored
            .iter()
            .map(|(port, likeness)| (port.as_str(), likeness))
            .collect();
        for entry in &mut self.entries {
            let crash = &entry.captured.crash;
            entry.likeness.get_or_insert_with(|| crash.likeness());
        }
        let weighed = self.entries.iter().map(|entry| {
            let likeness = entry.likeness.as_ref().and_then(Option::as_ref);
            let is_first = likeness.is_none_or(|likeness| known.insert((&entry.port, likeness)));
            Weighed {
                port: &entry.port,
                bytes: entry.bytes,
                is_first,
                may_go: entry.may_go,
            }
        });
        weighed.collect()
    }
}

/// A waiting crash, as far as it matters for what is dropped.
#[derive(Clone, Copy)]
struct Weighed<'a> {
    port: &'a str,
    bytes: usize,
    is_first: bool,
    may_go: bool,
}

/// Which one goes: a repeat if there is one, of the port that has the most
/// bytes waiting, the newest.
fn to_drop(waiting: &[Weighed<'_>]) -> Option<usize> {
    let of_port = |port: &str| -> usize {
        let of_port = waiting.iter().filter(|crash| crash.port == port);
        of_port.map(|crash| crash.bytes).sum()
    };
    let may_go = waiting.iter().enumerate().filter(|(_, crash)| crash.may_go);
    may_go
        .max_by_key(|(at, crash)| (!crash.is_first, of_port(crash.port), *at))
        .map(|(at, _)| at)
}

/// What may wait, over all ports.
const MOST_BYTES: usize = 8 << 20;
/// Stored crashes that are remembered to know repeats by.
const MOST_STORED: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn crash(port: &'static str, bytes: usize, is_first: bool) -> Weighed<'static> {
        Weighed {
            port,
            bytes,
            is_first,
            may_go: true,
        }
    }

    #[test]
    fn a_repeat_goes_before_a_first_dump_and_the_newest_of_the_greediest_port_first() {
        let cases: &[(&[Weighed<'_>], Option<usize>)] = &[
            (&[], None),
            (
                &[
                    crash("a", 9, true),
                    crash("b", 1, false),
                    crash("a", 9, true),
                ],
                Some(1),
            ),
            (
                &[
                    crash("a", 2, false),
                    crash("b", 1, false),
                    crash("a", 2, false),
                    crash("b", 1, false),
                ],
                Some(2),
            ),
            (
                &[
                    crash("a", 5, true),
                    crash("a", 5, true),
                    crash("b", 1, true),
                ],
                Some(1),
            ),
            (
                &[Weighed {
                    may_go: false,
                    ..crash("a", 5, false)
                }],
                None,
            ),
        ];
        for (at, (waiting, expected)) in cases.iter().enumerate() {
            assert_eq!(to_drop(waiting), *expected, "case {at}");
        }
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes_and_the_first_of_each_crash_stays() {
        let metrics = Arc::new(Metrics::default());
        let backlog = Backlog::new(Arc::clone(&metrics));
        let (plan, board) = super::super::status::tests::board("/dev/ttyUSB0");
        let (inlet, outlet) = backlog.of("port", &board);
        let site = || Site {
            plan: plan.clone(),
            mac: None,
        };
        // no two alike, then eleven times the same
        let large = |first: u8| {
            let text = format!("abort() was called at PC 0x4000{first:02x}00 on core 0\r\n");
            let filler = "x".repeat(1 << 20);
            super::super::intake::tests::panic(&format!("{text}{filler}"))
        };
        for n in 0..3 {
            inlet.push(large(n), site(), None);
        }
        for _ in 0..11 {
            inlet.push(large(9), site(), None);
        }
        assert!(backlog.lock().bytes() <= MOST_BYTES);
        let dropped = board.status().dropped;
        assert_eq!(metrics.serial_crashes_dropped.get(), dropped);
        assert_eq!(dropped, 14 - backlog.lock().entries.len() as u64);
        drop(inlet);
        let mut stored = Vec::new();
        while let Some(taken) = outlet.next().await {
            stored.push(taken.captured.crash.likeness().unwrap());
            outlet.done(taken.number, None);
        }
        let kinds: HashSet<_> = stored.iter().collect();
        assert_eq!((kinds.len(), stored.len() as u64), (4, 14 - dropped));
        assert_eq!(metrics.serial_waiting_bytes.get(), 0);
    }
}
