//! What came in since the start, and when it pauses.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::Origin;
use crate::clock::{Moment, iso8601};
use crate::store::coredumps::Source;

/// What came in since the start.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    /// Dumps that were stored.
    pub stored: u64,
    /// When the last one came, stored or counted, from whom, and how.
    pub last: Option<(String, String, Source)>,
    last_at: Option<Instant>,
}

impl Arrivals {
    pub(super) fn note(&mut self, kept: bool, origin: &Origin) {
        let at = iso8601(Moment::now().wall);
        self.stored += u64::from(kept);
        self.last = Some((at, origin.device.to_string(), origin.source));
        self.last_at = Some(Instant::now());
    }
}

/// Waits until nothing has come in for as long as `quiet`.
pub(super) async fn lull(arrivals: &watch::Sender<Arrivals>, quiet: Duration) {
    let mut arrivals = arrivals.subscribe();
    loop {
        let last = arrivals.borrow_and_update().last_at;
        let left = last.and_then(|at| quiet.checked_sub(at.elapsed()));
        let Some(left) = left.filter(|left| !left.is_zero()) else {
            return;
        };
        // whether it changed or the time is over: looked at again
        let _ = timeout(left, arrivals.changed()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lull_begins_with_the_last_arrival() {
        let quiet = Duration::from_millis(100);
        let arrivals = watch::Sender::new(Arrivals::default());
        let began = Instant::now();
        lull(&arrivals, quiet).await;
        assert_eq!(began.elapsed(), Duration::ZERO);

        let origin = Origin::new("bench7".parse().unwrap(), Source::Uart, "configured");
        let arrive = async {
            for _ in 0..5 {
                arrivals.send_modify(|arrivals| arrivals.note(true, &origin));
                tokio::time::sleep(Duration::from_millis(70)).await;
            }
        };
        tokio::join!(arrive, lull(&arrivals, quiet));
        assert_eq!(began.elapsed(), Duration::from_millis(4 * 70 + 100));
        assert_eq!(arrivals.borrow().stored, 5);
        lull(&arrivals, quiet).await;
        assert_eq!(began.elapsed(), Duration::from_millis(4 * 70 + 100));
    }
}
