//! Crashes that wait for the disk, of all ports together. They wait for as long
//! as the disk needs; what is too much for the memory is dropped, repeats first.
//! Whatever is lost is an event and a metric.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::journal::Event;
use crate::metrics::Metrics;
use crate::printable;

use super::intake::{Captured, Crash, Likeness, Site};
use super::request::Asked;
use super::status::Board;
use super::waiting::{Examined, Waiting};

/// All crashes that wait; clones are the same.
#[derive(Clone)]
pub(super) struct Backlog {
    waiting: Arc<Mutex<Waiting<Entry>>>,
    metrics: Arc<Metrics>,
}

/// A crash that waits, and whose it is.
struct Entry {
    captured: Arc<Captured>,
    board: Arc<Board>,
    asked: Option<Asked>,
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
            waiting: Arc::new(Mutex::new(Waiting::new())),
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

    /// The daemon ends: says what is lost because it was not stored. What is
    /// being stored right now may succeed yet, and is lost if it does not.
    pub(super) fn give_up(&self) {
        self.change(Waiting::close);
        for entry in self.lock().contents() {
            let path = entry.path().display();
            Event::PortTrouble.entry().port(&path).say(format_args!(
                "the daemon stops while a crash from {path} is being stored: it may be lost"
            ));
        }
    }

    /// Changes what waits, and drops what is too much then.
    fn change<R>(&self, change: impl FnOnce(&mut Waiting<Entry>) -> R) -> R {
        let mut waiting = self.lock();
        let answer = change(&mut waiting);
        let before = waiting.bytes();
        let dropped = waiting.drop_excess();
        let bytes = i64::try_from(waiting.bytes()).unwrap_or(i64::MAX);
        self.metrics.serial_waiting_bytes.set(bytes);
        let closed = waiting.is_closed();
        drop(waiting);
        if dropped.is_empty() {
            return answer;
        }
        let why = if closed {
            String::from("the daemon stopped before the storage took it")
        } else {
            let bytes = printable::bytes(before as u64);
            format!("storage too slow ({bytes} of captured crashes wait for the disk)")
        };
        self.say_dropped(&dropped, &why);
        answer
    }

    fn say_dropped(&self, dropped: &[Entry], why: &str) {
        let mut ports: BTreeMap<&Path, (u64, &Entry)> = BTreeMap::new();
        for entry in dropped {
            ports.entry(entry.path()).or_insert((0, entry)).0 += 1;
        }
        for (path, (count, entry)) in ports {
            self.metrics.serial_crashes_dropped.inc_by(count);
            entry.board.change(|status| status.dropped += count);
            let path = path.display();
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

    fn lock(&self) -> MutexGuard<'_, Waiting<Entry>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn path(&self) -> &Path {
        &self.captured.site.plan.path
    }
}

impl Inlet {
    /// Lets a crash wait for the disk. Does not wait itself: the port would
    /// lose what the board prints next.
    pub(super) fn push(&self, crash: Crash, site: Site, asked: Option<Asked>) {
        let bytes = crash.weight();
        let captured = Arc::new(Captured { crash, site });
        let examined = match bytes {
            ..=MOST_EXAMINED_HERE => Examined::As(likeness(&captured)),
            _ => Examined::NotYet,
        };
        let is_examined = examined != Examined::NotYet;
        // once it is stored or dropped, nobody needs to know
        let weak = Arc::downgrade(&captured);
        let entry = Entry {
            captured,
            board: Arc::clone(&self.board),
            asked,
        };
        let may_drop = entry.asked.is_none();
        let port = &self.port;
        let number = self
            .backlog
            .change(|waiting| waiting.push(port, bytes, examined, may_drop, entry));
        self.arrived.notify_one();
        if is_examined {
            return;
        }
        let (backlog, port) = (self.backlog.clone(), self.port.clone());
        tokio::task::spawn_blocking(move || {
            if let Some(captured) = weak.upgrade() {
                let likeness = likeness(&captured);
                backlog.change(|waiting| waiting.examined(&port, number, likeness));
            }
        });
    }
}

/// What a crash has in common with its repeats. A fault in reading it must not
/// end the port's task; storing meets the same fault, and says it.
fn likeness(captured: &Captured) -> Option<Likeness> {
    catch_unwind(AssertUnwindSafe(|| captured.crash.likeness())).unwrap_or_default()
}

impl Outlet {
    /// The port's next crash; `None` if there is none and comes none.
    pub(super) async fn next(&self) -> Option<Taken> {
        loop {
            // in this order: what was pushed last was pushed before the end
            let closed = self.closed.is_cancelled();
            if let Some(taken) = self.take() {
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

    fn take(&self) -> Option<Taken> {
        let mut waiting = self.backlog.lock();
        let (number, entry) = waiting.take(&self.port)?;
        Some(Taken {
            number,
            captured: Arc::clone(&entry.captured),
            asked: entry.asked.take(),
        })
    }

    /// Storing the crash failed; it waits to be tried again.
    pub(super) fn failed(&self, number: u64) {
        let port = &self.port;
        self.backlog.change(|waiting| waiting.failed(port, number));
    }

    /// The crash is tried again; answers whether it still waits.
    pub(super) fn try_again(&self, number: u64) -> bool {
        self.backlog.lock().try_again(&self.port, number)
    }

    /// The crash waits no longer: it is stored, or whoever waits for it is told
    /// that it is not.
    pub(super) fn done(&self, number: u64, stored: Option<Likeness>) {
        let port = &self.port;
        let _ended = self.backlog.change(|waiting| {
            if let Some(likeness) = stored {
                waiting.stored(port, number, likeness);
            }
            waiting.remove(port, number)
        });
    }

    /// The crash is lost.
    pub(super) fn lost(&self, number: u64, why: &str) {
        let port = &self.port;
        let lost = self.backlog.change(|waiting| waiting.remove(port, number));
        self.backlog.say_dropped(lost.as_slice(), why);
    }
}

/// A crash of so many bytes is examined by the port's own task, which takes
/// less time than handing it to another.
const MOST_EXAMINED_HERE: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::super::waiting::MOST_BYTES;
    use super::*;

    fn bench() -> (Backlog, Inlet, Outlet, Arc<Board>, impl Fn() -> Site) {
        let backlog = Backlog::new(Arc::new(Metrics::default()));
        let (plan, board) = super::super::status::tests::board("/dev/ttyUSB0");
        let (inlet, outlet) = backlog.of("port", &board);
        let site = move || Site {
            plan: plan.clone(),
            mac: None,
        };
        (backlog, inlet, outlet, board, site)
    }

    /// A panic with a log of so many bytes, alike for the same `kind`.
    fn panic(kind: u8, bytes: usize) -> Crash {
        let text = format!("abort() was called at PC 0x4000{kind:02x}00 on core 0\r\n");
        let mut crash = super::super::intake::tests::panic(&text);
        if let Crash::Panic(panic) = &mut crash {
            panic.log.before.push("x".repeat(bytes));
        }
        crash
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes_and_the_first_of_each_crash_stays() {
        let (backlog, inlet, outlet, board, site) = bench();
        // small ones are examined at once, large ones by a thread
        for bytes in [10 << 10, 1 << 20] {
            let before = board.status().dropped;
            let count = 12 * (1 << 20) / bytes as u64;
            for n in 0..count {
                // three that are alone, then the same again and again
                inlet.push(panic(n.min(3) as u8, bytes), site(), None);
                while !backlog.lock().are_examined() {
                    tokio::task::yield_now().await;
                }
            }
            assert!(backlog.lock().bytes() <= MOST_BYTES);
            let mut stored = Vec::new();
            while let Some(taken) = outlet.take() {
                stored.push(taken.captured.crash.likeness().unwrap());
                outlet.done(taken.number, None);
            }
            // the thread that examined the last one counts what it dropped
            // after it has released the lock
            let dropped = count - stored.len() as u64;
            let counted = || {
                let counted = backlog.metrics.serial_crashes_dropped.get();
                (counted, board.status().dropped)
            };
            for _ in 0..10_000 {
                if counted() == (before + dropped, before + dropped) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(counted(), (before + dropped, before + dropped));
            let kinds: HashSet<_> = stored.iter().collect();
            assert_eq!(kinds.len(), 4);
            assert_eq!(backlog.metrics.serial_waiting_bytes.get(), 0);
        }
    }

    #[tokio::test]
    async fn what_is_being_stored_when_the_daemon_ends_is_lost_only_if_that_fails() {
        let (backlog, inlet, outlet, board, site) = bench();
        for kind in 0..4 {
            inlet.push(panic(kind, 1), site(), None);
        }
        let [ends_well, fails, has_failed] = [(); 3].map(|()| outlet.take().unwrap().number);
        outlet.failed(has_failed);
        backlog.give_up();
        let dropped = || {
            (
                board.status().dropped,
                backlog.metrics.serial_crashes_dropped.get(),
            )
        };
        assert_eq!(dropped(), (2, 2));
        assert!(!outlet.try_again(has_failed));
        outlet.done(ends_well, None);
        assert_eq!(dropped(), (2, 2));
        outlet.failed(fails);
        assert_eq!(dropped(), (3, 3));
        assert_eq!(backlog.metrics.serial_waiting_bytes.get(), 0);
    }
}
