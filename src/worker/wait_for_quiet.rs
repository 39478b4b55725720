//! Waits until no dump has arrived for a while.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::ingest::IntakeStats;

/// Waits until no dump has arrived for `quiet`.
pub(super) async fn wait_for_quiet(intake: &mut watch::Receiver<IntakeStats>, quiet: Duration) {
    loop {
        let last = intake.borrow_and_update().last_at();
        let left = last.and_then(|at| quiet.checked_sub(at.elapsed()));
        let Some(left) = left.filter(|left| !left.is_zero()) else {
            return;
        };
        // whether it changed or the time is over: looked at again
        let _ = timeout(left, intake.changed()).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::ingest::Origin;
    use crate::store::coredumps::Source;

    #[tokio::test(start_paused = true)]
    async fn quiet_begins_with_the_last_arrival() {
        let quiet = Duration::from_millis(100);
        let intake = watch::Sender::new(IntakeStats::default());
        let mut watched = intake.subscribe();
        let began = Instant::now();
        wait_for_quiet(&mut watched, quiet).await;
        assert_eq!(began.elapsed(), Duration::ZERO);

        let origin = Origin::new("bench7".parse().unwrap(), Source::Uart, "configured");
        let arrive = async {
            for _ in 0..5 {
                intake.send_modify(|intake| intake.note(true, &origin));
                tokio::time::sleep(Duration::from_millis(70)).await;
            }
        };
        tokio::join!(arrive, wait_for_quiet(&mut watched, quiet));
        assert_eq!(began.elapsed(), Duration::from_millis(4 * 70 + 100));
        assert_eq!(intake.borrow().stored, 5);
        wait_for_quiet(&mut watched, quiet).await;
        assert_eq!(began.elapsed(), Duration::from_millis(4 * 70 + 100));
    }
}
