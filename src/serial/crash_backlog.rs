//! Crashes of all ports that wait to be stored. They wait for as long as the
//! disk needs. Above a limit of memory crashes are dropped, repeats first, with
//! an event and a metric.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::journal::Event;
use crate::metrics::Metrics;
use crate::printable;

use super::crash_queue::{CrashQueues, Examined};
use super::crash_recorder::{CaptureContext, CapturedCrash, Crash, RepeatKey};
use super::flash_read_request::ReadRequester;
use super::status::PortMonitor;

/// All waiting crashes; clones share them.
#[derive(Clone)]
pub(super) struct CrashBacklog {
    waiting: Arc<Mutex<CrashQueues<WaitingCrash>>>,
    metrics: Arc<Metrics>,
}

/// A waiting crash, its port, and who asked for it.
struct WaitingCrash {
    captured: Arc<CapturedCrash>,
    monitor: Arc<PortMonitor>,
    asked: Option<ReadRequester>,
}

/// A port's sending side. When it is dropped, [`BacklogReceiver::next`] ends
/// after the last crash.
pub(super) struct BacklogSender {
    backlog: CrashBacklog,
    port: String,
    monitor: Arc<PortMonitor>,
    arrived: Arc<Notify>,
    _open: DropGuard,
}

/// A port's receiving side, for the task that stores.
pub(super) struct BacklogReceiver {
    backlog: CrashBacklog,
    port: String,
    arrived: Arc<Notify>,
    closed: CancellationToken,
}

/// A crash to be stored.
pub(super) struct NextCrash {
    pub(super) number: u64,
    pub(super) captured: Arc<CapturedCrash>,
    pub(super) asked: Option<ReadRequester>,
}

impl CrashBacklog {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            waiting: Arc::new(Mutex::new(CrashQueues::new())),
            metrics,
        }
    }

    /// The two ends for one port.
    pub(super) fn of(
        &self,
        port: &str,
        monitor: &Arc<PortMonitor>,
    ) -> (BacklogSender, BacklogReceiver) {
        let (closed, arrived) = (CancellationToken::new(), Arc::new(Notify::new()));
        let sender = BacklogSender {
            backlog: self.clone(),
            port: port.to_owned(),
            monitor: Arc::clone(monitor),
            arrived: Arc::clone(&arrived),
            _open: closed.clone().drop_guard(),
        };
        let receiver = BacklogReceiver {
            backlog: self.clone(),
            port: port.to_owned(),
            arrived,
            closed,
        };
        (sender, receiver)
    }

    /// The daemon stops: drops and reports what is not stored. What is being
    /// stored right now may still succeed.
    pub(super) fn drop_unstored(&self) {
        self.change(CrashQueues::close);
        for entry in self.lock().contents() {
            let path = entry.path().display();
            Event::PortTrouble.entry().port(&path).say(format_args!(
                "crash from {path} may be lost: daemon stopped while storing it"
            ));
        }
    }

    /// Changes the queues, then drops what exceeds the limit.
    fn change<R>(&self, change: impl FnOnce(&mut CrashQueues<WaitingCrash>) -> R) -> R {
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
            String::from("daemon stopped before storing")
        } else {
            let bytes = printable::bytes(before as u64);
            format!("storage too slow ({bytes} waiting to be written)")
        };
        self.say_dropped(&dropped, &why);
        answer
    }

    fn say_dropped(&self, dropped: &[WaitingCrash], why: &str) {
        let mut ports: BTreeMap<&Path, (u64, &WaitingCrash)> = BTreeMap::new();
        for entry in dropped {
            ports.entry(entry.path()).or_insert((0, entry)).0 += 1;
        }
        for (path, (count, entry)) in ports {
            self.metrics.serial_crashes_dropped.inc_by(count);
            entry.monitor.change(|status| status.dropped += count);
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

    fn lock(&self) -> MutexGuard<'_, CrashQueues<WaitingCrash>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingCrash {
    fn path(&self) -> &Path {
        &self.captured.context.plan.path
    }
}

impl BacklogSender {
    /// Queues a crash. Does not block: the port would lose what the board prints
    /// next.
    pub(super) fn push(&self, crash: Crash, context: CaptureContext, asked: Option<ReadRequester>) {
        let bytes = crash.memory_bytes();
        let captured = Arc::new(CapturedCrash { crash, context });
        let examined = match bytes {
            ..=MOST_EXAMINED_HERE => Examined::As(repeat_key(&captured)),
            _ => Examined::NotYet,
        };
        let is_examined = examined != Examined::NotYet;
        // not needed once it is stored or dropped
        let weak = Arc::downgrade(&captured);
        let entry = WaitingCrash {
            captured,
            monitor: Arc::clone(&self.monitor),
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
                let repeat_key = repeat_key(&captured);
                backlog.change(|waiting| waiting.examined(&port, number, repeat_key));
            }
        });
    }
}

/// What a crash has in common with its repeats. A panic in the parser must not
/// end the port's task; storing meets the same panic and reports it.
fn repeat_key(captured: &CapturedCrash) -> Option<RepeatKey> {
    catch_unwind(AssertUnwindSafe(|| captured.crash.repeat_key())).unwrap_or_default()
}

impl BacklogReceiver {
    /// The port's next crash; `None` once there will be no more.
    pub(super) async fn next(&self) -> Option<NextCrash> {
        loop {
            // checked in this order: the last crash is pushed before the end
            let closed = self.closed.is_cancelled();
            if let Some(next) = self.take() {
                return Some(next);
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

    fn take(&self) -> Option<NextCrash> {
        let mut waiting = self.backlog.lock();
        let (number, entry) = waiting.take(&self.port)?;
        Some(NextCrash {
            number,
            captured: Arc::clone(&entry.captured),
            asked: entry.asked.take(),
        })
    }

    /// Storing the crash failed; it stays for a retry.
    pub(super) fn failed(&self, number: u64) {
        let port = &self.port;
        self.backlog.change(|waiting| waiting.failed(port, number));
    }

    /// Marks the crash as being stored again; `false` if it was dropped.
    pub(super) fn try_again(&self, number: u64) -> bool {
        self.backlog.lock().try_again(&self.port, number)
    }

    /// Removes a crash that was stored, or whose requester was told the error.
    pub(super) fn done(&self, number: u64, stored: Option<RepeatKey>) {
        let port = &self.port;
        let _ended = self.backlog.change(|waiting| {
            if let Some(repeat_key) = stored {
                waiting.stored(port, number, repeat_key);
            }
            waiting.remove(port, number)
        });
    }

    /// Removes a crash that cannot be stored, and reports it.
    pub(super) fn lost(&self, number: u64, why: &str) {
        let port = &self.port;
        let lost = self.backlog.change(|waiting| waiting.remove(port, number));
        self.backlog.say_dropped(lost.as_slice(), why);
    }
}

/// Up to this size a crash is examined by the port's own task, which is faster
/// than handing it to a thread.
const MOST_EXAMINED_HERE: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::super::crash_queue::MOST_BYTES;
    use super::*;

    fn bench() -> (
        CrashBacklog,
        BacklogSender,
        BacklogReceiver,
        Arc<PortMonitor>,
        impl Fn() -> CaptureContext,
    ) {
        let backlog = CrashBacklog::new(Arc::new(Metrics::default()));
        let (plan, monitor) = super::super::status::tests::port("/dev/ttyUSB0");
        let (sender, receiver) = backlog.of("port", &monitor);
        let context = move || CaptureContext {
            plan: plan.clone(),
            mac: None,
        };
        (backlog, sender, receiver, monitor, context)
    }

    /// A panic with a log of so many bytes, alike for the same `kind`.
    fn panic(kind: u8, bytes: usize) -> Crash {
        let text = format!("abort() was called at PC 0x4000{kind:02x}00 on core 0\r\n");
        let mut crash = super::super::crash_recorder::tests::panic(&text);
        if let Crash::Panic(panic) = &mut crash {
            panic.log.before.push("x".repeat(bytes));
        }
        crash
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes_and_the_first_of_each_crash_stays() {
        let (backlog, sender, receiver, monitor, context) = bench();
        // small ones are examined at once, large ones by a thread
        for bytes in [10 << 10, 1 << 20] {
            let before = monitor.status().dropped;
            let count = 12 * (1 << 20) / bytes as u64;
            for n in 0..count {
                // three that are alone, then the same again and again
                sender.push(panic(n.min(3) as u8, bytes), context(), None);
                while !backlog.lock().are_examined() {
                    tokio::task::yield_now().await;
                }
            }
            assert!(backlog.lock().bytes() <= MOST_BYTES);
            let mut stored = Vec::new();
            while let Some(next) = receiver.take() {
                stored.push(next.captured.crash.repeat_key().unwrap());
                receiver.done(next.number, None);
            }
            // the thread that examined the last one counts what it dropped
            // after it has released the lock
            let dropped = count - stored.len() as u64;
            let counted = || {
                let counted = backlog.metrics.serial_crashes_dropped.get();
                (counted, monitor.status().dropped)
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
        let (backlog, sender, receiver, monitor, context) = bench();
        for kind in 0..4 {
            sender.push(panic(kind, 1), context(), None);
        }
        let [ends_well, fails, has_failed] = [(); 3].map(|()| receiver.take().unwrap().number);
        receiver.failed(has_failed);
        backlog.drop_unstored();
        let dropped = || {
            (
                monitor.status().dropped,
                backlog.metrics.serial_crashes_dropped.get(),
            )
        };
        assert_eq!(dropped(), (2, 2));
        assert!(!receiver.try_again(has_failed));
        receiver.done(ends_well, None);
        assert_eq!(dropped(), (2, 2));
        receiver.failed(fails);
        assert_eq!(dropped(), (3, 3));
        assert_eq!(backlog.metrics.serial_waiting_bytes.get(), 0);
    }
}
