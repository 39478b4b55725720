//! Critical tasks: if one exits, panics or hangs, the daemon stops and systemd
//! restarts it.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Interval of a task's signs of life.
const BEAT: Duration = Duration::from_secs(5);
/// A task without a sign of life for this long is stuck.
const SILENCE: Duration = Duration::from_secs(30);

/// The critical tasks; clones are the same.
#[derive(Clone)]
pub(super) struct CriticalTasks {
    tasks: TaskTracker,
    /// Ends the daemon.
    stop: CancellationToken,
    beating: Arc<Mutex<Vec<Beating>>>,
}

/// Time of the last sign of life.
struct Heartbeat(Mutex<Instant>);

impl Heartbeat {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Instant::now())))
    }

    fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn elapsed(&self) -> Duration {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }
}

/// A running task.
struct Beating {
    name: String,
    heartbeat: Weak<Heartbeat>,
}

impl CriticalTasks {
    /// Tasks that are tracked by `tasks`; `stop` is cancelled when one of them
    /// ends before it should.
    pub(super) fn new(tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            tasks,
            stop,
            beating: Arc::default(),
        }
    }

    /// Runs a task that must not exit before the daemon is stopped.
    pub(super) fn spawn(&self, name: &str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_until(name, &self.stop, task);
    }

    /// Runs a task that must not end before `until` is cancelled.
    pub(super) fn spawn_until(
        &self,
        name: &str,
        until: &CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let heartbeat = Heartbeat::new();
        let mut beating = self.beating.lock().unwrap_or_else(PoisonError::into_inner);
        beating.retain(|beating| beating.heartbeat.strong_count() > 0);
        beating.push(Beating {
            name: name.to_owned(),
            heartbeat: Arc::downgrade(&heartbeat),
        });
        drop(beating);
        let guard = EndsTheDaemon {
            name: name.to_owned(),
            until: until.clone(),
            stop: self.stop.clone(),
        };
        self.tasks.spawn(async move {
            let _guard = guard;
            let mut task = pin!(task);
            let mut beats = tokio::time::interval(BEAT);
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                // a task that blocks its thread keeps the beat from being polled
                tokio::select! {
                    biased;
                    () = task.as_mut() => return,
                    _ = beats.tick() => heartbeat.beat(),
                }
            }
        });
    }

    /// The names of the tasks that are stuck.
    pub(super) fn stuck(&self) -> Vec<String> {
        self.silent_for(SILENCE)
    }

    fn silent_for(&self, limit: Duration) -> Vec<String> {
        let beating = self.beating.lock().unwrap_or_else(PoisonError::into_inner);
        let is_stuck = |beating: &&Beating| {
            let heartbeat = beating.heartbeat.upgrade();
            heartbeat.is_some_and(|heartbeat| heartbeat.elapsed() > limit)
        };
        let stuck = beating.iter().filter(is_stuck);
        stuck.map(|beating| beating.name.clone()).collect()
    }
}

struct EndsTheDaemon {
    name: String,
    until: CancellationToken,
    stop: CancellationToken,
}

impl Drop for EndsTheDaemon {
    fn drop(&mut self) {
        if !self.until.is_cancelled() && !self.stop.is_cancelled() {
            log::error!("critical task {:?} exited", self.name);
            self.stop.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn critical() -> CriticalTasks {
        CriticalTasks::new(TaskTracker::new(), CancellationToken::new())
    }

    #[tokio::test]
    async fn a_task_that_ends_or_panics_ends_the_daemon() {
        let ended = critical();
        ended.spawn("a", async {});
        ended.stop.cancelled().await;
        let panicked = critical();
        panicked.spawn("b", async { panic!("as a test") });
        panicked.stop.cancelled().await;
    }

    #[tokio::test]
    async fn a_task_that_was_told_to_end_does_not() {
        let critical = critical();
        let until = critical.stop.child_token();
        let told = until.clone();
        critical.spawn_until("a", &until, async move { told.cancelled().await });
        until.cancel();
        critical.tasks.close();
        critical.tasks.wait().await;
        assert!(!critical.stop.is_cancelled());
    }

    #[tokio::test]
    async fn a_task_that_was_not_polled_for_long_is_stuck_and_one_that_ended_is_not() {
        let critical = critical();
        let heartbeat = Heartbeat::new();
        critical.beating.lock().unwrap().push(Beating {
            name: String::from("a"),
            heartbeat: Arc::downgrade(&heartbeat),
        });
        while heartbeat.elapsed().is_zero() {}
        assert_eq!(critical.silent_for(Duration::ZERO), ["a"]);
        assert_eq!(critical.silent_for(Duration::MAX), Vec::<String>::new());
        drop(heartbeat);
        assert_eq!(critical.silent_for(Duration::ZERO), Vec::<String>::new());
    }
}
