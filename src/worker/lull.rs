//! Waiting until nothing comes in.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::ingest::Arrivals;

/// Waits until nothing has come in for as long as `quiet`.
pub(super) async fn lull(arrivals: &mut watch::Receiver<Arrivals>, quiet: Duration) {
    loop {
        let last = arrivals.borrow_and_update().last_at();
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
    use tokio::time::Instant;

    use super::*;
    use crate::ingest::Origin;
    use crate::store::coredumps::Source;

    #[tokio::test(start_paused = true)]
    async fn a_lull_begins_with_the_last_arrival() {
        let quiet = Duration::from_millis(100);
        let arrivals = watch::Sender::new(Arrivals::default());
        let mut watched = arrivals.subscribe();
        let began = Instant::now();
        lull(&mut watched, quiet).await;
        assert_eq!(began.elapsed(), Duration::ZERO);

        let origin = Origin::new("bench7".parse().unwrap(), Source::Uart, "configured");
        let arrive = async {
            for _ in 0..5 {
                arrivals.send_modify(|arrivals| arrivals.note(true, &origin));
                tokio::time::sleep(Duration::from_millis(70)).await;
            }
        };
        tokio::join!(arrive, lull(&mut watched, quiet));
        assert_eq!(began.elapsed(), Duration::from_millis(4 * 70 + 100));
        assert_eq!(arrivals.borrow().stored, 5);
        lull(&mut watched, quiet).await;
        assert_eq!(began.elapsed(), Duration::from_millis(4 * 70 + 100));
    }
}
